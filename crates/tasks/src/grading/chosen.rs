//! Sentences by which a response chooses an option: "I choose C", "the right option is C", "C is correct".

use super::choice::{Named, letter, letter_alone};

/// The longest sentence that is looked at, in bytes.
const LONGEST: usize = 400;

/// Verbs by which a writer chooses.
const VERBS: [&str; 6] = ["choose", "pick", "select", "go with", "going with", "opt for"];

/// Words that may stand between the writer and the verb.
const BETWEEN: [&str; 18] = [
    "would",
    "will",
    "shall",
    "should",
    "must",
    "can",
    "have",
    "to",
    "therefore",
    "thus",
    "so",
    "then",
    "hence",
    "am",
    "are",
    "now",
    "finally",
    "us",
];

/// Words behind an option that call it right.
const RIGHT: [&str; 6] =
    ["is correct", "is right", "is the correct", "is the right", "is the best", "must be correct"];

/// Words before an option that may stand there without changing what is said of it.
const BEFORE: [&str; 18] = [
    "so",
    "thus",
    "therefore",
    "hence",
    "it",
    "it's",
    "is",
    "that's",
    "the",
    "correct",
    "right",
    "best",
    "final",
    "and",
    "my",
    "i",
    "say",
    "then",
];

/// Words before an option that take back what is said of it, or make it depend on something.
const DOUBT: [&str; 23] = [
    "if",
    "whether",
    "suppose",
    "supposing",
    "assume",
    "assuming",
    "unless",
    "not",
    "never",
    "neither",
    "nor",
    "or",
    "why",
    "when",
    "where",
    "might",
    "could",
    "may",
    "perhaps",
    "maybe",
    "cannot",
    "thought",
    "only",
];

/// The option that a response chooses, in the last sentence that chooses one.
pub(super) fn option(response: &str, options: u8) -> Option<&str> {
    let mut end = response.len();
    while end > 0 {
        let start = sentence_start(response, end);
        let sentence = &response[start..end];
        if sentence.len() <= LONGEST
            && !sentence.trim_end().ends_with('?')
            && let Some(found) = in_sentence(sentence, options)
        {
            return Some(found);
        }
        end = start;
    }
    None
}

/// The start of the sentence that ends at `end`: behind a line's end, or behind a full stop and a space.
fn sentence_start(text: &str, end: usize) -> usize {
    let bytes = text.as_bytes();
    let breaks = |at: usize| match bytes[at] {
        b'\n' => true,
        b' ' | b'*' => at > 0 && matches!(bytes[at - 1], b'.' | b'!' | b'?'),
        _ => false,
    };
    (0..end.saturating_sub(1)).rev().find(|&at| breaks(at)).map_or(0, |at| at + 1)
}

fn in_sentence(sentence: &str, options: u8) -> Option<&str> {
    let lower = sentence.to_ascii_lowercase();
    let found = chosen(sentence, &lower, options).or_else(|| named(sentence, &lower, options));
    found.or_else(|| called_right(sentence, &lower, options))
}

/// "I choose C", "we'd go with option (B)".
fn chosen<'a>(sentence: &'a str, lower: &str, options: u8) -> Option<&'a str> {
    VERBS.into_iter().find_map(|verb| {
        let at = rfind_word(lower, verb)?;
        let writer = words(&lower[..at]).rev().find(|word| !BETWEEN.contains(word))?;
        let writer = writer.split(['\'', '\u{2019}']).next()?;
        let behind = &sentence[at + verb.len()..];
        let chooses = matches!(writer, "i" | "we" | "let") && !doubts(&lower[..at]);
        chooses.then(|| answered(without_noun(behind), options))?
    })
}

/// "The right option is C", "my choice: (B)", and "so, option D" as a whole sentence.
fn named<'a>(sentence: &'a str, lower: &str, options: u8) -> Option<&'a str> {
    ["option", "choice"].into_iter().find_map(|noun| {
        let at = rfind_word(lower, noun)?;
        let (before, behind) = (&lower[..at], &sentence[at + noun.len()..]);
        let link = ["is:", "is", "must be", "would be", "has to be", ":", "="];
        let linked =
            link.into_iter().find_map(|link| behind.trim_start_matches([' ', '*']).strip_prefix(link));
        match linked {
            Some(span) if !doubts(before) => answered(span, options),
            None if words(before).all(|word| BEFORE.contains(&word)) => {
                letter_alone(behind, options).map(|_| behind.trim())
            }
            _ => None,
        }
    })
}

/// "(C) is correct", "so option D is the best answer".
fn called_right<'a>(sentence: &'a str, lower: &str, options: u8) -> Option<&'a str> {
    RIGHT.into_iter().find_map(|right| {
        let before = sentence[..rfind_word(lower, right)?].trim_end();
        let label = before.rsplit(char::is_whitespace).next()?;
        let rest = &lower[..before.len() - label.len()];
        let capital = label.contains(|sign: char| sign.is_ascii_uppercase());
        // "A, C is correct" is a list
        let listed = rest.split_whitespace().next_back().is_some_and(|word| {
            let word = word.trim_end_matches([',', '/', '&']).to_ascii_uppercase();
            letter_alone(&word, options).is_some()
        });
        (capital && !listed && !doubts(rest)).then_some(())?;
        letter_alone(label, options).map(|_| label)
    })
}

/// The text behind a word for choosing, where it names an option, or several.
fn answered(span: &str, options: u8) -> Option<&str> {
    let span = span.trim_matches([' ', ':', '*']).trim_end_matches(['.', '!']);
    (letter(span, options) != Named::None).then_some(span)
}

/// The text without "option", "the answer" and the like before a letter.
fn without_noun(text: &str) -> &str {
    let mut text = text.trim_start_matches([' ', ':', '*']);
    for word in ["the ", "option ", "Option ", "choice ", "Choice ", "answer ", "letter "] {
        text = text.strip_prefix(word).unwrap_or(text).trim_start();
    }
    text
}

fn doubts(before: &str) -> bool {
    words(before).any(|word| DOUBT.contains(&word) || word.ends_with("n't") || word.ends_with("n\u{2019}t"))
}

fn words(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    let joins = |sign: char| sign.is_alphanumeric() || matches!(sign, '\'' | '\u{2019}');
    text.split(move |sign: char| !joins(sign)).filter(|word| !word.is_empty())
}

/// The last position of a word that stands by itself.
fn rfind_word(text: &str, word: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let alone = |at: &usize| (*at == 0 || !letter(at - 1)) && !letter(at + word.len());
    text.rmatch_indices(word).map(|(at, _)| at).find(alone)
}

#[cfg(test)]
mod tests {
    use super::super::{AnswerKind, grade};
    use super::*;
    use crate::Verdict::{Correct, Wrong};

    #[test]
    fn sentences_that_choose_an_option() {
        for response in [
            "Options A, B, C, D are all possible. I choose C.",
            "I'd pick C",
            "So I would therefore select option (C).",
            "We\u{2019}ll go with **C**.",
            "Let's go with C because it is warm.",
            "My answer is (C)",
            "My choice is C.",
            "The correct option is C.",
            "The best choice must be (C), as shown.",
            "Water is warm.\n\nOption C",
            "So, option C.",
            "Option C is correct.",
            "Therefore, (C) is the correct answer.",
            "C is the best answer. It is warm.",
            "The answer is A. No, wait: I choose C.",
        ] {
            let verdict = |gold: &str| grade(AnswerKind::Choice { options: 4 }, gold, response).verdict;
            assert_eq!(verdict("C"), Correct, "{response}");
            assert_eq!(verdict("A"), Wrong, "{response}");
        }
        let several = grade(AnswerKind::Choice { options: 4 }, "C", "I choose C or D.");
        assert_eq!(several.verdict, Wrong);
    }

    #[test]
    fn sentences_that_choose_nothing() {
        for response in [
            "I would not choose C.",
            "I choose a dog.",
            "I choose A dog.",
            "Most people pick C.",
            "Why do we choose C?",
            "If C is correct, then it floats.",
            "It is not true that C is correct.",
            "C is not correct.",
            "A or C is correct.",
            "A, C is correct.",
            "Perhaps C is right.",
            "The options are A, B, C and D.",
            "Option C is wrong.",
            "Option C says that water is warm.",
            "The best option is to wait.",
            "I can select Z.",
            "Don't pick C.",
            "If I choose C, I lose.",
        ] {
            assert_eq!(option(response, 4), None, "{response}");
        }
    }

    #[test]
    fn an_answer_given_later_counts() {
        let verdict = |response: &str| grade(AnswerKind::Choice { options: 4 }, "C", response).verdict;
        assert_eq!(verdict("I choose A. On reflection, the answer is C."), Correct);
        assert_eq!(verdict("The answer is C. I choose A."), Wrong);
        assert_eq!(verdict("I choose A.\n\\boxed{C}"), Correct);
    }
}
