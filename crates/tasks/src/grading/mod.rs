//! Grade: the final answer of a response is found, read and compared with the gold answer, each
//! benchmark in its own way ([`AnswerKind`]).
//!
//! Whatever a model wrote, the work is bounded: finding the answer takes one pass over the text, reading
//! and comparing spend a fixed number of steps, nesting is limited. No threads, no clock, no panic.
//!
//! ```
//! use thinktune_tasks::Verdict;
//! use thinktune_tasks::grading::{AnswerKind, compare, grade};
//!
//! let graded = grade(AnswerKind::Math, r"\frac{14}{3}", r"Adding up, we get $\boxed{4\frac23}$.");
//! assert_eq!(graded.verdict, Verdict::Correct);
//! assert_eq!(graded.extracted.as_deref(), Some(r"4\frac23"));
//! assert_eq!(compare(AnswerKind::Math, "(3,4]", "[3,4]").verdict, Verdict::Wrong);
//! assert_eq!(compare(AnswerKind::Math, "2", "9^{9^{9^9}}").verdict, Verdict::OverBudget);
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{TaskError, Verdict};

mod boxed;
mod choice;
mod chosen;
mod find;
mod math;
mod numbers;
mod yes_no;

pub use boxed::grade_boxed;

/// A benchmark's way to find an answer in a response and to compare it.
///
/// Where nothing else is said, the answer is looked for in this order: the last `\boxed{}` or `\fbox{}`;
/// what follows the last `####`; what follows the last "the answer is". A last box that is never closed
/// means that there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerKind {
    /// The training reward: only the last box counts; numbers as they are written, anything else as text.
    Boxed,
    /// A number as people write it, without arithmetic: a response that leaves the sum to the reader has
    /// not answered. Found as above, then the last number of the text.
    Gsm8k,
    /// Whatever the MATH data set asks for: numbers, expressions, tuples, sets, intervals, matrices,
    /// equations, words. Found as above (boxes joined by a comma or "and" are one answer), then the whole
    /// response where it is nothing but an answer, then the last formula, then the last number.
    Math,
    /// An integer, leading zeros or not. A gold answer "080 or 081" accepts either.
    Aime,
    /// The letter of an option, the first `options` letters of the alphabet. "I choose C", "the right option is C" and
    /// "C is correct" count as "the answer is C" does, the last of them. A last line that is only a letter counts where
    /// nothing else is found; naming several options is wrong.
    Choice {
        /// Number of options of the question.
        options: u8,
    },
    /// Yes or no (true or false); both at once is wrong.
    YesNo,
}

impl AnswerKind {
    /// Options where a multiple-choice task does not say how many: the most that a benchmark has.
    const OPTIONS: u8 = 10;

    /// Names that [`AnswerKind::from_str`] reads.
    pub const NAMES: [&str; 6] = ["boxed", "gsm8k", "math", "aime", "choice", "yes-no"];

    /// As on the command line, without the number of options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boxed => "boxed",
            Self::Gsm8k => "gsm8k",
            Self::Math => "math",
            Self::Aime => "aime",
            Self::Choice { .. } => "choice",
            Self::YesNo => "yes-no",
        }
    }
}

impl fmt::Display for AnswerKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice { options } => write!(out, "choice:{options}"),
            other => out.write_str(other.name()),
        }
    }
}

impl FromStr for AnswerKind {
    type Err = TaskError;

    /// Reads a name; `choice:4` says how many options there are.
    fn from_str(name: &str) -> Result<Self, TaskError> {
        let unknown = || TaskError::UnknownAnswerKind { name: name.to_string() };
        match name {
            "boxed" => Ok(Self::Boxed),
            "gsm8k" => Ok(Self::Gsm8k),
            "math" => Ok(Self::Math),
            "aime" => Ok(Self::Aime),
            "choice" => Ok(Self::Choice { options: Self::OPTIONS }),
            "yes-no" => Ok(Self::YesNo),
            other => {
                let options = other.strip_prefix("choice:").and_then(|number| number.parse().ok());
                let options = options.filter(|options| (2..=26).contains(options)).ok_or_else(unknown)?;
                Ok(Self::Choice { options })
            }
        }
    }
}

/// A verdict, the answer it rests on, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grade {
    /// The verdict.
    pub verdict: Verdict,
    /// The answer found in the response, as it was written; `None` where none was found.
    pub extracted: Option<String>,
    /// Why the answer is not correct: always there for `Unparseable` and `OverBudget`.
    pub reason: Option<String>,
}

impl Grade {
    fn no_answer(reason: &str) -> Self {
        Self { verdict: Verdict::Unparseable, extracted: None, reason: Some(reason.into()) }
    }
}

/// Finds the final answer of a response and compares it with the gold answer.
pub fn grade(kind: AnswerKind, gold: &str, response: &str) -> Grade {
    match find::answer(kind, response) {
        Ok(answer) => compare(kind, gold, &answer),
        Err(reason) => Grade::no_answer(reason),
    }
}

/// Returns whether a response is correct by the lenient rule that other programs count by: as [`grade`] says, however the
/// response ended, and where a box was asked for and there is none, by the last number.
pub fn is_correct_leniently(kind: AnswerKind, gold: &str, response: &str) -> bool {
    let found = grade(kind, gold, response);
    let unboxed = kind == AnswerKind::Boxed && found.extracted.is_none();
    let found = if unboxed { grade(AnswerKind::Gsm8k, gold, response) } else { found };
    found.verdict == Verdict::Correct
}

/// Compares an answer, already found, with the gold answer.
pub fn compare(kind: AnswerKind, gold: &str, answer: &str) -> Grade {
    let answer = answer.trim();
    if answer.is_empty() {
        return Grade::no_answer("the answer is empty");
    }
    let judged = match kind {
        AnswerKind::Boxed => Judged::of(numbers::same_or_same_text(gold, answer)),
        AnswerKind::Gsm8k => numbers::compare(gold, answer),
        AnswerKind::Math => math::compare(gold, answer),
        AnswerKind::Aime => numbers::compare_integers(gold, answer),
        AnswerKind::Choice { options } => choice::compare(gold, answer, options),
        AnswerKind::YesNo => yes_no::compare(gold, answer),
    };
    Grade { verdict: judged.verdict, extracted: Some(answer.to_string()), reason: judged.reason }
}

/// The final answer of a response, as it was written.
pub fn extract(kind: AnswerKind, response: &str) -> Option<String> {
    find::answer(kind, response).ok().map(|answer| answer.into_owned())
}

/// The result of a comparison.
#[derive(Debug)]
struct Judged {
    verdict: Verdict,
    reason: Option<String>,
}

impl Judged {
    /// A comparison that needs no reason.
    fn of(same: bool) -> Self {
        Self { verdict: if same { Verdict::Correct } else { Verdict::Wrong }, reason: None }
    }

    fn wrong(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, reason: Some(reason.into()) }
    }

    fn unparseable(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unparseable, reason: Some(reason.into()) }
    }
}
