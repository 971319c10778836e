//! Settings of a run, checked before anything is loaded.
//!
//! Each setting is [defined once](thinktune_settings::section!) in `sections.rs`: name, type, default, range, meaning. The structs hold
//! plain values; [`Checked`] is the proof that they make sense together, and the only form that
//! [`run`](crate::run) and [`sft`](crate::sft) accept. Key names in errors are those of the configuration file.

mod sections;

mod advantages;

mod check;

use std::ops::Deref;

use thinktune_policy::{AdamW, Message};
use thinktune_tasks::Question;

pub use advantages::largest_advantages;
pub use sections::{
    Aggregation, ExampleSettings, GammaSchedule, GammaShape, GuidanceSettings, LossSettings, LowConfidence,
    LrSchedule, MiniBatchSettings, OptimizerSettings, RewardScale, RewardSettings, RolloutSettings,
    RunSettings, Scope,
};
pub use thinktune_settings::{
    DefaultValue, Kind, Range, Section, Setting, SettingError, SettingValue, TomlValue, Values, above, any,
    at_least, between, check_range, doc_lines, dotted, from_below, within,
};

/// Settings that can judge themselves.
pub trait Check {
    /// Fails on the first setting that cannot be used.
    fn check(&self) -> Result<(), SettingError>;
}

/// Settings that passed their check.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked<S>(S);

impl<S: Check> Checked<S> {
    /// Checks `settings`.
    ///
    /// # Errors
    /// The first setting that cannot be used: its key, its value, what was expected.
    pub fn new(settings: S) -> Result<Self, SettingError> {
        settings.check()?;
        Ok(Self(settings))
    }
}

impl<S> Deref for Checked<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

/// Settings of ThinkTuning and GRPO: one step, GRPO being the one with gamma 0.
#[derive(Debug, Clone, PartialEq)]
pub struct RlSettings {
    /// `seed`: keys every random number of the run.
    pub seed: u64,
    /// The form in which a question is put to the student.
    pub ask: Ask,
    /// `[rollout]`: how attempts are sampled.
    pub rollout: RolloutSettings,
    /// `[guidance]`: when and how the teacher helps.
    pub guidance: GuidanceSettings,
    /// `[reward]`: terms beyond the outcome.
    pub reward: RewardSettings,
    /// `[loss]`: the objective.
    pub loss: LossSettings,
    /// `[optimizer]`: AdamW and its schedule.
    pub optimizer: OptimizerSettings,
    /// `optimizer.mini_batch_questions`: questions per optimizer update.
    pub mini_batch_questions: usize,
    /// `[run]`: length and checkpoints.
    pub run: RunSettings,
}

/// Settings of supervised fine-tuning.
#[derive(Debug, Clone, PartialEq)]
pub struct SftSettings {
    /// `seed`: keys the order of the examples.
    pub seed: u64,
    /// `[sft]`: examples and how often each is seen.
    pub examples: ExampleSettings,
    /// `[optimizer]`: AdamW and its schedule; the schedule ends with the last epoch.
    pub optimizer: OptimizerSettings,
    /// `run.checkpoint_every`: updates between checkpoints.
    pub checkpoint_every: u32,
}

/// The form in which a question is put to the student, in training and in evaluation alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// System message, if any.
    pub system: Option<String>,
    /// Appended to the question, e.g. the answer format asked for.
    pub suffix: String,
}

impl Ask {
    /// The conversation that asks `question`.
    pub fn messages(&self, question: &Question) -> Vec<Message> {
        let user = Message::user(format!("{}{}", question.text, self.suffix));
        self.system.iter().map(Message::system).chain([user]).collect()
    }
}

/// Added to the root of AdamW's second moment.
const ADAM_EPS: f32 = 1e-8;

impl OptimizerSettings {
    /// The update at learning rate `lr`.
    pub fn adamw(&self, lr: f64) -> AdamW {
        let [beta1, beta2] = self.betas;
        AdamW {
            lr: lr as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: ADAM_EPS,
            weight_decay: self.weight_decay as f32,
            max_grad_norm: self.grad_clip as f32,
        }
    }
}
