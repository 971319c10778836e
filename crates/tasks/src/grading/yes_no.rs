//! Yes or no.

use super::Judged;

/// Compares an answer with the gold answer.
pub(super) fn compare(gold: &str, answer: &str) -> Judged {
    match (says(answer, true), says(answer, false)) {
        (true, true) => Judged::wrong("says both yes and no"),
        (false, false) => Judged::unparseable("expected yes or no"),
        (yes, _) => Judged::of(says(gold, true) == yes && says(gold, false) != yes),
    }
}

/// The last line of a response where it begins or ends in yes or no.
pub(super) fn last_line(response: &str) -> Option<&str> {
    let line = response.trim_end().lines().next_back()?.trim();
    let mut words = words(line);
    let first = words.next()?;
    let last = words.next_back().unwrap_or(first);
    [first, last].into_iter().any(|word| meaning(word).is_some()).then_some(line)
}

/// Returns whether a text has a word for yes (or for no) in it.
fn says(text: &str, yes: bool) -> bool {
    words(text).any(|word| meaning(word) == Some(yes))
}

fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.split(|next: char| !next.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn meaning(word: &str) -> Option<bool> {
    let is = |other: &str| word.eq_ignore_ascii_case(other);
    match () {
        () if is("yes") || is("true") => Some(true),
        () if is("no") || is("false") => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AnswerKind, grade};
    use crate::Verdict::{self, Correct, Unparseable, Wrong};

    fn verdict(response: &str, gold: &str) -> Verdict {
        grade(AnswerKind::YesNo, gold, response).verdict
    }

    #[test]
    fn yes_no_both_neither() {
        for response in [
            "\\boxed{Yes}",
            "\\boxed{\\text{yes}}",
            "So the answer is yes.",
            "The answer is **Yes**",
            "Yes",
            "#### yes",
            "It floats.\nYes, it does.",
            "It floats, so yes",
            "Answer: True",
        ] {
            assert_eq!(verdict(response, "yes"), Correct, "{response}");
            assert_eq!(verdict(response, "true"), Correct, "{response}");
            assert_eq!(verdict(response, "no"), Wrong, "{response}");
        }
        for response in ["\\boxed{yes or no}", "The answer is yes and no.", "Yes. No."] {
            assert_eq!((verdict(response, "yes"), verdict(response, "no")), (Wrong, Wrong), "{response}");
        }
        for response in ["", "There is no way to tell apart.", "\\boxed{maybe}", "nobody knows", "\\boxed{}"]
        {
            assert_eq!(verdict(response, "no"), Unparseable, "{response}");
        }
    }
}
