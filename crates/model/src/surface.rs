//! The surface through which the method, the evaluation and the program see a model:
//! something that generates, something that scores, something that trains.
//! Device and precision are decided below it.

use std::path::Path;
use std::sync::Arc;

use crate::ModelError;

/// Identity of one sample. With the seed and the token position it keys the counter-based
/// random numbers, so a sample never depends on its neighbours in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleKey {
    /// What the sample is for: see [`stream`].
    pub stream: u32,
    /// Training step, counted from 1; 0 outside training.
    pub step: u32,
    /// Index of the question in its data set (or of the row in a request).
    pub question: u32,
    /// Index of the sample within its question.
    pub sample: u32,
}

/// Streams of random numbers: uses that must not share numbers.
pub mod stream {
    /// Attempts sampled while training.
    pub const ATTEMPT: u32 = 0;
    /// The teacher's feedback.
    pub const TEACHER: u32 = 1;
    /// Which attempts are guided.
    pub const CHOICE: u32 = 2;
    /// Order of the questions.
    pub const SHUFFLE: u32 = 3;
    /// Evaluation during a run.
    pub const EVAL: u32 = 4;
    /// `thinktune generate`.
    pub const GENERATE: u32 = 5;
    /// Random initial weights.
    pub const INIT: u32 = 6;
    /// Benchmarks.
    pub const BENCHMARK: u32 = 7;
    /// Resampling of results.
    pub const BOOTSTRAP: u32 = 8;
    /// `thinktune serve`, requests with a seed.
    pub const SERVE: u32 = 9;
    /// `thinktune serve`, requests without one: `step` counts them.
    pub const SERVE_UNSEEDED: u32 = 10;
    /// How long to wait before a remote teacher is asked again.
    pub const JITTER: u32 = 11;
}

/// One prompt, to be completed once per key. The prompt is prefilled once for all its samples, and
/// what all prompts of a call begin with is prefilled once for all of them.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Token ids.
    pub tokens: Arc<[u32]>,
    /// One key per completion wanted.
    pub keys: Vec<SampleKey>,
}

/// How tokens are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Seed of the run.
    pub seed: u64,
    /// Divides the logits; 0 means greedy.
    pub temperature: f32,
    /// Keep the k most likely tokens.
    pub top_k: Option<usize>,
    /// Keep the smallest set of likeliest tokens whose mass reaches this (1 = off).
    pub top_p: f32,
    /// Drop tokens less likely than this times the likeliest (0 = off).
    pub min_p: f32,
    /// Longest completion, in tokens, the stop token included.
    pub max_tokens: usize,
    /// Tokens that end a completion.
    pub stop: Vec<u32>,
}

impl Sampling {
    /// Temperature 1, nothing truncated: the setting of training.
    pub fn plain(seed: u64, max_tokens: usize, stop: Vec<u32>) -> Self {
        Self { seed, temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0, max_tokens, stop }
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// A stop token was drawn; it is the last token of the completion.
    Stop,
    /// `max_tokens` or the model's context was reached.
    Length,
}

/// One sampled completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Drawn tokens, the stop token included where there is one.
    pub tokens: Vec<u32>,
    /// log pi(token) under softmax(logits / temperature), untruncated, one per token
    /// (temperature 1 where greedy).
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// How far a call of [`Generate::generate`] has come.
#[derive(Debug, Clone, Copy)]
pub struct GenerateProgress {
    /// Completions finished.
    pub finished: usize,
    /// Completions asked for.
    pub total: usize,
    /// Tokens drawn.
    pub tokens: usize,
}

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

/// A packed batch: token lists back to back, no padding, and which tokens' log-probs are wanted.
///
/// A sequence may continue an earlier one of the batch, its *prefix*, as the responses of a group continue
/// their prompt: the prefix is then computed once, forward and backward, for all that continue it.
#[derive(Debug, Clone, Default)]
pub struct TokenBatch {
    /// Token ids of all sequences. `[T]`
    pub tokens: Vec<u32>,
    /// Start of each sequence in `tokens`, and the end of the last. `[B + 1]`
    pub offsets: Vec<usize>,
    /// For each sequence the earlier one that it continues, if any; that one continues none. `[B]`
    pub prefixes: Vec<Option<usize>>,
    /// Ascending indices into `tokens` of the tokens to score; never the first of a sequence without prefix.
    pub targets: Vec<usize>,
    /// Log-probs are of softmax(logits / temperature).
    pub temperature: f32,
}

impl TokenBatch {
    /// An empty batch.
    pub fn new(temperature: f32) -> Self {
        Self { offsets: vec![0], temperature, ..Self::default() }
    }

    /// Appends a sequence and returns its index; `score` gives the indices within it of the tokens to score
    /// (all >= 1, ascending).
    pub fn push(&mut self, tokens: &[u32], score: impl IntoIterator<Item = usize>) -> usize {
        self.push_sequence(None, tokens, score)
    }

    /// Appends a sequence that continues sequence `prefix`; index 0 within it may be scored too.
    pub fn push_after(
        &mut self,
        prefix: usize,
        tokens: &[u32],
        score: impl IntoIterator<Item = usize>,
    ) -> usize {
        self.push_sequence(Some(prefix), tokens, score)
    }

    fn push_sequence(
        &mut self,
        prefix: Option<usize>,
        tokens: &[u32],
        score: impl IntoIterator<Item = usize>,
    ) -> usize {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.offsets.push(self.tokens.len());
        self.prefixes.push(prefix);
        self.targets.extend(score.into_iter().map(|i| start + i));
        self.sequences() - 1
    }

    /// B.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The sequence that holds the token at `index`.
    pub fn sequence_of(&self, index: usize) -> usize {
        self.offsets.partition_point(|&offset| offset <= index) - 1
    }

    /// Index of the token that precedes the one at `index`: the row that predicts it. None for the first of a
    /// sequence without prefix.
    pub fn predecessor(&self, index: usize) -> Option<usize> {
        let sequence = self.sequence_of(index);
        if index > self.offsets[sequence] {
            return Some(index - 1);
        }
        let prefix = self.prefixes[sequence]?;
        (self.offsets[prefix] < self.offsets[prefix + 1]).then(|| self.offsets[prefix + 1] - 1)
    }
}

/// What a forward pass says of the targets of a batch, in their order.
#[derive(Debug, Clone, Default)]
pub struct TokenScores {
    /// log pi(target | what precedes it).
    pub logprobs: Vec<f32>,
    /// Entropy of the distribution the target was drawn from, in nats.
    pub entropies: Vec<f32>,
}

/// Something that gives the log-probs of given tokens.
pub trait Score {
    /// Scores the targets of a batch, of any size (it is cut to fit memory).
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError>;
}

/// Settings of one optimizer update: AdamW with decoupled weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this update.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled decay of matrices; vectors (norms, biases) are spared.
    pub weight_decay: f32,
    /// Gradients are scaled down to this global norm; infinite = off.
    pub max_grad_norm: f32,
}

/// What an update did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct UpdateReport {
    /// Global L2 norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Number of updates made so far, this one included.
    pub updates: u64,
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

    /// Writes weights in Hugging Face layout, and the optimizer's state, into an existing directory.
    fn save_state(&self, dir: &Path) -> Result<(), ModelError>;

    /// Restores what `save_state` wrote, bit for bit.
    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError>;
}

/// A model that can be sampled from, scored and trained: the student.
pub trait Policy: Generate + Score + Train {}
impl<M: Generate + Score + Train> Policy for M {}
