//! LM head, log-softmax and their backward, a chunk of rows at a time: no `[T, V]` array.

use rayon::prelude::*;
use thinktune_kernels::gemm::{Packed, Scratch, Threads, View, gemm};
use thinktune_kernels::head::{Normaliser, log_normaliser, logprob_backward};
use thinktune_policy::TokenScores;

use super::{Decoder, Workspace};

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

impl Decoder<'_> {
    /// Logits of rows that passed the final norm. `[R, D] -> [R, V]`
    pub(crate) fn logits(&self, hidden: &[f32], scratch: &mut Scratch, out: &mut Vec<f32>) {
        let spec = self.spec();
        out.resize(hidden.len() / spec.width * spec.vocab_size, 0.0);
        let hidden = self.operand(scratch, hidden, spec.width);
        gemm(hidden, &self.weights.head, out, false, self.threads);
    }

    /// Scores `targets[r]` under the logits of row r; returns what the backward pass needs too. All logits go to
    /// `kept`, `[R, V]`, if it is there.
    pub(crate) fn score_rows(
        &self,
        hidden: &[f32],
        targets: &[u32],
        temperature: f32,
        kept: Option<&mut Vec<f32>>,
    ) -> (TokenScores, Vec<Normaliser>) {
        let (width, vocab) = (self.spec().width, self.spec().vocab_size);
        let rows = chunk_rows(vocab);
        let (mut scores, mut normalisers) = (TokenScores::default(), Vec::with_capacity(targets.len()));
        let (mut own, mut scratch) = (Vec::new(), Scratch::default());
        let rows = if kept.is_some() { targets.len().max(1) } else { rows };
        let logits = kept.unwrap_or(&mut own);
        for (hidden, targets) in hidden.chunks(rows * width).zip(targets.chunks(rows)) {
            self.logits(hidden, &mut scratch, logits);
            let chunk: Vec<Normaliser> =
                logits.par_chunks(vocab).map(|row| log_normaliser(row, temperature)).collect();
            for ((row, normaliser), &target) in logits.chunks_exact(vocab).zip(&chunk).zip(targets) {
                scores.logprobs.push(normaliser.logprob(row[target as usize]));
                scores.entropies.push(normaliser.entropy as f32);
            }
            normalisers.extend(chunk);
        }
        (scores, normalisers)
    }

    /// Backward of [`score_rows`](Self::score_rows): returns d loss / d hidden, `[R, D]`, and adds to
    /// the head's gradient, `[V, D]`. `head` is the head's matrix, `[V, D]`. `kept` holds the logits of all rows, which
    /// are spent, or nothing: then they are computed again.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn score_rows_backward(
        &self,
        head: &Packed,
        hidden: &[f32],
        targets: &[u32],
        normalisers: &[Normaliser],
        d_logprobs: &[f32],
        d_head: &mut [f32],
        kept: &mut [f32],
        space: &mut Workspace,
    ) -> Vec<f32> {
        let (width, vocab) = (self.spec().width, self.spec().vocab_size);
        let precision = self.weights.precision;
        let rows = chunk_rows(vocab);
        let mut d_hidden = vec![0.0; hidden.len()];
        let (mut own, mut packed) = (Vec::new(), Packed::default());
        for (chunk, d_hidden) in d_hidden.chunks_mut(rows * width).enumerate() {
            let count = d_hidden.len() / width;
            let at = chunk * rows..chunk * rows + count;
            let hidden = &hidden[at.start * width..at.end * width];
            let logits = match kept.get_mut(at.start * vocab..at.end * vocab) {
                Some(kept) => kept,
                None => {
                    self.logits(hidden, &mut space.rows, &mut own);
                    &mut own
                }
            };
            logits.par_chunks_mut(vocab).zip(at.into_par_iter()).for_each(|(row, r)| {
                logprob_backward(row, normalisers[r], targets[r] as usize, d_logprobs[r]);
            });
            gemm(self.operand(&mut space.rows, logits, vocab), head, d_hidden, false, Threads::All);
            packed.fill(View::new(hidden, count, width), precision, Threads::All);
            let d_logits = View::new(logits, count, vocab).t();
            let d_logits = space.rows.rows(d_logits, precision, Threads::All);
            gemm(d_logits, &packed, d_head, true, Threads::All);
        }
        d_hidden
    }
}
