//! The sections of ThinkTuning and GRPO.

use thinktune_method::help::prompts::PromptSet;
use thinktune_method::settings::{
    Aggregation, Ask, Checked, GammaSchedule, GammaShape, GuidanceSettings, LossSettings, LowConfidence,
    RewardSettings, RlSettings, RolloutSettings, RunSettings, Scope, SettingError,
};
use thinktune_remote::{BadSetting, RemoteSettings};

use super::{Help, RlPlan, Teacher, error, required, resolve_optimizer};
use crate::config::{self, Config, Method};
use crate::place;

/// Fills in and checks the sections of ThinkTuning and GRPO.
///
/// # Errors
/// The first setting that cannot be used.
pub fn resolve_rl(c: &mut Config, method: Method, seed: u64, ask: Ask) -> anyhow::Result<RlPlan> {
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
        eval_every: run.eval_every,
        log_logprobs: *run.log_logprobs.get_or_insert(false),
        check_logprobs: *run.check_logprobs.get_or_insert(false),
    };
    let settings =
        RlSettings { seed, ask, rollout, guidance, reward, loss, optimizer, mini_batch_questions, run };
    let settings = Checked::new(settings)?;
    let help = if help_wanted { Some(resolve_help(c)?) } else { None };
    let held_out = super::held_out::resolve(c, settings.rollout.max_response_tokens)?;
    Ok(RlPlan { settings, help, held_out })
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
    guidance.teacher.get_or_insert_with(|| config::Teacher::Named("initial".into()));
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
    let teacher = match &guidance.teacher {
        Some(config::Teacher::Remote(settings)) => resolve_remote(settings)?,
        Some(config::Teacher::Named(name)) if name != "initial" => {
            let place = place::parse(name);
            let wrong =
                |expected| error("guidance.teacher", name, format!("\"initial\", {expected}, or a table"));
            Teacher::Model(place.map_err(wrong)?)
        }
        _ => Teacher::Initial,
    };
    let prompts = guidance.prompts.clone().unwrap_or_default();
    let set = PromptSet::load(&prompts)
        .map_err(|found| error("guidance.prompts", &prompts, format!("a prompt set ({found})")))?;
    Ok(Help { teacher, prompts: set })
}

fn resolve_remote(settings: &RemoteSettings) -> anyhow::Result<Teacher> {
    let wrong = |bad: BadSetting| SettingError {
        key: format!("guidance.teacher.{}", bad.name),
        value: bad.value,
        expected: bad.expected.into(),
    };
    settings.check().map_err(wrong)?;
    settings.key().map_err(wrong)?;
    let place = |name: &String| {
        place::parse(name).map_err(|expected| error("guidance.teacher.tokenizer", name, expected))
    };
    let tokenizer = settings.tokenizer.as_ref().map(place).transpose()?;
    Ok(Teacher::Remote { settings: settings.clone(), tokenizer })
}

fn resolve_reward(c: &mut Config) -> RewardSettings {
    let reward = c.reward.get_or_insert_default();
    let phrase_bonus = *reward.phrase_bonus.get_or_insert(0.5);
    RewardSettings { phrase: reward.phrase.clone(), phrase_bonus }
}

fn resolve_loss(c: &mut Config) -> LossSettings {
    let loss = c.loss.get_or_insert_default();
    let [a_min, a_max] = *loss.a_range.get_or_insert([-4.0, 4.0]);
    LossSettings {
        eps_low: *loss.eps_low.get_or_insert(0.2),
        eps_high: *loss.eps_high.get_or_insert(0.2),
        beta: *loss.beta.get_or_insert(0.0),
        c1: *loss.c1.get_or_insert(1e-4),
        c2: *loss.c2.get_or_insert(-1e-4),
        a_min,
        a_max,
        tau: *loss.tau.get_or_insert(0.01),
        low_confidence: *loss.low_confidence.get_or_insert(LowConfidence::Mask),
        scope: *loss.scope.get_or_insert(Scope::Trajectory),
        aggregation: *loss.aggregation.get_or_insert(Aggregation::SequenceMean),
    }
}
