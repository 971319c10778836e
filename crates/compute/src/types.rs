//! Values that pass through [`Backend`](crate::Backend).

use std::ops::Range;

use crate::Precision;

/// A fault of a device: out of memory, a failed launch, a lost device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{device}: {message}")]
pub struct ComputeError {
    /// Name of the device.
    pub device: String,
    /// What happened, what was asked for, what to do.
    pub message: String,
}

/// Facts of a device that plans depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Name for people.
    pub name: String,
    /// Bytes of the device's own memory; none where it works in the machine's.
    pub memory: Option<u64>,
}

/// Head counts and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// H.
    pub query: usize,
    /// K.
    pub kv: usize,
    /// d.
    pub dim: usize,
}

impl Heads {
    /// Query heads that read one key/value head.
    #[inline(always)]
    pub fn group(&self) -> usize {
        self.query / self.kv
    }

    /// 1 / sqrt(d).
    #[inline(always)]
    pub fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// H d.
    pub fn q_width(&self) -> usize {
        self.query * self.dim
    }

    /// K d.
    pub fn kv_width(&self) -> usize {
        self.kv * self.dim
    }
}

/// Consecutive rows of a call that belong to one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSpan {
    /// Rows of the call.
    pub rows: Range<usize>,
    /// Index of the earlier span that this one continues, if any; that one continues none.
    pub prefix: Option<usize>,
}

/// Rows of one forward pass: where each stands in its sequence, and which belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowLayout {
    /// Position of each row, counted from the beginning of its sequence. `[T]`
    pub positions: Vec<usize>,
    /// Spans in the order of their rows; together they are all rows.
    pub spans: Vec<RowSpan>,
}

impl RowLayout {
    /// Rows of the span that span `index` continues.
    pub fn prefix_rows(&self, index: usize) -> Range<usize> {
        self.spans[index].prefix.map_or(0..0, |prefix| self.spans[prefix].rows.clone())
    }
}

/// What rows are laid out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperandUse {
    /// x of y = x W^T, and dy of dx = dy W.
    Input,
    /// dy of dW = dy^T x.
    OutputGradient,
    /// x of dW = dy^T x.
    SavedInput,
}

/// Angles of the rotary position embedding, on the device.
#[derive(Debug, Clone, Default)]
pub struct RopeTable<Buffer> {
    /// cos of position x frequency. `[positions, d / 2]`
    pub cos: Buffer,
    /// sin of position x frequency. `[positions, d / 2]`
    pub sin: Buffer,
}

/// What happens to the heads of a projection: bias, RMSNorm of each head, rotation.
#[derive(Debug)]
pub struct HeadStage<'a, Buffer> {
    /// Heads of a row.
    pub heads: usize,
    /// d.
    pub dim: usize,
    /// Added to every row. `[heads * d]`
    pub bias: Option<&'a Buffer>,
    /// Weight of the norm of each head. `[d]`
    pub norm: Option<&'a Buffer>,
    /// Epsilon of the norm.
    pub eps: f32,
    /// Rotation by position.
    pub rope: Option<&'a RopeTable<Buffer>>,
}

/// Part of a flat buffer that is added to or updated.
#[derive(Debug)]
pub struct Part<'a, Buffer> {
    /// The flat buffer.
    pub buffer: &'a mut Buffer,
    /// Where the tensor lies in it.
    pub at: Range<usize>,
}

/// What attention read and gave.
#[derive(Debug)]
pub struct Attended<'a, Buffer> {
    /// Queries, after rope. `[T, H d]`
    pub q: &'a Buffer,
    /// Keys, after rope. `[T, K d]`
    pub k: &'a Buffer,
    /// Values. `[T, K d]`
    pub v: &'a Buffer,
    /// Output. `[T, H d]`
    pub out: &'a Buffer,
    /// Log-sum-exp of the scaled scores. `[T, H]`
    pub lse: &'a Buffer,
}

/// How one token is drawn from a row of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Uniform number in [0, 1).
    pub uniform: f64,
    /// Divides the logits; 0 means the likeliest.
    pub temperature: f32,
    /// Keep the k likeliest.
    pub top_k: Option<usize>,
    /// Keep the smallest set of likeliest whose mass reaches this; 1 keeps all.
    pub top_p: f32,
    /// Drop what is less likely than this times the likeliest; 0 drops nothing.
    pub min_p: f32,
}

/// Log-prob of a token and the likeliest tokens in its place, under softmax(logits).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Likeliest {
    /// The token's log-prob.
    pub logprob: f32,
    /// The likeliest ids with their log-probs, likeliest first; equals by id.
    pub top: Vec<(u32, f32)>,
}

/// Scores of rows of logits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// log softmax(logits / temperature)`[target]`.
    pub logprobs: Vec<f32>,
    /// Entropy of softmax(logits / temperature), in nats.
    pub entropies: Vec<f32>,
}

/// Derivatives by the log-probs of the targets of consecutive rows of logits.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreGradient<'a> {
    /// V.
    pub vocab: usize,
    /// Rows of the logits. `[R, V]`
    pub rows: Range<usize>,
    /// Row of the log-sum-exps that belongs to the first of `rows`.
    pub first_lse: usize,
    /// Target of each row. `[R]`
    pub targets: &'a [u32],
    /// d loss / d log-prob of each row's target. `[R]`
    pub d_logprobs: &'a [f32],
    /// The logits are divided by it.
    pub temperature: f32,
}

/// Constants of one AdamW update of one tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// The gradient is multiplied by this first (clipping by global norm).
    pub grad_scale: f32,
    /// Number of this update, from 1.
    pub update: u64,
}

/// Rows of a weight that come from the host together come in multiples of this.
pub const LOAD_ROWS: usize = 64;

/// Shape and precision of a weight, `[out, in]` as checkpoints store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixShape {
    /// N: rows of the weight, width of the result.
    pub outputs: usize,
    /// K: columns of the weight, width of the input.
    pub inputs: usize,
    /// What the operands of products are.
    pub precision: Precision,
}
