//! The traits through which the method and the evaluation see a model: [`Generate`], [`Score`], [`Train`].
//! Device and precision are decided below them.

use std::path::Path;

use crate::model_files::WrittenFile;
use crate::{
    AdamW, Completion, GenerateProgress, ModelError, Prompt, Sampling, TokenBatch, TokenScores, UpdateReport,
};

/// Something that completes prompts.
pub trait Generate {
    /// Completes every prompt once per key.
    /// Returns, for each prompt, its completions in the order of its keys.
    ///
    /// # Errors
    /// A token outside the vocabulary, an empty prompt, or a prompt that leaves no room in the context.
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError>;
}

/// Something that gives the log-probs of given tokens.
pub trait Score {
    /// Scores the targets of a batch, of any size (it is cut to fit memory).
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError>;
}

/// Something that learns. One micro-batch: `forward`, then `backward` with d loss / d log-prob of
/// each target; gradients add up until `update` spends them.
pub trait Train {
    /// Longest micro-batch, in tokens, that the memory budget allows.
    fn token_budget(&self) -> usize;

    /// Scores the targets and keeps what `backward` needs.
    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError>;

    /// Adds the gradient of the loss whose derivative by the log-prob of each target of the last
    /// `forward` is given. A target whose derivative is 0 contributes nothing.
    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError>;

    /// Takes one optimizer step with the gradients gathered and clears them.
    ///
    /// # Errors
    /// A non-finite gradient: the weights stay as they were and the gradients are cleared.
    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError>;

    /// Writes weights in Hugging Face layout, and the optimizer's state, into an existing directory, piece by piece.
    /// Returns the files whose checksums it knows from writing them; there may be others.
    fn save_state(&self, dir: &Path) -> Result<Vec<WrittenFile>, ModelError>;

    /// Restores what `save_state` wrote, bit for bit.
    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError>;
}

/// A model that can be sampled from, scored and trained: the student.
pub trait Policy: Generate + Score + Train {}
impl<M: Generate + Score + Train> Policy for M {}
