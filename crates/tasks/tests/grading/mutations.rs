//! Answers changed in a way that matters, made from the text of the gold answer alone.

use thinktune_tasks::grading::AnswerKind;

use super::spellings::is_grouped;

/// The kind of an answer, judged by its text.
#[derive(Debug)]
pub enum Shape {
    Scalar,
    Words(String),
    Option(char),
    Equation(String, String),
    Member(String),
    Tuple(char, Vec<String>, char),
    List(Vec<String>),
    Set(String),
    Union(Vec<String>),
    Matrix(Vec<String>),
    Numeral(String, String),
}

/// Changed answers, none of which says what the gold answer says.
pub fn of(gold: &str, kind: AnswerKind) -> Vec<String> {
    let mut all = match kind {
        AnswerKind::Math => changed(gold),
        _ => numbers(gold),
    };
    all.sort();
    all.dedup();
    all.retain(|text| text != gold);
    all
}

pub fn shape(gold: &str) -> Shape {
    let text = gold.replace("\\left", "").replace("\\right", "");
    let inside = text.strip_prefix("\\text{").and_then(|rest| rest.strip_suffix('}'));
    if let Some(word) = inside {
        return match word.strip_prefix('(').and_then(|rest| rest.chars().next()) {
            Some(letter) => Shape::Option(letter),
            None => Shape::Words(word.trim().into()),
        };
    }
    if let Some((digits, base)) = text.split_once('_') {
        return Shape::Numeral(digits.into(), base.trim_matches(['{', '}']).into());
    }
    if let Some((_, set)) = text.split_once("\\in ") {
        return Shape::Member(set.trim().into());
    }
    if let Some((left, right)) = text.split_once('=') {
        return Shape::Equation(left.trim().into(), right.trim().into());
    }
    if text.contains("\\cup") {
        return Shape::Union(split(&text, "\\cup"));
    }
    if let Some(body) =
        text.strip_prefix("\\begin{pmatrix}").and_then(|rest| rest.strip_suffix("\\end{pmatrix}"))
    {
        return Shape::Matrix(body.split("\\\\").map(|row| row.trim().to_string()).collect());
    }
    if let Some(inside) = text.strip_prefix("\\{").and_then(|rest| rest.strip_suffix("\\}")) {
        return Shape::Set(inside.into());
    }
    let (open, close) = (text.chars().next().unwrap_or(' '), text.chars().next_back().unwrap_or(' '));
    if "([".contains(open) && ")]".contains(close) {
        let items = split(&text[1..text.len() - 1], ",");
        if items.len() > 1 {
            return Shape::Tuple(open, items, close);
        }
    }
    let plain = gold.replace("\\$", "");
    if split(&plain, ",").len() > 1 && !is_grouped(&plain) && !plain.contains("\\!") {
        return Shape::List(split(&plain, ","));
    }
    Shape::Scalar
}

/// Parts of a text between separators that are not in brackets.
pub fn split(text: &str, separator: &str) -> Vec<String> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0i32, 0);
    for (at, sign) in text.char_indices() {
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && at >= start && text[at..].starts_with(separator) {
            parts.push(text[start..at].trim().to_string());
            start = at + separator.len();
        }
    }
    parts.push(text[start..].trim().to_string());
    parts
}

/// The gold answer as an interval: two ends, and brackets or an infinity that only an interval has.
pub fn interval(gold: &str) -> Option<()> {
    match shape(gold) {
        Shape::Tuple(open, items, close) => {
            (items.len() == 2 && (open == '[' || close == ']' || gold.contains("\\infty"))).then_some(())
        }
        _ => None,
    }
}

fn changed(gold: &str) -> Vec<String> {
    let mut all: Vec<String> = WORDS.iter().map(|word| format!("\\text{{{word}}}")).take(2).collect();
    match shape(gold) {
        Shape::Scalar if is_grouped(gold) => all.extend(scalars(&gold.replace(',', ""), true)),
        Shape::Scalar => all.extend(scalars(gold, true)),
        Shape::Words(word) => all.extend(words(&word)),
        Shape::Option(letter) => all.extend(options(letter)),
        Shape::Equation(left, right) => {
            all.extend(
                scalars(&right, right != "0")
                    .into_iter()
                    .filter(|text| !text.contains("x ="))
                    .map(|right| format!("{left} = {right}")),
            );
            if right != "0" {
                all.extend([format!("{right} + 1"), format!("-({right})")]);
            }
            all.extend(numbers_in(gold));
        }
        Shape::Member(set) => all.extend(
            changed(&set)
                .into_iter()
                .filter(|text| !text.contains("\\text"))
                .map(|set| format!("x \\in {set}")),
        ),
        Shape::Tuple(open, items, close) => all.extend(tuples(open, &items, close)),
        Shape::List(items) => all.extend(lists(&items, "", "")),
        Shape::Set(inside) => all.extend(lists(&split(&inside, ","), "\\{", "\\}")),
        Shape::Union(parts) => all.extend(unions(&parts)),
        Shape::Matrix(rows) => all.extend(matrices(&rows)),
        Shape::Numeral(digits, base) => all.extend(numerals(&digits, &base)),
    }
    all
}

/// Another value; `scales` where the value is not zero.
fn scalars(gold: &str, scales: bool) -> Vec<String> {
    let zero = gold == "0";
    let mut all: Vec<String> = [
        "(G)+1",
        "(G)-1",
        "(G)+2",
        "(G)-10",
        "(G)+\\frac{1}{1000}",
        "(G)+10^{-12}",
        "(G)+0.5",
        "(G)+\\pi",
        "(G)+i",
        "(G)+\\sqrt{2}",
        "(G)+x_9",
        "G, (G)+1",
        "(G)+1, G",
        "G \\text{ or } 987",
        "\\{G, 987\\}",
        "(G, G)",
        "[G, 987]",
        "x > G",
        "x \\le G",
        "x = 987 = G",
        "987",
        "\\infty",
        "\\emptyset",
        "(G)^2+(G)+987",
    ]
    .iter()
    .map(|form| form.replace('G', gold))
    .collect();
    if scales && !zero {
        let forms =
            ["-(G)", "2(G)", "\\frac{G}{2}", "(G)\\cdot 1.0001", "\\sqrt{2}(G)", "\\pi(G)", "10(G)", "i(G)"];
        all.extend(forms.iter().map(|form| form.replace('G', gold)));
    }
    all.extend(numbers_in(gold));
    all
}

/// The gold text with one of its numbers changed.
fn numbers_in(gold: &str) -> Vec<String> {
    let mut all = Vec::new();
    let bytes = gold.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        // a group of digits that is a number of its own: arguments without braces are single digits
        if length > 0 && length < 9 {
            let value: u64 = gold[at..at + length].parse().unwrap();
            let before = gold[..at].trim_end();
            let part = before.ends_with(['.', ',']) || before.ends_with("\\!");
            // an argument without braces is one digit, and must stay one
            let argument = before.ends_with("frac") || before.ends_with('}');
            if !part && (!argument || length == 1 && value < 8) {
                all.push(format!("{}{}{}", &gold[..at], value + 1, &gold[at + length..]));
                all.push(format!("{}{}{}", &gold[..at], value + 2, &gold[at + length..]));
            }
        }
        at += length.max(1);
    }
    all.retain(|text| !text.contains("frac10") && !text.contains("frac11"));
    all
}

const WORDS: &[&str] = &[
    "none",
    "undefined",
    "west",
    "north",
    "odd",
    "never",
    "circle",
    "hyperbola",
    "parabola",
    "line",
    "Alice",
    "Bob",
    "Evelyn Briana",
    "yes",
    "no",
    "both",
    "neither",
    "point",
    "two lines",
    "seven",
    "Monday",
    "red",
    "up",
];

fn words(gold: &str) -> Vec<String> {
    let mut all: Vec<String> =
        WORDS.iter().filter(|word| !word.eq_ignore_ascii_case(gold)).map(|word| word.to_string()).collect();
    all.extend([
        format!("{gold} or none"),
        format!("not {gold}"),
        format!("{gold}s"),
        gold[1..].to_string(),
        format!("{gold}, west"),
    ]);
    all.extend([gold.chars().rev().collect(), format!("\\text{{{gold}}} \\text{{ and }} \\text{{red}}")]);
    all
}

fn options(gold: char) -> Vec<String> {
    let others: Vec<char> = ('A'..='H').filter(|letter| *letter != gold).collect();
    let mut all: Vec<String> = others.iter().map(|letter| format!("\\text{{({letter})}}")).collect();
    all.extend(others.iter().map(|letter| format!("({gold}), ({letter})")));
    all.extend(others.iter().map(|letter| format!("{letter} or {gold}")));
    all.extend(others.iter().map(char::to_string));
    all.retain(|text| !text.contains("none"));
    all
}

/// One entry changed, by hand where it is infinite.
fn entry_changes(item: &str) -> Vec<String> {
    if item.contains("\\infty") {
        let other = if item.starts_with('-') { "\\infty".to_string() } else { format!("-{item}") };
        return vec![other, "987".into(), "-987".into(), "0.001".into(), "\\pi".into(), "-\\pi^2".into()];
    }
    let mut all: Vec<String> = ["(G)+1", "(G)-1", "(G)+0.001", "(G)+\\sqrt2", "987", "(G)-\\pi"]
        .iter()
        .map(|form| form.replace('G', item))
        .collect();
    if item != "0" {
        all.extend([format!("-({item})"), format!("2({item})")]);
    }
    all
}

/// The items with one of them changed, in every way.
fn with_one_changed(items: &[String]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for (at, item) in items.iter().enumerate() {
        for change in entry_changes(item) {
            let mut items = items.to_vec();
            items[at] = change;
            all.push(items);
        }
    }
    all
}

fn tuples(open: char, items: &[String], close: char) -> Vec<String> {
    let written = |open: char, items: &[String], close: char| format!("{open}{}{close}", items.join(", "));
    let mut all: Vec<String> =
        with_one_changed(items).iter().map(|items| written(open, items, close)).collect();
    let (other_open, other_close) =
        (if open == '(' { '[' } else { '(' }, if close == ')' { ']' } else { ')' });
    all.extend([
        written(other_open, items, close),
        written(open, items, other_close),
        written(other_open, items, other_close),
    ]);
    let mut swapped = items.to_vec();
    swapped.swap(0, 1);
    if swapped[0] != swapped[1] {
        all.push(written(open, &swapped, close));
        all.push(swapped.join(", "));
    }
    all.push(written(open, &[items, &["987".to_string()]].concat(), close));
    all.push(format!("\\{{{}\\}}", items.join(", ")));
    all.push(items[0].clone());
    all.push(format!("{} \\cup (986, 987)", written(open, items, close)));
    all.push(format!("{}, {}", written(open, items, close), written(open, items, close)));
    all
}

fn lists(items: &[String], open: &str, close: &str) -> Vec<String> {
    let written = |items: &[String]| format!("{open}{}{close}", items.join(", "));
    let mut all: Vec<String> = with_one_changed(items).iter().map(|items| written(items)).collect();
    for at in 0..items.len() {
        let mut fewer = items.to_vec();
        fewer.remove(at);
        all.push(written(&fewer));
    }
    all.push(written(&[items, &["987".to_string()]].concat()));
    all.push(written(&[items, items].concat()));
    all.push(format!("[{}]", items.join(", ")));
    all.push(format!("{} \\text{{ or }} 987", items.join(", ")));
    all
}

fn unions(parts: &[String]) -> Vec<String> {
    let mut all: Vec<String> = parts.to_vec();
    all.push(parts.join(" \\cap "));
    all.push(format!("{} \\cup (986, 987)", parts.join(" \\cup ")));
    for (at, part) in parts.iter().enumerate() {
        let Shape::Tuple(open, items, close) = shape(part) else { continue };
        for change in tuples(open, &items, close)
            .into_iter()
            .filter(|text| text.starts_with(['(', '[']) && !text.contains("cup"))
        {
            let mut parts = parts.to_vec();
            parts[at] = change;
            all.push(parts.join(" \\cup "));
        }
    }
    all
}

fn matrices(rows: &[String]) -> Vec<String> {
    let written = |rows: &[String]| format!("\\begin{{pmatrix}} {} \\end{{pmatrix}}", rows.join(" \\\\ "));
    let cells: Vec<Vec<String>> = rows.iter().map(|row| split(row, "&")).collect();
    let mut all = Vec::new();
    for (at, row) in cells.iter().enumerate() {
        for row in with_one_changed(row) {
            let mut rows = rows.to_vec();
            rows[at] = row.join(" & ");
            all.push(written(&rows));
        }
    }
    let mut backwards = rows.to_vec();
    backwards.reverse();
    if backwards != rows {
        all.push(written(&backwards));
    }
    all.push(written(&rows[1..]));
    all.push(written(&[rows, &rows[..1]].concat()));
    if cells.iter().all(|row| row.len() == 1) {
        all.push(format!("\\begin{{pmatrix}} {} \\end{{pmatrix}}", rows.join(" & ")));
    }
    all
}

/// Another numeral of the base, or another base; digits stay valid.
fn numerals(digits: &str, base: &str) -> Vec<String> {
    let radix: u32 = base.parse().unwrap();
    let mut all = Vec::new();
    for at in 0..digits.len() {
        for digit in 0..radix {
            let mut other = digits.to_string();
            other.replace_range(at..at + 1, &digit.to_string());
            if at > 0 || digit > 0 {
                all.push(format!("{other}_{base}"));
                all.push(other);
            }
        }
    }
    all.retain(|text| text != digits && *text != format!("{digits}_{base}"));
    for other in [10, 11, 12, 16] {
        all.push(format!("{digits}_{{{other}}}"));
    }
    all.push(u64::from_str_radix(digits, radix).unwrap().to_string());
    all.extend([format!("-{digits}_{base}"), format!("{digits}, {digits}1"), format!("{digits}0_{base}")]);
    all
}

/// Another number as GSM8K's answers are written.
fn numbers(gold: &str) -> Vec<String> {
    let value: i64 = gold.replace(',', "").parse().unwrap();
    let mut all: Vec<String> = [1, -1, 2, -2, 3, 10, -10, 100, -100, 1000, 7, 11, -5, 13, 17]
        .iter()
        .map(|change| (value + change).to_string())
        .collect();
    all.extend([format!("{value}.5"), format!("{value}.01"), format!("{value}1/7"), format!("{value}1")]);
    all.extend([
        format!("{value}, {}", value + 1),
        format!("{value} or {}", value + 1),
        format!("{}, {value}", value + 1),
    ]);
    all.extend([format!("{value} + 1"), format!("1{}", value.abs())]);
    if value != 0 {
        all.extend([format!("{}", -value), format!("{}", 2 * value), format!("{}", 10 * value)]);
    }
    all
}
