//! The reason for which a response is not right.

use serde::{Deserialize, Serialize};

use crate::{Grade, Verdict};

/// The reason for which a response is not right: one and the same in training and evaluation.
///
/// ```
/// use thinktune_tasks::{WhyWrong, grade_boxed};
/// let found = grade_boxed(r"so \boxed{4}", "4");
/// assert_eq!(WhyWrong::of(true, &found), None);
/// assert_eq!(WhyWrong::of(false, &found), Some(WhyWrong::NotEnded));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyWrong {
    /// The response did not end properly, whatever it says.
    NotEnded,
    /// The response ended, and there is no final answer in it.
    NoAnswer,
    /// The final answer differs from the gold answer.
    WrongAnswer,
    /// A final answer was found that could not be read or compared.
    Unparseable,
}

impl WhyWrong {
    /// Every reason, in the order in which they are looked for.
    pub const ALL: [Self; 4] = [Self::NotEnded, Self::NoAnswer, Self::WrongAnswer, Self::Unparseable];

    /// Returns why a response is not right, given whether it ended properly; `None` where it is right.
    pub fn of(ended: bool, grade: &Grade) -> Option<Self> {
        Self::of_verdict(ended, grade.verdict, grade.extracted.is_some())
    }

    /// Returns why a response is not right, given whether a final answer was found in it.
    pub fn of_verdict(ended: bool, verdict: Verdict, answered: bool) -> Option<Self> {
        match verdict {
            _ if !ended => Some(Self::NotEnded),
            Verdict::Correct => None,
            Verdict::Wrong => Some(Self::WrongAnswer),
            Verdict::Unparseable | Verdict::OverBudget if !answered => Some(Self::NoAnswer),
            Verdict::Unparseable | Verdict::OverBudget => Some(Self::Unparseable),
        }
    }

    /// As it is written in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotEnded => "not_ended",
            Self::NoAnswer => "no_answer",
            Self::WrongAnswer => "wrong_answer",
            Self::Unparseable => "unparseable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grading::{AnswerKind, grade};

    #[test]
    fn every_response_has_one_reason_or_is_right() {
        for (ended, response, expected) in [
            (true, "\\boxed{4}", None),
            (false, "\\boxed{4}", Some(WhyWrong::NotEnded)),
            (false, "", Some(WhyWrong::NotEnded)),
            (true, "Nobody can say what it is.", Some(WhyWrong::NoAnswer)),
            (true, "\\boxed{}", Some(WhyWrong::NoAnswer)),
            (true, "\\boxed{5}", Some(WhyWrong::WrongAnswer)),
            (true, "\\boxed{\\frac{1}{}", Some(WhyWrong::NoAnswer)),
            (true, "\\boxed{9^{9^{9^9}}}", Some(WhyWrong::Unparseable)),
        ] {
            let found = WhyWrong::of(ended, &grade(AnswerKind::Math, "4", response));
            assert_eq!(found, expected, "{response}");
        }
    }

    #[test]
    fn names_are_those_of_the_files() {
        for why in WhyWrong::ALL {
            assert_eq!(serde_json::to_string(&why).unwrap(), format!("{:?}", why.name()));
        }
    }
}
