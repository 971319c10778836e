//! Runs of ThinkTuning, and of GRPO where gamma is 0.

pub mod report;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thinktune_policy::Policy;
use thinktune_runlog::event::{RunTotals, StepMetrics};

use crate::act::questions::Questions;
use crate::error::MethodError;
use crate::progress::Progress;
use crate::record::{phase_tokens, rollout_records, step_metrics};
use crate::run::{Run, Schedule, StepLog};
use crate::settings::{Checked, GammaSchedule, GammaShape, RlSettings, SettingError};
use crate::step::{Models, step};
use report::{RunReport, listed};

/// A run of ThinkTuning or GRPO.
pub struct RlRun<'a> {
    models: Models<'a>,
    questions: &'a Questions,
    settings: &'a Checked<RlSettings>,
    state: RlState,
}

impl<'a> RlRun<'a> {
    /// A run at its beginning.
    ///
    /// # Errors
    /// Settings without the teacher or reference they need.
    pub fn new(
        models: Models<'a>,
        questions: &'a Questions,
        settings: &'a Checked<RlSettings>,
    ) -> Result<Self, MethodError> {
        check_models(&models, settings)?;
        Ok(Self { models, questions, settings, state: RlState::default() })
    }

    /// Counts over the run so far, the steps before a resume included.
    pub fn totals(&self) -> &RunTotals {
        &self.state.totals
    }

    /// Ends guidance where it was used once and has reached no loss for `max_unguided_steps` steps: from here on gamma
    /// is 0. What was learnt stays, and the run goes on.
    fn end_guidance_if_dried_up(&mut self, step: u32, progress: &mut dyn Progress) {
        let RlState { unguided_steps, rejected, guidance_ended, totals, .. } = &mut self.state;
        let dry = *unguided_steps >= self.settings.guidance.max_unguided_steps;
        if !dry || totals.guided == 0 || guidance_ended.is_some() {
            return;
        }
        *guidance_ended = Some(step);
        progress.notice(&format!(
            "guidance ends after step {step}: gamma was above 0 for {unguided_steps} steps in a row and no guided token \
             reached the loss (feedback rejected: {}); gamma is 0 from here on (guidance.max_unguided_steps)",
            listed(rejected)
        ));
    }
}

impl Run for RlRun<'_> {
    type Metrics = StepMetrics;
    type State = RlState;

    fn schedule(&self) -> Schedule {
        let run = &self.settings.run;
        Schedule { steps: run.steps, checkpoint_every: run.checkpoint_every, eval_every: run.eval_every }
    }

    fn student(&self) -> &dyn Policy {
        &*self.models.student
    }

    fn student_mut(&mut self) -> &mut dyn Policy {
        &mut *self.models.student
    }

    fn state(&self) -> &RlState {
        &self.state
    }

    fn restore(&mut self, state: RlState) {
        self.state = state;
    }

    fn step(
        &mut self,
        number: u32,
        progress: &mut dyn Progress,
    ) -> Result<StepLog<StepMetrics>, MethodError> {
        let questions = self.questions.of_step(number);
        let unguided = self.state.guidance_ended.map(|_| without_guidance(self.settings));
        let settings = unguided.as_ref().unwrap_or(self.settings);
        let done = step(&mut self.models, &questions, number, settings, progress)?;
        let metrics = step_metrics(&done, self.questions, settings, self.state.updates);
        self.state.updates = metrics.updates_total;
        self.state.totals.add(&metrics);
        self.state.count_unguided(&metrics);
        self.end_guidance_if_dried_up(number, progress);
        let rollouts = Some(rollout_records(&done, self.settings));
        Ok(StepLog { metrics, rollouts, tokens: phase_tokens(&done) })
    }

    /// Guidance that is asked for and of which nothing is ever used is an error, not a silence.
    fn check(&self, step: u32) -> Result<(), MethodError> {
        let RlState { unguided_steps, guidance_ended, totals, .. } = &self.state;
        let dry = *unguided_steps > 0 && *unguided_steps >= self.settings.guidance.max_unguided_steps;
        if !dry || guidance_ended.is_some() {
            return Ok(());
        }
        let why = RunReport { totals, settings: self.settings }.why_unguided();
        Err(MethodError::NoGuidance { step, steps: *unguided_steps, why })
    }

    fn summary(metrics: &StepMetrics) -> String {
        let StepMetrics {
            reward_mean,
            accuracy,
            reflection_rate,
            guided,
            wrong_to_right,
            phrase_rate,
            equal_groups,
            all_right_groups,
            all_wrong_groups,
            ..
        } = *metrics;
        let (right, reflects) = (100.0 * accuracy, 100.0 * reflection_rate);
        let mut summary = format!("reward {reward_mean:.3}  accuracy {right:.1} %  reflects {reflects:.1} %");
        if equal_groups >= 0.5 {
            let flat = 100.0 * equal_groups;
            summary.push_str(&format!(
                "  flat groups {flat:.0} % ({all_right_groups} all right, {all_wrong_groups} all wrong)"
            ));
        }
        if guided > 0 {
            summary.push_str(&format!("  guided {guided} ({wrong_to_right} wrong->right)"));
        }
        if phrase_rate.is_finite() {
            summary.push_str(&format!("  phrase {:.1} %", 100.0 * phrase_rate));
        }
        summary
    }
}

/// State of a run beside the student, carried from step to step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RlState {
    /// Optimizer updates made.
    updates: u64,
    /// Steps in a row with gamma > 0 and no guided token in the loss.
    #[serde(rename = "starved")]
    unguided_steps: u32,
    /// Feedback rejected in those steps, by reason.
    rejected: BTreeMap<String, u64>,
    /// The step after which guidance ended because it had dried up.
    #[serde(default)]
    guidance_ended: Option<u32>,
    /// Counts over the run.
    #[serde(default)]
    totals: RunTotals,
}

/// The settings with gamma 0.
fn without_guidance(settings: &RlSettings) -> RlSettings {
    let mut settings = settings.clone();
    settings.guidance.gamma =
        GammaSchedule { shape: GammaShape::Constant, start: 0.0, end: 0.0, steps: None };
    settings
}

impl RlState {
    /// Counts a step whose guidance did not reach the loss, and forgets earlier ones after a step whose did.
    fn count_unguided(&mut self, metrics: &StepMetrics) {
        if metrics.gamma == 0.0 || metrics.guided_tokens > 0 {
            self.unguided_steps = 0;
            self.rejected.clear();
            return;
        }
        self.unguided_steps += 1;
        for (reason, count) in &metrics.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }
}

fn check_models(models: &Models<'_>, settings: &RlSettings) -> Result<(), MethodError> {
    let needs = |key: &str, value: f64, expected: &str| {
        let (key, expected) = (key.into(), expected.into());
        Err(MethodError::Setting(SettingError { key, value: value.to_string(), expected }))
    };
    let gamma = settings.guidance.gamma.start.max(settings.guidance.gamma.end);
    if gamma > 0.0 && models.teacher.is_none() {
        return needs("guidance.gamma", gamma, "0 where there is no teacher");
    }
    if settings.loss.beta > 0.0 && models.reference.is_none() {
        return needs("loss.beta", settings.loss.beta, "0 where there is no reference model");
    }
    Ok(())
}
