//! Exact reading of a written number: integer, decimal or fraction, with the signs, separators,
//! currency and units that people write around it.

/// A fraction in lowest terms, denominator positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rational {
    numerator: i128,
    denominator: i128,
}

impl Rational {
    /// Reads a number; nothing where the text is not one or its value exceeds 128 bits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, negative) = signed(&bare(text));
        let magnitude = fraction(&text).or_else(|| decimal(&text))?;
        if negative { magnitude.negated() } else { Some(magnitude) }
    }

    /// Returns whether nothing is left over.
    pub(crate) fn is_integer(self) -> bool {
        self.denominator == 1
    }

    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        let divisor = i128::try_from(divisor).ok()?;
        let sign = denominator.signum();
        Some(Self {
            numerator: (numerator / divisor).checked_mul(sign)?,
            denominator: (denominator / divisor).checked_mul(sign)?,
        })
    }

    fn negated(self) -> Option<Self> {
        Some(Self { numerator: self.numerator.checked_neg()?, ..self })
    }

    fn divided_by(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.denominator)?,
            self.denominator.checked_mul(other.numerator)?,
        )
    }
}

/// The text without what may stand around a number: math delimiters, currency, percent and degree
/// signs, thin spaces, what precedes the last `=`, a closing full stop, a unit.
pub(crate) fn bare(text: &str) -> String {
    let mut text = text.replace(['\u{2212}', '\u{2013}'], "-");
    for mark in ["\\left", "\\right", "\\$", "\\%", "\\,", "\\!", "\\;", "\\ ", "^\\circ", "^{\\circ}"] {
        text = text.replace(mark, "");
    }
    let text = text.rsplit('=').next().unwrap_or_default();
    let text = text.replace(['$', '€', '£', '%', '°'], " ");
    without_unit(text.trim().trim_end_matches('.')).trim().to_string()
}

/// Drops `\text{...}` and the words after the number.
fn without_unit(text: &str) -> &str {
    let text = ["\\text", "\\mathrm", "\\mbox"]
        .into_iter()
        .filter_map(|command| text.find(command))
        .filter(|at| *at > 0)
        .min()
        .map_or(text, |at| &text[..at])
        .trim_end();
    let unit = |character: char| character.is_alphabetic() || character == ' ' || character == '/';
    let number = text.trim_end_matches(unit);
    let ends_in_number = number.ends_with(|last: char| last.is_ascii_digit() || last == '}');
    let opens_in_number =
        number.starts_with(|first: char| first.is_ascii_digit() || "-+.\\(".contains(first));
    if ends_in_number && opens_in_number { number } else { text }
}

/// Takes leading signs off, a sign before or after an opening bracket alike.
fn signed(text: &str) -> (String, bool) {
    let mut rest = text.trim();
    let mut negative = false;
    while let Some(sign) = rest.chars().next().filter(|first| matches!(first, '-' | '+')) {
        negative ^= sign == '-';
        rest = rest[1..].trim_start();
    }
    (rest.to_string(), negative)
}

/// `a/b`, `\frac{a}{b}`, `\dfrac{a}{b}`, `\tfrac{a}{b}`.
fn fraction(text: &str) -> Option<Rational> {
    let frac = ["\\frac", "\\dfrac", "\\tfrac"].into_iter().find_map(|name| text.strip_prefix(name));
    let (above, below) = match frac {
        Some(rest) => rest.trim().strip_prefix('{')?.strip_suffix('}')?.split_once("}{")?,
        None => text.split_once('/')?,
    };
    term(above)?.divided_by(term(below)?)
}

/// A signed integer or decimal within a fraction.
fn term(text: &str) -> Option<Rational> {
    let (text, negative) = signed(text);
    let magnitude = decimal(&text)?;
    if negative { magnitude.negated() } else { Some(magnitude) }
}

/// An unsigned integer or decimal, thousands separated by commas, or not at all.
fn decimal(text: &str) -> Option<Rational> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole = ungrouped(whole)?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(&whole) || !digits(part) || whole.len() + part.len() == 0 {
        return None;
    }
    let part = part.trim_end_matches('0');
    let denominator = 10i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let numerator = format!("{whole}{part}").trim_start_matches('0').to_string();
    let numerator = if numerator.is_empty() { 0 } else { numerator.parse().ok()? };
    Rational::new(numerator, denominator)
}

/// Removes thousands separators: commas with three digits between them, or `{,}`.
fn ungrouped(text: &str) -> Option<String> {
    let text = text.replace("{,}", ",");
    let mut groups = text.split(',');
    let first = groups.next()?;
    let rest: Vec<&str> = groups.collect();
    let well_grouped = rest.iter().all(|group| group.len() == 3) && (1..=3).contains(&first.len());
    (rest.is_empty() || well_grouped).then(|| text.replace(',', ""))
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let (a, b) = (Rational::parse(a), Rational::parse(b));
        a.is_some() && a == b
    }

    #[test]
    fn one_value_many_spellings() {
        for (a, b) in [
            ("18", "18.0"),
            ("18", "$18"),
            ("18", r"\$18.00"),
            ("18", "18 dollars"),
            ("18", r"18\text{ dollars}"),
            ("18", "18."),
            ("18", "x = 18"),
            ("18", "18cm"),
            ("60", "60 km/h"),
            ("25", r"25\%"),
            ("90", r"90^\circ"),
            ("1000", "1,000"),
            ("1234567.5", "1,234,567.50"),
            ("10000", r"10{,}000"),
            ("0.5", "1/2"),
            ("0.5", ".5"),
            ("0.5", r"\frac{1}{2}"),
            ("-3/4", r"-\dfrac{3}{4}"),
            ("-3/4", r"\tfrac{-3}{4}"),
            ("-3", "\u{2212}3"),
            ("-3", "- 3"),
            ("0", "-0.000"),
            ("2/4", "3/6"),
        ] {
            assert!(same(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn different_values_differ() {
        for (a, b) in [("18", "81"), ("1/3", "0.333"), ("-5", "5"), ("1,000", "1"), ("0.1", "0.10000001")] {
            assert!(!same(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_read_as_one() {
        for text in
            ["", "-", ".", "abc", "1,23", "1,2345", "1/0", "1e5", "１８", "٣", "3..4", "1/2/3", "{", "12 34"]
        {
            assert_eq!(Rational::parse(text), None, "{text}");
        }
        assert_eq!(Rational::parse(&"9".repeat(1 << 20)), None);
        assert_eq!(Rational::parse(&format!("0.{}1", "0".repeat(60))), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+0-9./,\\\\{}$%=a-f −９ ]{0,40}") {
            let _ = Rational::parse(&text);
        }

        #[test]
        fn integers_keep_their_value(value in any::<i64>()) {
            prop_assert_eq!(
                Rational::parse(&value.to_string()),
                Rational::new(i128::from(value), 1)
            );
        }
    }
}
