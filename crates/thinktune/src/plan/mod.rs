//! From what was typed to what will be done: every default filled in, every value judged, before anything is loaded.

pub mod held_out;
pub mod rl;

use std::path::PathBuf;

use thinktune_method::help::prompts::PromptSet;
use thinktune_method::settings::{
    Ask, Checked, LrSchedule, OptimizerSettings, RlSettings, SettingError, SftSettings,
};
use thinktune_model::Precision;
use thinktune_remote::RemoteSettings;

use crate::config::{self, Config, Init, Method, Task};
use crate::failure::UsageError;
use crate::place::{self, Place};
use held_out::HeldOut;

/// A run, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The configuration with every default filled in: as written to the run folder, and enough to run again.
    pub config: Config,
    /// What is run.
    pub method: Method,
    /// Keys all random numbers.
    pub seed: u64,
    /// Run folder.
    pub out: PathBuf,
    /// The student.
    pub model: Place,
    /// Whether its weights are loaded or drawn.
    pub init: Init,
    /// What it computes in, and teacher and reference with it.
    pub precision: Precision,
    /// The date chat templates are told.
    pub date: String,
    /// Questions or examples.
    pub data: DataPlan,
    /// Settings of the method.
    pub job: Job,
    /// Checkpoints kept.
    pub keep_checkpoints: usize,
    /// What the user should know of how the configuration was read.
    pub notices: Vec<String>,
}

/// Where questions or examples come from.
#[derive(Debug, Clone)]
pub struct DataPlan {
    /// Which kind.
    pub task: Task,
    /// Their file.
    pub path: Option<PathBuf>,
    /// How many at most.
    pub limit: Option<usize>,
    /// How a question is put.
    pub ask: Ask,
}

/// Settings of the method.
#[derive(Debug, Clone)]
pub enum Job {
    /// ThinkTuning and GRPO.
    Rl(Box<RlPlan>),
    /// Supervised fine-tuning.
    Sft(Checked<SftSettings>),
}

/// ThinkTuning or GRPO.
#[derive(Debug, Clone)]
pub struct RlPlan {
    /// The step's settings.
    pub settings: Checked<RlSettings>,
    /// Who helps, and how it is asked; GRPO has nobody.
    pub help: Option<Help>,
    /// What the student is evaluated on as it learns.
    pub held_out: Vec<HeldOut>,
}

/// Who helps.
#[derive(Debug, Clone)]
pub struct Help {
    /// The teacher.
    pub teacher: Teacher,
    /// What the teacher is shown.
    pub prompts: PromptSet,
}

/// Where the teacher is.
#[derive(Debug, Clone)]
pub enum Teacher {
    /// In this process: the frozen initial student.
    Initial,
    /// In this process: another model.
    Model(Place),
    /// Behind a server.
    Remote {
        /// Where, and how patiently it is asked.
        settings: RemoteSettings,
        /// The tokenizer that makes its prompts, where the server does not.
        tokenizer: Option<Place>,
    },
}

impl Teacher {
    /// What must be on this machine: a model, or a tokenizer.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Initial => None,
            Self::Model(place) => Some(place),
            Self::Remote { tokenizer, .. } => tokenizer.as_ref(),
        }
    }
}

impl std::fmt::Display for Teacher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Initial => f.write_str("the initial student"),
            Self::Model(place) => place.fmt(f),
            Self::Remote { settings, .. } => write!(f, "{} at {}", settings.model, settings.url),
        }
    }
}

/// Appended to questions from GSM8K where the configuration says nothing else.
const BOXED_SUFFIX: &str = "\n\nReason step by step, and put the final answer in \\boxed{}.";
/// Word problems generated where no limit is given.
const WORD_PROBLEMS: usize = 10_000;
/// What chat templates are told today is, where nothing else is said.
pub const DEFAULT_DATE: &str = "2025-01-01";
const ADAM_EPS: f64 = 1e-8;

/// Fills in defaults and checks everything that can be checked without loading a model.
///
/// # Errors
/// The first setting that cannot be used: its key, its value, what was expected.
pub fn resolve(mut config: Config) -> anyhow::Result<Plan> {
    let c = &mut config;
    let method = required(c.method, "method", "thinktuning, grpo or sft")?;
    let mut notices = Vec::new();
    drop_unused_sections(c, method, &mut notices)?;
    let seed = *c.seed.get_or_insert(0);
    let out = PathBuf::from(c.out.get_or_insert_with(|| "runs/run".into()).as_str());
    let (model, init, precision, date) = resolve_model(c)?;
    let data = resolve_data(c, method)?;
    let job = match method {
        Method::Sft => Job::Sft(resolve_sft(c, seed)?),
        Method::ThinkTuning | Method::Grpo => {
            Job::Rl(Box::new(rl::resolve_rl(c, method, seed, data.ask.clone())?))
        }
    };
    let run = c.run.get_or_insert_default();
    let keep_checkpoints = *run.keep_checkpoints.get_or_insert(2);
    ensure(keep_checkpoints > 0, "run.keep_checkpoints", keep_checkpoints, "at least 1")?;
    Ok(Plan { config, method, seed, out, model, init, precision, date, data, job, keep_checkpoints, notices })
}

/// A section the method does not use is an error, except `[guidance]` under GRPO: comparing the two by
/// `--set method=grpo` is what it is for.
fn drop_unused_sections(c: &mut Config, method: Method, notices: &mut Vec<String>) -> Result<(), UsageError> {
    if method == Method::Sft {
        let run = c.run.clone().unwrap_or_default();
        let optimizer = c.optimizer.clone().unwrap_or_default();
        let set = [
            ("rollout", c.rollout.is_some()),
            ("guidance", c.guidance.is_some()),
            ("reward", c.reward.is_some()),
            ("loss", c.loss.is_some()),
            ("held_out", c.held_out.is_some()),
            ("run.eval_every", run.eval_every.is_some()),
            ("optimizer.mini_batch_questions", optimizer.mini_batch_questions.is_some()),
            ("run.steps", run.steps.is_some()),
            ("run.log_logprobs", run.log_logprobs.is_some()),
        ];
        return set.into_iter().find(|(_, set)| *set).map_or(Ok(()), |(key, _)| unused(key, "sft"));
    }
    if c.sft.is_some() {
        return unused("sft", "thinktuning or grpo");
    }
    if method == Method::Grpo && c.guidance.take().is_some() {
        notices.push("method = grpo: nobody is guided, [guidance] is left out".into());
    }
    Ok(())
}

fn unused(key: &str, method: &str) -> Result<(), UsageError> {
    Err(UsageError(format!("`{key}` is set, and method {method} does not use it; remove it")))
}

fn resolve_model(c: &mut Config) -> anyhow::Result<(Place, Init, Precision, String)> {
    let model = c.model.get_or_insert_default();
    let path = required(model.path.clone(), "model.path", "a folder in Hugging Face layout, or org/name")?;
    let place = place::parse(&path).map_err(|expected| error("model.path", &path, expected))?;
    let init = *model.init.get_or_insert(Init::Pretrained);
    let date = model.date.get_or_insert_with(|| DEFAULT_DATE.into()).clone();
    ensure(is_date(&date), "model.date", format!("{date:?}"), "a date like 2025-01-31")?;
    let precision = (*model.precision.get_or_insert(config::Precision::F32)).into();
    Ok((place, init, precision, date))
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |part: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.parse().is_ok_and(|value| range.contains(&value))
    };
    matches!(parts[..], [year, month, day]
        if number(year, 4, 1..=9999) && number(month, 2, 1..=12) && number(day, 2, 1..=31))
}

fn resolve_data(c: &mut Config, method: Method) -> anyhow::Result<DataPlan> {
    let data = c.data.get_or_insert_default();
    let kinds =
        if method == Method::Sft { "jsonl, gsm8k or word-problems" } else { "gsm8k or word-problems" };
    let task = required(data.task, "data.task", kinds)?;
    ensure(task != Task::Jsonl || method == Method::Sft, "data.task", "\"jsonl\"", kinds)?;
    if task == Task::WordProblems {
        data.limit.get_or_insert(WORD_PROBLEMS);
        ensure(data.path.is_none(), "data.path", "(set)", "nothing: word problems are generated")?;
    } else {
        let path = required(data.path.clone(), "data.path", "a file")?;
        let found = PathBuf::from(&path);
        ensure(found.is_file(), "data.path", format!("{path:?}"), "a file that exists")?;
    }
    ensure(data.limit != Some(0), "data.limit", 0, "at least 1")?;
    if task == Task::Jsonl {
        ensure(
            data.system.is_none(),
            "data.system",
            "(set)",
            "nothing: the examples hold whole conversations",
        )?;
        let suffix = data.prompt_suffix.is_none();
        ensure(suffix, "data.prompt_suffix", "(set)", "nothing: the examples hold whole conversations")?;
        let limit = data.limit.is_none();
        ensure(limit, "data.limit", "(set)", "nothing: all examples of a file are used")?;
    } else {
        let default = if task == Task::Gsm8k { BOXED_SUFFIX } else { "" };
        data.prompt_suffix.get_or_insert_with(|| default.into());
    }
    let ask = Ask { system: data.system.clone(), suffix: data.prompt_suffix.clone().unwrap_or_default() };
    Ok(DataPlan { task, path: data.path.clone().map(PathBuf::from), limit: data.limit, ask })
}

fn resolve_sft(c: &mut Config, seed: u64) -> Result<Checked<SftSettings>, SettingError> {
    let optimizer = resolve_optimizer(c, 1e-5);
    let checkpoint_every = *c.run.get_or_insert_default().checkpoint_every.get_or_insert(100);
    let sft = c.sft.get_or_insert_default();
    Checked::new(SftSettings {
        seed,
        epochs: *sft.epochs.get_or_insert(1),
        batch_size: *sft.batch_size.get_or_insert(32),
        max_tokens: *sft.max_tokens.get_or_insert(2048),
        optimizer,
        checkpoint_every,
    })
}

fn resolve_optimizer(c: &mut Config, lr: f64) -> OptimizerSettings {
    let optimizer: &mut config::Optimizer = c.optimizer.get_or_insert_default();
    let [beta1, beta2] = *optimizer.betas.get_or_insert([0.9, 0.999]);
    OptimizerSettings {
        lr: *optimizer.lr.get_or_insert(lr),
        schedule: *optimizer.schedule.get_or_insert(LrSchedule::Constant),
        warmup_steps: *optimizer.warmup_steps.get_or_insert(0),
        weight_decay: *optimizer.weight_decay.get_or_insert(0.01),
        beta1,
        beta2,
        eps: ADAM_EPS,
        grad_clip: *optimizer.grad_clip.get_or_insert(1.0),
    }
}

fn required<T>(value: Option<T>, key: &str, expected: &str) -> Result<T, SettingError> {
    value.ok_or_else(|| SettingError {
        key: key.into(),
        value: "(not set)".into(),
        expected: expected.into(),
    })
}

fn error(key: &str, value: &str, expected: String) -> SettingError {
    SettingError { key: key.into(), value: format!("{value:?}"), expected }
}

fn ensure(ok: bool, key: &str, value: impl ToString, expected: &str) -> Result<(), SettingError> {
    if ok {
        return Ok(());
    }
    Err(SettingError { key: key.into(), value: value.to_string(), expected: expected.into() })
}

#[cfg(test)]
mod tests;
