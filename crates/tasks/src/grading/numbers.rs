//! Answers that are one written number.

use super::Judged;
use super::find::first_number;
use crate::number::{Rational, bare};

/// Returns whether two answers say the same: as numbers where both are, else as text without case, spaces and
/// thousands separators.
pub(crate) fn same_or_same_text(gold: &str, answer: &str) -> bool {
    match (Rational::parse(answer), Rational::parse(gold)) {
        (Some(answer), Some(gold)) => answer == gold,
        (None, None) => text(answer) == text(gold),
        _ => false,
    }
}

/// Compares written numbers.
pub(super) fn compare(gold: &str, answer: &str) -> Judged {
    match number(answer) {
        Some(number) => Judged::of(Rational::parse(gold) == Some(number)),
        None if text(answer) == text(gold) => Judged::of(true),
        None => no_number(answer),
    }
}

/// Compares integers; a gold answer may offer several: "080 or 081 (both were accepted)".
pub(super) fn compare_integers(gold: &str, answer: &str) -> Judged {
    match number(answer) {
        None => no_number(answer),
        Some(number) if !number.is_integer() => Judged::wrong("not an integer"),
        Some(number) => {
            let accepted = |gold: &str| first_number(gold).and_then(Rational::parse) == Some(number);
            Judged::of(gold.split(" or ").any(accepted))
        }
    }
}

/// Why an answer is not one number.
fn no_number(answer: &str) -> Judged {
    let rest = first_number(answer).and_then(|first| Some(answer.split_once(first)?.1));
    match rest.and_then(first_number) {
        Some(_) => Judged::wrong("several numbers, expected one"),
        None => Judged::unparseable("expected one written number"),
    }
}

/// The number an answer is, or the one it begins with ("42 apples, since 6*7=42"): nothing where more numbers
/// follow, for a list of guesses is no answer.
fn number(answer: &str) -> Option<Rational> {
    Rational::parse(answer).or_else(|| {
        let reasons = [" because", " since", ", since", ", because", " as "];
        let end = reasons.iter().filter_map(|reason| answer.find(reason)).min().unwrap_or(answer.len());
        let answer = answer[..end].trim_start_matches(['$', '\\', '(', ' ', '*']);
        let number = first_number(answer)?;
        let rest = answer.strip_prefix(number)?;
        first_number(rest).is_none().then(|| Rational::parse(number))?
    })
}

/// An answer as text: bare, without spaces and thousands separators, in lower case.
fn text(answer: &str) -> String {
    bare(answer).replace([' ', ','], "").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::{AnswerKind, grade};
    use crate::Verdict::{Correct, Unparseable, Wrong};

    #[test]
    fn one_number_and_no_list_of_them() {
        let verdict = |gold: &str, response: &str| grade(AnswerKind::Gsm8k, gold, response).verdict;
        for response in [
            "#### 42",
            "#### $42.00",
            "The answer is 42 apples.",
            "The answer is 42 because 6*7=42.",
            "\\boxed{42\\text{ apples}}",
            "6*7 = 42",
            "so she has $42",
            "The answer is $6 \\cdot 7 = 42$.",
        ] {
            assert_eq!(verdict("42", response), Correct, "{response}");
            assert_eq!(verdict("43", response), Wrong, "{response}");
        }
        for response in
            ["\\boxed{41, 42}", "\\boxed{42 or 43}", "The answer is 41, 42 or 43.", "\\boxed{6*7}"]
        {
            assert_eq!(verdict("42", response), Wrong, "{response}");
        }
        assert_eq!(verdict("42", "\\boxed{forty-two}"), Unparseable);
        assert_eq!(verdict("2,500", "\\boxed{2500}"), Correct);
    }

    #[test]
    fn integers_with_leading_zeros_and_two_accepted_answers() {
        let verdict = |gold: &str, response: &str| grade(AnswerKind::Aime, gold, response).verdict;
        assert_eq!(verdict("025", "\\boxed{25}"), Correct);
        assert_eq!(verdict("25", "\\boxed{025}"), Correct);
        for (response, expected) in [("80", Correct), ("081", Correct), ("82", Wrong), ("80 or 81", Wrong)] {
            assert_eq!(
                verdict("080 or 081 (both were accepted)", &format!("\\boxed{{{response}}}")),
                expected
            );
        }
        assert_eq!(verdict("25", "\\boxed{25.5}"), Wrong);
        assert_eq!(verdict("25", "\\boxed{n}"), Unparseable);
    }
}
