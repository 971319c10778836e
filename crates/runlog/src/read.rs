//! Reading a run folder, also while a run is writing it.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::checkpoint::{self, Checkpoint, name_of, step_of};
use crate::event::{
    EvalMetrics, HeldOutRecord, RolloutRecord, RunTotals, SftMetrics, StepMetrics, StepTimings,
};
use crate::files::{names, read_text};
use crate::layout::{
    CHECKPOINTS, CONFIG, EVALUATIONS, HELD_OUT, LATEST, METRICS, PROVENANCE, ROLLOUTS, TIMINGS, TOTALS,
};
use crate::{JsonLines, Provenance, RunError};

fn lines<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<JsonLines<T>, RunError> {
    JsonLines::read(&dir.join(name))
}

/// Metrics of a ThinkTuning or GRPO run, one record per step.
///
/// # Errors
/// A complete line that is not a record, named by its number. A torn last line is no error.
pub fn read_metrics(dir: &Path) -> Result<JsonLines<StepMetrics>, RunError> {
    lines(dir, METRICS)
}

/// Evaluations on held-out sets during a run.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_evaluations(dir: &Path) -> Result<JsonLines<EvalMetrics>, RunError> {
    lines(dir, EVALUATIONS)
}

/// Metrics of an SFT run, one record per update.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_sft_metrics(dir: &Path) -> Result<JsonLines<SftMetrics>, RunError> {
    lines(dir, METRICS)
}

/// Wall clock of each step.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_timings(dir: &Path) -> Result<JsonLines<StepTimings>, RunError> {
    lines(dir, TIMINGS)
}

/// Responses of one step.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_rollouts(dir: &Path, step: u64) -> Result<JsonLines<RolloutRecord>, RunError> {
    lines(dir, &format!("{ROLLOUTS}/{}.jsonl", name_of(step)))
}

/// Answers to the held-out questions after a step; step 0 is before the first.
///
/// # Errors
/// As [`read_metrics`].
pub fn read_held_out(dir: &Path, step: u64) -> Result<JsonLines<HeldOutRecord>, RunError> {
    lines(dir, &format!("{HELD_OUT}/{}.jsonl", name_of(step)))
}

/// Counts over a finished run of ThinkTuning or GRPO; none where the folder has no such file.
///
/// # Errors
/// A file that is not such counts.
pub fn read_totals(dir: &Path) -> Result<Option<RunTotals>, RunError> {
    let path = dir.join(TOTALS);
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_str(&read_text(&path)?).map(Some).map_err(|e| RunError::bad_file(path, e.to_string()))
}

/// Steps whose responses are on disk, ascending.
///
/// # Errors
/// The folder cannot be listed.
pub fn rollout_steps(dir: &Path) -> Result<Vec<u64>, RunError> {
    let names = names(&dir.join(ROLLOUTS))?;
    let mut steps: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".jsonl").and_then(step_of)).collect();
    steps.sort_unstable();
    Ok(steps)
}

/// Checkpoints present, oldest first.
///
/// # Errors
/// The folder cannot be listed.
pub fn checkpoints(dir: &Path) -> Result<Vec<Checkpoint>, RunError> {
    checkpoint::list(&dir.join(CHECKPOINTS))
}

/// The checkpoint that `latest` names, if there is one.
///
/// # Errors
/// `latest` names something else than a checkpoint.
pub fn latest_checkpoint(dir: &Path) -> Result<Option<Checkpoint>, RunError> {
    let path = dir.join(LATEST);
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(&path)?;
    let name = text.trim();
    let Some(step) = step_of(name) else {
        return Err(RunError::bad_file(path, format!("`{name}`, expected a name like step_000010")));
    };
    let dir = dir.join(CHECKPOINTS).join(name);
    Ok(dir.is_dir().then_some(Checkpoint { step, dir }))
}

/// The resolved configuration, as TOML.
///
/// # Errors
/// The folder has none.
pub fn read_config(dir: &Path) -> Result<String, RunError> {
    read_text(&dir.join(CONFIG))
}

/// Reads the origin of the run.
///
/// # Errors
/// The folder has no readable provenance.
pub fn read_provenance(dir: &Path) -> Result<Provenance, RunError> {
    let path = dir.join(PROVENANCE);
    serde_json::from_str(&read_text(&path)?).map_err(|e| RunError::bad_file(path, e.to_string()))
}
