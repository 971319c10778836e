//! What the user typed: a TOML file and overrides, every key optional, nothing judged yet but its name and type.
//! [`plan`](crate::plan) turns it into settings. What each key means stands in [`REFERENCE`].

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thinktune_method::settings::{Aggregation, GammaShape, LowConfidence, LrSchedule, Scope, SettingError};
use toml::{Table, Value};

mod keys;
mod teacher;

pub use keys::REFERENCE;
pub use teacher::Teacher;

/// A configuration that cannot be read. Bad values are [`SettingError`]s.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// Line, column and reason.
        message: String,
    },
    /// A key nobody knows.
    #[error("unknown key `{key}` (value {value}){}; `thinktune settings` lists all keys", Nearest(nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// A known key spelt much like it.
        nearest: Option<String>,
    },
    /// A value that is not of its key's type, or not in its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// An override that is not `key=value`.
    #[error("--set {0}: expected key.path=value, e.g. --set optimizer.lr=1e-5")]
    BadOverride(String),
}

struct Nearest<'a>(&'a Option<String>);

impl fmt::Display for Nearest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |key| write!(f, "; did you mean `{key}`?"))
    }
}

/// `method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The paper's method.
    ThinkTuning,
    /// The same step with nobody guided.
    Grpo,
    /// Supervised fine-tuning.
    Sft,
}

impl Method {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::ThinkTuning => "thinktuning",
            Self::Grpo => "grpo",
            Self::Sft => "sft",
        }
    }
}

/// `model.init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Weights are loaded.
    Pretrained,
    /// Weights are drawn from the seed.
    Random,
}

/// `model.precision`, and `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout
    F32,
    /// bfloat16 operands of matrix products, all else single precision
    Bf16,
}

impl From<Precision> for thinktune_model::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

/// `data.task`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Grade-school word problems from a file.
    Gsm8k,
    /// Generated word problems.
    WordProblems,
    /// Examples to imitate.
    Jsonl,
}

/// Declares a section: a struct of optional keys.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs, reason = "reference.toml documents every key")]
        pub struct $name {
            $(
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $key: Option<$kind>,
            )*
        }
    };
}

section!(
    /// A whole configuration.
    Config {
        method: Method,
        seed: u64,
        out: String,
        model: Model,
        data: Data,
        rollout: Rollout,
        guidance: Guidance,
        reward: Reward,
        loss: Loss,
        optimizer: Optimizer,
        run: Run,
        held_out: Vec<HeldOut>,
        sft: Sft,
    }
);
section!(
    /// `[model]`.
    Model { path: String, init: Init, precision: Precision, date: String }
);
section!(
    /// `[data]`.
    Data { task: Task, path: String, limit: usize, system: String, prompt_suffix: String }
);
section!(
    /// `[rollout]`.
    Rollout {
        questions_per_step: usize,
        group_size: usize,
        temperature: f32,
        max_prompt_tokens: usize,
        max_response_tokens: usize,
    }
);
section!(
    /// `guidance.gamma`.
    Gamma { shape: GammaShape, start: f64, end: f64, steps: u32 }
);
section!(
    /// `[guidance]`.
    Guidance {
        gamma: Gamma,
        horizon: u32,
        off_below: f64,
        teacher: Teacher,
        prompts: String,
        max_teacher_prompt_tokens: usize,
        max_teacher_tokens: usize,
        max_feedback_tokens: usize,
        teacher_temperature: f32,
        starved_steps: u32,
    }
);
section!(
    /// `[reward]`.
    Reward { phrase: String, phrase_bonus: f64 }
);
section!(
    /// `[loss]`.
    Loss {
        eps_low: f64,
        eps_high: f64,
        beta: f64,
        c1: f64,
        c2: f64,
        a_range: [f64; 2],
        tau: f64,
        low_confidence: LowConfidence,
        scope: Scope,
        aggregation: Aggregation,
    }
);
section!(
    /// `[optimizer]`.
    Optimizer {
        lr: f64,
        schedule: LrSchedule,
        warmup_steps: u32,
        weight_decay: f64,
        betas: [f64; 2],
        grad_clip: f64,
        mini_batch_questions: usize,
    }
);
section!(
    /// `[run]`.
    Run {
        steps: u32,
        checkpoint_every: u32,
        eval_every: u32,
        keep_checkpoints: usize,
        log_logprobs: bool,
        check_logprobs: bool,
    }
);
section!(
    /// One of `[[held_out]]`.
    HeldOut {
        benchmark: String,
        path: String,
        limit: usize,
        samples: usize,
        temperature: f32,
        max_tokens: usize,
    }
);
section!(
    /// `[sft]`.
    Sft { epochs: u32, batch_size: usize, max_tokens: usize }
);

impl Config {
    /// Reads a file and applies `key.path=value` overrides. The run folder defaults to the file's name.
    ///
    /// # Errors
    /// A file that is not TOML, an unknown key, a value of the wrong type.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let mut config = Self::parse(&text, overrides).map_err(|error| match error {
            ConfigError::Syntax { message, .. } => ConfigError::Syntax { path: shown, message },
            other => other,
        })?;
        if config.out.is_none() {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            config.out = Some(format!("runs/{stem}"));
        }
        Ok(config)
    }

    /// Reads a configuration's text and applies overrides.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: "configuration".into(),
            message: one_line(&error.to_string()),
        })?;
        for assignment in overrides {
            keys::apply(&mut table, assignment)?;
        }
        expand_gamma(&mut table);
        keys::check(&table)?;
        serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
            let key = error.path().to_string();
            let value = keys::lookup(&table, &key).map_or_else(|| "-".into(), Value::to_string);
            let expected = match (&*key, &*value) {
                ("data.task", "\"homework\"") => "\"word-problems\", its name now".into(),
                _ => expectation(&error.inner().to_string()),
            };
            SettingError { key, value, expected }.into()
        })
    }

    /// The configuration as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }
}

/// `gamma = 0.25` is short for a constant schedule.
fn expand_gamma(table: &mut Table) {
    let Some(Value::Table(guidance)) = table.get_mut("guidance") else { return };
    let Some(gamma) = guidance.get_mut("gamma") else { return };
    if matches!(gamma, Value::Integer(_) | Value::Float(_)) {
        let constant = Value::String("constant".into());
        let entries = [("shape", constant), ("start", gamma.clone()), ("end", gamma.clone())]
            .map(|(k, v)| (k.into(), v));
        *gamma = Value::Table(Table::from_iter(entries));
    }
}

/// From a deserializer's "invalid type: string \"hot\", expected f64" or "unknown variant `x`, expected `a` or `b`".
fn expectation(message: &str) -> String {
    let message = one_line(message);
    let expected = message.split_once("expected ").map_or(message.as_str(), |(_, expected)| expected);
    let expected = expected.split_once(" in `").map_or(expected, |(expected, _)| expected);
    match expected.trim() {
        "f32" | "f64" => "a number".into(),
        "usize" | "u32" | "u64" => "a whole number, 0 or more".into(),
        "a string" => "text in quotes".into(),
        "a boolean" => "true or false".into(),
        section if section.starts_with("struct ") => "a section of settings".into(),
        other => other.into(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
