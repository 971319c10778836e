//! Going on with a run: is the folder that of the same run, and where did it stand?

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::checkpoint::{self, Checkpoint, Manifest, name_of, step_of};
use crate::error::ConfigDifference;
use crate::files::{names, read_text, remove_leftovers, write_atomic};
use crate::layout::{
    CHECKPOINTS, CONFIG, EVALUATIONS, HELD_OUT, LATEST, METRICS, ROLLOUTS, RunIdentity, TIMINGS,
};
use crate::{RunError, jsonl};

/// Ending of a checkpoint that was found damaged and put out of the way.
const ASIDE: &str = ".damaged";

pub(crate) fn check_identity(dir: &Path, identity: &RunIdentity<'_>) -> Result<(), RunError> {
    let begun = crate::read_provenance(dir)?;
    let now = identity.provenance;
    if begun.record_version != now.record_version {
        let (found, expected) = (begun.version, now.version.clone());
        return Err(RunError::OtherVersion { path: dir.to_path_buf(), found, expected });
    }
    let path = dir.join(CONFIG);
    let parse = |text: &str| {
        let table: toml::Table =
            text.parse().map_err(|e| RunError::bad_file(&path, format!("not TOML: {e}")))?;
        let mut flat = BTreeMap::new();
        flatten("", &table, &mut flat);
        Ok::<_, RunError>(flat)
    };
    let (then, now) = (parse(&read_text(&path)?)?, parse(identity.config)?);
    let mut keys: Vec<&String> = then.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    let differences: Vec<ConfigDifference> = keys
        .into_iter()
        .filter(|key| then.get(*key) != now.get(*key) && !identity.free_keys.contains(&key.as_str()))
        .map(|key| ConfigDifference {
            key: key.clone(),
            then: then.get(key).cloned(),
            now: now.get(key).cloned(),
        })
        .collect();
    if !differences.is_empty() {
        return Err(RunError::OtherConfig { path: dir.to_path_buf(), differences });
    }
    for (what, expected) in &identity.provenance.inputs {
        if let Some(found) = begun.inputs.get(what).filter(|found| *found != expected) {
            let (what, found, expected) = (what.clone(), found.clone(), expected.clone());
            return Err(RunError::OtherInput { path: dir.to_path_buf(), what, found, expected });
        }
    }
    Ok(())
}

fn flatten(prefix: &str, table: &toml::Table, out: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, out),
            other => {
                out.insert(key, other.to_string());
            }
        }
    }
}

/// Takes the folder back to its newest intact checkpoint, or to the beginning where there is none.
pub(crate) fn rewind(dir: &Path, notices: &mut Vec<String>) -> Result<Option<Checkpoint>, RunError> {
    for sub in [ROLLOUTS, HELD_OUT, CHECKPOINTS] {
        remove_leftovers(&dir.join(sub))?;
    }
    let found = newest_intact(dir, notices)?;
    let step = found.as_ref().map_or(0, |(checkpoint, _)| checkpoint.step);
    for name in [METRICS, EVALUATIONS] {
        let log = dir.join(name);
        let length = match &found {
            Some((_, manifest)) => {
                let written = manifest.logs.get(name).copied().unwrap_or(0);
                if length_of(&log) < written { jsonl::length_through(&log, step)? } else { written }
            }
            None => 0,
        };
        jsonl::truncate(&log, length)?;
    }
    let timings = dir.join(TIMINGS);
    let length = if found.is_some() { jsonl::length_through(&timings, step)? } else { 0 };
    jsonl::truncate(&timings, length)?;
    for sub in [ROLLOUTS, HELD_OUT] {
        remove_files_after(&dir.join(sub), step)?;
    }
    if let Some((checkpoint, _)) = &found {
        write_atomic(&dir.join(LATEST), format!("{}\n", name_of(checkpoint.step)).as_bytes())?;
    }
    Ok(found.map(|(checkpoint, _)| checkpoint))
}

/// The newest checkpoint whose files are intact and whose log lines are all there; failing that, the newest whose
/// files are intact. Those passed over are put aside with a notice.
fn newest_intact(dir: &Path, notices: &mut Vec<String>) -> Result<Option<(Checkpoint, Manifest)>, RunError> {
    let mut passed_over = Vec::new();
    let mut without_logs = None;
    let mut chosen = None;
    for checkpoint in checkpoint::list(&dir.join(CHECKPOINTS))?.into_iter().rev() {
        match inspect(&checkpoint) {
            Err(reason) => passed_over.push((checkpoint, format!("is damaged ({reason})"))),
            Ok(manifest) => match missing_log_lines(dir, &manifest) {
                None => {
                    chosen = Some((checkpoint, manifest));
                    break;
                }
                Some(reason) if without_logs.is_none() => without_logs = Some((checkpoint, manifest, reason)),
                Some(reason) => passed_over.push((checkpoint, reason)),
            },
        }
    }
    match (&chosen, without_logs) {
        (Some(_), Some((checkpoint, _, reason))) => passed_over.push((checkpoint, reason)),
        (None, Some((checkpoint, manifest, reason))) => {
            notices.push(format!("checkpoint {} {reason}: those lines stay lost", checkpoint.dir.display()));
            chosen = Some((checkpoint, manifest));
        }
        (_, None) => {}
    }
    match &chosen {
        Some((checkpoint, _)) => {
            for (other, reason) in &passed_over {
                put_aside(other)?;
                let (path, step) = (other.dir.display(), checkpoint.step);
                notices.push(format!("checkpoint {path} {reason}: going on from step {step} instead"));
            }
        }
        None if !passed_over.is_empty() => {
            let list = passed_over.iter().map(|(bad, reason)| format!("{} {reason}", name_of(bad.step)));
            let damaged = list.collect::<Vec<_>>().join(", ");
            return Err(RunError::NoGoodCheckpoint { path: dir.join(CHECKPOINTS), damaged });
        }
        None => {}
    }
    Ok(chosen)
}

fn inspect(checkpoint: &Checkpoint) -> Result<Manifest, RunError> {
    let manifest = Manifest::read(&checkpoint.dir)?;
    if manifest.step != checkpoint.step {
        let message = format!("manifest of step {}, expected {}", manifest.step, checkpoint.step);
        return Err(RunError::bad_file(&checkpoint.dir, message));
    }
    manifest.verify(&checkpoint.dir)?;
    Ok(manifest)
}

/// Names a log that is shorter than it was when the checkpoint was written.
fn missing_log_lines(dir: &Path, manifest: &Manifest) -> Option<String> {
    manifest.logs.iter().find_map(|(name, &expected)| {
        let length = length_of(&dir.join(name));
        (length < expected)
            .then(|| format!("was written after {expected} bytes of {name}, of which {length} are left"))
    })
}

pub(crate) fn length_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn put_aside(checkpoint: &Checkpoint) -> Result<(), RunError> {
    let aside = checkpoint.dir.with_file_name(format!("{}{ASIDE}", name_of(checkpoint.step)));
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(|e| RunError::io("remove", &aside, e))?;
    }
    fs::rename(&checkpoint.dir, &aside).map_err(|e| RunError::io("rename", &checkpoint.dir, e))
}

fn remove_files_after(folder: &Path, step: u64) -> Result<(), RunError> {
    for name in names(folder)? {
        if name.strip_suffix(".jsonl").and_then(step_of).is_some_and(|of| of > step) {
            let path = folder.join(&name);
            fs::remove_file(&path).map_err(|e| RunError::io("remove", &path, e))?;
        }
    }
    Ok(())
}
