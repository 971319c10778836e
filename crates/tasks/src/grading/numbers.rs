//! Answers that are one written number.

use super::Judged;
use super::find::first_number;
use crate::number::{Rational, bare};

/// Whether two answers say the same: as numbers where both are, else as text without case, spaces and
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
        None => Judged::unparseable("expected one written number"),
    }
}

/// Compares integers; a gold answer may offer several: "080 or 081 (both were accepted)".
pub(super) fn compare_integers(gold: &str, answer: &str) -> Judged {
    match number(answer) {
        None => Judged::unparseable("expected an integer"),
        Some(number) if !number.is_integer() => Judged::wrong("not an integer"),
        Some(number) => {
            let accepted = |gold: &str| first_number(gold).and_then(Rational::parse) == Some(number);
            Judged::of(gold.split(" or ").any(accepted))
        }
    }
}

/// The number an answer is, or the one it begins with ("42 apples, since 6*7=42").
fn number(answer: &str) -> Option<Rational> {
    let opens = |text: &str| text.trim_start_matches(['$', '\\', '(', ' ', '*']).find(first_number(text)?);
    Rational::parse(answer).or_else(|| match opens(answer) {
        Some(0) => first_number(answer).and_then(Rational::parse),
        _ => None,
    })
}

/// An answer as text: bare, without spaces and thousands separators, in lower case.
fn text(answer: &str) -> String {
    bare(answer).replace([' ', ','], "").to_lowercase()
}
