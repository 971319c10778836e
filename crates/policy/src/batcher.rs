//! A running batch that requests join and leave: what a server decodes with.

use std::sync::Arc;

use crate::{Finish, ModelError, SampleKey, Sampling};

/// A prompt to be completed once per key.
#[derive(Debug, Clone)]
pub struct BatchRequest {
    /// Token ids.
    pub prompt: Arc<[u32]>,
    /// One key per completion wanted.
    pub keys: Vec<SampleKey>,
    /// How tokens are drawn; `max_tokens` may be 0 where only the prompt is scored.
    pub sampling: Sampling,
    /// The log-prob and so many likeliest alternatives of every token are wanted.
    pub top: Option<usize>,
    /// The same of the prompt's tokens.
    pub score_prompt: bool,
}

/// A request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub usize);

/// What a request is told.
#[derive(Debug)]
pub enum BatchEvent {
    /// Of every token of the prompt but the first; comes before any of its tokens.
    Prompt(Vec<Alternatives>),
    /// A token of a sample.
    Token {
        /// Index of its key.
        sample: usize,
        /// The token.
        drawn: Drawn,
    },
    /// A sample is over.
    End {
        /// Index of its key.
        sample: usize,
        /// Why; an error is this sample's alone.
        how: Result<Finish, ModelError>,
    },
}

/// A token that was drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    /// Its id.
    pub token: u32,
    /// As in [`Completion::logprobs`](crate::Completion::logprobs).
    pub logprob: f32,
    /// Where asked for: what the model itself thinks of it and of others.
    pub alternatives: Option<Alternatives>,
}

/// What the model thinks of a token and of others in its place: log-probs under softmax(logits), before temperature
/// and truncation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alternatives {
    /// The token's log-prob.
    pub logprob: f32,
    /// The likeliest ids with theirs, likeliest first; equals by id.
    pub top: Vec<(u32, f32)>,
}

/// A running batch of one model. Requests join between two tokens of the others; a request's tokens are, bit for bit,
/// what [`Generate`](crate::Generate) gives for it alone.
pub trait Batcher {
    /// V, and the longest sequence in tokens.
    fn limits(&self) -> BatchLimits;

    /// Takes a request; it joins as soon as there is room.
    ///
    /// # Errors
    /// What [`Generate::generate`](crate::Generate::generate) refuses, and a request that wants nothing.
    fn submit(&mut self, request: BatchRequest) -> Result<Ticket, ModelError>;

    /// Whether nothing is left to do.
    fn is_idle(&self) -> bool;

    /// Rows being decoded.
    fn running(&self) -> usize;

    /// Forgets a request: its rows leave at once.
    fn cancel(&mut self, ticket: Ticket);

    /// Ends one running sample of a request; no event follows.
    fn cancel_sample(&mut self, ticket: Ticket, sample: usize);

    /// Runs a piece of what waits and draws one token for every row.
    fn step(&mut self, emit: &mut dyn FnMut(Ticket, BatchEvent));
}

/// Limits of a model that a server checks requests against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// V.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub context: usize,
}
