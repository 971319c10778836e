//! From what was typed to what will be done: every default filled in, every value judged, before anything is loaded.

mod held_out;
mod refuse;
pub mod rl;
mod types;

use std::path::{Path, PathBuf};

use thinktune_method::settings::{
    Ask, Checked, ExampleSettings, OptimizerSettings, Section, SettingError, SftSettings, Values,
};
use thinktune_model::{Device, Precision};
use thinktune_text::Date;

use crate::config::{Config, DataSettings, Init, KeepSettings, Method, ModelSettings, Task, TopSettings};
use crate::failure::UsageError;
use crate::model_source::ModelSource;
pub use types::{DataPlan, HeldOut, Help, Job, Plan, RlPlan, Teacher};

use refuse::{ensure, model_source};

/// Appended to questions from GSM8K where the configuration says nothing else.
pub const BOXED_SUFFIX: &str = "\n\nReason step by step, and put the final answer in \\boxed{}.";
/// Word problems that are generated where no limit is given.
const WORD_PROBLEMS: usize = 10_000;

/// Fills in defaults and checks everything that can be checked without loading a model.
///
/// # Errors
/// The first setting that cannot be used: its key, its value, what was expected.
pub fn resolve(mut config: Config) -> anyhow::Result<Plan> {
    let values = &mut config.0;
    let TopSettings { method, seed, out } = TopSettings::read(values)?;
    let mut notices = Vec::new();
    drop_unused_sections(values, method, &mut notices)?;
    fill_dependent_defaults(values, method);
    let out = out.unwrap_or_else(|| "runs/run".into());
    values.fill("out", &out);
    let ResolvedModel { source: model, init, precision, device, memory, date } = resolve_model(values)?;
    let data = resolve_data(values, method)?;
    let job = match method {
        Method::Sft => Job::Sft(resolve_sft(values, seed)?),
        Method::ThinkTuning | Method::Grpo => {
            Job::Rl(Box::new(rl::resolve_rl(values, method, seed, data.ask.clone())?))
        }
    };
    let keep = KeepSettings::read(values)?;
    keep.check_ranges()?;
    Ok(Plan {
        config,
        method,
        seed,
        out: out.into(),
        model,
        init,
        precision,
        device,
        memory,
        date,
        data,
        job,
        keep_checkpoints: keep.keep_checkpoints,
        notices,
    })
}

/// A section the method does not use is an error, except `[guidance]` under GRPO: comparing the two by
/// `--set method=grpo` is what it is for.
fn drop_unused_sections(
    values: &mut Values,
    method: Method,
    notices: &mut Vec<String>,
) -> Result<(), UsageError> {
    let unused: &[&str] = match method {
        Method::Sft => &[
            "rollout",
            "guidance",
            "reward",
            "loss",
            "held_out",
            "run.eval_every",
            "optimizer.mini_batch_questions",
            "run.steps",
            "run.log_logprobs",
            "run.check_logprobs",
        ],
        Method::ThinkTuning | Method::Grpo => &["sft"],
    };
    if let Some(key) = unused.iter().find(|key| values.get(key).is_some()) {
        let method = if method == Method::Sft { "sft" } else { "thinktuning or grpo" };
        return Err(UsageError(format!("`{key}` is set, and method {method} does not use it; remove it")));
    }
    if method == Method::Grpo && values.remove("guidance").is_some() {
        notices.push("method = grpo: nobody is guided, [guidance] is left out".into());
    }
    Ok(())
}

/// Defaults that depend on the method.
fn fill_dependent_defaults(values: &mut Values, method: Method) {
    if method == Method::Sft {
        values.fill("optimizer.lr", &1e-5);
        values.fill("run.checkpoint_every", &100_u32);
    }
}

/// `[model]`, read.
struct ResolvedModel {
    source: ModelSource,
    init: Init,
    precision: Precision,
    device: Device,
    memory: Option<u64>,
    date: String,
}

fn resolve_model(values: &mut Values) -> anyhow::Result<ResolvedModel> {
    let settings = ModelSettings::read(values)?;
    settings.check_ranges()?;
    let ModelSettings { path, init, precision, device, memory_gib, date } = settings;
    let memory = memory_gib.map(|gib| (gib * f64::from(1 << 30)) as u64);
    let source = model_source("model.path", &path)?;
    ensure(date.parse::<Date>().is_ok(), "model.date", format!("{date:?}"), "a date like 2025-01-31")?;
    let device = resolve_device(&device)?;
    values.set("model.device", device.to_string().into());
    Ok(ResolvedModel { source, init, precision: precision.into(), device, memory, date })
}

/// The device of this name, in place of `auto` the one that it stands for.
fn resolve_device(name: &str) -> Result<Device, SettingError> {
    let there: Vec<String> = Device::present().iter().map(|device| format!("`{device}`")).collect();
    let expected = || format!("`auto`, or a device that is there: {}", there.join(", "));
    let found = name.parse::<Device>().ok().and_then(|device| device.resolve().ok());
    found.ok_or_else(|| SettingError::new("model.device", format!("{name:?}"), expected()))
}

fn resolve_data(values: &mut Values, method: Method) -> anyhow::Result<DataPlan> {
    let data = DataSettings::read(values)?;
    data.check_ranges()?;
    let DataSettings { task, path, mut limit, system, mut prompt_suffix } = data;
    let kinds =
        if method == Method::Sft { "jsonl, gsm8k or word-problems" } else { "gsm8k or word-problems" };
    ensure(task != Task::Jsonl || method == Method::Sft, "data.task", "\"jsonl\"", kinds)?;
    if task == Task::WordProblems {
        limit = Some(limit.unwrap_or(WORD_PROBLEMS));
        ensure(path.is_none(), "data.path", "(set)", "nothing: word problems are generated")?;
    } else {
        let found = path.as_deref().unwrap_or_default();
        let shown = if path.is_some() { format!("{found:?}") } else { "(not set)".into() };
        ensure(Path::new(found).is_file(), "data.path", shown, "a file that exists")?;
    }
    if task == Task::Jsonl {
        let whole = "nothing: the examples hold whole conversations";
        ensure(system.is_none(), "data.system", "(set)", whole)?;
        ensure(prompt_suffix.is_none(), "data.prompt_suffix", "(set)", whole)?;
        ensure(limit.is_none(), "data.limit", "(set)", "nothing: all examples of a file are used")?;
    } else {
        let default = if task == Task::Gsm8k { BOXED_SUFFIX } else { "" };
        prompt_suffix.get_or_insert_with(|| default.into());
    }
    if let Some(limit) = &limit {
        values.fill("data.limit", limit);
    }
    if let Some(suffix) = &prompt_suffix {
        values.fill("data.prompt_suffix", suffix);
    }
    let ask = Ask { system, suffix: prompt_suffix.unwrap_or_default() };
    Ok(DataPlan { task, path: path.map(PathBuf::from), limit, ask })
}

fn resolve_sft(values: &mut Values, seed: u64) -> Result<Checked<SftSettings>, SettingError> {
    Checked::new(SftSettings {
        seed,
        examples: ExampleSettings::read(values)?,
        optimizer: OptimizerSettings::read(values)?,
        checkpoint_every: values.required("run.checkpoint_every", &100)?,
    })
}

#[cfg(test)]
mod tests;
