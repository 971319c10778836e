//! The evaluation folder.
//!
//! ```text
//! DIR/
//!   evaluation.json                  model, settings, checksums: a folder of another evaluation is refused
//!   answers/gsm8k.zero-shot.jsonl    every answer, one per line, in the order of the questions
//!   timings.jsonl                    wall clock
//!   results.md, .csv, .json          what it comes to
//! ```
//!
//! Answers only grow. A process killed at any moment leaves complete lines and at most one torn one, which the next
//! cuts off; the lines it adds are those the killed one would have written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thinktune_runlog::{FolderLock, JsonLines, JsonLog, write_atomic};
use thinktune_tasks::benchmarks;

use crate::EvalError;
use crate::record::{AnswerRecord, Timing};

const IDENTITY: &str = "evaluation.json";
const ANSWERS: &str = "answers";
const TIMINGS: &str = "timings.jsonl";

/// Identity of an evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The model as the user named it; not compared.
    pub model: String,
    /// SHA-256 of the model's files.
    pub model_sha256: String,
    /// Everything else that answers depend on, as text.
    pub settings: BTreeMap<String, String>,
    /// SHA-256 of each benchmark's data.
    pub benchmarks: BTreeMap<String, String>,
    /// The way each benchmark's questions are put, and the limits of answers; nothing in folders of earlier versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, AskedAs>,
}

/// The way questions are put, and the limits of answers, as text: [`AskedAs::SYSTEM`] and the like are the keys.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AskedAs(pub BTreeMap<String, String>);

impl AskedAs {
    /// The system message.
    pub const SYSTEM: &str = "system message";
    /// The text after each question.
    pub const SUFFIX: &str = "suffix";
    /// A question as the chat template renders it.
    pub const TEMPLATE: &str = "chat template";
    /// The longest answer of a turn, in tokens.
    pub const ANSWER_TOKENS: &str = "longest answer";
    /// The tokens that budget forcing uses.
    pub const BUDGET_TOKENS: &str = "budget";
    /// The system message where there is none.
    pub const NONE: &str = "none";

    /// What earlier versions did: no system message, and the benchmark's own suffix.
    fn earlier(benchmark: &str) -> Option<Self> {
        let suffix = benchmarks::by_name(benchmark)?.suffix;
        let texts = [(Self::SYSTEM, Self::NONE), (Self::SUFFIX, suffix)];
        Some(Self(texts.map(|(key, text)| (key.to_string(), text.to_string())).into()))
    }
}

/// A folder held by this process.
#[derive(Debug)]
pub struct EvalFolder {
    dir: PathBuf,
    identity: Identity,
    _lock: FolderLock,
}

impl EvalFolder {
    /// Creates the folder, or goes on with the evaluation in it. Benchmarks may be added to an evaluation.
    ///
    /// # Errors
    /// The folder is in use, holds the answers of another model or of other settings or data, or cannot be written.
    pub fn open(dir: &Path, identity: Identity) -> Result<Self, EvalError> {
        let answers = dir.join(ANSWERS);
        std::fs::create_dir_all(&answers).map_err(|error| EvalError::BadFolder {
            path: answers,
            message: format!("cannot be created: {error}"),
        })?;
        let lock = FolderLock::take(dir)?;
        let path = dir.join(IDENTITY);
        let mut identity = identity;
        if path.exists() {
            let found = read_identity(dir)?;
            let differences = differences(&found, &identity);
            if !differences.is_empty() {
                let differences = differences.join(", ");
                return Err(EvalError::OtherEvaluation { path: dir.into(), differences });
            }
            identity.benchmarks = found.benchmarks.into_iter().chain(identity.benchmarks).collect();
            identity.asked = found.asked.into_iter().chain(identity.asked).collect();
        }
        write_json(&path, &identity)?;
        Ok(Self { dir: dir.into(), identity, _lock: lock })
    }

    /// The folder's path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Identity of the evaluation in it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The answers there are to a benchmark by a method, and the log to add to.
    ///
    /// # Errors
    /// The log cannot be opened, or holds something else.
    pub fn answers(&self, benchmark: &str, method: &str) -> Result<(JsonLog, Vec<AnswerRecord>), EvalError> {
        Ok(JsonLog::resume(answers_path(&self.dir, benchmark, method))?)
    }

    /// Adds to the wall clock.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn append_timing(&self, timing: &Timing) -> Result<(), EvalError> {
        let (mut log, _) = JsonLog::resume::<Timing>(self.dir.join(TIMINGS))?;
        Ok(log.append(timing)?)
    }

    /// Tokens per second of a benchmark by a method so far; NaN where nothing was timed.
    ///
    /// # Errors
    /// The timings cannot be read.
    pub fn speed(&self, benchmark: &str, method: &str) -> Result<f64, EvalError> {
        let lines = JsonLines::<Timing>::read(&self.dir.join(TIMINGS))?.records;
        let of =
            lines.iter().filter(|line| present_name(&line.benchmark) == benchmark && line.method == method);
        let (tokens, seconds) =
            of.fold((0, 0.0), |(tokens, seconds), line| (tokens + line.tokens, seconds + line.seconds));
        Ok(if seconds > 0.0 { tokens as f64 / seconds } else { f64::NAN })
    }

    /// Writes a file of results.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<(), EvalError> {
        Ok(write_atomic(&self.dir.join(name), text.as_bytes())?)
    }
}

/// Reads the identity of an evaluation folder.
///
/// # Errors
/// There is none.
pub fn read_identity(dir: &Path) -> Result<Identity, EvalError> {
    let path = dir.join(IDENTITY);
    let bad = |message: String| EvalError::BadFolder { path: path.clone(), message };
    let text = std::fs::read(&path)
        .map_err(|error| bad(format!("{error}; expected a folder that `thinktune eval` wrote")))?;
    let identity: Identity = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    let present = identity.benchmarks.into_iter().map(|(name, sha)| (present_name(&name), sha));
    let benchmarks = present.collect();
    let asked = identity.asked.into_iter().map(|(name, asked)| (present_name(&name), asked)).collect();
    Ok(Identity { benchmarks, asked, ..identity })
}

/// The benchmarks and methods an evaluation folder has answers to, in alphabetical order.
///
/// # Errors
/// The folder cannot be listed.
pub fn cells(dir: &Path) -> Result<Vec<(String, String)>, EvalError> {
    let answers = dir.join(ANSWERS);
    let bad =
        |error: std::io::Error| EvalError::BadFolder { path: answers.clone(), message: error.to_string() };
    let mut cells = Vec::new();
    for entry in std::fs::read_dir(&answers).map_err(bad)? {
        let name = entry.map_err(bad)?.file_name().to_string_lossy().into_owned();
        let cell = name.strip_suffix(".jsonl").and_then(|name| name.split_once('.'));
        cells.extend(cell.map(|(benchmark, method)| (present_name(benchmark), method.to_string())));
    }
    cells.sort();
    Ok(cells)
}

/// The answers an evaluation folder has to a benchmark by a method.
///
/// # Errors
/// A complete line that is no answer.
pub fn read_answers(dir: &Path, benchmark: &str, method: &str) -> Result<Vec<AnswerRecord>, EvalError> {
    Ok(JsonLines::read(&answers_path(dir, benchmark, method))?.records)
}

/// The file of the answers, under the name that the benchmark had when the file was begun.
fn answers_path(dir: &Path, benchmark: &str, method: &str) -> PathBuf {
    let path = |name: &str| dir.join(ANSWERS).join(format!("{name}.{method}.jsonl"));
    let earlier = benchmarks::earlier_name(benchmark).map(path).filter(|path| path.exists());
    earlier.unwrap_or_else(|| path(benchmark))
}

/// The present name of a benchmark, which may have been renamed since the folder was written.
fn present_name(benchmark: &str) -> String {
    benchmarks::renamed(benchmark).unwrap_or(benchmark).to_string()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), EvalError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| EvalError::BadFolder { path: path.into(), message: error.to_string() })?;
    Ok(write_atomic(path, format!("{text}\n").as_bytes())?)
}

fn differences(found: &Identity, now: &Identity) -> Vec<String> {
    let mut out = Vec::new();
    if found.model_sha256 != now.model_sha256 {
        out.push(format!("the model was {} with other weights, and now is {}", found.model, now.model));
    }
    let keys =
        found.settings.keys().chain(now.settings.keys().filter(|key| !found.settings.contains_key(*key)));
    for key in keys {
        let (then, now) = (found.settings.get(key), now.settings.get(key));
        if then != now {
            let shown = |value: Option<&String>| value.map_or("not set", String::as_str).to_string();
            out.push(format!("{key} was {} and now is {}", shown(then), shown(now)));
        }
    }
    for (name, sha) in &now.benchmarks {
        if found.benchmarks.get(name).is_some_and(|then| then != sha) {
            out.push(format!("the data of {name} have changed"));
        }
    }
    for (name, now) in &now.asked {
        let earlier = found.benchmarks.contains_key(name).then(|| AskedAs::earlier(name)).flatten();
        let Some(then) = found.asked.get(name).cloned().or(earlier) else { continue };
        for (key, then) in &then.0 {
            let now = now.0.get(key);
            if now != Some(then) {
                out.push(format!(
                    "the {key} of {name} was {then:?} and now is {:?}",
                    now.map_or("", String::as_str)
                ));
            }
        }
    }
    out
}
