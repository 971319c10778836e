//! The numbers that a setting may hold.

use std::fmt;
use std::ops::Bound;

use crate::error::SettingError;
use crate::kind::SettingValue;

/// An interval of numbers, with a reason for the reader of an error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Lower end.
    pub low: Bound<f64>,
    /// Upper end.
    pub high: Bound<f64>,
    /// Whether infinity belongs to it.
    pub infinite: bool,
    /// Words that follow the interval in an error.
    pub note: &'static str,
}

/// Every finite number.
pub const fn any() -> Range {
    Range { low: Bound::Unbounded, high: Bound::Unbounded, infinite: false, note: "" }
}

/// `low` and every finite number above it.
pub const fn at_least(low: f64) -> Range {
    Range { low: Bound::Included(low), ..any() }
}

/// Every finite number above `low`.
pub const fn above(low: f64) -> Range {
    Range { low: Bound::Excluded(low), ..any() }
}

/// `[low, high]`.
pub const fn within(low: f64, high: f64) -> Range {
    Range { low: Bound::Included(low), high: Bound::Included(high), ..any() }
}

/// `(low, high]`.
pub const fn above_up_to(low: f64, high: f64) -> Range {
    Range { low: Bound::Excluded(low), high: Bound::Included(high), ..any() }
}

/// `[low, high)`.
pub const fn from_below(low: f64, high: f64) -> Range {
    Range { low: Bound::Included(low), high: Bound::Excluded(high), ..any() }
}

/// `(low, high)`.
pub const fn between(low: f64, high: f64) -> Range {
    Range { low: Bound::Excluded(low), high: Bound::Excluded(high), ..any() }
}

impl Range {
    /// The range with words that follow it in an error.
    #[must_use]
    pub const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// The range with infinity.
    #[must_use]
    pub const fn or_infinite(self) -> Self {
        Self { infinite: true, ..self }
    }

    /// Whether `number` belongs to it.
    pub fn contains(&self, number: f64) -> bool {
        let above = match self.low {
            Bound::Included(low) => number >= low,
            Bound::Excluded(low) => number > low,
            Bound::Unbounded => true,
        };
        let below = match self.high {
            Bound::Included(high) => number <= high,
            Bound::Excluded(high) => number < high,
            Bound::Unbounded => true,
        };
        above && below && (number.is_finite() || (self.infinite && number == f64::INFINITY))
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (Bound::Unbounded, Bound::Unbounded) => f.write_str("a finite number")?,
            (Bound::Excluded(0.0), Bound::Unbounded) => f.write_str("a positive number")?,
            (Bound::Included(0.0), Bound::Unbounded) => f.write_str("0 or a positive number")?,
            (Bound::Included(low), Bound::Unbounded) => write!(f, "at least {low}")?,
            (Bound::Excluded(low), Bound::Unbounded) => write!(f, "above {low}")?,
            (low, high) => {
                match low {
                    Bound::Included(low) => write!(f, "in [{low}, ")?,
                    Bound::Excluded(low) => write!(f, "in ({low}, ")?,
                    Bound::Unbounded => f.write_str("in (-inf, ")?,
                }
                match high {
                    Bound::Included(high) => write!(f, "{high}]")?,
                    Bound::Excluded(high) => write!(f, "{high})")?,
                    Bound::Unbounded => f.write_str("inf)")?,
                }
            }
        }
        f.write_str(self.note)
    }
}

/// Fails where a number of `value` is outside `range`.
///
/// # Errors
/// Key, value, and the range in words.
pub fn check_range<T: SettingValue>(key: &str, value: &T, range: Range) -> Result<(), SettingError> {
    let numbers = value.numbers();
    if numbers.iter().all(|&number| range.contains(number)) {
        return Ok(());
    }
    let shown: Vec<String> = numbers.iter().map(f64::to_string).collect();
    Err(if let [one] = &shown[..] {
        SettingError::new(key, one, range)
    } else {
        SettingError::new(
            key,
            format!("[{}]", shown.join(", ")),
            format!("{} numbers {range}", words(shown.len())),
        )
    })
}

fn words(count: usize) -> String {
    if count == 2 { "two".into() } else { count.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_belong_where_the_words_say() {
        for (range, words, inside, outside) in [
            (any(), "a finite number", 1e300, f64::INFINITY),
            (at_least(1.0), "at least 1", 1.0, 0.0),
            (at_least(0.0), "0 or a positive number", 0.0, -1.0),
            (above(0.0), "a positive number", 1e-9, 0.0),
            (within(0.0, 1.0), "in [0, 1]", 1.0, 1.5),
            (from_below(0.0, 1.0), "in [0, 1)", 0.0, 1.0),
            (between(-1.0, 1.0), "in (-1, 1)", 0.0, -1.0),
            (
                above(0.0).or_infinite().note("; inf is off"),
                "a positive number; inf is off",
                f64::INFINITY,
                -1.0,
            ),
        ] {
            assert_eq!(range.to_string(), words);
            assert!(range.contains(inside) && !range.contains(outside), "{words}");
            assert!(!range.contains(f64::NAN), "{words}");
        }
    }
}
