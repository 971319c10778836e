//! The JSON schema of a configuration file, for editors: `thinktune settings --json-schema`.

use std::ops::Bound;

use serde_json::{Map, Value, json};
use thinktune_method::settings::{DefaultValue, Kind, Setting};

use super::sections::{Form, Heading, headings};

/// The schema, of draft 2020-12.
pub fn schema() -> Value {
    let mut root = object("Configuration of thinktune train");
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    for heading in headings() {
        let mut section = object(&heading.doc.join("\n"));
        for setting in &heading.settings {
            let name = setting.key.rsplit('.').next().unwrap_or_default();
            let place = if heading.name.is_empty() { &mut root } else { &mut section };
            place["properties"][name] = of_setting(setting);
        }
        place(&mut root, &heading, section);
    }
    root
}

fn object(description: &str) -> Value {
    json!({ "description": description, "type": "object", "properties": {}, "additionalProperties": false })
}

/// Puts a section into the schema of the file.
fn place(root: &mut Value, heading: &Heading, section: Value) {
    if heading.name.is_empty() {
        return;
    }
    let mut parent = root;
    let mut names: Vec<&str> = heading.name.split('.').collect();
    let last = names.pop().unwrap_or_default();
    for name in names {
        parent = &mut parent["properties"][name];
    }
    let slot = &mut parent["properties"][last];
    *slot = match (heading.form, heading.name) {
        (Form::List, _) => json!({ "type": "array", "items": section, "minItems": 1 }),
        (Form::Alternative, _) => either(slot.take(), section),
        (Form::Table, "guidance.gamma") => either(section["properties"]["start"].clone(), section),
        (Form::Table, _) => section,
    };
}

/// A value or a section: `gamma = 0.25`, `teacher = "initial"`.
fn either(value: Value, section: Value) -> Value {
    let description = value["description"].clone();
    json!({ "description": description, "anyOf": [value, section] })
}

fn of_setting(setting: &Setting) -> Value {
    let mut schema = Map::new();
    schema.insert("description".into(), setting.doc.join("\n").into());
    match &setting.kind {
        Kind::Integer => of_number(&mut schema, setting, "integer"),
        Kind::Number => of_number(&mut schema, setting, "number"),
        Kind::Pair => {
            let mut items = Map::new();
            of_number(&mut items, setting, "number");
            schema.insert("type".into(), "array".into());
            schema.insert("items".into(), items.into());
            schema.insert("minItems".into(), 2.into());
            schema.insert("maxItems".into(), 2.into());
        }
        Kind::Text => {
            schema.insert("type".into(), "string".into());
        }
        Kind::Boolean => {
            schema.insert("type".into(), "boolean".into());
        }
        Kind::Choice(names) => {
            schema.insert("enum".into(), json!(names));
        }
    }
    let json = |value: &toml::Value| serde_json::to_value(value).unwrap_or_default();
    match &setting.default {
        DefaultValue::Value(default) => schema.insert("default".into(), json(default)),
        DefaultValue::None(example) | DefaultValue::Required(example) => {
            schema.insert("examples".into(), json!([json(example)]))
        }
    };
    schema.into()
}

fn of_number(schema: &mut Map<String, Value>, setting: &Setting, kind: &str) {
    schema.insert("type".into(), kind.into());
    let number = |bound: f64| if kind == "integer" { json!(bound as i64) } else { json!(bound) };
    match setting.range.low {
        Bound::Included(low) => schema.insert("minimum".into(), number(low)),
        Bound::Excluded(low) => schema.insert("exclusiveMinimum".into(), number(low)),
        Bound::Unbounded if kind == "integer" => schema.insert("minimum".into(), 0.into()),
        Bound::Unbounded => None,
    };
    match setting.range.high {
        Bound::Included(high) => schema.insert("maximum".into(), number(high)),
        Bound::Excluded(high) => schema.insert("exclusiveMaximum".into(), number(high)),
        Bound::Unbounded => None,
    };
}
