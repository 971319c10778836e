//! Answers of the MATH kind: reading them and comparing what they say.

use super::{Judged, choice};
use crate::Verdict;
use budget::{Budget, LONGEST, Stop};
use node::Node;
use parse::read;

mod ball;
mod budget;
mod complex;
mod evaluate;
mod exact;
mod expand;
mod node;
mod parse;
mod poly;
mod relation;
mod scalar;
mod shapes;
mod spelling;
mod token;
mod units;

/// Compares an answer with the gold answer.
pub(super) fn compare(gold: &str, answer: &str) -> Judged {
    let (gold, answer) = (spelling::in_ascii(gold), spelling::in_ascii(answer));
    let (gold, answer) = (clean(&gold), clean(&answer));
    if gold == answer {
        return Judged::of(true);
    }
    if is_option(gold) {
        let judged = choice::compare(gold, answer, 26);
        return if judged.verdict == Verdict::Unparseable {
            Judged::wrong("names no option")
        } else {
            judged
        };
    }
    if answer.len() > LONGEST {
        return judged(Err(Stop::OverBudget("the answer is too long")));
    }
    if let Some(words) = as_words(gold) {
        return match words == bare_words(answer) {
            true => Judged::of(true),
            false if is_variables(gold) => judged(same(gold, answer)),
            false => Judged::wrong("other words"),
        };
    }
    judged(same(gold, answer))
}

/// Returns whether a text can be read as an answer, and has more to it than words.
pub(super) fn is_answer(text: &str) -> bool {
    let text = spelling::in_ascii(text);
    let read = read(clean(&text), true, &mut Budget::new());
    read.is_ok_and(|reading| !reading.node.any(&|node| matches!(node, Node::Words(_))))
}

fn judged(same: Result<bool, Stop>) -> Judged {
    match same {
        Ok(same) => Judged::of(same),
        Err(Stop::OverBudget(what)) => Judged { verdict: Verdict::OverBudget, reason: Some(what.into()) },
        Err(Stop::Unreadable(what)) => Judged::unparseable(what),
        Err(Stop::Undefined(what)) => Judged::unparseable(what),
        Err(Stop::Undecided) => Judged::unparseable("no comparison tells whether the values are equal"),
    }
}

/// Returns whether two answers say the same. Where a comma may separate thousands or items, both are tried; as items
/// they must come in the gold answer's order.
fn same(gold: &str, answer: &str) -> Result<bool, Stop> {
    let budget = &mut Budget::new();
    let gold_reading = read(gold, true, budget).map_err(|stop| match stop {
        Stop::Unreadable(what) => Stop::Unreadable(format!("the gold answer cannot be read: {what}")),
        other => other,
    })?;
    let answer_reading = read(answer, true, budget)?;
    if shapes::same(&gold_reading.node, &answer_reading.node, budget)? {
        return Ok(true);
    }
    if !gold_reading.grouped && !answer_reading.grouped {
        return Ok(false);
    }
    let (gold_items, answer_items) = (read(gold, false, budget)?.node, read(answer, false, budget)?.node);
    match (&gold_items, &answer_items) {
        (Node::List(gold), Node::List(answer)) if gold_reading.grouped => {
            shapes::same_in_order(gold, answer, budget)
        }
        (Node::List(_), Node::List(_)) => shapes::same(&gold_items, &answer_items, budget),
        _ => Ok(false),
    }
}

/// An answer without formula signs around it and the full stop behind it.
fn clean(text: &str) -> &str {
    let mut text = text.trim();
    text = text.strip_prefix("\\displaystyle").map_or(text, str::trim_start);
    loop {
        let pairs = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**")];
        let inside = pairs.into_iter().find_map(|(open, close)| {
            let inside = text.strip_prefix(open)?.strip_suffix(close)?;
            (!inside.contains(close)).then_some(inside)
        });
        match inside {
            Some(inside) => text = inside.trim(),
            // the dots behind a repeating decimal belong to it
            None if text.ends_with("...") && !text.ends_with("....") => return text,
            None => return text.strip_suffix('.').unwrap_or(text).trim(),
        }
    }
}

/// Returns whether the gold answer names an option: `\text{(C)}`, `(C)`.
fn is_option(gold: &str) -> bool {
    let wrapped = ["\\text{", "\\textbf{", "\\mathrm{"].into_iter().find_map(|open| gold.strip_prefix(open));
    let inside = wrapped.and_then(|rest| rest.strip_suffix('}')).unwrap_or(gold).trim();
    let letter = inside.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    matches!(letter.map(str::as_bytes), Some([b'A'..=b'Z']))
}

/// The words that a gold answer consists of, if it does.
fn as_words(gold: &str) -> Option<String> {
    let wrapped = ["\\text", "\\mbox", "\\mathrm"].into_iter().find_map(|open| gold.strip_prefix(open));
    let inside = match wrapped.and_then(|rest| rest.trim_start().strip_prefix('{')?.strip_suffix('}')) {
        Some(inside) if !inside.contains(['{', '}', '\\', '$']) && inside.contains(char::is_alphabetic) => {
            inside
        }
        Some(_) => return None,
        None => gold,
    };
    let letters = |word: &str| word.len() > 1 && word.chars().all(|next| next.is_alphabetic() || next == '-');
    let words = inside.split_whitespace().all(letters) && !parse::is_name(inside) && !inside.starts_with('-');
    let word = wrapped.is_some() || words && !inside.is_empty();
    (word && !inside.starts_with(|first: char| first.is_ascii_digit())).then(|| bare_words(inside))
}

/// Returns whether letters may as well be variables side by side.
fn is_variables(gold: &str) -> bool {
    gold.len() <= 3 && gold.is_ascii()
}

/// The words of an answer without LaTeX around them and without an article.
fn bare_words(answer: &str) -> String {
    let mut text = answer.to_string();
    for command in
        ["\\textbf", "\\textit", "\\textrm", "\\text", "\\mathrm", "\\mathbf", "\\mbox", "\\operatorname"]
    {
        text = text.replace(command, " ");
    }
    let words = units::plain_words(&text.replace(['{', '}', '$', '\\'], " "));
    let words =
        ["the ", "a ", "an "].into_iter().find_map(|article| words.strip_prefix(article)).unwrap_or(&words);
    words.into()
}

#[cfg(test)]
mod tests;
