//! Multiple choice: options as text, the gold one by its place.

use crate::Question;
use crate::grading::AnswerKind;

/// The letter of the option at an index below 26.
pub fn letter(index: u8) -> char {
    char::from(b'A' + index.min(25))
}

/// A multiple-choice question: the options in order under the letters A, B, C, ..., whatever the file called them;
/// the gold answer is the letter of the place `gold`.
pub(super) fn question(index: u32, text: &str, options: &[&str], gold: usize) -> Result<Question, String> {
    let count = u8::try_from(options.len()).ok().filter(|count| (2..=26).contains(count));
    let kind = AnswerKind::Choice {
        options: count.ok_or_else(|| format!("{} options, expected 2 to 26", options.len()))?,
    };
    if gold >= options.len() {
        return Err(format!("the right option is number {}, of {}", gold + 1, options.len()));
    }
    let lines = (0..).zip(options).map(|(place, option)| format!("\n{}. {}", letter(place), option.trim()));
    let text = format!("{}\n{}", text.trim(), lines.collect::<String>());
    Ok(Question { index, text, gold: letter(gold as u8).to_string(), solution: None, kind })
}

/// The place of the option that the file calls `key`.
pub(super) fn place_of(key: &str, labels: &[&str]) -> Result<usize, String> {
    let found = labels.iter().position(|label| *label == key);
    found.ok_or_else(|| format!("the answer is {key:?}, expected one of {labels:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_get_letters_and_the_gold_its_place() {
        let made = question(3, " Which? ", &["one ", "two", "two"], 2).unwrap();
        assert_eq!(made.text, "Which?\n\nA. one\nB. two\nC. two");
        assert_eq!((made.gold.as_str(), made.kind), ("C", AnswerKind::Choice { options: 3 }));
        assert!(question(0, "q", &["one"], 0).unwrap_err().contains("1 options, expected 2 to 26"));
        assert!(question(0, "q", &["a"; 27], 0).unwrap_err().contains("27 options"));
        assert!(question(0, "q", &["a", "b"], 2).unwrap_err().contains("number 3, of 2"));
        assert!(place_of("E", &["A", "B"]).unwrap_err().contains("\"E\""));
    }
}
