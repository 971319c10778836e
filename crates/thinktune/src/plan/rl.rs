//! The sections of ThinkTuning and GRPO.

use thinktune_method::help::prompts::PromptSet;
use thinktune_method::settings::{
    Aggregation, Ask, Checked, GammaSchedule, GammaShape, GuidanceSettings, LossSettings, MiniBatchSettings,
    OptimizerSettings, RewardScale, RewardSettings, RlSettings, RolloutSettings, RunSettings, Section,
    SettingError, Values, largest_advantages,
};
use thinktune_remote::RemoteSettings;
use toml::Value;

use super::held_out;
use super::refuse::model_source;
use super::types::{Help, RlPlan, Teacher};
use crate::config::{Method, TeacherSettings};
use crate::model_source::{EXPECTED, ModelSource};

/// Fills in and checks the sections of ThinkTuning and GRPO.
///
/// # Errors
/// The first setting that cannot be used.
pub fn resolve_rl(values: &mut Values, method: Method, seed: u64, ask: Ask) -> anyhow::Result<RlPlan> {
    let help_wanted = method == Method::ThinkTuning;
    let rollout = RolloutSettings::read(values)?;
    let guidance = if help_wanted { read_guidance(values)? } else { no_guidance()? };
    values.fill("loss.advantage_range", &largest_advantages(rollout.group_size));
    let loss = LossSettings::read(values)?;
    if loss.aggregation == Aggregation::DrGrpo {
        values.fill("reward.scale", &RewardScale::None);
    }
    let reward = RewardSettings::read(values)?;
    let optimizer = OptimizerSettings::read(values)?;
    let most = MiniBatchSettings::read(&mut Values::default())?.mini_batch_questions;
    values.fill("optimizer.mini_batch_questions", &rollout.questions_per_step.min(most));
    let MiniBatchSettings { mini_batch_questions } = MiniBatchSettings::read(values)?;
    let run = RunSettings::read(values)?;
    let settings =
        RlSettings { seed, ask, rollout, guidance, reward, loss, optimizer, mini_batch_questions, run };
    let settings = Checked::new(settings)?;
    let help = if help_wanted { Some(resolve_help(values, &settings.guidance.prompts)?) } else { None };
    let held_out = held_out::resolve(values, settings.rollout.max_response_tokens)?;
    Ok(RlPlan { settings, help, held_out })
}

/// `[guidance]`. Where nothing is said of gamma it follows the released recipe: linear from 0.1 to 0.01 over 16 steps,
/// a third of its horizon of 50, and off at or below 0.06, which guides steps 1 to 8. A schedule of the user's own ends
/// where that says.
fn read_guidance(values: &mut Values) -> Result<GuidanceSettings, SettingError> {
    if values.get("guidance.gamma").is_none() {
        values.fill("guidance.gamma.steps", &16_u32);
    } else {
        values.fill("guidance.min_gamma", &0.0);
        let given = GammaSchedule::read(&mut values.clone())?;
        if given.shape == GammaShape::Constant {
            values.fill("guidance.gamma.end", &given.start);
        }
    }
    GuidanceSettings::read(values)
}

/// Guidance that is never given.
fn no_guidance() -> Result<GuidanceSettings, SettingError> {
    let gamma = GammaSchedule { shape: GammaShape::Constant, start: 0.0, end: 0.0, steps: None };
    Ok(GuidanceSettings { gamma, min_gamma: 0.0, ..GuidanceSettings::read(&mut Values::default())? })
}

fn resolve_help(values: &mut Values, prompts: &str) -> anyhow::Result<Help> {
    let set = PromptSet::load(prompts).map_err(|found| {
        SettingError::new("guidance.prompts", format!("{prompts:?}"), format!("a prompt set ({found})"))
    })?;
    Ok(Help { teacher: resolve_teacher(values)?, prompts: set })
}

fn resolve_teacher(values: &mut Values) -> anyhow::Result<Teacher> {
    let key = "guidance.teacher";
    match values.get(key) {
        Some(Value::Table(_)) => return resolve_remote(values),
        None | Some(Value::String(_)) => {}
        Some(other) => {
            let expected = "a model's name, or { url = \"..\", model = \"..\" }";
            return Err(SettingError::new(key, other, expected).into());
        }
    }
    let TeacherSettings { teacher } = TeacherSettings::read(values)?;
    if teacher == "initial" {
        return Ok(Teacher::Initial);
    }
    let source = ModelSource::parse(&teacher).map_err(|_| {
        let expected = format!("\"initial\", {}, or a table", EXPECTED);
        SettingError::new(key, format!("{teacher:?}"), expected)
    })?;
    Ok(Teacher::Model(source))
}

fn resolve_remote(values: &mut Values) -> anyhow::Result<Teacher> {
    let settings = RemoteSettings::read(values)?;
    settings.check()?;
    settings.key()?;
    let tokenizer =
        settings.tokenizer.as_deref().map(|name| model_source("guidance.teacher.tokenizer", name));
    let tokenizer = tokenizer.transpose()?;
    Ok(Teacher::Remote { settings, tokenizer })
}
