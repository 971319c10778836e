//! Harmless re-spellings of an answer, made from its text alone: what is written changes, what is said does not.

use thinktune_tasks::grading::AnswerKind;

use super::mutations::{Shape, interval, shape, split};

/// Other spellings of a gold answer.
pub fn of(gold: &str, kind: AnswerKind) -> Vec<String> {
    let mut all = plain_numbers(gold);
    if kind == AnswerKind::Math {
        all.extend(latex(gold));
        all.extend(reordered(gold));
        all.extend(said_otherwise(gold));
    } else {
        all.extend(["x = ", "\\$", "$"].map(|before| format!("{before}{gold}")));
        all.extend([" dollars", "\\text{ eggs}", "%", "\\%", "."].map(|after| format!("{gold}{after}")));
    }
    all.retain(|spelling| spelling != gold);
    all
}

/// Numbers with other separators, zeros and notations.
fn plain_numbers(gold: &str) -> Vec<String> {
    let text = gold.replace(",\\! ", "").replace(",\\!", "").replace("\\$", "");
    let text = if is_grouped(&text) { text.replace(',', "") } else { text };
    let mut all = Vec::new();
    if let Ok(value) = text.parse::<i64>() {
        let (sign, digits) = (if value < 0 { "-" } else { "" }, value.abs().to_string());
        for separator in ["", ",", "{,}", ",\\!", ",\\! "] {
            let text = format!("{sign}{}", with_separator(&digits, separator));
            // outside of formulas only the comma separates
            if separator.len() < 2 || gold.contains('\\') || digits.len() > 3 {
                all.push(text);
            }
        }
        all.retain(|text| !text.contains("\\!"));
        all.extend([
            format!("{value}.0"),
            format!("{value}.00"),
            format!("+{digits}").replace("+", if value < 0 { "-" } else { "+" }),
        ]);
        all.push(format!("${value}$"));
        all.push(format!("{}/2", 2 * value));
        all.push(format!("\\frac{{{}}}{{3}}", 3 * value));
        all.push(format!("{value}").replace('-', "\u{2212}"));
    }
    if let Some((whole, part)) =
        text.split_once('.').filter(|(whole, part)| is_digits(&format!("{whole}{part}")))
    {
        let whole = if whole.is_empty() { "0" } else { whole };
        all.extend([
            format!("{whole}.{part}"),
            format!("{whole}.{part}0"),
            format!(".{part}").replacen('.', &format!("{whole}."), 1),
        ]);
        all.push(format!("\\frac{{{}{part}}}{{1{}}}", whole.trim_start_matches('0'), "0".repeat(part.len())));
    }
    all
}

/// The same LaTeX in other dress.
fn latex(gold: &str) -> Vec<String> {
    let mut all = vec![
        format!("${gold}$"),
        format!("$${gold}$$"),
        format!("\\({gold}\\)"),
        format!(" {gold} "),
        format!("{gold}."),
        format!("\\displaystyle {gold}"),
        format!("{{{gold}}}"),
        gold.replace("\\frac", "\\dfrac").replace("\\ddfrac", "\\dfrac"),
        gold.replace("\\dfrac", "\\frac").replace("\\frac", "\\tfrac"),
        gold.replace("\\left", "").replace("\\right", ""),
        bracketed(gold, "\\left", "\\right"),
        bracketed(gold, "\\bigl", "\\bigr"),
        spaced(gold, " "),
        spaced(gold, "\\,"),
        spaced(gold, "\\; "),
        without_spaces(gold),
        braced_arguments(gold),
        gold.replace("\\circ", "\\circ ").replace("^\\circ", "^{\\circ}"),
        gold.replace("^\\circ", "\u{b0}"),
        gold.replace("\\pi", "\u{3c0}"),
        gold.replace('-', "\u{2212}"),
        gold.replace("pmatrix", "bmatrix"),
        gold.replace("\\sqrt", "\\cdot\\sqrt"),
        gold.replace("\\text{", "\\textbf{").replace("\\mbox{", "\\text{"),
        gold.replace("\\text{", "\\mathrm{"),
        gold.replace("\\pm", "\u{b1}"),
        gold.replace("\\cup", "\u{222a}").replace("\\infty", "\u{221e}"),
    ];
    // a product sign needs a factor before it
    all.retain(|text| {
        !["\\cdot", "{\\cdot", "(\\cdot", "+\\cdot"].iter().any(|bad| text.contains(bad))
            || follows_digit(text)
    });
    all
}

/// Returns whether every product sign stands behind a digit.
fn follows_digit(text: &str) -> bool {
    text.match_indices("\\cdot")
        .all(|(at, _)| text[..at].trim_end().ends_with(|before: char| before.is_ascii_digit()))
}

/// Lists, sets and unions from behind; sums from behind.
fn reordered(gold: &str) -> Vec<String> {
    let backwards = |text: &str, separator: &str| {
        let mut items = split(text, separator);
        items.reverse();
        items.join(separator.trim())
    };
    match shape(gold) {
        Shape::List(_) => {
            let items = split(gold, ",");
            let mut all = vec![
                backwards(gold, ","),
                format!("\\{{{gold}\\}}"),
                items.join(" and "),
                items.join(" \\text{ or } "),
            ];
            all.push(items.iter().map(|item| format!("x = {item}")).collect::<Vec<_>>().join(", "));
            all
        }
        Shape::Set(inside) => {
            vec![format!("\\{{{}\\}}", backwards(&inside, ",")), backwards(&inside, ","), inside]
        }
        Shape::Union(_) => vec![backwards(gold, "\\cup")],
        _ => Vec::new(),
    }
}

/// The same by other means: decimals, names, inequalities, words without their dress.
fn said_otherwise(gold: &str) -> Vec<String> {
    let mut all = Vec::new();
    match shape(gold) {
        Shape::Scalar if is_grouped(gold) => all.push(format!("x = {gold}")),
        Shape::Scalar => {
            all.push(format!("x = {gold}"));
            all.push(format!("({gold})"));
            all.push(format!("\\left({gold}\\right) + 0"));
            all.push(format!("\\frac{{{gold}}}{{1}}"));
            all.extend(decimal(gold));
            if let Some((before, after)) = gold.split_once("\\pm") {
                all.push(format!("{before}+{after}, {before}-{after}"));
                all.push(format!("{before}-{after} \\text{{ and }} {before}+{after}"));
            }
            if let Some(value) = gold.strip_suffix("^\\circ") {
                all.extend([
                    value.to_string(),
                    format!("{value} degrees"),
                    format!("{value}\\text{{ degrees}}"),
                ]);
            }
            for unit in ["\\text", "\\mbox"] {
                all.extend(gold.split_once(unit).map(|(value, _)| value.trim().to_string()));
            }
        }
        Shape::Words(word) => {
            all.extend([
                word.clone(),
                word.to_uppercase(),
                format!("\\text{{{word}}}"),
                format!("\\textbf{{{word}}}"),
            ]);
        }
        Shape::Option(letter) => {
            all.extend([
                format!("{letter}"),
                format!("({letter})"),
                format!("\\textbf{{({letter})}}"),
                format!("\\text{{{letter}}}"),
            ]);
        }
        Shape::Equation(_, right) => {
            all.extend(
                gold.split_once('=').filter(|_| right != "0").map(|(left, right)| format!("{right}={left}")),
            );
            all.extend((right != "0").then_some(right));
        }
        Shape::Tuple(open, items, close) => all.extend(interval(gold).map(|_| {
            let sign = |closed: bool| if closed { "\\le" } else { "<" };
            let ends = (items[0].contains("\\infty"), items[1].contains("\\infty"));
            match ends {
                (true, _) => format!("x {} {}", sign(close == ']'), items[1]),
                (_, true) => format!("{} {} x", items[0], sign(open == '[')),
                _ => format!("{} {} x {} {}", items[0], sign(open == '['), sign(close == ']'), items[1]),
            }
        })),
        Shape::Member(set) => all.push(set),
        Shape::Numeral(digits, base) => {
            all.extend([format!("{digits}_{{{base}}}"), format!("{digits}_{base}"), digits])
        }
        _ => {}
    }
    all
}

/// A fraction of integers as a decimal where that is exact, and with a slash.
fn decimal(gold: &str) -> Vec<String> {
    let braced = braced_arguments(gold);
    let (sign, rest) = match braced.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", braced.as_str()),
    };
    let Some(rest) = rest.replace("\\dfrac", "\\frac").strip_prefix("\\frac{").map(str::to_string) else {
        return Vec::new();
    };
    let Some((above, below)) = rest.strip_suffix('}').and_then(|rest| rest.split_once("}{")) else {
        return Vec::new();
    };
    let (Ok(above), Ok(below)) = (above.parse::<u64>(), below.parse::<u64>()) else { return Vec::new() };
    let mut all =
        vec![format!("{sign}{above}/{below}"), format!("{sign}\\frac{{{}}}{{{}}}", 7 * above, 7 * below)];
    if let Some(power) = (1..9).find(|&power| 10u64.pow(power) % below == 0) {
        let value = above * (10u64.pow(power) / below);
        let (whole, part) = (value / 10u64.pow(power), value % 10u64.pow(power));
        all.push(format!("{sign}{whole}.{part:0width$}", width = power as usize));
    }
    if above > below {
        all.push(format!("{sign}{}\\frac{{{}}}{{{below}}}", above / below, above % below));
        all.push(format!("{sign}{} {}/{below}", above / below, above % below));
    }
    all
}

/// `\frac43` and `\sqrt2` with braces around their arguments.
fn braced_arguments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\frac").or_else(|| rest.find("\\sqrt")) {
        let arguments = if rest[at..].starts_with("\\frac") { 2 } else { 1 };
        out.push_str(&rest[..at + 5]);
        rest = &rest[at + 5..];
        for _ in 0..arguments {
            rest = rest.trim_start();
            let group = rest.strip_prefix('{').and_then(|inside| Some(&rest[..inside.find('}')? + 2]));
            match group {
                Some(group) if !group[1..].contains('{') => {
                    out.push_str(group);
                    rest = &rest[group.len()..];
                }
                Some(_) => return text.to_string(),
                None if rest.starts_with(|first: char| first.is_ascii_digit()) => {
                    out.push_str(&format!("{{{}}}", &rest[..1]));
                    rest = &rest[1..];
                }
                None => return text.to_string(),
            }
        }
    }
    out + rest
}

/// Brackets with commands before them.
fn bracketed(text: &str, open: &str, close: &str) -> String {
    if text.contains("\\text") {
        return text.to_string();
    }
    let mut out = String::new();
    for (at, sign) in text.char_indices() {
        let sized =
            text[..at].ends_with("left") || text[..at].ends_with("right") || text[..at].ends_with('\\');
        match sign {
            '(' | '[' if !sized => out.push_str(open),
            ')' | ']' if !sized => out.push_str(close),
            _ => {}
        }
        out.push(sign);
    }
    out
}

/// Space around signs, words left alone.
fn spaced(text: &str, space: &str) -> String {
    if text.contains("\\text") || text.contains("\\mbox") || is_grouped(text) || text.contains("\\!") {
        return text.to_string();
    }
    let mut out = String::new();
    for sign in text.chars() {
        match sign {
            '+' | '=' | ',' => out.push_str(&format!("{space}{sign}{space}")),
            _ => out.push(sign),
        }
    }
    out
}

/// No space where none is needed: one between a command and a letter is.
fn without_spaces(text: &str) -> String {
    if text.contains("\\text") || text.contains("\\mbox") || mixed(text) {
        return text.to_string();
    }
    let mut out = String::new();
    for (at, sign) in text.char_indices() {
        let letter_next = text[at + sign.len_utf8()..].starts_with(|next: char| next.is_alphabetic());
        let grouped = text[at + sign.len_utf8()..].starts_with(|next: char| next.is_ascii_digit())
            && out.ends_with(',');
        if sign != ' ' || letter_next || grouped {
            out.push(sign);
        }
    }
    out
}

/// Returns whether a space separates a whole number from its fraction in digits.
fn mixed(text: &str) -> bool {
    text.contains('/') && text.contains(' ')
}

fn with_separator(digits: &str, separator: &str) -> String {
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push_str(separator);
        }
        out.push(digit);
    }
    out
}

pub fn is_grouped(text: &str) -> bool {
    let mut groups = text.trim_start_matches('-').split(',');
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    !rest.is_empty()
        && is_digits(first)
        && first.len() <= 3
        && rest.iter().all(|group| group.len() == 3 && is_digits(group))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
