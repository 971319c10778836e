//! Numbers of a step, of an update and of an evaluation.

use std::collections::BTreeMap;

use super::BehaviourMetrics;
use super::field::{Metrics, metrics, not_computed};

metrics! {
    /// One training step of ThinkTuning or GRPO: one line of `metrics.jsonl`.
    pub struct StepMetrics {
        /// Training step, from 1.
        pub step: u64 = Step,
        /// Passes over the training questions begun, as a fraction (0.5 = half of the first pass done).
        pub epoch: f64 = Plain,
        /// Questions drawn this step.
        pub questions: u64 = Count,
        /// Responses sampled this step (questions times group size).
        pub responses: u64 = Count,

        /// Mean reward of all responses trained on, guided rows included.
        pub reward_mean: f64 = Reward,
        /// Standard deviation (n - 1) of the rewards of all responses.
        pub reward_std: f64 = Reward,
        /// Share of the student's own attempts (before any guidance) that ended by themselves with a correct final answer.
        pub accuracy: f64 = Share,
        /// Share of the student's own attempts whose text up to the first reflection has a correct final answer.
        pub first_attempt_accuracy: f64 = Share,
        /// Share of all responses that are correct once guidance is spliced in.
        pub guided_accuracy: f64 = Share,
        /// Share of the student's own attempts whose final answer could not be read.
        pub unparseable: f64 = Share,
        /// The student's own attempts that are not right, by reason: `not_ended` (cut off by the token limit), `other_end` (ended otherwise than by the end of the turn), `no_answer`, `wrong_answer`, `unparseable`.
        #[serde(default)]
        pub wrong: BTreeMap<String, u64> = CountByReason,
        /// Share of groups whose rewards are all equal, hence without gradient.
        pub equal_groups: f64 = Share,
        /// Groups whose responses, guided ones included, are all right.
        #[serde(default)]
        pub all_right_groups: u64 = Count,
        /// Groups whose responses, guided ones included, are all wrong.
        #[serde(default)]
        pub all_wrong_groups: u64 = Count,
        /// Share of the student's own attempts that contain the shaping phrase exactly once; null without a phrase.
        pub phrase_rate: f64 = Share,

        /// Fraction of the eligible attempts that the schedule asks to guide.
        pub gamma: f64 = Share,
        /// Attempts that ended by themselves and may be guided.
        pub eligible: u64 = Count,
        /// Attempts the teacher was asked about.
        pub chosen: u64 = Count,
        /// Attempts continued with valid guidance.
        pub guided: u64 = Count,
        /// Feedback not used, counted by reason.
        pub rejected: BTreeMap<String, u64> = CountByReason,
        /// Guided attempts that were wrong and became correct.
        pub wrong_to_right: u64 = Count,
        /// Guided attempts that were correct and became wrong.
        pub right_to_wrong: u64 = Count,
        /// Guided attempts that were correct and stayed so.
        pub right_to_right: u64 = Count,
        /// Guided attempts that were wrong and stayed so.
        pub wrong_to_wrong: u64 = Count,
        /// Guided attempts whose opinion agrees with the grader's verdict on the attempt.
        pub opinions_right: u64 = Count,
        /// Mean over the guided responses of their reward minus the mean reward of the unguided responses of their group; null without any.
        #[serde(default = "not_computed")]
        pub uplift: f64 = Reward,
        /// The guidance ledger of the step: the feedback of each behaviour that was shown.
        #[serde(default)]
        pub behaviours: BTreeMap<String, BehaviourMetrics> = Record,

        /// Mean length of the prompts, in tokens.
        pub prompt_tokens_mean: f64 = Tokens,
        /// Mean length of the student's own attempts, in tokens.
        pub response_tokens_mean: f64 = Tokens,
        /// Mean length of guided trajectories (attempt and guidance), in tokens; null without any.
        pub guided_tokens_mean: f64 = Tokens,
        /// Mean length of the spliced guidance alone, in tokens; null without any.
        pub guidance_tokens_mean: f64 = Tokens,
        /// Share of the student's own attempts cut off by the token limit.
        pub truncated: f64 = Share,
        /// Share of the student's own attempts that go on reflecting after a first final answer.
        pub reflection_rate: f64 = Share,
        /// Of the student's own attempts that reflect, the share whose final answer is another one than the first; null without any.
        #[serde(default = "not_computed")]
        pub changed: f64 = Share,
        /// Of the student's own attempts that reflect, the share whose first answer is wrong and that end right; null without any.
        #[serde(default = "not_computed")]
        pub mended: f64 = Share,
        /// Of the student's own attempts that reflect, the share whose first answer is right and that do not end right; null without any.
        #[serde(default = "not_computed")]
        pub spoilt: f64 = Share,

        /// Mean over the updates of the loss that was minimised (the negated objective).
        pub loss: f64 = Plain,
        /// Share of ordinary tokens in the loss whose clipped ratio was the active branch.
        pub clip_fraction: f64 = Share,
        /// Mean entropy of the student's distribution at the trained tokens, in nats.
        pub entropy: f64 = Nats,
        /// Mean k3 estimate of KL(pi || pi_ref) at the trained tokens, in nats; null where beta is 0.
        pub kl: f64 = Nats,
        /// Mean global gradient norm before clipping, over the updates.
        pub grad_norm: f64 = Plain,
        /// Learning rate of the last update.
        pub lr: f64 = Plain,
        /// Optimizer updates made this step.
        pub updates: u64 = Count,
        /// Optimizer updates made since the run began.
        pub updates_total: u64 = Count,
        /// Response tokens that entered the loss.
        pub trained_tokens: u64 = Tokens,
        /// Tokens that entered the loss weighted by w_aas.
        pub guided_tokens: u64 = Tokens,
        /// Teacher's tokens that entered the loss.
        pub teacher_tokens: u64 = Tokens,
        /// Guided tokens masked because A < 0 and pi < tau.
        pub masked_tokens: u64 = Tokens,
        /// Mean of w_aas over the guided tokens in the loss; null without any.
        pub w_aas_mean: f64 = Plain,
        /// Groups left out of training because their advantages are all zero.
        pub skipped_groups: u64 = Count,
    }

    /// One optimizer update of supervised fine-tuning: one line of `metrics.jsonl`.
    pub struct SftMetrics {
        /// Update, from 1.
        pub step: u64 = Step,
        /// Passes over the documents begun, as a fraction.
        pub epoch: f64 = Plain,
        /// Documents in the batch.
        pub documents: u64 = Count,
        /// Tokens of the batch, prompts included.
        pub batch_tokens: u64 = Tokens,
        /// Tokens that entered the loss.
        pub trained_tokens: u64 = Tokens,
        /// Mean negative log-likelihood of the trained tokens, in nats.
        pub loss: f64 = Nats,
        /// Mean entropy of the distribution at the trained tokens, in nats.
        pub entropy: f64 = Nats,
        /// Global gradient norm before clipping.
        pub grad_norm: f64 = Plain,
        /// Learning rate of the update.
        pub lr: f64 = Plain,
    }

    /// One evaluation on held-out questions.
    pub struct EvalMetrics {
        /// The held-out set, where a run has named ones.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub set: String = Text,
        /// Training step after which the student was evaluated; 0 before the first.
        pub step: u64 = Step,
        /// Held-out questions asked.
        pub questions: u64 = Count,
        /// Responses sampled per question.
        pub samples: u64 = Count,
        /// Share of responses that ended by themselves with a correct final answer.
        pub accuracy: f64 = Share,
        /// Share of responses that are not right, and would be if any end did and, without a box, the last number counted.
        #[serde(default = "super::field::not_computed")]
        pub correct_any_end: f64 = Share,
        /// Standard error of `accuracy` over questions.
        pub accuracy_stderr: f64 = Share,
        /// Share of responses whose text up to the first reflection has a correct final answer.
        pub first_attempt_accuracy: f64 = Share,
        /// Share of responses that go on reflecting after a first final answer.
        pub reflection_rate: f64 = Share,
        /// Share of responses that contain the shaping phrase exactly once; null without a phrase.
        pub phrase_rate: f64 = Share,
        /// Of the reflecting responses whose first attempt is correct, the share that ends correct; null without any.
        pub reflected_right_to_right: f64 = Share,
        /// Of the reflecting responses whose first attempt is wrong, the share that ends correct; null without any.
        pub reflected_wrong_to_right: f64 = Share,
        /// Of the reflecting responses, the share whose final answer differs from the first; null without any.
        #[serde(default = "super::field::not_computed")]
        pub changed: f64 = Share,
        /// Of the reflecting responses, the share whose first answer is wrong and which end correct; null without any.
        #[serde(default = "super::field::not_computed")]
        pub mended: f64 = Share,
        /// Of the reflecting responses, the share whose first answer is correct and which do not end so; null without any.
        #[serde(default = "super::field::not_computed")]
        pub spoilt: f64 = Share,
        /// Mean response length, in tokens.
        pub response_tokens_mean: f64 = Tokens,
        /// Share of responses cut off by the token limit.
        pub truncated: f64 = Share,
    }
}
