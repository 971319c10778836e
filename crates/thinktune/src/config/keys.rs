//! Names of keys: which exist, how to set one from the command line, what a misspelt one was meant to be.

use toml::{Table, Value};

use super::ConfigError;

/// Every key with its default and what it means: what `thinktune settings` prints.
pub const REFERENCE: &str = include_str!("reference.toml");

/// Dotted names of all keys, in the order of [`REFERENCE`].
pub fn known_keys() -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in REFERENCE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        }
        let name = line.trim_start_matches('#').split_once(" = ").map(|(name, _)| name);
        let is_key = |name: &&str| {
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b))
        };
        keys.extend(name.filter(is_key).map(|name| format!("{section}{name}")));
    }
    keys
}

/// Keys whose value may be a table, which judges its own keys.
const TABLES: [&str; 1] = ["guidance.teacher."];

/// Fails on the first key that does not exist.
pub fn check(table: &Table) -> Result<(), ConfigError> {
    let known = known_keys();
    for (key, value) in leaves("", table) {
        let section = format!("{key}.");
        let exists = |name: &String| *name == key || name.starts_with(&section);
        let within = TABLES.iter().any(|table| key.starts_with(table));
        if !within && !known.iter().any(exists) {
            let nearest = nearest(&key, &known);
            return Err(ConfigError::UnknownKey { key, value: value.to_string(), nearest });
        }
    }
    Ok(())
}

/// Dotted names and values of everything that is no section.
fn leaves<'a>(prefix: &str, table: &'a Table) -> Vec<(String, &'a Value)> {
    let leaf = |(name, value): (&String, &'a Value)| {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) if !inner.is_empty() => leaves(&format!("{key}."), inner),
            _ => vec![(key, value)],
        }
    };
    table.iter().flat_map(leaf).collect()
}

/// Applies `key.path=value`. The value is TOML, or text where it is not; an empty one removes the key.
pub fn apply(table: &mut Table, assignment: &str) -> Result<(), ConfigError> {
    let bad = || ConfigError::BadOverride(assignment.into());
    let (key, text) = assignment.split_once('=').ok_or_else(bad)?;
    let (key, text) = (key.trim(), text.trim());
    let mut path: Vec<&str> = key.split('.').collect();
    let last = path.pop().filter(|name| !name.is_empty()).ok_or_else(bad)?;
    let mut place = table;
    for name in path {
        let entry = place.entry(name).or_insert_with(|| Value::Table(Table::new()));
        if !entry.is_table() {
            *entry = Value::Table(Table::new());
        }
        place = entry.as_table_mut().ok_or_else(bad)?;
    }
    if text.is_empty() {
        place.remove(last);
    } else {
        place.insert(last.into(), value_of(text));
    }
    Ok(())
}

fn value_of(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    parsed.unwrap_or_else(|| Value::String(text.into()))
}

/// The value at a dotted key.
pub fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    rest.map_or(Some(value), |rest| value.as_table().and_then(|inner| lookup(inner, rest)))
}

/// The known key spelt most like `key`, if it is at all like it. The right name in the wrong section counts.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let distance = |other: &String| {
        let moved = 1 + edits(&last(key), &last(other));
        edits(key, other).min(moved)
    };
    let best = known.iter().min_by_key(|other| distance(other))?;
    (distance(best) <= 2.max(last(key).len() / 3)).then(|| best.clone())
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_at_most_sixty_settings() {
        let keys = known_keys();
        assert!(keys.len() <= 60, "{} settings", keys.len());
        assert!(keys.contains(&"guidance.gamma.start".to_string()) && keys.contains(&"method".to_string()));
    }

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
        let mut table: Table = "[run]\nsteps = 3\n".parse().unwrap();
        for assignment in ["optimizer.lr=1e-3", "data.task = gsm8k", "run.log_logprobs=true", "run.steps="] {
            apply(&mut table, assignment).unwrap();
        }
        assert_eq!(lookup(&table, "optimizer.lr"), Some(&Value::Float(1e-3)));
        assert_eq!(lookup(&table, "data.task"), Some(&Value::String("gsm8k".into())));
        assert_eq!(lookup(&table, "run.log_logprobs"), Some(&Value::Boolean(true)));
        assert_eq!(lookup(&table, "run.steps"), None);
        assert!(apply(&mut table, "lr").is_err() && apply(&mut table, "run.=1").is_err());
    }
}
