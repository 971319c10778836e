//! Answers to held-out questions, and what an evaluation on them gives.

use serde::{Deserialize, Serialize};

use super::EvalMetrics;

/// A held-out set after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOutResult {
    /// The line of `evaluations.jsonl`.
    pub metrics: EvalMetrics,
    /// The lines of `held_out/step_NNNNNN.jsonl`, question by question.
    pub answers: Vec<HeldOutRecord>,
}

/// One answer to a held-out question: one line of `held_out/step_NNNNNN.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRecord {
    /// The held-out set.
    pub set: String,
    /// Training step after which the student was asked; 0 before the first.
    pub step: u64,
    /// Index of the question in its data set.
    pub question: u32,
    /// Index of the sample within its question.
    pub sample: u32,
    /// The reference answer.
    pub gold: String,
    /// The grader's verdict on `response`.
    pub verdict: String,
    /// The final answer the grader read; null where none was found.
    pub extracted: Option<String>,
    /// Whether the answer was cut off by the token limit or the model's context.
    pub truncated: bool,
    /// Whether the answer ended by itself with a correct final answer: what `accuracy` counts.
    pub right: bool,
    /// Why the answer is not right: `not_ended`, `no_answer`, `wrong_answer` or `unparseable`; null where it is right.
    #[serde(default)]
    pub why_wrong: Option<String>,
    /// Whether the answer is not right, and would be if any end did and, without a box, the last number counted.
    #[serde(default)]
    pub correct_any_end: bool,
    /// Whether the text up to the first reflection, if any, has a correct final answer.
    pub first_attempt_right: bool,
    /// Whether the answer goes on reflecting after a first final answer.
    pub reflects: bool,
    /// Whether the final answer differs from the first, where the answer reflects.
    #[serde(default)]
    pub changed: bool,
    /// Tokens drawn, the end token included.
    pub tokens: u64,
    /// The answer, special tokens left out.
    pub response: String,
}
