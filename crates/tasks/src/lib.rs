//! Problems, answer extraction and grading: one grader for training reward and evaluation.
//! No tensors, no async, no network.
//!
//! ```
//! use thinktune_tasks::{Verdict, grade_boxed, word_problems, word_problems::Split};
//!
//! let question = &word_problems::questions(7, Split::Train, 1)[0];
//! let response = format!("That makes \\boxed{{{}}}.", question.gold);
//! assert_eq!(grade_boxed(&response, &question.gold).verdict, Verdict::Correct);
//! ```

use serde::{Deserialize, Serialize};

pub use behaviour::Behaviour;
pub use error::TaskError;
pub use extract::final_answer;
pub use grading::{AnswerKind, Grade, grade_boxed};
pub use gsm8k::load_gsm8k;
pub use reflection::{Reflection, first_attempt, reflects};
pub use why_wrong::WhyWrong;

mod behaviour;
mod error;
mod extract;
pub mod grading;
mod gsm8k;
mod number;
mod reflection;
mod seeded_rng;
mod why_wrong;
pub mod word_problems;

pub mod benchmarks;
pub mod markers;
pub mod rows;

/// One problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Position in its data set; keys the random numbers of its samples.
    pub index: u32,
    /// The question as the model reads it (without any suffix a config adds).
    pub text: String,
    /// The final answer.
    pub gold: String,
    /// The reference solution, where the data set has one (SFT trains on it).
    pub solution: Option<String>,
    /// The way in which its answer is found and compared.
    pub kind: AnswerKind,
}

/// The grader's decision on a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The final answer equals the gold answer.
    Correct,
    /// A final answer was found and it differs.
    Wrong,
    /// No final answer could be read.
    Unparseable,
    /// Reading or comparing the answer would have taken too much work.
    OverBudget,
}

impl Verdict {
    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Wrong => "wrong",
            Self::Unparseable => "unparseable",
            Self::OverBudget => "over_budget",
        }
    }
}
