//! What a model needs in memory, and how much a micro-batch may take.

mod machine;

use thinktune_compute::Precision;

use crate::ModelSpec;
use crate::decoder::forward::floats_per_token;
use crate::decoder::head::{chunk_rows, keeps_logits};

/// Longest micro-batch, in tokens, however much memory there is: beyond it nothing gets faster.
const MAX_TOKENS: usize = 4096;

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

impl MachineMemory {
    /// Bytes that activations may take: half of what the fixed parts of training leave, at least 256 MiB.
    fn activations(self, spec: &ModelSpec, precision: Precision) -> u64 {
        let fixed = MemoryPlan::fixed_bytes(spec, precision);
        (self.total.saturating_sub(fixed) / 2).max(256 << 20)
    }

    /// Longest micro-batch for training.
    pub(crate) fn token_budget(self, spec: &ModelSpec, precision: Precision, recompute: Recompute) -> usize {
        let kept = activation_bytes_per_token(spec, precision, recompute == Recompute::Always);
        let tokens = (self.activations(spec, precision) / kept) as usize;
        tokens.clamp(256, MAX_TOKENS)
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
                tokens as u64 * activation_bytes_per_token(spec, precision, false)
                    > self.activations(spec, precision)
            }
        }
    }

    /// Tokens whose keys and values fit one part of `parts` of the memory.
    pub(crate) fn kv_tokens(self, spec: &ModelSpec, parts: u64) -> usize {
        (self.total / parts / kv_bytes_per_token(spec).max(1)) as usize
    }

    /// Rows decoded at a time so that their KV caches fit an eighth of the memory.
    pub(crate) fn decode_rows(self, spec: &ModelSpec, tokens_per_row: usize) -> usize {
        let row = (kv_bytes_per_token(spec) * tokens_per_row as u64).max(1);
        ((self.total / 8 / row) as usize).clamp(1, 64)
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

/// Bytes of all matrices, packed once.
fn packed_bytes(spec: &ModelSpec, precision: Precision) -> u64 {
    (precision.bytes() * spec.parameters()) as u64
}

/// Bytes of keys and values of one token.
pub fn kv_bytes_per_token(spec: &ModelSpec) -> u64 {
    8 * (spec.layers * spec.kv_heads * spec.head_dim) as u64
}

/// What a run needs, part by part, in bytes: for `--dry-run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Name of each part and its bytes.
    pub rows: Vec<(String, u64)>,
    /// Tokens of a training micro-batch.
    pub micro_batch_tokens: usize,
    /// Whether layers are recomputed in the backward pass.
    pub recompute: bool,
    /// Memory of this machine.
    pub machine: u64,
}

/// How much a run asks of a model at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Tokens of the longest sequence.
    pub longest: usize,
    /// Tokens of one optimizer update, at most.
    pub per_update: usize,
    /// Completions sampled at a time; 0 where nothing is sampled.
    pub samples: usize,
}

impl MemoryPlan {
    /// The plan of training `spec` in `precision`, beside `frozen` further sets of weights: teacher and reference,
    /// counted once where they are the same.
    pub fn training(
        spec: &ModelSpec,
        precision: Precision,
        work: Workload,
        frozen: usize,
        machine: MachineMemory,
    ) -> Self {
        let Workload { longest, per_update, samples } = work;
        let weights = 4 * spec.parameters() as u64;
        let packed = packed_bytes(spec, precision);
        let name = precision.name();
        let tokens = machine.token_budget(spec, precision, Recompute::Auto).min(per_update).max(longest);
        let recompute = machine.recomputes(spec, precision, Recompute::Auto, tokens);
        let lanes = rayon::current_num_threads() as u64;
        let rows = (machine.decode_rows(spec, longest) as u64 * lanes).min(samples as u64);
        let tied = if spec.tied_head { 4 * (spec.vocab_size * spec.width) as u64 } else { 0 };
        let mut parts = vec![
            ("weights (f32)".to_owned(), weights),
            (format!("matrices for the kernels (2 x {name})"), 2 * packed),
            ("gradients (f32)".to_owned(), weights + tied),
            ("AdamW moments (2 x f32)".to_owned(), 2 * weights),
        ];
        if frozen > 0 {
            parts.push((format!("frozen teacher and reference ({frozen} x {name})"), packed * frozen as u64));
        }
        parts.push((
            format!("activations of {tokens} tokens"),
            tokens as u64 * activation_bytes_per_token(spec, precision, recompute)
                + logit_bytes(spec, precision, tokens),
        ));
        if rows > 0 {
            parts.push((
                format!("KV cache of {rows} rows x {longest} tokens"),
                rows * longest as u64 * kv_bytes_per_token(spec),
            ));
        }
        Self { rows: parts, micro_batch_tokens: tokens, recompute, machine: machine.total }
    }

    /// Weights, packed weights, gradients and moments.
    fn fixed_bytes(spec: &ModelSpec, precision: Precision) -> u64 {
        4 * 4 * spec.parameters() as u64 + 2 * packed_bytes(spec, precision)
    }

    /// Sum of all parts.
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|(_, bytes)| bytes).sum()
    }
}
