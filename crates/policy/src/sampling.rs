//! Prompts, sampling settings and completions.

use std::sync::Arc;

use crate::{ModelError, SampleKey};

/// One prompt, to be completed once per key. The prompt is prefilled once for all its samples, and
/// what all prompts of a call begin with is prefilled once for all of them.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Token ids.
    pub tokens: Arc<[u32]>,
    /// One key per completion wanted.
    pub keys: Vec<SampleKey>,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Seed of the run.
    pub seed: u64,
    /// Divides the logits; 0 means greedy.
    pub temperature: f32,
    /// Keep the k most likely tokens.
    pub top_k: Option<usize>,
    /// Keep the smallest set of likeliest tokens whose mass reaches this (1 = off).
    pub top_p: f32,
    /// Drop tokens less likely than this times the likeliest (0 = off).
    pub min_p: f32,
    /// Longest completion, in tokens, the stop token included.
    pub max_tokens: usize,
    /// Tokens that end a completion.
    pub stop: Vec<u32>,
}

impl Sampling {
    /// Temperature 1, nothing truncated: the setting of training.
    pub fn plain(seed: u64, max_tokens: usize, stop: Vec<u32>) -> Self {
        Self { seed, temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0, max_tokens, stop }
    }

    /// Refuses values outside their ranges.
    ///
    /// # Errors
    /// Naming the setting, its value and what was expected.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.check_ranges().map_err(|error| ModelError::BadInput(error.to_string()))
    }

    /// The first value outside its range, with its name apart, for callers that report it: the one place that knows
    /// the ranges.
    ///
    /// # Errors
    /// Naming the setting, its value and what was expected.
    pub fn check_ranges(&self) -> Result<(), OutOfRange> {
        let fault = |name, value: String, expected| Err(OutOfRange { name, value, expected });
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return fault("temperature", self.temperature.to_string(), "0 (greedy) or a positive number");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return fault("top_p", self.top_p.to_string(), "a number in (0, 1]");
        }
        if !(0.0..1.0).contains(&self.min_p) {
            return fault("min_p", self.min_p.to_string(), "a number in [0, 1)");
        }
        if self.top_k == Some(0) {
            return fault("top_k", "0".into(), "at least 1, or none");
        }
        if self.max_tokens == 0 {
            return fault("max_tokens", "0".into(), "at least 1");
        }
        Ok(())
    }
}

/// A setting of [`Sampling`] outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value}: expected {expected}")]
pub struct OutOfRange {
    /// Name of the setting.
    pub name: &'static str,
    /// Value found.
    pub value: String,
    /// Values allowed, in words.
    pub expected: &'static str,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was drawn; it is the last token of the completion.
    Stop,
    /// `max_tokens` or the model's context was reached.
    Length,
}

/// One sampled completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Drawn tokens, the stop token included where there is one.
    pub tokens: Vec<u32>,
    /// log pi(token) under softmax(logits / temperature), untruncated, one per token
    /// (temperature 1 where greedy).
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// How far a call of [`Generate::generate`](crate::Generate::generate) has come.
#[derive(Debug, Clone, Copy)]
pub struct GenerateProgress {
    /// Completions finished.
    pub finished: usize,
    /// Completions asked for.
    pub total: usize,
    /// Tokens drawn.
    pub tokens: usize,
}
