//! Finding the final answer in a response: the content of `\boxed{...}` or `\fbox{...}`.

/// The content of the last box of a response, trimmed. Where several boxes are written the last one
/// counts, also when it lies inside another; where the last one is never closed there is no answer.
pub fn final_answer(response: &str) -> Option<&str> {
    let content = boxes(response).into_iter().max_by_key(|found| found.start)?;
    let text = response[content.start..content.end?].trim();
    (!text.is_empty()).then_some(text)
}

/// The boxes of a response.
pub(crate) enum Found {
    /// There is none.
    Nothing,
    /// The last one is never closed.
    Unclosed,
    /// Nothing is in the last one.
    Empty,
    /// Start and end of each completed content, in the order of the text.
    Answers(Vec<(usize, usize)>),
}

/// Every completed box of a response; what [`final_answer`] gives is the last of them.
pub(crate) fn boxed_answers(response: &str) -> Found {
    let mut boxes = boxes(response);
    boxes.sort_by_key(|found| found.start);
    match boxes.last() {
        None => Found::Nothing,
        Some(Content { end: None, .. }) => Found::Unclosed,
        Some(&Content { start, end: Some(end) }) if response[start..end].trim().is_empty() => Found::Empty,
        Some(_) => Found::Answers(boxes.iter().filter_map(|found| Some((found.start, found.end?))).collect()),
    }
}

/// Returns the end of the first completed box of a response: the byte after its closing brace.
pub(crate) fn end_of_first_box(response: &str) -> Option<usize> {
    boxes(response).into_iter().filter_map(|found| found.end).min().map(|end| end + 1)
}

/// The content of one box, in bytes; `end` is missing where the braces never close.
struct Content {
    start: usize,
    end: Option<usize>,
}

/// Every box of a text, in the order they close, the unclosed ones last. One pass over the text,
/// whatever the nesting; escaped braces (`\{`, `\}`) are text.
fn boxes(text: &str) -> Vec<Content> {
    let bytes = text.as_bytes();
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => match box_command(&text[at..]) {
                Some(brace) => {
                    at += brace;
                    open.push((true, at + 1));
                }
                None => at += usize::from(matches!(bytes.get(at + 1), Some(b'{' | b'}' | b'\\'))),
            },
            b'{' => open.push((false, at + 1)),
            b'}' => {
                if let Some((true, start)) = open.pop() {
                    found.push(Content { start, end: Some(at) });
                }
            }
            _ => {}
        }
        at += 1;
    }
    found.extend(open.iter().filter(|(boxed, _)| *boxed).map(|&(_, start)| Content { start, end: None }));
    found
}

/// Offset of the opening brace where `text` starts with `\boxed{` or `\fbox{`, spaces before the brace
/// allowed.
fn box_command(text: &str) -> Option<usize> {
    let name = ["\\boxed", "\\fbox"].into_iter().find(|name| text.starts_with(name))?;
    let spaces = text[name.len()..].bytes().take_while(|byte| *byte == b' ').count();
    let brace = name.len() + spaces;
    (text.as_bytes().get(brace) == Some(&b'{')).then_some(brace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_box_counts() {
        assert_eq!(final_answer(r"first \boxed{3}, no, \boxed{4}."), Some("4"));
        assert_eq!(final_answer(r"\fbox{3} then \boxed{ 4 }"), Some("4"));
        assert_eq!(final_answer(r"\boxed{\boxed{5}}"), Some("5"));
        assert_eq!(final_answer(r"\boxed {7}"), Some("7"));
    }

    #[test]
    fn braces_nest_and_escaped_braces_are_text() {
        assert_eq!(final_answer(r"\boxed{\frac{1}{2}}"), Some(r"\frac{1}{2}"));
        assert_eq!(final_answer(r"\boxed{\{1\}}"), Some(r"\{1\}"));
        assert_eq!(final_answer(r"stray } and { then \boxed{6}"), Some("6"));
    }

    #[test]
    fn no_answer_where_none_is_complete() {
        for text in ["", "42", r"\boxed", r"\boxed{", r"\boxed{42", r"\boxed{}", r"\boxed{  }", r"\boxed42"] {
            assert_eq!(final_answer(text), None, "{text}");
        }
        assert_eq!(final_answer(r"\boxed{4} or rather \boxed{5"), None);
        assert_eq!(final_answer(r"\\boxed{4}"), None, "an escaped backslash is a line break, not a command");
    }

    #[test]
    fn megabytes_of_braces_take_one_pass() {
        assert_eq!(final_answer(&"{".repeat(4 << 20)), None);
        assert_eq!(final_answer(&"}".repeat(4 << 20)), None);
        assert_eq!(final_answer(&r"\boxed{".repeat(1 << 19)), None);
        let nested = format!("{}8{}", r"\boxed{".repeat(1 << 19), "}".repeat(1 << 19));
        assert_eq!(final_answer(&nested), Some("8"));
        assert_eq!(end_of_first_box(&nested), Some(nested.len() - (1 << 19) + 1));
    }

    #[test]
    fn text_of_any_script_is_walked_over() {
        assert_eq!(final_answer("答えは \\boxed{９}。\\é"), Some("９"));
        assert_eq!(final_answer("\\boxed\u{00a0}{1}"), None);
    }
}
