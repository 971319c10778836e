//! Multiple choice: the letter of an option.

use super::Judged;

/// Words that may follow a letter without being taken for the option that an article introduces.
const AFTER_LETTER: [&str; 6] = ["because", "since", "as", "is", "which", "for"];

/// Compares an answer's letter with the gold letter.
pub(super) fn compare(gold: &str, answer: &str, options: u8) -> Judged {
    match letter(answer, options) {
        Named::One(letter) => Judged::of(letter_alone(gold, options) == Some(letter)),
        Named::Several => Judged::wrong("names several options"),
        Named::None => Judged::unparseable("expected the letter of an option"),
    }
}

/// The last line of a response, where it is nothing but a letter.
pub(super) fn last_line(response: &str, options: u8) -> Option<&str> {
    let line = response.trim_end().lines().next_back()?.trim();
    letter_alone(line, options).map(|_| line)
}

/// The options that an answer names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    None,
    One(u8),
    Several,
}

/// Reads `C`, `(C)`, `C.`, `\text{(C) warm}`, `C because ...`.
pub(super) fn letter(answer: &str, options: u8) -> Named {
    if let Some(letter) = letter_alone(answer, options) {
        return Named::One(letter);
    }
    let plain = plain(answer);
    let (bracketed, text) = match plain.strip_prefix('(') {
        Some(rest) => (true, rest),
        None => (false, plain.as_str()),
    };
    let Some(first) = text.bytes().next().and_then(|byte| index(byte, options)) else { return Named::None };
    let rest = &text[1..];
    let labelled =
        rest.starts_with([')', '.', ':']) || (rest.starts_with([',', ' ']) && is_label(text, options));
    if bracketed && !rest.starts_with(')') && !rest.starts_with([',', ' ']) || !labelled {
        return Named::None;
    }
    if names_another(rest, first, options) { Named::Several } else { Named::One(first) }
}

/// Returns whether a capital letter followed by a comma or space is a label and no article or pronoun.
fn is_label(text: &str, options: u8) -> bool {
    let next = text[1..].trim_start_matches([',', ' ']);
    let word = next.split(|next: char| !next.is_alphanumeric()).next().unwrap_or_default();
    let list =
        matches!(word, "and" | "or") || matches!(word.as_bytes(), [byte] if index(*byte, options).is_some());
    let article = matches!(text.as_bytes()[0], b'A' | b'I');
    text.as_bytes()[0].is_ascii_uppercase()
        && (!article
            || text[1..].starts_with(',')
            || list
            || AFTER_LETTER.contains(&word)
            || next.starts_with(['(', '-', '&']))
}

/// Returns whether another option's letter stands alone in the text. `A` and `I` are words there, unless in
/// brackets or joined to the first by a word or sign.
fn names_another(text: &str, first: u8, options: u8) -> bool {
    let bytes = text.as_bytes();
    let word = |at: usize| bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'\'');
    let before = |at: usize| text.get(..at).map_or("", |before| before.trim_end_matches([' ', '(']));
    (0..bytes.len()).any(|at| {
        let alone = bytes[at].is_ascii_uppercase() && (at == 0 || !word(at - 1)) && !word(at + 1);
        let another = alone && index(bytes[at], options).is_some_and(|found| found != first);
        let listed = || {
            let before = before(at);
            let joined = before.is_empty() || before.ends_with([',', '/', '&', ')', ';', '|']);
            joined
                || ["and", "or"].iter().any(|link| before.ends_with(link))
                || bytes.get(at + 1) == Some(&b')')
        };
        another && (!matches!(bytes[at], b'A' | b'I') || listed())
    })
}

/// The one letter that a text consists of, brackets, markup and a full stop aside.
pub(super) fn letter_alone(text: &str, options: u8) -> Option<u8> {
    if text.len() > 64 {
        return None;
    }
    let plain = plain(text);
    let text = plain.trim_matches(['(', ')', '.', ':', '[', ']', ' ']);
    match text.as_bytes() {
        [byte] => index(byte.to_ascii_uppercase(), options),
        _ => None,
    }
}

/// The text without LaTeX and Markdown around it, and without a leading "option".
fn plain(text: &str) -> String {
    let mut text = text.trim().to_string();
    for command in
        ["\\textbf", "\\textit", "\\textrm", "\\text", "\\mathbf", "\\mathrm", "\\mbox", "\\left", "\\right"]
    {
        text = text.replace(command, "");
    }
    let text = text.replace(['$', '{', '}', '*', '`', '"', '\\'], "");
    let text = text.trim();
    let named =
        ["option ", "Option ", "choice ", "Choice "].into_iter().find_map(|word| text.strip_prefix(word));
    named.unwrap_or(text).trim().to_string()
}

/// Returns the option that a capital letter stands for.
fn index(letter: u8, options: u8) -> Option<u8> {
    letter.checked_sub(b'A').filter(|index| *index < options)
}

#[cfg(test)]
mod tests {
    use super::super::{AnswerKind, grade};
    use crate::Verdict::{self, Correct, Unparseable, Wrong};

    fn verdict(response: &str, gold: &str) -> Verdict {
        grade(AnswerKind::Choice { options: 5 }, gold, response).verdict
    }

    #[test]
    fn a_letter_in_many_dresses() {
        for response in [
            "\\boxed{C}",
            "\\boxed{(C)}",
            "\\boxed{\\text{C}}",
            "\\boxed{\\textbf{(C)}}",
            "\\boxed{c}",
            "The answer is C.",
            "The answer is (C).",
            "The answer is: **C**",
            "So the answer is (C) warm water.",
            "The answer is C because I tested it.",
            "Answer: C",
            "Answer: C) warm",
            "#### C",
            "It follows:\n(C)",
            "C",
            "The correct answer is option C.",
            "The answer is $\\boxed{\\text{(C) a dog}}$",
            "C.",
            "The answer is C, as a dog would.",
        ] {
            assert_eq!(verdict(response, "C"), Correct, "{response}");
            assert_eq!(verdict(response, "D"), Wrong, "{response}");
        }
        assert_eq!(verdict("The answer is A because it is.", "A"), Correct);
        assert_eq!(verdict("The answer is (A).", "A"), Correct);
    }

    #[test]
    fn a_listing_earns_nothing() {
        for response in [
            "\\boxed{A, B, C, D, E}",
            "\\boxed{A or C}",
            "\\boxed{(A)(B)(C)}",
            "The answer is A and C.",
            "The answer is C or D.",
            "The answer is (C), (D).",
            "\\boxed{C/D}",
            "The answer is C, or rather B.",
            "The answer is (C) or (A).",
            "\\boxed{ABCDE}",
            "The answer is A, B, C, D or E",
            "\\boxed{C D}",
            "\\boxed{C A}",
        ] {
            for gold in ["A", "B", "C", "D", "E"] {
                assert_ne!(verdict(response, gold), Correct, "{response}");
            }
        }
    }

    #[test]
    fn what_names_no_option_is_unparseable() {
        for response in [
            "",
            "I do not know.",
            "The answer is a dog.",
            "The answer is A dog.",
            "\\boxed{Z}",
            "\\boxed{F}",
            "\\boxed{3}",
            "The answer is Dogs.",
            "\\boxed{Ｃ}",
            "(A) is hot and (B) is cold",
        ] {
            assert_eq!(verdict(response, "C"), Unparseable, "{response}");
        }
    }
}
