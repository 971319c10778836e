//! Counts and sums over the tokens of a step, for its metrics.

use thinktune_policy::UpdateReport;
use thinktune_runlog::event::Author;

use crate::train::loss::{Kind, TokenLoss};

/// Sums over the training of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainStats {
    /// Learning rate of the step.
    pub lr: f64,
    /// Optimizer updates made.
    pub updates: usize,
    /// Updates made since the run began, where the step made any.
    pub updates_total: Option<u64>,
    /// Sum of the mini-batch losses.
    pub loss: f64,
    /// Sum of the gradient norms.
    pub grad_norm: f64,
    /// Groups left out because their advantages are all 0.
    pub skipped_groups: usize,
    /// Tokens of the sequences forwarded, prompts included.
    pub sequence_tokens: usize,
    /// Response tokens in the loss.
    pub tokens: usize,
    /// Of those, the teacher's.
    pub teacher_tokens: usize,
    /// Of those, weighted by w_aas.
    pub shaped_tokens: usize,
    /// Of those, masked.
    pub masked_tokens: usize,
    /// Of those, by the ratio, clipped or not.
    pub ratio_tokens: usize,
    /// Of those, clipped.
    pub clipped_tokens: usize,
    /// Sum of w_aas.
    pub w_aas: f64,
    /// Sum of the entropies.
    pub entropy: f64,
    /// Sum of the KL estimates.
    pub kl: f64,
}

impl TrainStats {
    /// Counts a token in the loss.
    pub fn token(&mut self, loss: &TokenLoss, author: Author, entropy: f64) {
        self.tokens += 1;
        self.entropy += entropy;
        if author == Author::Teacher {
            self.teacher_tokens += 1;
        }
        match loss.kind {
            Kind::Ratio => self.ratio_tokens += 1,
            Kind::Clipped => {
                self.ratio_tokens += 1;
                self.clipped_tokens += 1;
            }
            Kind::Shaped(weight) => {
                self.shaped_tokens += 1;
                self.w_aas += weight;
            }
            Kind::Masked => self.masked_tokens += 1,
        }
    }

    /// Counts an update.
    pub fn updated(&mut self, loss: f64, report: &UpdateReport) {
        self.updates += 1;
        self.updates_total = Some(report.updates);
        self.loss += loss;
        self.grad_norm += report.grad_norm;
    }
}
