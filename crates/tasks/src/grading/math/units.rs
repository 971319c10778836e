//! Words: their comparison, and the units among them.

/// Names of a unit; the first stands for all.
const UNITS: &[&[&str]] = &[
    &["inch", "inches", "in"],
    &["foot", "feet", "ft"],
    &["yard", "yards", "yd"],
    &["mile", "miles", "mi"],
    &["millimeter", "millimeters", "millimetre", "millimetres", "mm"],
    &["centimeter", "centimeters", "centimetre", "centimetres", "cm"],
    &["meter", "meters", "metre", "metres", "m"],
    &["kilometer", "kilometers", "kilometre", "kilometres", "km"],
    &["gram", "grams", "g"],
    &["kilogram", "kilograms", "kg"],
    &["pound", "pounds", "lb", "lbs"],
    &["ounce", "ounces", "oz"],
    &["liter", "liters", "litre", "litres", "l", "L"],
    &["milliliter", "milliliters", "ml", "mL"],
    &["second", "seconds", "sec", "secs", "s"],
    &["minute", "minutes", "min", "mins"],
    &["hour", "hours", "hr", "hrs", "h"],
    &["day", "days"],
    &["week", "weeks"],
    &["month", "months"],
    &["year", "years", "yr", "yrs"],
    &["cent", "cents"],
    &["dollar", "dollars", "usd", "USD"],
    &["degree", "degrees", "deg"],
    &["radian", "radians", "rad"],
    &["percent"],
    &["unit", "units"],
    &["mph"],
    &["am", "AM"],
    &["pm", "PM"],
    &["per"],
    &["square", "sq"],
    &["cubic", "cu"],
];

/// Words that part the unit of a rate.
const PER: &str = "per";

/// Returns whether a word of two letters or more is a unit (a single letter may be a variable).
pub(super) fn is_unit(word: &str) -> bool {
    word.len() > 1 && UNITS.iter().any(|names| names.contains(&word))
}

/// Returns whether two units are known and differ: feet are no inches, but "apples" may go unsaid, and so may "per ounce".
pub(super) fn differ(a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (known(a), known(b)) else { return false };
    match (a.split_once(PER), b.split_once(PER)) {
        (Some((a, _)), None) => a != b,
        (None, Some((b, _))) => a != b,
        _ => a != b,
    }
}

/// Returns the base of a unit, spelt in one way; nothing where it has words that are no unit.
fn known(text: &str) -> Option<String> {
    let (mut out, mut power) = (String::new(), String::new());
    let text = text.replace('^', " ^").replace('/', " per ").replace('.', "");
    for word in text.split([' ', '~', '{', '}', '\\']).filter(|word| !word.is_empty()) {
        match word {
            "square" | "sq" => power.push_str("^2"),
            "cubic" | "cu" => power.push_str("^3"),
            exponent if exponent.starts_with('^') => power.push_str(exponent),
            "units" | "unit" => {}
            other => out.push_str(UNITS.iter().find(|names| names.contains(&other))?[0]),
        }
    }
    (!out.is_empty()).then(|| out + &power)
}

/// Words without case, punctuation and spaces around them.
pub(super) fn plain_words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|next: char| !next.is_alphanumeric() && !"+-'".contains(next)) {
        if !word.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.extend(word.chars().flat_map(char::to_lowercase));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_units_differ_and_unknown_ones_say_nothing() {
        for (a, b) in [("cm", "m"), ("cm ^2", "cm"), ("cents", "dollars"), ("feet", " inches")] {
            assert!(differ(a, b), "{a} and {b}");
        }
        for (a, b) in [("cm ^2", "square centimeters"), ("apples", "cm"), ("km/h", "km per hour"), ("", "cm")]
        {
            assert!(!differ(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn words_are_bared() {
        assert_eq!(plain_words("  (C) "), "c");
        assert_eq!(plain_words("An Even  function."), "an even function");
    }
}
