//! A row being decoded: one completion on its way.

use std::sync::Arc;

use thinktune_compute::{Backend, Draw};
use thinktune_policy::{Completion, Drawn, Finish, SampleKey, SampleRng, Sampling};

/// Whose a row is, in the terms of its owner: index of the prompt or number of the ticket, index of the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) prompt: usize,
    pub(crate) sample: usize,
}

/// A completion being decoded.
pub(crate) struct Row<B: Backend> {
    pub(crate) owner: Owner,
    sampling: Arc<Sampling>,
    /// Likeliest tokens wanted beside each that is drawn.
    pub(crate) top: Option<usize>,
    rng: SampleRng,
    /// Keys and values of the prompt and of the tokens drawn.
    pub(crate) seq: B::KvSeq,
    /// Tokens before the completion.
    prompt_len: usize,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
}

impl<B: Backend> Row<B> {
    pub(crate) fn new(
        owner: Owner,
        key: SampleKey,
        (sampling, top): (&Arc<Sampling>, Option<usize>),
        seq: B::KvSeq,
        prompt_len: usize,
    ) -> Self {
        Self {
            owner,
            sampling: Arc::clone(sampling),
            top,
            rng: SampleRng::new(sampling.seed, key),
            seq,
            prompt_len,
            tokens: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// How the next token is drawn.
    pub(crate) fn draw(&self) -> Draw {
        Draw {
            uniform: self.rng.uniform(self.tokens.len() as u32),
            temperature: self.sampling.temperature,
            top_k: self.sampling.top_k,
            top_p: self.sampling.top_p,
            min_p: self.sampling.min_p,
        }
    }

    /// Appends a drawn token; says why the row ends, if it does.
    pub(crate) fn push(&mut self, drawn: &Drawn, context: usize) -> Option<Finish> {
        self.tokens.push(drawn.token);
        self.logprobs.push(drawn.logprob);
        if self.sampling.stop.contains(&drawn.token) {
            return Some(Finish::Stop);
        }
        let drawn = self.tokens.len();
        let full = drawn >= self.sampling.max_tokens || self.prompt_len + drawn >= context;
        full.then_some(Finish::Length)
    }

    /// The token drawn last; none before the first.
    pub(crate) fn last(&self) -> Option<u32> {
        self.tokens.last().copied()
    }

    /// Position of the token drawn last.
    pub(crate) fn position(&self) -> usize {
        (self.prompt_len + self.tokens.len()).saturating_sub(1)
    }

    /// Tokens that the row may come to hold.
    pub(crate) fn reserved(&self, context: usize) -> usize {
        reserved(self.prompt_len, &self.sampling, context)
    }

    /// The completion.
    pub(crate) fn end(self, finish: Finish) -> Completion {
        Completion { tokens: self.tokens, logprobs: self.logprobs, finish }
    }
}

/// Tokens that a completion of a prompt may come to hold.
pub(crate) fn reserved(prompt_len: usize, sampling: &Sampling, context: usize) -> usize {
    (prompt_len + sampling.max_tokens).min(context)
}
