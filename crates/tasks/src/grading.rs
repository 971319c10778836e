//! How a benchmark's answer is found in a response and compared with the gold one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Verdict;
use crate::extract::final_answer;
use crate::number::bare;

/// How an answer is found and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerKind {
    /// Content of the last box: a number as written, else text.
    #[default]
    Boxed,
    /// GSM8K: one written number.
    Gsm8k,
    /// MATH: LaTeX.
    Math,
    /// AIME: an integer from 0 to 999; a gold `080 or 081` accepts either.
    Aime,
    /// A letter among the first `options` of the alphabet.
    Choice {
        /// How many options there are.
        options: u8,
    },
    /// Yes or no.
    YesNo,
}

/// What the grader says of a response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grading {
    /// The verdict.
    pub verdict: Verdict,
    /// The answer found in the response.
    pub extracted: Option<String>,
    /// Why, where it is not correct.
    pub reason: Option<String>,
}

/// Finds the answer in a response and compares it with the gold one.
pub fn grade(kind: AnswerKind, gold: &str, response: &str) -> Grading {
    match extract(kind, response) {
        Some(answer) => compare(kind, gold, &answer),
        None => {
            Grading { verdict: Verdict::Unparseable, extracted: None, reason: Some("no final answer".into()) }
        }
    }
}

/// The comparison alone.
pub fn compare(kind: AnswerKind, gold: &str, answer: &str) -> Grading {
    let equal = match kind {
        AnswerKind::Aime => integers(gold).iter().any(|gold| integers(answer) == [*gold]),
        _ => crate::grade(&format!("\\boxed{{{answer}}}"), gold).verdict == Verdict::Correct,
    };
    let verdict = if equal { Verdict::Correct } else { Verdict::Wrong };
    Grading { verdict, extracted: Some(answer.into()), reason: None }
}

/// The extraction alone.
pub fn extract(kind: AnswerKind, response: &str) -> Option<String> {
    let boxed = final_answer(response).map(|answer| bare(answer).to_string());
    match kind {
        AnswerKind::Choice { options } => {
            let mut letters = boxed.as_deref()?.chars().filter(char::is_ascii_uppercase);
            let letter = letters.next().filter(|letter| (*letter as u8 - b'A') < options)?;
            letters.next().is_none().then(|| letter.to_string())
        }
        AnswerKind::YesNo => boxed.map(|answer| answer.to_lowercase()).filter(|a| a == "yes" || a == "no"),
        _ => final_answer(response).map(str::to_owned),
    }
}

fn integers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

impl fmt::Display for AnswerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boxed => "boxed",
            Self::Gsm8k => "gsm8k",
            Self::Math => "math",
            Self::Aime => "aime",
            Self::Choice { .. } => "choice",
            Self::YesNo => "yes-no",
        })
    }
}
