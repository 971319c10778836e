//! ThinkTuning ("Instilling Cognitive Reflections without Distillation", EMNLP 2025, arXiv 2508.07616), and the
//! baselines that share its parts: GRPO and supervised fine-tuning.
//!
//! # One step (Algorithm 1)
//! 1. [`act`]: draw a batch of questions and sample n attempts at each from the current student.
//! 2. [`help`]: of each group's attempts that ended by themselves, choose a share gamma; show each to a teacher
//!    of the student's own size; parse its feedback strictly; splice reason and phrase in before the end token.
//! 3. [`reward`]: 1 for a correct final answer, else 0; the advantage compares each response with its whole
//!    group, guided rows included.
//! 4. [`train`]: ordinary responses by the clipped ratio, guided ones by the advantage-aware weight
//!    w_aas = p / (sg(p) + c(A)); one optimizer update per mini-batch of questions.
//!
//! [`step`](mod@step) is these four calls. [`rl`] is the run made of such steps; GRPO is the same run with gamma 0.
//! [`sft`] trains on given answers. Both are a [`run::Run`], which [`run::drive`] repeats, logs, evaluates, checkpoints
//! and resumes.
//!
//! # Where this departs from the paper, and why
//! 1. *A_min and A_max are constants*, -+(n - 1) / sqrt(n), the largest standardised value in a group of n: the paper
//!    leaves them open, and extremes of the batch would make a token's weight depend on its neighbours. The released
//!    code has -4 and 4.
//! 2. *Feedback that is too long is no feedback.* The released code cuts it, which can cut away the answer.
//! 3. *Special tokens in feedback are no feedback.* Spliced in, they could end the turn in the middle.
//! 4. *A mini-batch of groups without advantage makes no update.* An AdamW update on a zero gradient would still move
//!    the weights, by momentum and decay.
//! 5. *The last, incomplete batch of an epoch waits for the next permutation*, so that no step sees a question twice.
//! 6. *The end token of a guided trajectory counts as the teacher's* where only the guidance gets w_aas: the student
//!    had drawn it in another place.
//! 7. *KL covers every token of the loss*, masked ones included: the mask leaves the policy term alone, the pull
//!    towards the reference is another matter.
//! 8. *w_aas is at most 2* (`loss.max_weight`). With a negative c the weight p / (p + c) grows without bound as p falls to -c; tau >= -2 c
//!    keeps tokens with A < 0 from there, and the cap all others.
//!
//! Where the paper and its released code differ, the setting is in [`settings::LossSettings`] and the default is the
//! paper's (`docs/paper-to-code.md` has the table).

pub mod step;

pub mod act;

pub mod help;

pub mod reward;

pub mod train;

pub mod rollout;

pub mod run;

pub mod rl;

pub mod record;

pub mod sft;

pub mod settings;

pub mod progress;

pub mod error;

#[cfg(test)]
mod testing;

pub use error::MethodError;
