//! Finding the final answer in a response. Every search is one pass over the text.

use std::borrow::Cow;

use super::{AnswerKind, choice, chosen, math, yes_no};
use crate::extract::{Found, boxed_answers};

/// The longest response that is looked at as an answer in itself.
const WHOLE: usize = 256;

/// The final answer of a response, or why there is none.
pub(super) fn answer(kind: AnswerKind, response: &str) -> Result<Cow<'_, str>, &'static str> {
    match boxed_answers(response) {
        Found::Unclosed => return Err("the last box is never closed"),
        Found::Empty => return Err("the last box is empty"),
        Found::Answers(boxes) if kind == AnswerKind::Math => return Ok(joined(response, &boxes)),
        Found::Answers(boxes) => {
            return Ok(boxes.last().map_or("", |&(start, end)| &response[start..end]).trim().into());
        }
        Found::Nothing if kind == AnswerKind::Boxed => return Err("no box"),
        Found::Nothing => {}
    }
    let marked = after_hashes(response).or_else(|| match kind {
        AnswerKind::Choice { options } => {
            later(response, after_phrase(response), chosen::option(response, options))
        }
        _ => after_phrase(response),
    });
    let found = match kind {
        AnswerKind::Boxed => None,
        AnswerKind::Gsm8k | AnswerKind::Aime => marked.or_else(|| last_number(response)),
        AnswerKind::Math => marked
            .or_else(|| bare_answer(response))
            .or_else(|| last_formula(response))
            .or_else(|| last_number(response)),
        AnswerKind::Choice { options } => marked.or_else(|| choice::last_line(response, options)),
        AnswerKind::YesNo => marked.or_else(|| yes_no::last_line(response)),
    };
    found.map(Cow::Borrowed).ok_or("no answer found")
}

/// The last box, and before it those that only a comma or a word for "and" separates from it: together
/// they are one list.
fn joined<'a>(response: &'a str, boxes: &[(usize, usize)]) -> Cow<'a, str> {
    let linked = |pair: &[(usize, usize)]| response.get(pair[0].1 + 1..pair[1].0).is_some_and(is_link);
    let first = boxes.windows(2).rposition(|pair| !linked(pair)).map_or(0, |at| at + 1);
    let texts: Vec<&str> = boxes[first..].iter().map(|&(start, end)| response[start..end].trim()).collect();
    match texts[..] {
        [text] => text.into(),
        _ => texts.join(", ").into(),
    }
}

/// Returns whether a text between two boxes makes a list of them. It ends in the next box's command.
fn is_link(between: &str) -> bool {
    let between = between.trim_end_matches('{').trim_end();
    let Some(words) = between.strip_suffix("\\boxed").or_else(|| between.strip_suffix("\\fbox")) else {
        return false;
    };
    let words = words.replace("\\text", "").replace("\\quad", "").replace(['$', '{', '}', '\\', ' '], "");
    matches!(words.trim().to_ascii_lowercase().as_str(), "," | ";" | "and" | "or" | ",and" | ",or")
}

/// The rest of the line after the last `####`.
fn after_hashes(response: &str) -> Option<&str> {
    let (_, rest) = response.rsplit_once("####")?;
    filled(rest.lines().next()?)
}

/// Of two parts of a text the one that begins later.
fn later<'a>(text: &str, a: Option<&'a str>, b: Option<&'a str>) -> Option<&'a str> {
    let start = |part: &&str| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    [a, b].into_iter().flatten().max_by_key(start)
}

/// Returns the text after the last "answer is" or "answer:", up to the end of the sentence.
fn after_phrase(response: &str) -> Option<&str> {
    let mut end = response.len();
    while let Some(at) = rfind_ignoring_case(&response.as_bytes()[..end], b"answer") {
        if let Some(span) = phrase(&response[at + "answer".len()..]) {
            return Some(span);
        }
        end = at;
    }
    None
}

/// The answer that follows the word "answer", if this is how one is announced.
fn phrase(rest: &str) -> Option<&str> {
    let rest = rest.trim_start_matches(['s', '*', ' ']);
    let rest = [":", "is", "are", "=", "to the question is"]
        .into_iter()
        .find_map(|link| rest.strip_prefix(link))
        .filter(|rest| !rest.starts_with(|next: char| next.is_alphabetic()))?;
    let rest = rest.trim_start_matches([':', '*', ' ', '\n', '\r', '\t']);
    filled(sentence(rest).trim_end_matches('*'))
}

/// A text up to the end of its first sentence; a formula at its start is taken whole.
fn sentence(text: &str) -> &str {
    for (open, close) in [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")] {
        let Some(inside) = text.strip_prefix(open) else { continue };
        if let Some(length) = inside.find(close).filter(|length| *length > 0) {
            return &inside[..length];
        }
    }
    let bytes = text.as_bytes();
    let ends = |at: usize| match bytes[at] {
        b'\n' => true,
        b'.' | b'!' | b'?' => bytes.get(at + 1).is_none_or(|next| b" \n\r\t*".contains(next)),
        _ => false,
    };
    &text[..(0..bytes.len()).find(|&at| ends(at)).unwrap_or(bytes.len())]
}

/// The whole response where it is one short line and nothing but an answer.
fn bare_answer(response: &str) -> Option<&str> {
    let line = response.trim();
    let words = || !line.contains(|next: char| next.is_ascii_digit()) && line.split(' ').count() <= 3;
    let short = line.len() <= WHOLE && !line.contains('\n');
    (short && (!line.contains(' ') || words() || math::is_answer(line))).then_some(line).and_then(filled)
}

/// The content of the last complete formula: `$..$`, `$$..$$`, `\(..\)`, `\[..\]`.
fn last_formula(response: &str) -> Option<&str> {
    let dollars = || {
        let end = rfind_unescaped_dollar(response)?;
        let start = rfind_unescaped_dollar(response[..end].trim_end_matches('$'))?;
        Some((start, &response[start + 1..end]))
    };
    let bracketed = |open: &str, close: &str| {
        let end = response.rfind(close)?;
        let start = response[..end].rfind(open)?;
        Some((start, &response[start + open.len()..end]))
    };
    let found = [dollars(), bracketed("\\(", "\\)"), bracketed("\\[", "\\]")];
    let (_, content) = found.into_iter().flatten().max_by_key(|(start, _)| *start)?;
    filled(content.trim_matches('$'))
}

/// Returns the position of the last dollar sign that no backslash precedes.
fn rfind_unescaped_dollar(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).rev().find(|&at| bytes[at] == b'$' && (at == 0 || bytes[at - 1] != b'\\'))
}

/// The last number written in ASCII digits, its sign included.
fn last_number(response: &str) -> Option<&str> {
    let bytes = response.as_bytes();
    let end = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    let mut start = end - 1;
    while start > 0 && joins(bytes, start - 1) {
        start -= 1;
    }
    Some(&response[signed_start(bytes, start)..end])
}

/// The first number written in ASCII digits, its sign included.
pub(super) fn first_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut start = bytes.iter().position(u8::is_ascii_digit)?;
    if start > 0 && bytes[start - 1] == b'.' {
        start -= 1;
    }
    let mut end = start + 1;
    while end < bytes.len() && (bytes[end].is_ascii_digit() || joins(bytes, end)) {
        end += 1;
    }
    Some(&text[signed_start(bytes, start)..end])
}

/// Returns whether the byte is a digit or joins two digits to one number. A point may also open a number.
fn joins(bytes: &[u8], at: usize) -> bool {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let after_digit = at > 0 && digit(at - 1);
    match bytes[at] {
        byte if byte.is_ascii_digit() => true,
        b',' | b'/' => after_digit && digit(at + 1),
        b'.' => digit(at + 1) && (after_digit || at == 0 || bytes[at - 1] != b'.'),
        _ => false,
    }
}

/// `start`, or where its minus sign stands; a minus after a letter, digit or bracket is a subtraction.
fn signed_start(bytes: &[u8], start: usize) -> usize {
    let before = |at: usize| at.checked_sub(1).map(|at| bytes[at]);
    let sign = if before(start) == Some(b'$') { start - 1 } else { start };
    match (before(sign), sign.checked_sub(1).and_then(before)) {
        (Some(b'-'), Some(before)) if before.is_ascii_alphanumeric() || before == b')' => start,
        (Some(b'-'), _) => sign - 1,
        _ => start,
    }
}

/// The text trimmed, if anything remains.
fn filled(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// Returns the last position of `word` (in lower case) in `text`, in capitals or not.
fn rfind_ignoring_case(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).rposition(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: AnswerKind, response: &str) -> Option<String> {
        answer(kind, response).ok().map(Cow::into_owned)
    }

    #[test]
    fn the_last_box_goes_before_anything_else() {
        let response = "The answer is 3.\n#### 4\n\\boxed{5} so 6";
        assert_eq!(found(AnswerKind::Gsm8k, response).as_deref(), Some("5"));
        assert_eq!(found(AnswerKind::Gsm8k, "\\boxed{5} or \\boxed{6"), None);
        assert_eq!(found(AnswerKind::Gsm8k, "\\boxed{}, the answer is 6"), None);
        assert_eq!(found(AnswerKind::Boxed, "The answer is 3."), None);
    }

    #[test]
    fn linked_boxes_are_one_list() {
        for (response, expected) in [
            (r"$\boxed{1}$ and $\boxed{2}$", "1, 2"),
            (r"\boxed{1}, \boxed{2}, and \boxed{3}.", "1, 2, 3"),
            (r"\boxed{1} \text{ or } \boxed{2}", "1, 2"),
            (r"\boxed{1}, so \boxed{2}", "2"),
            (r"\boxed{7} wait. \boxed{1}; \boxed{2}", "1, 2"),
            (r"\boxed{1} \boxed{2}", "2"),
            (r"\boxed{\boxed{5}}", "5"),
        ] {
            assert_eq!(found(AnswerKind::Math, response).as_deref(), Some(expected), "{response}");
        }
        assert_eq!(found(AnswerKind::Gsm8k, r"\boxed{1} and \boxed{2}").as_deref(), Some("2"));
    }

    #[test]
    fn hashes_phrases_and_last_numbers() {
        for (response, expected) in [
            ("3+4=7\n#### 7\n", "7"),
            ("#### 6\n#### 1,007 eggs", "1,007 eggs"),
            ("The answer is 12. I like 13.", "12"),
            ("**Answer:** 12", "12"),
            ("The final answer is: $\\frac{1}{2}$ as 3 shows", "\\frac{1}{2}"),
            ("The ANSWER IS 0.5.", "0.5"),
            ("My answers are as good as 5", "as good as 5"),
            ("the answer isn't clear, 17", "17"),
            ("so she has 5 - 3 = 2 eggs", "2"),
            ("it drops to -7 degrees", "-7"),
            ("that is 1,234.50 dollars", "1,234.50"),
            ("from 10-3", "3"),
            ("it costs -$3", "-$3"),
            ("a third is 1/3.", "1/3"),
        ] {
            assert_eq!(found(AnswerKind::Gsm8k, response).as_deref(), Some(expected), "{response}");
        }
        for response in ["", "none", "####", "the answer is", "९ ９ ٣"] {
            assert_eq!(found(AnswerKind::Gsm8k, response), None, "{response}");
        }
    }

    #[test]
    fn formulas_where_nothing_is_marked() {
        for (response, expected) in [
            ("First $x=1$.\nThen $y = (1,2]$.\nDone in 3 steps.", "y = (1,2]"),
            ("a\n\\[ \\sqrt{2} \\] b", "\\sqrt{2}"),
            ("a\n\\( 5 \\) and $$6$$ b", "6"),
            ("(3,4]", "(3,4]"),
            ("it costs \\$5\nin all", "5"),
        ] {
            assert_eq!(found(AnswerKind::Math, response).as_deref(), Some(expected), "{response}");
        }
    }

    #[test]
    fn megabytes_are_searched_in_one_pass() {
        for text in ["$", "#### ", "answer ", "answer is\n", "1,", ".", "-", "\\(", "\\boxed{1},", "é"] {
            let text = text.repeat((4 << 20) / text.len());
            for kind in
                [AnswerKind::Gsm8k, AnswerKind::Math, AnswerKind::Choice { options: 4 }, AnswerKind::YesNo]
            {
                let _ = answer(kind, &text);
            }
        }
    }
}
