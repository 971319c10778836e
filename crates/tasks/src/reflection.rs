//! Does a response go on reflecting after it has answered?

use serde::{Deserialize, Serialize};

use crate::extract::end_of_first_box;
use crate::grading::{compare, grade};
use crate::{Question, Verdict};

/// Returns whether a response goes on after its first final answer: a first completed box, later a blank
/// line, and after that anything that is not white space. This is the form in which guidance is
/// spliced into an attempt, and it does not depend on the words used; it says nothing of their worth.
///
/// ```
/// use thinktune_tasks::reflects;
/// assert!(!reflects("First 3+4=7.\n\nSo \\boxed{7}."));
/// assert!(reflects("So \\boxed{8}.\n\nBut 3+4 is not 8. \\boxed{7}"));
/// ```
pub fn reflects(response: &str) -> bool {
    end_of_first_attempt(response).is_some()
}

/// The response up to the blank line after its first final answer, white space at its end removed;
/// the whole response where it does not reflect.
pub fn first_attempt(response: &str) -> &str {
    end_of_first_attempt(response).map_or(response, |end| response[..end].trim_end())
}

/// Returns the end of the first attempt, if anything follows it.
fn end_of_first_attempt(response: &str) -> Option<usize> {
    let answered = end_of_first_box(response)?;
    let mut line_start = None;
    for (at, byte) in response.bytes().enumerate().skip(answered) {
        match (byte, line_start) {
            (b'\n', Some(start)) => {
                return (!response[at..].trim().is_empty()).then_some(start);
            }
            (b'\n', None) => line_start = Some(at),
            (b' ' | b'\t' | b'\r', _) => {}
            _ => line_start = None,
        }
    }
    None
}

/// The first final answer of a response that goes on after it, against its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reflection {
    /// True where the text up to the reflection has a correct final answer.
    pub first_right: bool,
    /// True where the final answer is another one.
    pub changed: bool,
}

impl Reflection {
    /// Compares the first final answer of a response with the last one, `last`; `None` where it does not reflect.
    pub fn of(question: &Question, response: &str, last: Option<&str>) -> Option<Self> {
        if !reflects(response) {
            return None;
        }
        let first = grade(question.kind, &question.gold, first_attempt(response));
        let same = match (first.extracted.as_deref(), last) {
            (Some(first), Some(last)) => {
                first == last || compare(question.kind, first, last).verdict == Verdict::Correct
            }
            (first, last) => first == last,
        };
        Some(Self { first_right: first.verdict == Verdict::Correct, changed: !same })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_answers_do_not_reflect() {
        for response in [
            "",
            "no box\n\nat all",
            "One.\n\nTwo. \\boxed{3}",
            "\\boxed{3}.\n\n",
            "\\boxed{3}.\n \n \n",
            "\\boxed{3}\nis my answer",
            "\\boxed{3",
        ] {
            assert!(!reflects(response), "{response:?}");
            assert_eq!(first_attempt(response), response);
        }
    }

    #[test]
    fn what_follows_a_blank_line_after_the_answer_is_reflection() {
        for (response, attempt) in [
            ("It is \\boxed{3}.\n\nWait.\n\n\\boxed{4}", "It is \\boxed{3}."),
            ("\\boxed{3}\r\n \r\nWait", "\\boxed{3}"),
            ("\\boxed{3} apples\nin all\n\n\nWait", "\\boxed{3} apples\nin all"),
            ("A.\n\nB \\boxed{3}\n\nC", "A.\n\nB \\boxed{3}"),
        ] {
            assert!(reflects(response), "{response:?}");
            assert_eq!(first_attempt(response), attempt);
        }
    }
}
