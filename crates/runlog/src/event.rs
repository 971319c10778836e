//! What is recorded: one record per step, per response, per evaluation. Every field has one line saying
//! what it is; a number that could not be computed (nothing to average, non-finite) is `null`.
//!
//! Everything here except [`StepTimings`] is a function of the configuration and the inputs alone, so two
//! runs of the same configuration write the same bytes. The clock lives in [`StepTimings`], in a file of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// A mean or a share: NaN where there was nothing to average, written as `null`.
fn null_is_nan<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
}

/// One training step of ThinkTuning or GRPO: one line of `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepMetrics {
    /// Training step, from 1.
    pub step: u64,
    /// Passes over the training questions begun, as a fraction (0.5 = half of the first pass done).
    #[serde(deserialize_with = "null_is_nan")]
    pub epoch: f64,
    /// Questions drawn this step.
    pub questions: u64,
    /// Responses sampled this step (questions times group size).
    pub responses: u64,

    /// Mean reward of all responses trained on, guided rows included.
    #[serde(deserialize_with = "null_is_nan")]
    pub reward_mean: f64,
    /// Standard deviation (n - 1) of the rewards of all responses.
    #[serde(deserialize_with = "null_is_nan")]
    pub reward_std: f64,
    /// Share of the student's own attempts (before any guidance) that ended by themselves with a correct final answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// Share of the student's own attempts whose text up to the first reflection has a correct final answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub first_attempt_accuracy: f64,
    /// Share of all responses that are correct once guidance is spliced in.
    #[serde(deserialize_with = "null_is_nan")]
    pub guided_accuracy: f64,
    /// Share of the student's own attempts whose final answer could not be read.
    #[serde(deserialize_with = "null_is_nan")]
    pub unparseable: f64,
    /// Share of groups whose rewards are all equal, hence without gradient.
    #[serde(deserialize_with = "null_is_nan")]
    pub equal_groups: f64,
    /// Share of the student's own attempts that contain the shaping phrase exactly once; null without a phrase.
    #[serde(deserialize_with = "null_is_nan")]
    pub phrase_rate: f64,

    /// Fraction of the eligible attempts that the schedule asks to guide.
    #[serde(deserialize_with = "null_is_nan")]
    pub gamma: f64,
    /// Attempts that ended by themselves and may be guided.
    pub eligible: u64,
    /// Attempts the teacher was asked about.
    pub chosen: u64,
    /// Attempts continued with valid guidance.
    pub guided: u64,
    /// Feedback not used, counted by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Guided attempts that were wrong and became correct.
    pub wrong_to_right: u64,
    /// Guided attempts that were correct and became wrong.
    pub right_to_wrong: u64,
    /// Guided attempts that were correct and stayed so.
    pub right_to_right: u64,
    /// Guided attempts that were wrong and stayed so.
    pub wrong_to_wrong: u64,
    /// Guided attempts whose opinion agrees with the grader's verdict on the attempt.
    pub opinions_right: u64,

    /// Mean length of the prompts, in tokens.
    #[serde(deserialize_with = "null_is_nan")]
    pub prompt_tokens_mean: f64,
    /// Mean length of the student's own attempts, in tokens.
    #[serde(deserialize_with = "null_is_nan")]
    pub response_tokens_mean: f64,
    /// Mean length of guided trajectories (attempt and guidance), in tokens; null without any.
    #[serde(deserialize_with = "null_is_nan")]
    pub guided_tokens_mean: f64,
    /// Mean length of the spliced guidance alone, in tokens; null without any.
    #[serde(deserialize_with = "null_is_nan")]
    pub guidance_tokens_mean: f64,
    /// Share of the student's own attempts cut off by the token limit.
    #[serde(deserialize_with = "null_is_nan")]
    pub truncated: f64,
    /// Share of the student's own attempts that go on reflecting after a first final answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub reflection_rate: f64,

    /// Mean over the updates of the loss that was minimised (the negated objective).
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Share of ordinary tokens in the loss whose clipped ratio was the active branch.
    #[serde(deserialize_with = "null_is_nan")]
    pub clip_fraction: f64,
    /// Mean entropy of the student's distribution at the trained tokens, in nats.
    #[serde(deserialize_with = "null_is_nan")]
    pub entropy: f64,
    /// Mean k3 estimate of KL(pi || pi_ref) at the trained tokens, in nats; null where beta is 0.
    #[serde(deserialize_with = "null_is_nan")]
    pub kl: f64,
    /// Mean global gradient norm before clipping, over the updates.
    #[serde(deserialize_with = "null_is_nan")]
    pub grad_norm: f64,
    /// Learning rate of the last update.
    #[serde(deserialize_with = "null_is_nan")]
    pub lr: f64,
    /// Optimizer updates made this step.
    pub updates: u64,
    /// Optimizer updates made since the run began.
    pub updates_total: u64,
    /// Response tokens that entered the loss.
    pub trained_tokens: u64,
    /// Tokens that entered the loss weighted by w_aas.
    pub guided_tokens: u64,
    /// Teacher's tokens that entered the loss.
    pub teacher_tokens: u64,
    /// Guided tokens masked because A < 0 and pi < tau.
    pub masked_tokens: u64,
    /// Mean of w_aas over the guided tokens in the loss; null without any.
    #[serde(deserialize_with = "null_is_nan")]
    pub w_aas_mean: f64,
    /// Groups left out of training because their advantages are all zero.
    pub skipped_groups: u64,
}

/// One optimizer update of supervised fine-tuning: one line of `metrics.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftMetrics {
    /// Update, from 1.
    pub step: u64,
    /// Passes over the documents begun, as a fraction.
    #[serde(deserialize_with = "null_is_nan")]
    pub epoch: f64,
    /// Documents in the batch.
    pub documents: u64,
    /// Tokens of the batch, prompts included.
    pub batch_tokens: u64,
    /// Tokens that entered the loss.
    pub trained_tokens: u64,
    /// Mean negative log-likelihood of the trained tokens, in nats.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// Mean entropy of the distribution at the trained tokens, in nats.
    #[serde(deserialize_with = "null_is_nan")]
    pub entropy: f64,
    /// Global gradient norm before clipping.
    #[serde(deserialize_with = "null_is_nan")]
    pub grad_norm: f64,
    /// Learning rate of the update.
    #[serde(deserialize_with = "null_is_nan")]
    pub lr: f64,
}

/// One evaluation on held-out questions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalMetrics {
    /// The held-out set, where a run has named ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub set: String,
    /// Training step after which the student was evaluated; 0 before the first.
    pub step: u64,
    /// Held-out questions asked.
    pub questions: u64,
    /// Responses sampled per question.
    pub samples: u64,
    /// Share of responses with a correct final answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// Standard error of `accuracy` over questions.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy_stderr: f64,
    /// Share of responses whose text up to the first reflection has a correct final answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub first_attempt_accuracy: f64,
    /// Share of responses that go on reflecting after a first final answer.
    #[serde(deserialize_with = "null_is_nan")]
    pub reflection_rate: f64,
    /// Share of responses that contain the shaping phrase exactly once; null without a phrase.
    #[serde(deserialize_with = "null_is_nan")]
    pub phrase_rate: f64,
    /// Of the reflecting responses whose first attempt is correct, the share that ends correct; null without any.
    #[serde(deserialize_with = "null_is_nan")]
    pub reflected_right_to_right: f64,
    /// Of the reflecting responses whose first attempt is wrong, the share that ends correct; null without any.
    #[serde(deserialize_with = "null_is_nan")]
    pub reflected_wrong_to_right: f64,
    /// Mean response length, in tokens.
    #[serde(deserialize_with = "null_is_nan")]
    pub response_tokens_mean: f64,
    /// Share of responses cut off by the token limit.
    #[serde(deserialize_with = "null_is_nan")]
    pub truncated: f64,
}

/// Time of one phase of a step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseTiming {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens processed: sampled ones in `act` and `help`, trained sequences' tokens in `train`.
    pub tokens: u64,
    /// `tokens / seconds`; 0 where nothing was timed.
    pub tokens_per_second: f64,
}

impl PhaseTiming {
    /// The timing of a phase that took `seconds` over `tokens`.
    pub fn new(seconds: f64, tokens: u64) -> Self {
        let tokens_per_second = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        Self { seconds, tokens, tokens_per_second }
    }
}

/// Wall clock of one step: one line of `timings.jsonl`, the only file of a run that two equal runs do not share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTimings {
    /// Training step or update, from 1.
    pub step: u64,
    /// Sampling the student's attempts.
    pub act: PhaseTiming,
    /// Asking the teacher and splicing its feedback.
    pub help: PhaseTiming,
    /// Grading and advantages.
    pub reward: PhaseTiming,
    /// Forward, backward and optimizer updates.
    pub train: PhaseTiming,
    /// Writing rollouts of this step; checkpoints are written after this line.
    pub write: PhaseTiming,
    /// Evaluating on held-out sets; of the first step, also before it.
    #[serde(default)]
    pub evaluate: PhaseTiming,
    /// Seconds of the whole step.
    pub total_seconds: f64,
}

/// Who wrote a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// Sampled from the student.
    Student,
    /// Spliced in from the teacher's feedback.
    Teacher,
}

/// A run of consecutive tokens by one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorRun {
    /// Who wrote them.
    pub author: Author,
    /// How many tokens.
    pub tokens: usize,
}

/// Run-length form of a per-token author list.
pub fn author_runs(authors: impl IntoIterator<Item = Author>) -> Vec<AuthorRun> {
    let mut runs: Vec<AuthorRun> = Vec::new();
    for author in authors {
        match runs.last_mut() {
            Some(last) if last.author == author => last.tokens += 1,
            _ => runs.push(AuthorRun { author, tokens: 1 }),
        }
    }
    runs
}

/// What the teacher said of an attempt, whether or not it could be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuidanceRecord {
    /// The student's text before guidance.
    pub attempt: String,
    /// Grader's verdict on that text.
    pub attempt_verdict: String,
    /// The teacher's raw feedback.
    pub feedback: String,
    /// The teacher's opinion of the attempt, `correct` or `incorrect`; null where the feedback was not used.
    pub opinion: Option<String>,
    /// Why the feedback was not used; null where it was.
    pub rejected: Option<String>,
}

/// One response of a step: one line of `rollouts/step_NNNNNN.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutRecord {
    /// Training step, from 1.
    pub step: u64,
    /// Index of the question in its data set.
    pub question: u32,
    /// Index of the sample within its group.
    pub sample: u32,
    /// The question as the data set has it.
    pub question_text: String,
    /// The reference answer.
    pub gold: String,
    /// The response trained on, guidance included.
    pub response: String,
    /// Tokens of the response.
    pub tokens: Vec<u32>,
    /// Who wrote which tokens, in order; the counts add up to the length of `tokens`.
    pub authors: Vec<AuthorRun>,
    /// Whether the response ended by itself.
    pub ended: bool,
    /// Whether guidance was spliced in.
    pub guided: bool,
    /// Grader's verdict on the response.
    pub verdict: String,
    /// The final answer the grader read; null where none was found.
    pub extracted: Option<String>,
    /// Reward, shaping included.
    #[serde(deserialize_with = "null_is_nan")]
    pub reward: f64,
    /// Advantage shared by all tokens of the response.
    #[serde(deserialize_with = "null_is_nan")]
    pub advantage: f64,
    /// What the teacher said, for attempts it was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<GuidanceRecord>,
    /// Log-prob of each token when it was sampled (of guided tokens: under the student before the step), on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_numbers_become_null_and_come_back() {
        let metrics = StepMetrics { step: 3, kl: f64::NAN, loss: f64::INFINITY, ..Default::default() };
        let line = serde_json::to_string(&metrics).unwrap();
        assert!(line.contains("\"kl\":null") && line.contains("\"loss\":null"), "{line}");
        let back: StepMetrics = serde_json::from_str(&line).unwrap();
        assert!(back.kl.is_nan() && back.loss.is_nan());
        assert_eq!(back.step, 3);
    }

    #[test]
    fn authors_are_run_length_encoded() {
        use Author::{Student, Teacher};
        let runs = author_runs([Student, Student, Teacher, Teacher, Teacher, Student]);
        assert_eq!(runs.iter().map(|run| run.tokens).collect::<Vec<_>>(), [2, 3, 1]);
        assert_eq!(runs[1].author, Teacher);
        assert!(author_runs([]).is_empty());
    }
}
