//! The outcome: 1 for a response that ended properly with a correct final answer, else 0.

use thinktune_policy::Finish;
use thinktune_tasks::grading::grade;
use thinktune_tasks::{AnswerKind, Grade, Verdict, WhyWrong};

/// Name of a response that ended otherwise than by the end of the turn.
const OTHER_END: &str = "other_end";

/// Outcome of a response.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The grader's word; the grader is the one evaluation uses.
    pub grade: Grade,
    /// True where it ended properly: exactly one stop token, at the end.
    pub ended: bool,
}

impl Outcome {
    /// Grades a text as answers of a kind are.
    pub fn of(kind: AnswerKind, text: &str, ended: bool, gold: &str) -> Self {
        Self { grade: grade(kind, gold, text), ended }
    }

    /// Returns true where it ended properly with a correct final answer: what `accuracy` counts.
    pub fn is_right(&self) -> bool {
        self.ended && self.grade.verdict == Verdict::Correct
    }

    /// Why it is not right, by the rule of evaluation; none where it is. A response that did not end properly and was not
    /// cut off either ended by another token: `other_end`.
    pub fn why_wrong(&self, finish: Finish) -> Option<&'static str> {
        let why = WhyWrong::of(self.ended, &self.grade)?;
        Some(if why == WhyWrong::NotEnded && finish == Finish::Stop { OTHER_END } else { why.name() })
    }

    /// r, without bonus.
    pub fn reward(&self) -> f64 {
        if self.is_right() { 1.0 } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_response_says_why() {
        let why = |text, ended, finish| {
            let outcome = Outcome::of(AnswerKind::Boxed, text, ended, "4");
            outcome.why_wrong(finish).unwrap_or_default()
        };
        assert_eq!(why("so \\boxed{4}", true, Finish::Stop), "");
        assert_eq!(why("so \\boxed{4}", false, Finish::Length), "not_ended");
        assert_eq!(why("so \\boxed{4}", false, Finish::Stop), "other_end");
        assert_eq!(why("so \\boxed{5}", true, Finish::Stop), "wrong_answer");
        assert_eq!(why("so 4", true, Finish::Stop), "no_answer");
    }

    #[test]
    fn only_a_right_answer_that_ended_counts() {
        let reward = |text, ended| Outcome::of(AnswerKind::Boxed, text, ended, "4").reward();
        assert_eq!(reward("so \\boxed{4}", true), 1.0);
        assert_eq!(reward("so \\boxed{4}", false), 0.0, "cut off");
        assert_eq!(reward("so \\boxed{5}", true), 0.0);
        assert_eq!(reward("so 4", true), 0.0, "no final answer");
        assert_eq!(reward("", true), 0.0);
        assert_eq!(reward("\\boxed{4}, no: \\boxed{5}", true), 0.0, "the last answer counts");
        assert_eq!(
            Outcome::of(AnswerKind::Boxed, "so \\boxed{5}", true, "4").grade.extracted.as_deref(),
            Some("5")
        );
    }
}
