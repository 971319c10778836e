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
        if heading.name.is_empty() {
            text.push('\n');
        }
        for setting in &heading.settings {
            let doc = setting.doc.clone();
            comment(&mut text, &doc);
            if let Some(line) = names_and_range(setting) {
                comment(&mut text, &[line]);
            }
            let (sign, value) = match &setting.default {
                DefaultValue::Value(value) => (off, value),
                DefaultValue::None(example) | DefaultValue::Required(example) => ("#", example),
            };
            let _ = writeln!(text, "{sign}{} = {value}", last(&setting.key));
        }
    }
    text
}

fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "# {line}");
    }
}

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
    (all || !default).then(|| format!("{} = {value}\n", last(&setting.key)))
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
