//! A pinned date and Python's `strftime` over it.

use std::fmt::Write as _;
use std::str::FromStr;

/// A day of the Gregorian calendar; its time of day is midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    year: u32,
    month: u32,
    day: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl FromStr for Date {
    type Err = String;

    /// Reads `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("the pinned date is `{text}`, expected a day as YYYY-MM-DD, such as 2024-07-26");
        let digits = |part: &str, width: usize| {
            let plain = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| plain).ok_or_else(wrong)
        };
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(wrong()) };
        let date = Self { year: digits(year, 4)?, month: digits(month, 2)?, day: digits(day, 2)? };
        let valid = date.year > 0
            && (1..=12).contains(&date.month)
            && (1..=days_in_month(date.year, date.month)).contains(&date.day);
        if valid { Ok(date) } else { Err(wrong()) }
    }
}

impl Date {
    /// The date by a format of `%` codes, in English, as C's `strftime` has them with `-`, `_`, `0`, `^` and `#` as flags.
    /// A code it does not know is printed as it stands.
    pub fn strftime(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let flags = after.len() - after.trim_start_matches(['-', '_', '0', '^', '#']).len();
            let Some(code) = after[flags..].chars().next() else {
                out.push_str(&rest[at..]);
                return out;
            };
            match self.field(code) {
                Some(field) => field.print(&after[..flags], &mut out),
                None => out.push_str(&rest[at..at + 1 + flags + code.len_utf8()]),
            }
            rest = &after[flags + code.len_utf8()..];
        }
        out.push_str(rest);
        out
    }

    fn field(&self, code: char) -> Option<Field> {
        use Field::{Number, Text};
        let weekday = self.weekday() as usize;
        let (iso_year, iso_week) = self.iso_week();
        let month = MONTHS[self.month as usize - 1];
        let nested = |format: &str| Text(self.strftime(format));
        Some(match code {
            'Y' => Number { value: self.year, width: 1, pad: '0' },
            'C' => Number { value: self.year / 100, width: 2, pad: '0' },
            'y' => Number { value: self.year % 100, width: 2, pad: '0' },
            'm' => Number { value: self.month, width: 2, pad: '0' },
            'd' => Number { value: self.day, width: 2, pad: '0' },
            'e' => Number { value: self.day, width: 2, pad: ' ' },
            'j' => Number { value: self.day_of_year(), width: 3, pad: '0' },
            'H' | 'M' | 'S' => Number { value: 0, width: 2, pad: '0' },
            'I' => Number { value: 12, width: 2, pad: '0' },
            'k' => Number { value: 0, width: 2, pad: ' ' },
            'l' => Number { value: 12, width: 2, pad: ' ' },
            'f' => Text("000000".to_owned()),
            'p' => Text("AM".to_owned()),
            'P' => Text("am".to_owned()),
            'A' => Text(WEEKDAYS[weekday].to_owned()),
            'a' => Text(WEEKDAYS[weekday][..3].to_owned()),
            'B' => Text(month.to_owned()),
            'b' | 'h' => Text(month[..3].to_owned()),
            'u' => Number { value: self.weekday() + 1, width: 1, pad: '0' },
            'w' => Number { value: (self.weekday() + 1) % 7, width: 1, pad: '0' },
            'U' => Number { value: self.week_of_year((self.weekday() + 1) % 7), width: 2, pad: '0' },
            'W' => Number { value: self.week_of_year(self.weekday()), width: 2, pad: '0' },
            'V' => Number { value: iso_week, width: 2, pad: '0' },
            'G' => Number { value: iso_year, width: 1, pad: '0' },
            'g' => Number { value: iso_year % 100, width: 2, pad: '0' },
            'c' => nested("%a %b %e %H:%M:%S %Y"),
            'x' | 'D' => nested("%m/%d/%y"),
            'X' | 'T' => nested("%H:%M:%S"),
            'F' => nested("%Y-%m-%d"),
            'R' => nested("%H:%M"),
            'r' => nested("%I:%M:%S %p"),
            'z' | 'Z' => Text(String::new()),
            'n' => Text("\n".to_owned()),
            't' => Text("\t".to_owned()),
            '%' => Text("%".to_owned()),
            _ => return None,
        })
    }

    /// Days since Monday.
    fn weekday(&self) -> u32 {
        let before = self.year - 1;
        (365 * before + before / 4 - before / 100 + before / 400 + self.day_of_year() - 1) % 7
    }

    fn day_of_year(&self) -> u32 {
        (1..self.month).map(|month| days_in_month(self.year, month)).sum::<u32>() + self.day
    }

    /// Week of the year where weeks begin on the day that lies `since_start` days back.
    fn week_of_year(&self, since_start: u32) -> u32 {
        (self.day_of_year() + 6 - since_start) / 7
    }

    /// ISO 8601: weeks begin on Monday and belong to the year of their Thursday.
    fn iso_week(&self) -> (u32, u32) {
        let week = (self.day_of_year() + 9 - self.weekday()) / 7;
        if week == 0 {
            let last = Self { year: self.year - 1, month: 12, day: 31 };
            return if last.year == 0 { (0, 52) } else { last.iso_week() };
        }
        let days_to_end = 365 + u32::from(is_leap(self.year)) - self.day_of_year();
        if self.weekday() + days_to_end < 3 { (self.year + 1, 1) } else { (self.year, week) }
    }
}

/// What a code stands for, before flags are applied.
enum Field {
    Number { value: u32, width: usize, pad: char },
    Text(String),
}

impl Field {
    fn print(self, flags: &str, out: &mut String) {
        match self {
            Self::Text(text) if flags.contains('^') || flags.contains('#') => {
                out.push_str(&text.to_uppercase());
            }
            Self::Text(text) => out.push_str(&text),
            Self::Number { value, width, pad } => {
                let pad = match flags.chars().rev().find(|flag| "-_0".contains(*flag)) {
                    Some('-') => None,
                    Some('_') => Some(' '),
                    Some(_) => Some('0'),
                    None => Some(pad),
                };
                let digits = value.to_string();
                if let Some(pad) = pad {
                    out.extend(std::iter::repeat_n(pad, width.saturating_sub(digits.len())));
                }
                let _ = write!(out, "{digits}");
            }
        }
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
