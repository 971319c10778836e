//! Names of keys: which exist, how to set one from the command line, what a misspelt one was meant to be.

use thinktune_method::settings::{SettingError, Values};
use toml::{Table, Value};

use super::error::ConfigError;
use super::sections::{Form, headings};

/// Keys that were called otherwise, with their names of today.
const RENAMED: [(&str, &str); 7] = [
    ("guidance.horizon", "guidance.last_step"),
    ("guidance.off_below", "guidance.min_gamma"),
    ("guidance.starved_steps", "guidance.max_unguided_steps"),
    ("loss.a_range", "loss.advantage_range"),
    ("loss.c1", "loss.c_at_max_advantage"),
    ("loss.c2", "loss.c_at_min_advantage"),
    ("loss.tau", "loss.low_confidence_below"),
];

/// Values that were called otherwise: key, value, and the value of today.
const RENAMED_VALUES: [(&str, &str, &str); 1] = [("data.task", "homework", "word-problems")];

/// Keys that a configuration cannot have, with the reason.
const REFUSED: [(&str, &str); 3] =
    [("rollout.top_k", OFF_POLICY), ("rollout.top_p", OFF_POLICY), ("rollout.min_p", OFF_POLICY)];

const OFF_POLICY: &str = "nothing: training samples from the whole distribution, because it trains on what it sampled \
                          from; `rollout.temperature` is the one way to sharpen it";

/// Dotted names of all keys.
pub fn known_keys() -> Vec<String> {
    headings().into_iter().flat_map(|heading| heading.settings).map(|setting| setting.key).collect()
}

/// Fails on the first key that does not exist.
pub fn check(values: &Values) -> Result<(), ConfigError> {
    let known = known_keys();
    for (shown, value) in leaves("", values.table()) {
        let key = without_indices(&shown);
        if let Some((.., now)) =
            RENAMED_VALUES.iter().find(|(at, old, _)| *at == key && value.as_str() == Some(*old))
        {
            return Err(SettingError::new(shown, value, format!("{now:?}, its name now")).into());
        }
        if known.contains(&key) {
            continue;
        }
        if let Some(heading) = headings().into_iter().find(|heading| heading.name == key) {
            if value.as_table().is_some_and(Table::is_empty) || value.as_array().is_some_and(Vec::is_empty) {
                continue;
            }
            let list = heading.form == Form::List;
            let expected = if list { "a list of sections" } else { "a section of settings" };
            return Err(SettingError::new(shown, value, expected).into());
        }
        if let Some((_, now)) = RENAMED.iter().find(|(old, _)| *old == key) {
            return Err(ConfigError::RenamedKey { key: shown, value: value.to_string(), now });
        }
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == key) {
            return Err(SettingError::new(shown, value, reason).into());
        }
        let nearest = nearest(&key, &known);
        return Err(ConfigError::UnknownKey { key: shown, value: value.to_string(), nearest });
    }
    Ok(())
}

/// Dotted names and values of everything that is no section; an element of a list has its index: `held_out[0].path`.
fn leaves<'a>(prefix: &str, table: &'a Table) -> Vec<(String, &'a Value)> {
    let leaf = |(name, value): (&String, &'a Value)| {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) if !inner.is_empty() => leaves(&format!("{key}."), inner),
            Value::Array(elements) if !elements.is_empty() && elements.iter().all(Value::is_table) => {
                let tables = elements.iter().filter_map(Value::as_table).enumerate();
                tables.flat_map(|(index, inner)| leaves(&format!("{key}[{index}]."), inner)).collect()
            }
            _ => vec![(key, value)],
        }
    };
    table.iter().flat_map(leaf).collect()
}

/// `held_out[0].path` as `held_out.path`.
fn without_indices(key: &str) -> String {
    key.split('.').map(|name| name.split('[').next().unwrap_or(name)).collect::<Vec<_>>().join(".")
}

/// Applies `key.path=value`. The value is TOML, or text where it is not; an empty one removes the key.
pub fn apply(values: &mut Values, assignment: &str) -> Result<(), ConfigError> {
    let bad = || ConfigError::BadOverride(assignment.into());
    let (key, text) = assignment.split_once('=').ok_or_else(bad)?;
    let (key, text) = (key.trim(), text.trim());
    if key.split('.').any(str::is_empty) {
        return Err(bad());
    }
    if text.is_empty() {
        values.remove(key);
    } else if !values.set(key, value_of(text)) {
        return Err(ConfigError::NoSuchSection(assignment.into()));
    }
    Ok(())
}

fn value_of(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.into()))
}

/// The known key spelt most like `key`, if it is at all like it. The right name in the wrong section counts.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let distance = |other: &String| {
        let moved = 1 + strsim::levenshtein(&last(key), &last(other));
        strsim::levenshtein(key, other).min(moved)
    };
    let best = known.iter().min_by_key(|other| distance(other))?;
    (distance(best) <= 2.max(last(key).len() / 3)).then(|| best.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_misplaced_keys_find_their_neighbour() {
        let known = known_keys();
        assert_eq!(nearest("optimizer.learning_rate", &known), None);
        assert_eq!(nearest("rollout.group_sise", &known).as_deref(), Some("rollout.group_size"));
        assert_eq!(nearest("group_size", &known).as_deref(), Some("rollout.group_size"));
        assert_eq!(nearest("loss.lr", &known).as_deref(), Some("optimizer.lr"));
    }

    #[test]
    fn overrides_are_toml_or_text_and_empty_ones_remove() {
        let mut values = Values::from("[run]\nsteps = 3\n".parse::<Table>().unwrap());
        for assignment in ["optimizer.lr=1e-3", "data.task = gsm8k", "run.log_logprobs=true", "run.steps="] {
            apply(&mut values, assignment).unwrap();
        }
        assert_eq!(values.get("optimizer.lr"), Some(&Value::Float(1e-3)));
        assert_eq!(values.get("data.task"), Some(&Value::String("gsm8k".into())));
        assert_eq!(values.get("run.log_logprobs"), Some(&Value::Boolean(true)));
        assert_eq!(values.get("run.steps"), None);
        assert!(apply(&mut values, "lr").is_err() && apply(&mut values, "run.=1").is_err());
    }

    #[test]
    fn names_of_today_are_known_and_those_of_before_are_not() {
        let known = known_keys();
        for (old, now) in RENAMED {
            assert!(known.contains(&now.to_string()) && !known.contains(&old.to_string()), "{old} {now}");
        }
    }

    #[test]
    fn each_key_is_defined_once() {
        let mut known = known_keys();
        let count = known.len();
        known.sort();
        known.dedup();
        assert_eq!(known.len(), count);
    }
}
