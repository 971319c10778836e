//! What a model needs in memory: how much of it a process may use, and a plan that says so before anything is loaded.

mod machine;
mod plan;
#[cfg(test)]
mod tests;

use thinktune_compute::Precision;

use crate::ModelSpec;
use crate::decoder::forward::floats_per_token;
use crate::decoder::head::{chunk_rows, keeps_logits};

pub use plan::{DoesNotFit, FrozenShape, MemoryPart, MemoryPhase, MemoryPlan, Sampled, TrainingJob};

/// Longest micro-batch, in tokens, however much memory there is: beyond it nothing gets faster.
const MAX_TOKENS: usize = 4096;

/// Shortest micro-batch that is worth its pass over the weights.
const MIN_TOKENS: usize = 256;

/// Most rows that one decoder runs side by side: beyond it nothing gets faster.
const MOST_ROWS: usize = 64;

/// Whether the backward pass recomputes each layer from its input. The results are the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recompute {
    /// When the activations of a micro-batch would not fit.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Memory that the process may use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineMemory {
    /// Total.
    pub total: u64,
}

/// Memory that a model may take beside its weights, gradients and moments, in bytes. What is computed does not depend on
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// For the activations of a micro-batch, in training and scoring.
    pub activations: u64,
    /// For keys and values of the rows that are sampled side by side.
    pub kv: u64,
    /// For keys and values of beginnings of prompts that may come again.
    pub prefixes: u64,
}

impl Budget {
    /// What a model may take that has the machine to itself: of what training leaves, half for activations, at least
    /// 256 MiB; of all, a quarter for keys and values and a thirty-second for those of beginnings.
    pub fn alone(machine: MachineMemory, spec: &ModelSpec, precision: Precision) -> Self {
        let MachineMemory { total } = machine;
        let activations = (total.saturating_sub(training_bytes(spec, precision)) / 2).max(256 << 20);
        Self { activations, kv: total / 4, prefixes: total / 32 }
    }

    /// Longest micro-batch for training.
    pub(crate) fn micro_batch_tokens(
        self,
        spec: &ModelSpec,
        precision: Precision,
        recompute: Recompute,
    ) -> usize {
        let kept = activation_bytes_per_token(spec, precision, recompute == Recompute::Always);
        ((self.activations / kept.max(1)) as usize).clamp(MIN_TOKENS, MAX_TOKENS)
    }

    /// Whether a micro-batch of `tokens` is recomputed layer by layer.
    pub(crate) fn recomputes(
        self,
        spec: &ModelSpec,
        precision: Precision,
        recompute: Recompute,
        tokens: usize,
    ) -> bool {
        match recompute {
            Recompute::Always => true,
            Recompute::Never => false,
            Recompute::Auto => {
                tokens as u64 * activation_bytes_per_token(spec, precision, false) > self.activations
            }
        }
    }

    /// Rows that each of `decoders` runs side by side, where the longest may come to hold `tokens`.
    pub(crate) fn rows(self, spec: &ModelSpec, tokens: usize, decoders: usize) -> usize {
        let row = (kv_bytes_per_token(spec) * tokens as u64).max(1);
        ((self.kv / decoders.max(1) as u64 / row) as usize).clamp(1, MOST_ROWS)
    }

    /// Tokens whose keys and values fit a part of the memory.
    pub(crate) fn tokens(bytes: u64, spec: &ModelSpec) -> usize {
        (bytes / kv_bytes_per_token(spec).max(1)) as usize
    }
}

/// Bytes of activations for each token of a training micro-batch: what layers keep, and what one layer needs while
/// its backward pass runs.
pub fn activation_bytes_per_token(spec: &ModelSpec, precision: Precision, recompute: bool) -> u64 {
    let layer = floats_per_token(spec);
    let kept = if recompute { spec.layers * spec.width + layer } else { spec.layers * layer };
    let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
    // the residual stream, its derivative and its norm; SwiGLU's product; a derivative by an input; those by queries,
    // keys and values, by sequence and together
    let floats = 3 * spec.width + spec.ffn + spec.width.max(q) + 2 * (q + 2 * kv);
    // both operands of a product
    let operands = 2 * spec.ffn.max(q) * precision.bytes();
    (4 * (kept + floats) + operands) as u64
}

/// Bytes of the logits of a micro-batch: of all its tokens where they are kept, else of a chunk of them; and of a
/// chunk as an operand.
fn logit_bytes(spec: &ModelSpec, precision: Precision, tokens: usize) -> u64 {
    let chunk = chunk_rows(spec.vocab_size).min(tokens);
    let rows = if keeps_logits(tokens, spec.vocab_size) { tokens } else { chunk };
    ((4 * rows + precision.bytes() * chunk) * spec.vocab_size) as u64
}

/// Bytes of all matrices, laid out once.
fn laid_out_bytes(spec: &ModelSpec, precision: Precision) -> u64 {
    (precision.bytes() * spec.parameters()) as u64
}

/// Bytes of the matrices as the backward pass reads them: all but an embedding that is not the head.
fn transposed_bytes(spec: &ModelSpec, precision: Precision) -> u64 {
    let embedding = if spec.tied_head { 0 } else { precision.bytes() * spec.vocab_size * spec.width };
    laid_out_bytes(spec, precision) - embedding as u64
}

/// Bytes of gradients, a tied head's apart.
fn gradient_bytes(spec: &ModelSpec) -> u64 {
    let tied = if spec.tied_head { spec.vocab_size * spec.width } else { 0 };
    4 * (spec.parameters() + tied) as u64
}

/// Bytes of everything that training holds from its first update on, activations aside: parameters and moments, 12 for
/// each; gradients; the matrices in both layouts.
fn training_bytes(spec: &ModelSpec, precision: Precision) -> u64 {
    let parameters = 12 * spec.parameters() as u64;
    parameters + gradient_bytes(spec) + laid_out_bytes(spec, precision) + transposed_bytes(spec, precision)
}

/// Bytes of keys and values of one token.
pub fn kv_bytes_per_token(spec: &ModelSpec) -> u64 {
    8 * (spec.layers * spec.kv_heads * spec.head_dim) as u64
}

/// Bytes of one layer's activations while `tokens` of a prompt, or rows, run through it, and of `rows` rows of logits.
fn pass_bytes(spec: &ModelSpec, precision: Precision, tokens: usize, rows: usize) -> u64 {
    let (layer, operand) = (floats_per_token(spec) + spec.width, spec.ffn * precision.bytes());
    (tokens * (4 * layer + operand) + 4 * rows * spec.vocab_size) as u64
}
