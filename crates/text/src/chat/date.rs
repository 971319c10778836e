//! A pinned date and Python's `strftime` over it. The calendar is `jiff`'s.

use std::str::FromStr;

use jiff::civil;
use jiff::fmt::strtime::{BrokenDownTime, Config, PosixCustom};

/// A day of the Gregorian calendar, from year 1 on; its time of day is midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(civil::Date);

/// Text that is not a day as `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pinned date is `{text}`, expected a day as YYYY-MM-DD, such as 2024-07-26")]
pub struct DateError {
    /// The text found.
    pub text: String,
}

impl FromStr for Date {
    type Err = DateError;

    /// Reads `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Self, DateError> {
        // `jiff` reads other spellings too, such as 20240726 and a time after the day
        let plain = text.len() == 10
            && text.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        let date = text.parse::<civil::Date>().ok().filter(|date| plain && date.year() > 0);
        date.map(Self).ok_or_else(|| DateError { text: text.to_owned() })
    }
}

impl Date {
    /// The date by a format of `%` codes, in English, as C's `strftime` has them with `-`, `_`, `0`, `^` and `#` as flags.
    /// A code that `jiff` does not know is printed as it stands.
    pub fn strftime(&self, format: &str) -> String {
        let midnight = BrokenDownTime::from(self.0.at(0, 0, 0, 0));
        let config = Config::new().lenient(true).custom(PosixCustom::new());
        let format = self.replace_codes(format);
        midnight.to_string_with_config(&config, &format).unwrap_or(format)
    }

    /// The format with those codes answered that Python answers in another way than `jiff`.
    fn replace_codes(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            let after = &rest[at + 1..];
            let flags = after.len() - after.trim_start_matches(['-', '_', '0', '^', '#']).len();
            let Some(code) = after[flags..].chars().next() else { break };
            let end = at + 1 + flags + code.len_utf8();
            match self.python_code(code) {
                Some(text) => {
                    out.push_str(&rest[..at]);
                    out.push_str(&text);
                }
                None => out.push_str(&rest[..end]),
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }

    fn python_code(&self, code: char) -> Option<String> {
        match code {
            // microseconds, six digits of them
            'f' => Some("000000".to_owned()),
            // a date without a time zone
            'z' | 'Z' => Some(String::new()),
            // `jiff` has two digits for the years 1969 to 2068 only
            'y' => Some(format!("{:02}", self.0.year() % 100)),
            'g' => Some(format!("{:02}", self.0.iso_week_date().year() % 100)),
            _ => None,
        }
    }
}
