//! The held-out sets of a run.

use std::path::{Path, PathBuf};

use thinktune_method::settings::{Section, SettingError, Values, dotted};
use thinktune_policy::Sampling;
use thinktune_tasks::benchmarks::{self, Source};
use toml::Value;

use super::refuse::ensure;
use super::types::HeldOut;
use crate::config::{HeldOutSettings, element_of};

/// Fills in and checks the held-out sets. Those without `run.eval_every`, and the reverse, are errors: something
/// would be silently left undone.
///
/// # Errors
/// The first setting that cannot be used.
pub fn resolve(values: &mut Values, max_tokens: usize) -> anyhow::Result<Vec<HeldOut>> {
    let every = values.get("run.eval_every").cloned();
    let Some(sets) = values.remove(HeldOutSettings::NAME) else {
        let expected = "nothing where there is no [[held_out]] set to evaluate on";
        return match every {
            Some(every) => Err(SettingError::new("run.eval_every", every, expected).into()),
            None => Ok(Vec::new()),
        };
    };
    let expected = "the steps between evaluations on the held-out sets";
    ensure(every.is_some(), "run.eval_every", "(not set)", expected)?;
    let sets = sets.as_array().cloned().unwrap_or_default();
    ensure(!sets.is_empty(), "held_out", "[]", "at least one set")?;
    let training = values.get("data.path").and_then(Value::as_str).map(PathBuf::from);
    let mut resolved = Vec::new();
    let mut record = Vec::new();
    for (index, set) in sets.iter().enumerate() {
        let mut set = element_of(HeldOutSettings::NAME, set);
        let named = |error: SettingError| SettingError {
            key: error.key.replacen(HeldOutSettings::NAME, &format!("{}[{index}]", HeldOutSettings::NAME), 1),
            ..error
        };
        let held_out = resolve_set(&mut set, max_tokens).map_err(named)?;
        if let (Some(path), Some(training)) = (&held_out.path, training.as_deref()) {
            refuse_training_file(path, training).map_err(named)?;
        }
        resolved.push(held_out);
        record.extend(set.remove(HeldOutSettings::NAME));
    }
    values.set(HeldOutSettings::NAME, Value::Array(record));
    Ok(resolved)
}

/// Refuses a held-out file that is the training file, by another name or as a copy: its accuracy would be that on
/// questions trained on.
fn refuse_training_file(path: &Path, training: &Path) -> Result<(), SettingError> {
    let same = match (path.canonicalize(), training.canonicalize()) {
        (Ok(path), Ok(training)) if path == training => Some("the same file"),
        _ if is_copy(path, training) => Some("a copy of it"),
        _ => None,
    };
    let Some(same) = same else { return Ok(()) };
    let expected = format!(
        "questions that are not trained on; data.path = {:?} is {same}",
        training.display().to_string()
    );
    Err(SettingError::new("held_out.path", format!("{:?}", path.display().to_string()), expected))
}

/// Returns whether two files hold the same bytes. Files that cannot be read are judged when they are loaded.
fn is_copy(a: &Path, b: &Path) -> bool {
    let length = |path: &Path| std::fs::metadata(path).map(|data| data.len()).ok();
    let equal_lengths = length(a).is_some_and(|bytes| bytes > 0 && Some(bytes) == length(b));
    equal_lengths
        && std::fs::read(a).ok().is_some_and(|bytes| std::fs::read(b).is_ok_and(|other| other == bytes))
}

fn resolve_set(values: &mut Values, max_tokens: usize) -> Result<HeldOut, SettingError> {
    let settings = HeldOutSettings::read(values)?;
    let HeldOutSettings { benchmark: name, path, limit, samples, temperature, max_tokens: longest } =
        &settings;
    let known = || benchmarks::ALL.map(|benchmark| benchmark.name).join(", ");
    let benchmark = benchmarks::by_name(name).ok_or_else(|| {
        let expected = benchmarks::renamed(name).map_or_else(known, |now| format!("{now:?}, its name now"));
        SettingError::new("held_out.benchmark", format!("{name:?}"), expected)
    })?;
    let path = match (&benchmark.source, path) {
        (Source::Generated(_), None) => None,
        (Source::Generated(_), Some(path)) => {
            let expected = format!("nothing: {name} is generated");
            return Err(SettingError::new("held_out.path", format!("{path:?}"), expected));
        }
        (Source::Rows { .. }, path) => {
            let path = path.as_deref().unwrap_or_default();
            let shown = if path.is_empty() { "(not set)".into() } else { format!("{path:?}") };
            ensure(Path::new(path).is_file(), "held_out.path", shown, "a file that exists")?;
            Some(PathBuf::from(path))
        }
    };
    let temperature = temperature.unwrap_or(if *samples > 1 { 1.0 } else { 0.0 });
    let max_tokens = longest.unwrap_or(max_tokens);
    settings.check_ranges()?;
    let sampling = Sampling { temperature, ..Sampling::plain(0, max_tokens, Vec::new()) };
    sampling.check_ranges().map_err(|error| {
        SettingError::new(dotted(HeldOutSettings::NAME, error.name), error.value, error.expected)
    })?;
    let varied = temperature > 0.0 || *samples == 1;
    let expected = "above 0: greedy samples of a question are all the same";
    ensure(varied, "held_out.temperature", temperature, expected)?;
    values.fill("held_out.temperature", &temperature);
    values.fill("held_out.max_tokens", &max_tokens);
    Ok(HeldOut { benchmark, path, limit: *limit, samples: *samples, temperature, max_tokens })
}
