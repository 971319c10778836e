//! The run folder as the process that writes it sees it: created or resumed, locked, appended to.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::RunError;
use crate::checkpoint::{self, Checkpoint, FileHash, Manifest, NewCheckpoint, name_of};
use crate::event::{EvalMetrics, HeldOutRecord, RolloutRecord, RunTotals, StepTimings};
use crate::files::{TMP, create_dir, names, remove_leftovers, write_atomic};
use crate::jsonl::{self, JsonLog};
use crate::layout::{
    CHECKPOINTS, CONFIG, EVALUATIONS, HELD_OUT, LATEST, METRICS, PROVENANCE, ROLLOUTS, RunIdentity, TIMINGS,
    TOTALS,
};
use crate::resume::{check_identity, length_of, rewind};

const LOCK: &str = "run.lock";
const FINAL: &str = "final";

/// A folder opened for writing.
#[derive(Debug)]
pub struct Opened {
    /// The folder.
    pub folder: RunFolder,
    /// Sentences for the user: what was found damaged, what was done about it.
    pub notices: Vec<String>,
}

/// A run folder, held by this process alone.
#[derive(Debug)]
pub struct RunFolder {
    dir: PathBuf,
    metrics: JsonLog,
    /// Only where something was evaluated.
    evaluations: Option<JsonLog>,
    timings: JsonLog,
    resume_from: Option<Checkpoint>,
    keep: usize,
    /// Held locked for as long as this process writes.
    _lock: FolderLock,
}

impl RunFolder {
    /// Creates the folder, or continues the run in it from its newest intact checkpoint: later log lines and
    /// rollouts are removed, leftovers of a killed process are cleaned up.
    ///
    /// # Errors
    /// The folder is in use, is not a run folder, belongs to another configuration or other inputs (unless it
    /// holds no step yet), or holds only damaged checkpoints.
    pub fn open(dir: &Path, identity: &RunIdentity<'_>) -> Result<Opened, RunError> {
        create_dir(dir)?;
        refuse_foreign(dir)?;
        let lock = FolderLock::take(dir)?;
        remove_leftovers(dir)?;
        let mut notices = Vec::new();
        let resume_from = if dir.join(CONFIG).exists() && holds_work(dir)? {
            check_identity(dir, identity)?;
            rewind(dir, &mut notices)?
        } else {
            let provenance = serde_json::to_vec_pretty(identity.provenance)
                .map_err(|e| RunError::bad_file(dir.join(PROVENANCE), e.to_string()))?;
            write_atomic(&dir.join(PROVENANCE), &provenance)?;
            None
        };
        // Last, and anew on every start: its presence makes the folder a run folder, and free keys may have changed.
        write_atomic(&dir.join(CONFIG), identity.config.as_bytes())?;
        create_dir(&dir.join(ROLLOUTS))?;
        create_dir(&dir.join(CHECKPOINTS))?;
        let log = |name: &str| JsonLog::open(dir.join(name));
        let folder = Self {
            metrics: log(METRICS)?,
            evaluations: if dir.join(EVALUATIONS).exists() { Some(log(EVALUATIONS)?) } else { None },
            timings: log(TIMINGS)?,
            dir: dir.to_path_buf(),
            resume_from,
            keep: usize::MAX,
            _lock: lock,
        };
        Ok(Opened { folder, notices })
    }

    /// Keeps only the newest `keep` checkpoints (at least one) from now on. All are kept otherwise.
    pub fn keep_checkpoints(&mut self, keep: usize) {
        self.keep = keep.max(1);
    }

    /// The folder's path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The checkpoint the run goes on from; `None` at its beginning.
    pub fn resume_from(&self) -> Option<&Checkpoint> {
        self.resume_from.as_ref()
    }

    /// Appends a line to `metrics.jsonl`: a [`StepMetrics`](crate::event::StepMetrics) or
    /// [`SftMetrics`](crate::event::SftMetrics).
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn append_metrics(&mut self, metrics: &impl Serialize) -> Result<(), RunError> {
        self.metrics.append(metrics)
    }

    /// Appends a line to `evaluations.jsonl`.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn append_evaluation(&mut self, metrics: &EvalMetrics) -> Result<(), RunError> {
        let log = match self.evaluations.take() {
            Some(log) => log,
            None => JsonLog::open(self.dir.join(EVALUATIONS))?,
        };
        self.evaluations.insert(log).append(metrics)
    }

    /// Appends a line to `timings.jsonl`.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn append_timings(&mut self, timings: &StepTimings) -> Result<(), RunError> {
        self.timings.append(timings)
    }

    /// Writes the responses of a step, all or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_rollouts(&mut self, step: u64, records: &[RolloutRecord]) -> Result<(), RunError> {
        write_lines(&self.dir.join(ROLLOUTS), step, records)
    }

    /// Writes the answers to the held-out questions after a step, all or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_held_out(&mut self, step: u64, records: &[HeldOutRecord]) -> Result<(), RunError> {
        let folder = self.dir.join(HELD_OUT);
        create_dir(&folder)?;
        write_lines(&folder, step, records)
    }

    /// Writes the checkpoint after `step` steps: `writer` fills the folder it is given and names the files whose
    /// checksums it knows, `state` is what else the caller needs to go on. Write everything of a step to the logs before its checkpoint. Older checkpoints
    /// beyond the number to keep are removed once the new one is complete. An intact checkpoint of the same step
    /// is left as it is: equal steps have equal bytes.
    ///
    /// # Errors
    /// Something cannot be written; earlier checkpoints and the logs are intact.
    pub fn save_checkpoint<E>(
        &mut self,
        step: u64,
        state: &impl Serialize,
        writer: impl FnOnce(&Path) -> Result<Vec<FileHash>, E>,
    ) -> Result<Checkpoint, RunError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let dir = self.dir.join(CHECKPOINTS).join(name_of(step));
        let there = Checkpoint { step, dir: dir.clone() };
        if dir.exists() && there.verify().is_ok() {
            return Ok(there);
        }
        let mut state =
            serde_json::to_vec_pretty(state).map_err(|e| RunError::bad_file(&dir, e.to_string()))?;
        state.push(b'\n');
        self.timings.sync()?;
        let logs = self.log_lengths()?;
        NewCheckpoint { dir: &dir, step, logs, state: Some(&state) }.write(writer)?;
        write_atomic(&self.dir.join(LATEST), format!("{}\n", name_of(step)).as_bytes())?;
        checkpoint::retain(&self.dir.join(CHECKPOINTS), self.keep)?;
        Ok(there)
    }

    /// Writes the counts over the whole run. Write them before the finished model, whose presence says the run is done.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_totals(&mut self, totals: &RunTotals) -> Result<(), RunError> {
        let path = self.dir.join(TOTALS);
        let mut bytes =
            serde_json::to_vec_pretty(totals).map_err(|e| RunError::bad_file(&path, e.to_string()))?;
        bytes.push(b'\n');
        write_atomic(&path, &bytes)
    }

    /// Writes the finished model to `final/`: its presence says the run is done.
    ///
    /// # Errors
    /// Something cannot be written.
    pub fn write_final<E>(
        &mut self,
        step: u64,
        writer: impl FnOnce(&Path) -> Result<Vec<FileHash>, E>,
    ) -> Result<PathBuf, RunError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let dir = self.dir.join(FINAL);
        let logs = self.log_lengths()?;
        NewCheckpoint { dir: &dir, step, logs, state: None }.write(writer)?;
        Ok(dir)
    }

    /// The finished model, where the run is done and its files are intact, and the steps after which it was.
    pub fn finished(&self) -> Option<Checkpoint> {
        let dir = self.dir.join(FINAL);
        let manifest = Manifest::read(&dir).ok()?;
        let step = manifest.step;
        manifest.verify(&dir).ok().map(|()| Checkpoint { step, dir })
    }

    /// Syncs the logs that equal runs share byte for byte, and returns their lengths.
    fn log_lengths(&self) -> Result<BTreeMap<String, u64>, RunError> {
        let logs = [(METRICS, Some(&self.metrics)), (EVALUATIONS, self.evaluations.as_ref())];
        let mut lengths = BTreeMap::new();
        for (name, log) in logs.into_iter().filter_map(|(name, log)| Some((name, log?))) {
            log.sync()?;
            lengths.insert(name.to_string(), log.len()?);
        }
        Ok(lengths)
    }
}

/// Writes the file of a step, one line per record.
fn write_lines(folder: &Path, step: u64, records: &[impl Serialize]) -> Result<(), RunError> {
    let path = folder.join(format!("{}.jsonl", name_of(step)));
    let mut bytes = Vec::new();
    for record in records {
        bytes.append(&mut jsonl::to_line(record, &path)?);
    }
    write_atomic(&path, &bytes)
}

/// A folder that is not empty must be a run folder, or what is left of one killed while it was created.
fn refuse_foreign(dir: &Path) -> Result<(), RunError> {
    let ours = |name: &String| name == LOCK || name == PROVENANCE || name.ends_with(TMP);
    if dir.join(CONFIG).exists() || names(dir)?.iter().all(ours) {
        return Ok(());
    }
    Err(RunError::NotARunFolder(dir.to_path_buf()))
}

/// Returns whether a step was written: a run that failed before its first one binds nobody.
fn holds_work(dir: &Path) -> Result<bool, RunError> {
    Ok(length_of(&dir.join(METRICS)) > 0
        || length_of(&dir.join(EVALUATIONS)) > 0
        || !names(&dir.join(ROLLOUTS))?.is_empty()
        || !names(&dir.join(HELD_OUT))?.is_empty()
        || !names(&dir.join(CHECKPOINTS))?.is_empty())
}

/// A folder held by this process alone, until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the folder, which exists.
    ///
    /// # Errors
    /// Another process holds it.
    pub fn take(dir: &Path) -> Result<Self, RunError> {
        Ok(Self { _file: lock(dir)? })
    }
}

fn lock(dir: &Path) -> Result<File, RunError> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let mut file = file.map_err(|e| RunError::io("create", &path, e))?;
    match file.try_lock() {
        Ok(()) => {
            // For people only: the lock itself is what counts.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => Err(RunError::Locked(dir.to_path_buf())),
        Err(TryLockError::Error(e)) => Err(RunError::io("lock", path, e)),
    }
}
