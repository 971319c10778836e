//! Settings of a run, checked before anything is loaded.
//!
//! The structs hold plain values; [`Checked`] is the proof that they make sense together, and the
//! only form [`run`](crate::run) and [`sft`](crate::sft) accept. Key names in errors are those of
//! the configuration file.

mod check;

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use thinktune_policy::{AdamW, Message};
use thinktune_tasks::Question;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: expected {expected}")]
pub struct SettingError {
    /// Its name in the configuration file.
    pub key: String,
    /// The value found.
    pub value: String,
    /// What would have been accepted.
    pub expected: String,
}

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
    /// How a question is put to the student.
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
    /// `sft.epochs`: passes over the examples.
    pub epochs: u32,
    /// `sft.batch_size`: sequences per optimizer update.
    pub batch_size: usize,
    /// `sft.max_tokens`: longer sequences are dropped, and counted.
    pub max_tokens: usize,
    /// `[optimizer]`: AdamW and its schedule; the schedule ends with the last epoch.
    pub optimizer: OptimizerSettings,
    /// `run.checkpoint_every`: updates between checkpoints.
    pub checkpoint_every: u32,
}

/// How a question is put to the student, in training and in evaluation alike.
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

/// `[rollout]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutSettings {
    /// Questions drawn for one step.
    pub questions_per_step: usize,
    /// n: attempts at each question.
    pub group_size: usize,
    /// Divides the logits, when sampling and when training.
    pub temperature: f32,
    /// Keep the k most likely tokens.
    pub top_k: Option<usize>,
    /// Keep the smallest set of likeliest tokens whose mass reaches this (1 = off).
    pub top_p: f32,
    /// Drop tokens less likely than this times the likeliest (0 = off).
    pub min_p: f32,
    /// Longest prompt; a longer one is an error before the first step.
    pub max_prompt_tokens: usize,
    /// Longest response, guidance and end token included.
    pub max_response_tokens: usize,
}

/// `[guidance]`.
#[derive(Debug, Clone, PartialEq)]
pub struct GuidanceSettings {
    /// Share of each group's eligible attempts that is guided.
    pub gamma: GammaSchedule,
    /// k: last step with guidance; none = every step.
    pub horizon: Option<u32>,
    /// Guidance is off once gamma is at or below this.
    pub off_below: f64,
    /// Few-shot prompt set: a name known to [`PromptSet`](crate::help::prompts::PromptSet) or a file.
    pub prompts: String,
    /// Longest prompt of the teacher; an attempt whose request is longer stays unguided.
    pub max_teacher_prompt_tokens: usize,
    /// Longest reply of the teacher.
    pub max_teacher_tokens: usize,
    /// Longest guidance (reason and phrase as spliced in), in the student's tokens.
    pub max_feedback_tokens: usize,
    /// The teacher's sampling temperature.
    pub teacher_temperature: f32,
    /// Steps in a row with gamma > 0 and no guided token in the loss before the run fails.
    pub starved_steps: u32,
}

/// `guidance.gamma`.
#[derive(Debug, Clone, PartialEq)]
pub struct GammaSchedule {
    /// Way from `start` to `end`.
    pub shape: GammaShape,
    /// Gamma at step 1.
    pub start: f64,
    /// Gamma from `steps` later on.
    pub end: f64,
    /// Steps the way takes; by default the horizon, or the whole run.
    pub steps: Option<u32>,
}

/// How gamma moves from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GammaShape {
    /// Stays at the start.
    Constant,
    /// A straight line.
    Linear,
    /// Half a cosine wave.
    Cosine,
    /// The same factor every step.
    Exponential,
}

/// `[reward]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RewardSettings {
    /// Phrase that earns a bonus when it appears exactly once.
    pub phrase: Option<String>,
    /// The bonus.
    pub phrase_bonus: f64,
}

/// `[loss]`.
#[derive(Debug, Clone, PartialEq)]
pub struct LossSettings {
    /// The ratio is clipped at 1 - this.
    pub eps_low: f64,
    /// The ratio is clipped at 1 + this.
    pub eps_high: f64,
    /// Weight of KL(pi || pi_ref).
    pub beta: f64,
    /// c at A = A_max.
    pub c1: f64,
    /// c at A = A_min.
    pub c2: f64,
    /// A_min.
    pub a_min: f64,
    /// A_max.
    pub a_max: f64,
    /// Guided tokens with A < 0 and a probability below this are not pushed down.
    pub tau: f64,
    /// What happens to those tokens instead.
    pub low_confidence: LowConfidence,
    /// Which tokens get w_aas.
    pub scope: Scope,
    /// How token terms become one number.
    pub aggregation: Aggregation,
}

/// Treatment of guided tokens with A < 0 and probability below tau.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LowConfidence {
    /// They contribute nothing.
    Mask,
    /// They get the clipped ratio of ordinary tokens.
    Clip,
}

/// Tokens that get the advantage-aware weight w_aas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All tokens of a guided trajectory.
    Trajectory,
    /// Only the teacher's.
    Guidance,
}

/// How token terms become one number; all denominators count the whole mini-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Mean over the tokens of a response, then over responses.
    SequenceMean,
    /// Mean over all tokens.
    TokenMean,
    /// Sum over tokens, divided by responses times the longest response allowed.
    DrGrpo,
}

/// `[optimizer]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerSettings {
    /// Peak learning rate.
    pub lr: f64,
    /// Its course after warm-up.
    pub schedule: LrSchedule,
    /// Steps of linear warm-up.
    pub warmup_steps: u32,
    /// Decoupled weight decay; vectors are spared.
    pub weight_decay: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Gradients are scaled down to this global norm; infinite = off.
    pub grad_clip: f64,
}

impl OptimizerSettings {
    /// The update at learning rate `lr`.
    pub fn adamw(&self, lr: f64) -> AdamW {
        AdamW {
            lr: lr as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
            max_grad_norm: self.grad_clip as f32,
        }
    }
}

/// Course of the learning rate after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedule {
    /// Stays at the peak.
    Constant,
    /// A straight line towards 0.
    Linear,
    /// Half a cosine wave towards 0.
    Cosine,
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// Training steps.
    pub steps: u32,
    /// Steps between checkpoints; the last step always gets one.
    pub checkpoint_every: u32,
    /// Steps between evaluations on held-out sets, which also take place before the first step and after the last.
    pub eval_every: Option<u32>,
    /// Write each token's log-prob into the rollouts.
    pub log_logprobs: bool,
    /// Compute every log-prob of the sampler a second time and fail unless the bits are equal.
    pub check_logprobs: bool,
}
