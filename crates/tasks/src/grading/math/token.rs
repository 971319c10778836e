//! Cutting an answer in LaTeX, or as people type mathematics, into tokens. Spacing, sizes and fonts are
//! passed over; spellings that mean the same become one token.

use std::borrow::Cow;

use super::budget::Stop;
use super::spelling::{ONLY_LOOKS, Token, usual};

/// Position in the text of the next token.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// True where `1,234` is one number. In brackets it never is.
    pub(super) commas_group: bool,
    /// True where some comma has been taken for a thousands separator.
    pub(super) grouped: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, commas_group: bool) -> Self {
        Self { text, at: 0, commas_group, grouped: false }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, Stop> {
        loop {
            let rest = &self.text[self.at..];
            let Some(first) = rest.chars().next() else { return Ok(Token::End) };
            match first {
                '$' | '~' => self.at += 1,
                white if white.is_whitespace() => self.at += white.len_utf8(),
                '0'..='9' => return Ok(self.number()),
                '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => return Ok(self.number()),
                '\\' => {
                    if let Some(token) = self.command()? {
                        return Ok(token);
                    }
                }
                letter if letter.is_alphabetic() => {
                    let length = rest.find(|next: char| !next.is_alphabetic()).unwrap_or(rest.len());
                    self.at += length;
                    return Ok(Token::Word(&rest[..length]));
                }
                other => {
                    self.at += other.len_utf8();
                    return Ok(Token::Char(other));
                }
            }
        }
    }

    /// The text that has not been read.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// One digit, where an argument without braces begins with one (`\frac12`).
    pub(super) fn digit(&mut self) -> Option<Token<'a>> {
        let rest = self.text[self.at..].trim_start();
        if !rest.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        self.at = self.text.len() - rest.len() + 1;
        Some(Token::Number(rest[..1].into()))
    }

    /// Goes back to just behind the first letters of a word that ended here.
    pub(super) fn split_word(&mut self, word: &str, keep: usize) {
        self.at -= word.len() - keep;
    }

    /// Digits, separators between groups of three, a point, an exponent.
    fn number(&mut self) -> Token<'a> {
        let start = self.at;
        let mut text = Cow::Borrowed(self.digits());
        while let Some((length, comma)) = self.separator(&text) {
            self.grouped |= comma;
            self.at += length;
            text.to_mut().push_str(self.digits());
        }
        let rest = &self.text[self.at..];
        if rest.starts_with('.') && rest[1..].starts_with(|next: char| next.is_ascii_digit()) {
            self.at += 1;
            let part = self.digits();
            text = match text {
                Cow::Borrowed(_) => self.text[start..self.at].into(),
                Cow::Owned(whole) => format!("{whole}.{part}").into(),
            };
        }
        if let Some(repeating) = self.continued(&text) {
            return Token::Number(repeating.into());
        }
        if let Some(period) = self.period(&text) {
            return Token::Number(
                format!("{text}{}({period})", if text.contains('.') { "" } else { "." }).into(),
            );
        }
        if let Some(exponent) = exponent(&text, &self.text[self.at..]) {
            text.to_mut().push_str(exponent);
            self.at += exponent.len();
        }
        Token::Number(text)
    }

    /// The digits that repeat, of a decimal written as `0.1\overline{6}`.
    fn period(&mut self, before: &str) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let rest = if before.contains('.') { rest } else { rest.strip_prefix('.')? };
        let opened = ["\\overline{", "\\bar{", "\\dot{"].into_iter().find_map(|open| rest.strip_prefix(open));
        // `0.(3)` has no other meaning, while `0.1(6)` may be a product
        let (rest, close) = match opened {
            Some(rest) => (rest, '}'),
            None if before.contains('.') => return None,
            None => (rest.strip_prefix('(')?, ')'),
        };
        let (period, behind) = rest.split_once(close)?;
        let digits = !period.is_empty() && period.bytes().all(|byte| byte.is_ascii_digit());
        if digits {
            self.at = self.text.len() - behind.len();
        }
        digits.then_some(period)
    }

    /// The repeating decimal that one with dots behind it stands for: `0.1666\ldots` is `0.1(6)`. Dots behind digits that
    /// do not repeat are left where they are.
    fn continued(&mut self, text: &str) -> Option<String> {
        let rest = self.rest();
        let behind =
            ["...", "\\ldots", "\\dots", "\\cdots"].into_iter().find_map(|dots| rest.strip_prefix(dots))?;
        let (whole, part) = text.split_once('.')?;
        let (before, period) = repeated_tail(part)?;
        self.at = self.text.len() - behind.len();
        Some(format!("{whole}.{before}({period})"))
    }

    fn digits(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(|next: char| !next.is_ascii_digit()).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Length of a thousands separator here, if exactly three digits follow it, and whether it is a mere
    /// comma.
    fn separator(&self, before: &str) -> Option<(usize, bool)> {
        if before.is_empty() || (before.len() > 3 && !self.grouped_before(before)) || before.starts_with('0')
        {
            return None;
        }
        let rest = &self.text[self.at..];
        let marks = [("{,}", false), (",\\!", false), ("\\!,", false), ("\\,", false), (",", true)];
        let (mark, comma) = marks.into_iter().find(|(mark, _)| rest.starts_with(mark))?;
        let after = if comma { &rest[1..] } else { rest[mark.len()..].trim_start_matches([' ', '\\', '!']) };
        let digits = after.bytes().take(4).take_while(u8::is_ascii_digit).count();
        let groups = digits == 3 && (!comma || self.commas_group);
        groups.then_some((rest.len() - after.len(), comma))
    }

    /// Returns whether the digits read so far had separators: the byte before the last three is none of them.
    fn grouped_before(&self, before: &str) -> bool {
        let last = self.at.checked_sub(4).map(|at| self.text.as_bytes()[at]);
        before.len() > 3 && last.is_some_and(|byte| !byte.is_ascii_digit())
    }

    /// A command; nothing where it is only for the eye.
    fn command(&mut self) -> Result<Option<Token<'a>>, Stop> {
        let rest = &self.text[self.at + 1..];
        let length = rest.find(|next: char| !next.is_ascii_alphabetic()).unwrap_or(rest.len());
        let name = &rest[..length];
        self.at += 1 + length;
        Ok(match name {
            "" => {
                let Some(sign) = rest.chars().next() else { return Ok(None) };
                self.at += sign.len_utf8();
                match sign {
                    '{' => Some(Token::Command("{")),
                    '}' => Some(Token::Command("}")),
                    '\\' => {
                        self.row_distance();
                        Some(Token::Command("\\"))
                    }
                    '%' | '|' | '_' => Some(Token::Char(sign)),
                    _ => None,
                }
            }
            "text" | "textbf" | "textit" | "textrm" | "textnormal" | "textsf" | "texttt" | "mbox"
            | "hbox" | "mathrm" | "operatorname" | "emph" | "rm" => self.words(),
            "begin" | "end" => {
                let inside =
                    self.braced().ok_or_else(|| Stop::Unreadable(format!("\\{name} without a name")))?;
                let inside = inside.trim().trim_end_matches('*');
                Some(if name == "begin" { Token::Begin(inside) } else { Token::EndOf(inside) })
            }
            _ if ONLY_LOOKS.contains(&name) => None,
            _ => Some(usual(name)),
        })
    }

    /// Passes over the distance behind the end of a row: `\\[4pt]`.
    fn row_distance(&mut self) {
        let rest = &self.text[self.at..];
        let Some((distance, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            return;
        };
        if ["pt", "em", "ex", "mm", "cm"].iter().any(|unit| distance.ends_with(unit)) {
            self.at = self.text.len() - behind.len();
        }
    }

    /// The content of a text command; where it is a number or a formula its braces are left as a group.
    fn words(&mut self) -> Option<Token<'a>> {
        let before = self.at;
        let inside = self.braced()?.trim();
        let mathematics = |first: char| first.is_ascii_digit() || "-\\$+.".contains(first);
        if inside.starts_with(mathematics) {
            self.at = before;
            return None;
        }
        Some(if matches!(inside, "e" | "i") || super::parse::is_function(inside) {
            Token::Word(inside)
        } else {
            Token::Text(inside)
        })
    }

    /// Returns the content of the braces that follow.
    pub(super) fn braced(&mut self) -> Option<&'a str> {
        let rest = self.text[self.at..].trim_start();
        let inside = rest.strip_prefix('{')?;
        let mut depth = 1u32;
        for (at, byte) in inside.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.at = self.text.len() - inside.len() + at + 1;
                return Some(&inside[..at]);
            }
        }
        None
    }
}

/// The digits before the ones that repeat at the end of `digits`, twice or more, and those once: of all periods the one
/// that covers the most.
fn repeated_tail(digits: &str) -> Option<(&str, &str)> {
    let bytes = digits.as_bytes();
    let bytes = &bytes[bytes.len().saturating_sub(REPEATED)..];
    let skipped = digits.len() - bytes.len();
    let covered = |period: usize| {
        let repeats = (period..bytes.len()).rev().take_while(|&at| bytes[at] == bytes[at - period]).count();
        if repeats >= period { repeats + period } else { 0 }
    };
    let period = (1..=bytes.len() / 2).max_by_key(|&period| (covered(period), std::cmp::Reverse(period)))?;
    let covered = covered(period);
    let start = skipped + bytes.len() - covered;
    (covered > 0).then(|| (&digits[..start], &digits[start..start + period]))
}

/// The most digits in which a period is looked for.
const REPEATED: usize = 64;

/// The exponent of a number in scientific notation. `2e-1` is left alone: it may mean 2e minus 1.
fn exponent<'a>(mantissa: &str, rest: &'a str) -> Option<&'a str> {
    let after = rest.strip_prefix(['e', 'E'])?;
    let digits = after.strip_prefix(['+', '-']).unwrap_or(after);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let follows =
        digits[count..].starts_with(|next: char| next.is_alphanumeric() || next == '^' || next == '.');
    let clear =
        rest.starts_with('E') || count >= 2 || mantissa == "1" || mantissa.contains('.') || after == digits;
    let length = rest.len() - digits.len() + count;
    (count > 0 && !follows && clear).then_some(&rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text, true);
        let mut out = Vec::new();
        loop {
            match lexer.next().unwrap() {
                Token::End => return out,
                Token::Number(number) => out.push(format!("#{number}")),
                Token::Word(word) => out.push(word.to_string()),
                Token::Text(text) => out.push(format!("'{text}'")),
                Token::Command(name) => out.push(format!("\\{name}")),
                Token::Begin(name) => out.push(format!("begin {name}")),
                Token::EndOf(name) => out.push(format!("end {name}")),
                Token::Char(sign) => out.push(sign.to_string()),
            }
        }
    }

    #[test]
    fn numbers_with_separators_points_and_exponents() {
        for (text, expected) in [
            ("10,\\!080", "#10080"),
            ("11,\\! 111,\\! 111,\\! 100", "#11111111100"),
            ("\\$32,\\!348", "#32348"),
            ("1{,}000{,}000.50", "#1000000.50"),
            ("58,500", "#58500"),
            ("1\\,000", "#1000"),
            (".0000672", "#.0000672"),
            ("1,2345", "#1 , #2345"),
            ("1, 234", "#1 , #234"),
            ("1,-2", "#1 , - #2"),
            ("0,123", "#0 , #123"),
            ("1234,567", "#1234 , #567"),
            ("6.72e-5", "#6.72e-5"),
            ("1e5", "#1e5"),
            ("2e-1", "#2 e - #1"),
            ("2ex", "#2 ex"),
            ("18.", "#18 ."),
        ] {
            assert_eq!(tokens(text).join(" "), expected, "{text}");
        }
    }

    #[test]
    fn looks_are_passed_over_and_spellings_unified() {
        for (text, expected) in [
            ("\\left( 3, \\frac{\\pi}{2} \\right)", "( #3 , \\frac { \\pi } { #2 } )"),
            ("\\dfrac12", "\\frac #12"),
            ("\\mathbf{x}\\,\\cdot\\;y", "{ x } * y"),
            ("864 \\mbox{ inches}^2", "#864 'inches' ^ #2"),
            ("\\text{5}", "{ #5 }"),
            ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "begin pmatrix #1 \\\\ #2 end pmatrix"),
            ("\\operatorname{lcm}(x)", "lcm ( x )"),
            ("\\", ""),
            ("\\text{", "{"),
        ] {
            assert_eq!(tokens(text).join(" "), expected, "{text}");
        }
    }
}
