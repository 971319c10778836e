//! LM head, log-softmax and their backward, a chunk of rows at a time: no `[T, V]` array.

use thinktune_compute::{Backend, ComputeError, OperandUse, Part, ScoreGradient};
use thinktune_policy::TokenScores;

use super::backward::{BackwardSpace, Gradients};
use super::linear::Backward;
use super::names::FINAL_NORM;
use super::{Decoder, Workspace, linear};

/// Logits of one chunk take about this many bytes.
const CHUNK_BYTES: usize = 16 << 20;

/// Logits of a whole micro-batch up to this many bytes are kept for the backward pass instead of computed again.
const KEPT_BYTES: usize = 128 << 20;

/// Whether the logits of `rows` rows are kept for the backward pass.
pub(crate) fn keeps_logits(rows: usize, vocab_size: usize) -> bool {
    4 * rows * vocab_size <= KEPT_BYTES
}

/// Rows of a chunk: enough that a pass over the head's weights and gradient pays.
pub(crate) fn chunk_rows(vocab_size: usize) -> usize {
    (CHUNK_BYTES / (4 * vocab_size)).clamp(256, 1024)
}

/// Memory of the head, kept from call to call.
pub(crate) struct HeadSpace<B: Backend> {
    /// Rows before the final norm. `[R, D]`
    rows: B::Buffer,
    /// Logits of a chunk, or of all rows where they are kept. `[R, V]`
    pub(crate) logits: B::Buffer,
    /// Log-sum-exp of each row's logits. `[R]`
    lse: B::Buffer,
    /// Those of the rows that the backward pass uses. `[R]`
    used_lse: B::Buffer,
    used_logits: B::Buffer,
    /// Derivatives by a chunk's rows after and before the final norm. `[R, D]`
    d_normed: B::Buffer,
    d_rows: B::Buffer,
}

impl<B: Backend> Default for HeadSpace<B> {
    fn default() -> Self {
        let new = B::Buffer::default;
        Self {
            rows: new(),
            logits: new(),
            lse: new(),
            used_lse: new(),
            used_logits: new(),
            d_normed: new(),
            d_rows: new(),
        }
    }
}

/// Rows of the last layer's output and the tokens that they predict.
#[derive(Debug, Clone, Default)]
pub(crate) struct Predictions {
    /// Rows of the output. `[R]`
    pub(crate) rows: Vec<usize>,
    /// Token that each predicts. `[R]`
    pub(crate) targets: Vec<u32>,
    /// Log-probs are of softmax(logits / temperature).
    pub(crate) temperature: f32,
}

impl<B: Backend> Decoder<'_, B> {
    /// Final norm and LM head of some rows of the last layer's output. `[R, D] -> [R, V]`
    pub(crate) fn logits_of_rows(&self, rows: &B::Buffer, space: &mut Workspace<B>, logits: &mut B::Buffer) {
        let (norm, eps) = (&self.weights.final_norm, self.spec().norm_eps);
        self.backend.rms_norm(rows, norm, eps, self.layout(OperandUse::Input), &mut space.operand);
        linear::forward(self.backend, &space.operand, [(&self.weights.head, logits)], false);
    }

    /// Scores what rows of `output` predict. With `keep` the logits of all rows are left in `head`.
    ///
    /// # Errors
    /// A fault of the device.
    pub(crate) fn score_rows(
        &self,
        output: &B::Buffer,
        predictions: &Predictions,
        keep: bool,
        head: &mut HeadSpace<B>,
        space: &mut Workspace<B>,
    ) -> Result<TokenScores, ComputeError> {
        let (width, vocab) = (self.spec().width, self.spec().vocab_size);
        let Predictions { rows, targets, temperature } = predictions;
        let chunk = if keep { targets.len().max(1) } else { chunk_rows(vocab) };
        let mut scores = TokenScores::default();
        for (index, (rows, targets)) in rows.chunks(chunk).zip(targets.chunks(chunk)).enumerate() {
            self.backend.gather(output, width, rows, &mut head.rows);
            self.logits_of_rows(&head.rows, space, &mut head.logits);
            let lse = (&mut head.lse, index * chunk);
            let part = self.backend.score(&head.logits, targets, *temperature, lse)?;
            scores.logprobs.extend(part.logprobs);
            scores.entropies.extend(part.entropies);
        }
        Ok(scores)
    }

    /// Backward of [`score_rows`](Self::score_rows) for the predictions with the indices `used`, whose derivatives by
    /// the log-probs are `d_logprobs`: adds to `d_output`, `[T, D]`, and to the gradients of head and final norm.
    /// `kept` says whether `head` holds the logits of all rows, which are spent.
    pub(crate) fn score_rows_backward(
        &self,
        output: &B::Buffer,
        (predictions, kept): (&Predictions, bool),
        (used, d_logprobs): (&[usize], &[f32]),
        transposed: &B::Transposed,
        mut grads: HeadGradients<B>,
        (head, space): (&mut HeadSpace<B>, &mut BackwardSpace<B>),
    ) {
        let (backend, weights, eps) = (self.backend, self.weights, self.spec().norm_eps);
        let (width, vocab) = (self.spec().width, self.spec().vocab_size);
        let rows: Vec<usize> = used.iter().map(|&i| predictions.rows[i]).collect();
        let targets: Vec<u32> = used.iter().map(|&i| predictions.targets[i]).collect();
        backend.gather(&head.lse, 1, used, &mut head.used_lse);
        if kept && used.len() < predictions.rows.len() {
            backend.gather(&head.logits, vocab, used, &mut head.used_logits);
            std::mem::swap(&mut head.logits, &mut head.used_logits);
        }
        let chunk = chunk_rows(vocab);
        for (index, rows) in rows.chunks(chunk).enumerate() {
            let at = index * chunk..index * chunk + rows.len();
            backend.gather(output, width, rows, &mut head.rows);
            if !kept {
                self.logits_of_rows(&head.rows, &mut space.work, &mut head.logits);
            }
            let in_logits = if kept { at.clone() } else { 0..rows.len() };
            let gradient = ScoreGradient {
                vocab,
                rows: in_logits.clone(),
                first_lse: at.start,
                targets: &targets[at.clone()],
                d_logprobs: &d_logprobs[at],
                temperature: predictions.temperature,
            };
            backend.score_backward(&mut head.logits, &head.used_lse, &gradient);
            let saved = self.layout(OperandUse::SavedInput);
            backend.rms_norm(&head.rows, &weights.final_norm, eps, saved, &mut space.input);
            let product =
                Backward { transposed, outputs: vocab, rows: in_logits, precision: weights.precision };
            let d_head = Part { at: grads.head.clone(), buffer: grads.of_head() };
            let d_normed = (&mut head.d_normed, false);
            product.run(backend, &head.logits, &space.input, d_normed, d_head, &mut space.work.operand);
            backend.zeros(rows.len() * width, &mut head.d_rows);
            let d_norm = grads.all.part(FINAL_NORM);
            let norm = &weights.final_norm;
            backend.rms_norm_backward(&head.rows, norm, eps, &head.d_normed, &mut head.d_rows, d_norm);
            // a prompt's last row predicts the first token of every response that continues it
            backend.scatter_add(&head.d_rows, width, rows, grads.d_output);
        }
    }
}

/// Where the backward pass of the head adds to.
pub(crate) struct HeadGradients<'a, 'g, B: Backend> {
    /// Gradients of all parameters.
    pub(crate) all: Gradients<'g, B>,
    /// Gradient of a tied head, apart from the embedding's; none where the head is a tensor of its own.
    pub(crate) tied: Option<&'a mut B::Buffer>,
    /// Where the head lies in its buffer.
    pub(crate) head: std::ops::Range<usize>,
    /// Derivative by the last layer's output. `[T, D]`
    pub(crate) d_output: &'a mut B::Buffer,
}

impl<B: Backend> HeadGradients<'_, '_, B> {
    fn of_head(&mut self) -> &mut B::Buffer {
        match &mut self.tied {
            Some(tied) => tied,
            None => self.all.data,
        }
    }
}
