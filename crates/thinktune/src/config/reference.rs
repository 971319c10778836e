//! Texts made from the definitions: the reference of all settings, and the record of a run's.

use std::fmt::Write as _;

use thinktune_method::settings::{DefaultValue, Kind, Setting, Values};
use toml::Value;

use super::sections::{Form, Heading, headings};

/// Every setting with its default and meaning: what `thinktune settings` prints.
pub fn reference() -> String {
    let mut text = String::new();
    for heading in headings() {
        if !text.is_empty() {
            text.push('\n');
        }
        let off = if heading.form == Form::Table { "" } else { "#" };
        if !heading.name.is_empty() {
            let _ = writeln!(text, "{off}{}", title(&heading));
        }
        comment(&mut text, &heading.doc);
        text.push('\n');
        for setting in &heading.settings {
            comment(&mut text, &with_names_and_range(setting));
            let (sign, value) = match &setting.default {
                DefaultValue::Value(value) => (off, value),
                DefaultValue::None(example) | DefaultValue::Required(example) => ("#", example),
            };
            let _ = writeln!(text, "{sign}{} = {}", last(&setting.key), shown(value));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "# {line}");
    }
}

/// The lines of a setting with its names or range behind the last, where they fit there.
fn with_names_and_range(setting: &Setting) -> Vec<String> {
    let mut lines = setting.doc.clone();
    match (names_and_range(setting), lines.last_mut()) {
        (Some(text), Some(last)) if last.len() + text.len() < LINE => *last = format!("{last} {text}"),
        (Some(text), _) => lines.push(text),
        (None, _) => {}
    }
    lines
}

/// Longest line of the reference.
const LINE: usize = 116;

/// The names of a choice, unless its lines say them, or the range of a number that has one.
fn names_and_range(setting: &Setting) -> Option<String> {
    if let Kind::Choice(names) = &setting.kind {
        let said = names.iter().all(|name| setting.doc.concat().contains(&format!("\"{name}\"")));
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        return (!said).then(|| format!("One of {}.", names.join(", ")));
    }
    let range = setting.range.to_string();
    let bounded = setting.range != thinktune_method::settings::any();
    let whole = setting.kind == Kind::Integer && range == "at least 1";
    (bounded && !whole).then(|| match setting.kind {
        Kind::Pair => format!("Two numbers {range}."),
        _ => format!("{}{}.", range[..1].to_uppercase(), &range[1..]),
    })
}

/// A configuration as TOML: all of it, or only what differs from the defaults.
pub fn to_toml(values: &Values, all: bool) -> String {
    let mut text = String::new();
    for heading in headings() {
        let tables: Vec<Values> = match values.get(heading.name) {
            Some(Value::Array(elements)) => {
                elements.iter().map(|element| element_of(heading.name, element)).collect()
            }
            _ => vec![values.clone()],
        };
        for table in tables {
            let lines: Vec<String> =
                heading.settings.iter().filter_map(|setting| line(setting, &table, all)).collect();
            if lines.is_empty() {
                continue;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            if !heading.name.is_empty() {
                let _ = writeln!(text, "{}", title(&heading));
            }
            text.push_str(&lines.concat());
        }
    }
    text
}

/// One element of a list, under the name of the list.
pub fn element_of(name: &str, element: &Value) -> Values {
    let mut values = Values::default();
    values.set(name, element.clone());
    values
}

fn line(setting: &Setting, values: &Values, all: bool) -> Option<String> {
    let value = values.get(&setting.key).filter(|value| !value.is_table())?;
    let default = matches!(&setting.default, DefaultValue::Value(default) if default == value);
    (all || !default).then(|| format!("{} = {}\n", last(&setting.key), shown(value)))
}

/// A value as TOML; small numbers as 1e-6.
fn shown(value: &Value) -> String {
    match value {
        Value::Float(number) if number.is_finite() => format!("{number:?}"),
        other => other.to_string(),
    }
}

fn title(heading: &Heading) -> String {
    match heading.form {
        Form::Table | Form::Alternative => format!("[{}]", heading.name),
        Form::List => format!("[[{}]]", heading.name),
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
