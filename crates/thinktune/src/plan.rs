//! From what was typed to what will be done: every default filled in, every value judged, before anything is loaded.

use std::path::PathBuf;

use thinktune_method::help::prompts::PromptSet;
use thinktune_method::settings::{Aggregation, LowConfidence, Scope};
use thinktune_method::settings::{
    Ask, Checked, GammaSchedule, GammaShape, GuidanceSettings, LossSettings, LrSchedule, OptimizerSettings,
    RewardSettings, RlSettings, RolloutSettings, RunSettings, SettingError, SftSettings,
};

use crate::config::{self, Config, Init, Method, Task};
use crate::failure::UsageError;
use crate::place::{self, Place};

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
}

/// Who helps.
#[derive(Debug, Clone)]
pub struct Help {
    /// The teacher's model; the frozen initial student where there is none.
    pub teacher: Option<Place>,
    /// What the teacher is shown.
    pub prompts: PromptSet,
}

/// Appended to questions from GSM8K where the configuration says nothing else.
const BOXED_SUFFIX: &str = "\n\nReason step by step, and put the final answer in \\boxed{}.";
/// Homework problems generated where no limit is given.
const HOMEWORK_QUESTIONS: usize = 10_000;
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
    let (model, init, date) = resolve_model(c)?;
    let data = resolve_data(c, method)?;
    let job = match method {
        Method::Sft => Job::Sft(resolve_sft(c, seed)?),
        Method::ThinkTuning | Method::Grpo => {
            Job::Rl(Box::new(resolve_rl(c, method, seed, data.ask.clone())?))
        }
    };
    let run = c.run.get_or_insert_default();
    let keep_checkpoints = *run.keep_checkpoints.get_or_insert(2);
    ensure(keep_checkpoints > 0, "run.keep_checkpoints", keep_checkpoints, "at least 1")?;
    Ok(Plan { config, method, seed, out, model, init, date, data, job, keep_checkpoints, notices })
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

fn resolve_model(c: &mut Config) -> anyhow::Result<(Place, Init, String)> {
    let model = c.model.get_or_insert_default();
    let path = required(model.path.clone(), "model.path", "a folder in Hugging Face layout, or org/name")?;
    let place = place::parse(&path).map_err(|expected| error("model.path", &path, expected))?;
    let init = *model.init.get_or_insert(Init::Pretrained);
    let date = model.date.get_or_insert_with(|| DEFAULT_DATE.into()).clone();
    ensure(is_date(&date), "model.date", format!("{date:?}"), "a date like 2025-01-31")?;
    Ok((place, init, date))
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
    let kinds = if method == Method::Sft { "jsonl, gsm8k or homework" } else { "gsm8k or homework" };
    let task = required(data.task, "data.task", kinds)?;
    ensure(task != Task::Jsonl || method == Method::Sft, "data.task", "\"jsonl\"", kinds)?;
    if task == Task::Homework {
        data.limit.get_or_insert(HOMEWORK_QUESTIONS);
        ensure(data.path.is_none(), "data.path", "(set)", "nothing: homework is generated")?;
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

fn resolve_rl(c: &mut Config, method: Method, seed: u64, ask: Ask) -> anyhow::Result<RlPlan> {
    let rollout = resolve_rollout(c);
    let help_wanted = method == Method::ThinkTuning;
    let guidance = if help_wanted { resolve_guidance(c) } else { no_guidance() };
    let reward = resolve_reward(c);
    let loss = resolve_loss(c);
    let optimizer = resolve_optimizer(c, 1e-6);
    let questions = rollout.questions_per_step;
    let mini = &mut c.optimizer.get_or_insert_default().mini_batch_questions;
    let mini_batch_questions = *mini.get_or_insert(questions.min(32));
    let run = c.run.get_or_insert_default();
    let run = RunSettings {
        steps: required(run.steps, "run.steps", "how many training steps to make")?,
        checkpoint_every: *run.checkpoint_every.get_or_insert(10),
        log_logprobs: *run.log_logprobs.get_or_insert(false),
    };
    let settings =
        RlSettings { seed, ask, rollout, guidance, reward, loss, optimizer, mini_batch_questions, run };
    let settings = Checked::new(settings)?;
    let help = if help_wanted { Some(resolve_help(c)?) } else { None };
    Ok(RlPlan { settings, help })
}

fn resolve_rollout(c: &mut Config) -> RolloutSettings {
    let rollout = c.rollout.get_or_insert_default();
    RolloutSettings {
        questions_per_step: *rollout.questions_per_step.get_or_insert(128),
        group_size: *rollout.group_size.get_or_insert(5),
        temperature: *rollout.temperature.get_or_insert(1.0),
        // The method trains on the distribution it samples from; a truncated one is another.
        top_k: None,
        top_p: 1.0,
        min_p: 0.0,
        max_prompt_tokens: *rollout.max_prompt_tokens.get_or_insert(512),
        max_response_tokens: *rollout.max_response_tokens.get_or_insert(1024),
    }
}

/// The paper's schedule where the configuration has none: linear over the first third of a horizon of 50 steps.
fn resolve_guidance(c: &mut Config) -> GuidanceSettings {
    let guidance = c.guidance.get_or_insert_default();
    let paper = guidance.gamma.is_none();
    let gamma = guidance.gamma.get_or_insert_default();
    if paper {
        gamma.steps = Some(17);
    }
    let shape = *gamma.shape.get_or_insert(GammaShape::Linear);
    let start = *gamma.start.get_or_insert(0.1);
    let end = *gamma.end.get_or_insert(if shape == GammaShape::Constant { start } else { 0.06 });
    let gamma = GammaSchedule { shape, start, end, steps: gamma.steps };
    guidance.teacher.get_or_insert_with(|| "initial".into());
    GuidanceSettings {
        gamma,
        horizon: guidance.horizon,
        off_below: *guidance.off_below.get_or_insert(if paper { 0.06 } else { 0.0 }),
        prompts: guidance.prompts.get_or_insert_with(|| "reasoning".into()).clone(),
        max_teacher_prompt_tokens: *guidance.max_teacher_prompt_tokens.get_or_insert(3072),
        max_teacher_tokens: *guidance.max_teacher_tokens.get_or_insert(1024),
        max_feedback_tokens: *guidance.max_feedback_tokens.get_or_insert(512),
        teacher_temperature: *guidance.teacher_temperature.get_or_insert(1.0),
        starved_steps: *guidance.starved_steps.get_or_insert(10),
    }
}

/// Nobody is ever chosen.
fn no_guidance() -> GuidanceSettings {
    let gamma = GammaSchedule { shape: GammaShape::Constant, start: 0.0, end: 0.0, steps: None };
    GuidanceSettings { gamma, off_below: 0.0, ..resolve_guidance(&mut Config::default()) }
}

fn resolve_help(c: &mut Config) -> anyhow::Result<Help> {
    let guidance = c.guidance.get_or_insert_default();
    let name = guidance.teacher.clone().unwrap_or_else(|| "initial".into());
    let teacher = match name.as_str() {
        "initial" => None,
        _ => {
            let place = place::parse(&name);
            Some(place.map_err(|expected| {
                error("guidance.teacher", &name, format!("\"initial\", or {expected}"))
            })?)
        }
    };
    let prompts = guidance.prompts.clone().unwrap_or_default();
    let set = PromptSet::load(&prompts)
        .map_err(|found| error("guidance.prompts", &prompts, format!("a prompt set ({found})")))?;
    Ok(Help { teacher, prompts: set })
}

fn resolve_reward(c: &mut Config) -> RewardSettings {
    let reward = c.reward.get_or_insert_default();
    let phrase_bonus = *reward.phrase_bonus.get_or_insert(0.5);
    RewardSettings { phrase: reward.phrase.clone(), phrase_bonus }
}

fn resolve_loss(c: &mut Config) -> LossSettings {
    let loss = c.loss.get_or_insert_default();
    LossSettings {
        eps_low: *loss.eps_low.get_or_insert(0.2),
        eps_high: *loss.eps_high.get_or_insert(0.2),
        beta: *loss.beta.get_or_insert(0.0),
        c1: *loss.c1.get_or_insert(1e-4),
        c2: *loss.c2.get_or_insert(-1e-4),
        a_min: *loss.a_min.get_or_insert(-4.0),
        a_max: *loss.a_max.get_or_insert(4.0),
        tau: *loss.tau.get_or_insert(0.01),
        low_confidence: *loss.low_confidence.get_or_insert(LowConfidence::Mask),
        scope: *loss.scope.get_or_insert(Scope::Trajectory),
        aggregation: *loss.aggregation.get_or_insert(Aggregation::SequenceMean),
    }
}

fn resolve_optimizer(c: &mut Config, lr: f64) -> OptimizerSettings {
    let optimizer: &mut config::Optimizer = c.optimizer.get_or_insert_default();
    OptimizerSettings {
        lr: *optimizer.lr.get_or_insert(lr),
        schedule: *optimizer.schedule.get_or_insert(LrSchedule::Constant),
        warmup_steps: *optimizer.warmup_steps.get_or_insert(0),
        weight_decay: *optimizer.weight_decay.get_or_insert(0.01),
        beta1: *optimizer.beta1.get_or_insert(0.9),
        beta2: *optimizer.beta2.get_or_insert(0.999),
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
mod tests {
    use super::*;
    use std::path::Path;

    fn config_files(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                config_files(&path, out);
            } else {
                assert_eq!(path.extension().unwrap(), "toml", "{}", path.display());
                out.push(path);
            }
        }
    }

    /// Every shipped configuration makes a plan, once its model and data are there.
    #[test]
    fn every_shipped_configuration_resolves() {
        let mut files = Vec::new();
        config_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs"), &mut files);
        assert!(files.len() >= 7, "{files:?}");
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("data.jsonl");
        std::fs::write(&data, "").unwrap();
        for file in files {
            let mut config = Config::load(&file, &[]).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            config.model.as_mut().unwrap().path = Some(place.path().display().to_string());
            if let Some(path) = config.data.as_mut().and_then(|data| data.path.as_mut()) {
                *path = data.display().to_string();
            }
            if let Some(teacher) = config.guidance.as_mut().and_then(|guidance| guidance.teacher.as_mut())
                && teacher != "initial"
            {
                *teacher = place.path().display().to_string();
            }
            resolve(config).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        }
    }

    /// The paper's configuration spells out every setting, and all but model, data and run are the defaults.
    #[test]
    fn the_defaults_are_the_papers_settings() {
        let paper = include_str!("../../../configs/gsm8k-llama-3.2-3b.toml");
        let data = tempfile::NamedTempFile::new().unwrap();
        let path = format!("data.path={:?}", data.path().display().to_string());
        let spelt_out = Config::parse(paper, std::slice::from_ref(&path)).unwrap();
        let bare = "method = 'thinktuning'\nmodel.path = 'meta-llama/Llama-3.2-3B-Instruct'\n\
                    data.task = 'gsm8k'\nrun.steps = 58\nseed = 1\nout = 'runs/gsm8k-llama-3.2-3b'\n";
        let mut defaults = resolve(Config::parse(bare, &[path]).unwrap()).unwrap().config;
        let guidance = defaults.guidance.as_mut().unwrap();
        guidance.horizon = Some(50);
        let resolved = resolve(spelt_out.clone()).unwrap().config;
        assert_eq!(resolved, spelt_out, "the file is complete");
        assert_eq!(defaults, resolved);
    }

    /// The defaults that `thinktune settings` prints are those that are used.
    #[test]
    fn the_reference_tells_the_defaults() {
        let data = tempfile::NamedTempFile::new().unwrap();
        let given = [
            "method=thinktuning".to_string(),
            "model.path=org/name".into(),
            "data.task=gsm8k".into(),
            format!("data.path={:?}", data.path().display().to_string()),
            "run.steps=3".into(),
        ];
        let mut told = Config::parse(config::REFERENCE, &given).unwrap();
        let used = resolve(Config::parse("", &given).unwrap()).unwrap().config;
        told.out = used.out.clone();
        told.sft = None;
        told.data = used.data.clone();
        assert_eq!(used, told);
    }
}
