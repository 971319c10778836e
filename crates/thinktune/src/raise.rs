//! More steps for a run that has begun.

use thinktune_method::settings::{GammaShape, LrSchedule, RlSettings};
use thinktune_runlog::read_config;

use crate::failure::UsageError;
use crate::plan::{Job, Plan};

/// Whether the plan asks for more steps than the run in its folder was begun with.
///
/// # Errors
/// More steps, where a schedule ends with the run: the steps already made would have been others.
pub fn is_raised(plan: &Plan) -> Result<bool, UsageError> {
    let Job::Rl(rl) = &plan.job else { return Ok(false) };
    let steps = rl.settings.run.steps;
    let Some(begun) = steps_of(plan).filter(|begun| *begun < i64::from(steps)) else { return Ok(false) };
    match schedule(&rl.settings) {
        None => Ok(true),
        Some((key, instead)) => Err(UsageError(format!(
            "run.steps was {begun} when {} was begun and is {steps} now, but {key} ends with the run, so the steps \
             already made would have been others; begin a new run folder, and {instead}, if it is to be raised later",
            plan.out.display()
        ))),
    }
}

/// run.steps of the run in the plan's folder.
fn steps_of(plan: &Plan) -> Option<i64> {
    let begun: toml::Table = read_config(&plan.out).ok()?.parse().ok()?;
    begun.get("run")?.get("steps")?.as_integer()
}

/// A schedule that depends on the number of steps, and what to set so that it does not.
fn schedule(settings: &RlSettings) -> Option<(&'static str, &'static str)> {
    let guidance = &settings.guidance;
    let gamma = &guidance.gamma;
    if settings.optimizer.schedule != LrSchedule::Constant {
        return Some(("optimizer.schedule", "leave it \"constant\""));
    }
    let moves = gamma.shape != GammaShape::Constant && gamma.start != gamma.end;
    let ends_with_run = gamma.steps.is_none() && guidance.last_step.is_none();
    (moves && ends_with_run).then_some(("guidance.gamma", "set guidance.gamma.steps"))
}
