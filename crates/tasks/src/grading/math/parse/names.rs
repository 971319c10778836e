//! The name of a function with its arguments, as the side of an equation: `f(x) = 2x`.

/// A function and its arguments, at the start of a text.
pub(super) struct Name {
    /// The name and its arguments without spaces: `f(x)`.
    pub(super) text: String,
    /// True where the letter is one that functions have, so that the right side of an equation may be it, too.
    pub(super) usual: bool,
    /// True where a sign of equality follows, false where nothing does.
    pub(super) defined: bool,
}

/// Letters that functions and probabilities have.
const USUAL: [&str; 9] = ["f", "g", "h", "F", "G", "H", "P", "p", "q"];

/// The longest arguments that are looked at, in bytes.
const LONGEST: usize = 64;

/// Reads `f(x)`, `g\left(t\right)`, `f^{-1}(x)`, `P_n(x)` where a sign of equality or nothing follows. A letter that
/// functions do not usually have takes single arguments alone: `k(x+1)` is a product.
pub(super) fn function_of_arguments(text: &str) -> Option<Name> {
    let text = text.trim_start();
    let letter = text.get(..1).filter(|letter| letter.as_bytes()[0].is_ascii_alphabetic())?;
    if matches!(letter, "e" | "i") {
        return None;
    }
    let (marks, rest) = marks(&text[1..]);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("\\left").unwrap_or(rest).trim_start().strip_prefix('(')?;
    let close = closing(rest)?;
    let arguments = rest[..close].trim().trim_end_matches("\\right").trim();
    let usual = USUAL.contains(&letter);
    if arguments.is_empty() || !usual && !arguments.split(',').all(is_single) || arguments.contains('=') {
        return None;
    }
    let behind = rest[close + 1..].trim_start_matches(['$', ' ', '~']);
    let defined = behind.starts_with('=') || behind.starts_with("\\equiv");
    let ends = behind.is_empty() || behind.starts_with([',', ';', '}', '.']);
    let text = format!("{letter}{marks}({arguments})").replace(' ', "");
    (defined || ends).then_some(Name { text, usual, defined })
}

/// Primes, an exponent of -1, a subscript behind a letter, and the rest of the text.
fn marks(text: &str) -> (&str, &str) {
    for mark in ["^{-1}", "^{ -1 }", "''", "'"] {
        if let Some(rest) = text.strip_prefix(mark) {
            return (mark, rest);
        }
    }
    let Some(below) = text.strip_prefix('_') else { return ("", text) };
    let length = match below.strip_prefix('{') {
        Some(inside) => inside.find('}').map(|end| end + 2),
        None => below.chars().next().map(char::len_utf8),
    };
    match length {
        Some(length) => text.split_at(1 + length),
        None => ("", text),
    }
}

/// The position of the bracket that closes the arguments.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, byte) in text.bytes().enumerate().take(LONGEST) {
        match byte {
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Returns whether an argument is one letter, one Greek letter or one number.
fn is_single(argument: &str) -> bool {
    let argument = argument.trim();
    let command =
        argument.strip_prefix('\\').is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let number = argument.trim_start_matches('-');
    let number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    command || number || argument.len() == 1 && argument.as_bytes()[0].is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_told_from_products() {
        for (text, name) in [
            ("f(x) = 2x", "f(x)"),
            ("g \\left( t \\right)=t", "g(t)"),
            ("f^{-1}(x)=2", "f^{-1}(x)"),
            ("P_n(x)=1", "P_n(x)"),
            ("f(x+1)=2", "f(x+1)"),
            ("f(x,y)=2", "f(x,y)"),
            ("y(\\theta)=2", "y(\\theta)"),
            ("f(g(x))=2", "f(g(x))"),
            ("f(x)", "f(x)"),
        ] {
            let found = function_of_arguments(text).map(|name| name.text);
            assert_eq!(found.as_deref(), Some(name), "{text}");
        }
        for text in [
            "k(x+1)=6", "2(x)=6", "e(x)=2", "i(x)=2", "f(x)+1=2", "f(x", "f()", "", "ln(x)=2", "fg=2",
            "_(x)=2",
        ] {
            assert!(function_of_arguments(text).is_none(), "{text}");
        }
    }
}
