//! Forward pass of one layer over rows of tokens.

use rayon::prelude::*;
use thinktune_kernels::attention::{Heads, Span, attend};
use thinktune_kernels::elementwise::{add_bias, swiglu};
use thinktune_kernels::gemm::{Threads, View, gemm_packed};
use thinktune_kernels::norm::{rms_norm, rms_norm_in_place};
use thinktune_kernels::rope::rope;

use super::RopeTable;
use super::weights::{
    EMBEDDING, FINAL_NORM, INPUT_NORM, K_BIAS, K_NORM, POST_NORM, PackedWeights, Q_BIAS, Q_NORM, V_BIAS,
    layer_name, tensor,
};
use crate::{ModelSpec, Params};

/// Rows per parallel task of row-wise kernels.
const ROWS: usize = 32;

/// A model's weights, read-only, with what a forward pass needs beside them.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'a> {
    pub(crate) params: &'a Params,
    pub(crate) packed: &'a PackedWeights,
    pub(crate) rope: &'a RopeTable,
    /// Whether kernels may use the whole thread pool.
    pub(crate) threads: Threads,
}

/// What one layer computes on its way. Training keeps one per layer for the backward pass;
/// inference reuses one for all.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    /// Input of the layer. `[T, D]`
    pub(crate) x: Vec<f32>,
    /// Queries and keys before their norms (only with qk norm). `[T, H d]`, `[T, K d]`
    pub(crate) q_raw: Vec<f32>,
    pub(crate) k_raw: Vec<f32>,
    /// Queries, keys (both after rope) and values. `[T, H d]`, `[T, K d]`, `[T, K d]`
    pub(crate) q: Vec<f32>,
    pub(crate) k: Vec<f32>,
    pub(crate) v: Vec<f32>,
    /// Output of attention and its log-sum-exp. `[T, H d]`, `[T, H]`
    pub(crate) attention: Vec<f32>,
    pub(crate) lse: Vec<f32>,
    /// Residual stream between attention and MLP. `[T, D]`
    pub(crate) mid: Vec<f32>,
    /// The two branches of SwiGLU. `[T, F]`
    pub(crate) gate: Vec<f32>,
    pub(crate) up: Vec<f32>,
    /// Scratch: normalised rows `[T, D]` and SwiGLU's product `[T, F]`.
    pub(crate) normed: Vec<f32>,
    pub(crate) product: Vec<f32>,
}

impl Activations {
    /// Floats kept per token for the backward pass.
    pub(crate) fn floats_per_token(spec: &ModelSpec) -> usize {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let raw = if spec.qk_norm { q + kv } else { 0 };
        2 * spec.width + raw + 2 * q + 2 * kv + spec.heads + 2 * spec.ffn
    }

    /// Frees what only the forward pass used.
    pub(crate) fn drop_scratch(&mut self) {
        self.normed = Vec::new();
        self.product = Vec::new();
    }
}

/// Rows of consecutive tokens of one sequence: row i sees all of `before` and the first `first + i + 1`
/// positions of `own`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) rows: usize,
    pub(crate) before: [Span<'a>; 2],
    pub(crate) own: Span<'a>,
    pub(crate) first: usize,
}

/// Some rows of a run: one parallel task.
struct Piece<'a> {
    run: Run<'a>,
    first: usize,
    q: &'a [f32],
    out: &'a mut [f32],
    lse: &'a mut [f32],
}

impl Decoder<'_> {
    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.params.spec
    }

    pub(crate) fn heads(&self) -> Heads {
        let spec = self.spec();
        Heads { query: spec.heads, kv: spec.kv_heads, dim: spec.head_dim }
    }

    /// Rows of the embedding. `[T] -> [T, D]`
    pub(crate) fn embed(&self, tokens: &[u32], x: &mut Vec<f32>) {
        let (table, width) = (tensor(self.params, EMBEDDING), self.spec().width);
        x.clear();
        for &token in tokens {
            x.extend_from_slice(&table[token as usize * width..(token as usize + 1) * width]);
        }
    }

    /// First half of a layer: from `acts.x` to queries, keys and values.
    pub(crate) fn project(&self, layer: usize, positions: &[usize], acts: &mut Activations) {
        let spec = self.spec();
        let rows = positions.len();
        self.norm(layer, INPUT_NORM, &acts.x, &mut acts.normed);
        let input = View::new(&acts.normed, rows, spec.width);
        let packed = &self.packed.layers[layer];
        for (weights, out) in [(&packed.q, &mut acts.q), (&packed.k, &mut acts.k), (&packed.v, &mut acts.v)] {
            out.resize(rows * weights.n(), 0.0);
            gemm_packed(input, weights, out, false, self.threads);
        }
        if spec.qkv_bias {
            for (name, out) in [(Q_BIAS, &mut acts.q), (K_BIAS, &mut acts.k), (V_BIAS, &mut acts.v)] {
                add_bias(out, tensor(self.params, &layer_name(layer, name)));
            }
        }
        if spec.qk_norm {
            acts.q_raw.clone_from(&acts.q);
            acts.k_raw.clone_from(&acts.k);
            rms_norm_in_place(&mut acts.q, tensor(self.params, &layer_name(layer, Q_NORM)), spec.norm_eps);
            rms_norm_in_place(&mut acts.k, tensor(self.params, &layer_name(layer, K_NORM)), spec.norm_eps);
        }
        rope(&mut acts.q, spec.heads, &self.rope.cos, &self.rope.sin, positions, false);
        rope(&mut acts.k, spec.kv_heads, &self.rope.cos, &self.rope.sin, positions, false);
    }

    /// Attention of every row; `runs`, one after another, are all rows.
    pub(crate) fn attend<'s>(
        &self,
        q: &'s [f32],
        out: &'s mut Vec<f32>,
        lse: &'s mut Vec<f32>,
        runs: impl Iterator<Item = Run<'s>>,
    ) {
        let heads = self.heads();
        let (stride, rows) = (heads.query * heads.dim, q.len() / (heads.query * heads.dim));
        out.resize(rows * stride, 0.0);
        lse.resize(rows * heads.query, 0.0);
        let mut pieces = Vec::new();
        let (mut q, mut out, mut lse) = (q, out.as_mut_slice(), lse.as_mut_slice());
        for run in runs {
            for from in (0..run.rows).step_by(ROWS) {
                let rows = ROWS.min(run.rows - from);
                let (piece_q, piece_out, piece_lse);
                (piece_q, q) = q.split_at(rows * stride);
                (piece_out, out) = out.split_at_mut(rows * stride);
                (piece_lse, lse) = lse.split_at_mut(rows * heads.query);
                pieces.push(Piece {
                    run,
                    first: run.first + from,
                    q: piece_q,
                    out: piece_out,
                    lse: piece_lse,
                });
            }
        }
        debug_assert!(q.is_empty(), "the runs are all rows");
        let piece = |scratch: &mut Vec<f32>, Piece { run, first, q, out, lse }: Piece| {
            attend(q, &run.before, run.own, first, heads, scratch, out, lse);
        };
        if self.threads == Threads::One {
            let mut scratch = Vec::new();
            pieces.into_iter().for_each(|each| piece(&mut scratch, each));
        } else {
            pieces.into_par_iter().for_each_init(Vec::new, piece);
        }
    }

    /// Second half of a layer: from the attention's output to the next layer's input, in `out`.
    pub(crate) fn finish(&self, layer: usize, acts: &mut Activations, out: &mut Vec<f32>) {
        let spec = self.spec();
        let rows = acts.x.len() / spec.width;
        let packed = &self.packed.layers[layer];
        // mid = x + attention Wo^T
        acts.mid.clone_from(&acts.x);
        let attention = View::new(&acts.attention, rows, spec.heads * spec.head_dim);
        gemm_packed(attention, &packed.o, &mut acts.mid, true, self.threads);
        self.norm(layer, POST_NORM, &acts.mid, &mut acts.normed);
        let input = View::new(&acts.normed, rows, spec.width);
        for (weights, branch) in [(&packed.gate, &mut acts.gate), (&packed.up, &mut acts.up)] {
            branch.resize(rows * spec.ffn, 0.0);
            gemm_packed(input, weights, branch, false, self.threads);
        }
        self.swiglu(&acts.gate, &acts.up, &mut acts.product);
        // out = mid + product Wdown^T
        out.clone_from(&acts.mid);
        gemm_packed(View::new(&acts.product, rows, spec.ffn), &packed.down, out, true, self.threads);
    }

    /// The final norm of some rows. `[R, D]`
    pub(crate) fn final_norm(&self, x: &[f32], out: &mut Vec<f32>) {
        self.norm_with(tensor(self.params, FINAL_NORM), x, out);
    }

    /// A layer's norm of all rows.
    pub(crate) fn norm(&self, layer: usize, part: &str, x: &[f32], out: &mut Vec<f32>) {
        self.norm_with(tensor(self.params, &layer_name(layer, part)), x, out);
    }

    fn norm_with(&self, weight: &[f32], x: &[f32], out: &mut Vec<f32>) {
        let (width, eps) = (weight.len(), self.spec().norm_eps);
        out.resize(x.len(), 0.0);
        if self.threads == Threads::One || x.len() <= ROWS * width {
            rms_norm(x, weight, eps, out);
        } else {
            x.par_chunks(ROWS * width)
                .zip(out.par_chunks_mut(ROWS * width))
                .for_each(|(x, out)| rms_norm(x, weight, eps, out));
        }
    }

    pub(crate) fn swiglu(&self, gate: &[f32], up: &[f32], out: &mut Vec<f32>) {
        let piece = ROWS * self.spec().ffn;
        out.resize(gate.len(), 0.0);
        if self.threads == Threads::One || gate.len() <= piece {
            swiglu(gate, up, out);
        } else {
            gate.par_chunks(piece)
                .zip(up.par_chunks(piece))
                .zip(out.par_chunks_mut(piece))
                .for_each(|((gate, up), out)| swiglu(gate, up, out));
        }
    }
}
