//! Forward pass of one layer over rows of tokens.

use std::cell::RefCell;

use thinktune_kernels::attention::{Heads, Span, attend};
use thinktune_kernels::elementwise::{add_bias, swiglu};
use thinktune_kernels::gemm::{Rows, Scratch, Threads, View, gemm, gemm_each};
use thinktune_kernels::norm::{rms_norm, rms_norm_in_place};
use thinktune_kernels::rope::rope;

use super::RopeTable;
use super::weights::Weights;
use crate::ModelSpec;

/// Rows per parallel task of row-wise kernels.
pub(crate) const ROWS: usize = 32;

thread_local! {
    /// Scores of the rows that a thread attends for.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// A model's weights, read-only, with what a forward pass needs beside them.
#[derive(Clone, Copy)]
pub(crate) struct Decoder<'a> {
    pub(crate) weights: &'a Weights,
    pub(crate) rope: &'a RopeTable,
    /// Whether kernels may use the whole thread pool.
    pub(crate) threads: Threads<'a>,
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
}

/// Memory for what a layer needs while it runs, kept from layer to layer.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Normalised rows. `[T, D]`
    pub(crate) normed: Vec<f32>,
    /// Product of the two branches of SwiGLU. `[T, F]`
    pub(crate) product: Vec<f32>,
    /// Left operand of a matrix product.
    pub(crate) rows: Scratch,
}

impl Activations {
    /// Floats kept per token for the backward pass.
    pub(crate) fn floats_per_token(spec: &ModelSpec) -> usize {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let raw = if spec.qk_norm { q + kv } else { 0 };
        2 * spec.width + raw + 2 * q + 2 * kv + spec.heads + 2 * spec.ffn
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
        &self.weights.spec
    }

    pub(crate) fn heads(&self) -> Heads {
        let spec = self.spec();
        Heads { query: spec.heads, kv: spec.kv_heads, dim: spec.head_dim }
    }

    /// Lays out `[T, width]` as the left operand of products with weights.
    pub(crate) fn operand<'s>(&self, scratch: &'s mut Scratch, x: &'s [f32], width: usize) -> Rows<'s> {
        scratch.rows(View::new(x, x.len() / width, width), self.weights.precision, self.threads)
    }

    /// Calls `work` with the index of the first row and the rows, `[ROWS, width]`, of each piece of `x`.
    pub(crate) fn by_rows(
        &self,
        x: &mut [f32],
        width: usize,
        work: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) {
        self.threads.chunks_mut(x, ROWS * width, |index, x| work(index * ROWS, x));
    }

    fn copy(&self, from: &[f32], to: &mut Vec<f32>) {
        let width = self.spec().width;
        to.resize(from.len(), 0.0);
        self.by_rows(to, width, |first, to| to.copy_from_slice(&from[first * width..][..to.len()]));
    }

    /// Rows of the embedding. `[T] -> [T, D]`
    pub(crate) fn embed(&self, tokens: &[u32], x: &mut Vec<f32>) {
        let width = self.spec().width;
        x.resize(tokens.len() * width, 0.0);
        self.by_rows(x, width, |first, x| {
            for (row, &token) in x.chunks_exact_mut(width).zip(&tokens[first..]) {
                self.weights.embedding(token, row);
            }
        });
    }

    /// First half of a layer: from `acts.x` to queries, keys and values.
    pub(crate) fn project(
        &self,
        layer: usize,
        positions: &[usize],
        acts: &mut Activations,
        space: &mut Workspace,
    ) {
        let spec = self.spec();
        let weights = &self.weights.layers[layer];
        let Activations { x, q_raw, k_raw, q, k, v, .. } = acts;
        self.norm(&weights.input_norm, x, &mut space.normed);
        let input = self.operand(&mut space.rows, &space.normed, spec.width);
        for (packed, out) in [(&weights.q, &mut *q), (&weights.k, &mut *k), (&weights.v, &mut *v)] {
            out.resize(positions.len() * packed.n(), 0.0);
        }
        gemm_each(input, [(&weights.q, q), (&weights.k, k), (&weights.v, v)], false, self.threads);
        if spec.qkv_bias {
            add_bias(q, &weights.q_bias);
            add_bias(k, &weights.k_bias);
            add_bias(v, &weights.v_bias);
        }
        if spec.qk_norm {
            q_raw.clone_from(q);
            k_raw.clone_from(k);
        }
        self.finish_heads(q, spec.heads, &weights.q_norm, positions);
        self.finish_heads(k, spec.kv_heads, &weights.k_norm, positions);
    }

    /// Norm, where `norm` is not empty, and rope of every head of every row.
    fn finish_heads(&self, x: &mut [f32], heads: usize, norm: &[f32], positions: &[usize]) {
        self.by_rows(x, heads * self.spec().head_dim, |first, x| {
            if !norm.is_empty() {
                rms_norm_in_place(x, norm, self.spec().norm_eps);
            }
            let count = x.len() / (heads * self.spec().head_dim);
            let positions = &positions[first..first + count];
            rope(x, heads, &self.rope.cos, &self.rope.sin, positions, false);
        });
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
        self.threads.chunks_mut(&mut pieces, 1, |_, pieces| {
            for Piece { run, first, q, out, lse } in pieces {
                SCRATCH.with_borrow_mut(|scratch| {
                    attend(q, &run.before, run.own, *first, heads, scratch, out, lse);
                });
            }
        });
    }

    /// Second half of a layer: from the attention's output to the next layer's input, in `out`.
    pub(crate) fn finish(
        &self,
        layer: usize,
        acts: &mut Activations,
        space: &mut Workspace,
        out: &mut Vec<f32>,
    ) {
        let spec = self.spec();
        let weights = &self.weights.layers[layer];
        let Activations { x, attention, mid, gate, up, .. } = acts;
        // mid = x + attention Wo^T
        self.copy(x, mid);
        let input = self.operand(&mut space.rows, attention, spec.heads * spec.head_dim);
        gemm(input, &weights.o, mid, true, self.threads);
        self.norm(&weights.post_norm, mid, &mut space.normed);
        let input = self.operand(&mut space.rows, &space.normed, spec.width);
        for branch in [&mut *gate, &mut *up] {
            branch.resize(input.m() * spec.ffn, 0.0);
        }
        gemm_each(input, [(&weights.gate, &mut *gate), (&weights.up, &mut *up)], false, self.threads);
        self.swiglu(gate, up, &mut space.product);
        // out = mid + product Wdown^T
        self.copy(mid, out);
        let input = self.operand(&mut space.rows, &space.product, spec.ffn);
        gemm(input, &weights.down, out, true, self.threads);
    }

    /// RMSNorm of rows as wide as `weight`.
    pub(crate) fn norm(&self, weight: &[f32], x: &[f32], out: &mut Vec<f32>) {
        let (width, eps) = (weight.len(), self.spec().norm_eps);
        out.resize(x.len(), 0.0);
        self.by_rows(out, width, |first, out| {
            rms_norm(&x[first * width..][..out.len()], weight, eps, out);
        });
    }

    pub(crate) fn swiglu(&self, gate: &[f32], up: &[f32], out: &mut Vec<f32>) {
        let width = self.spec().ffn;
        out.resize(gate.len(), 0.0);
        self.by_rows(out, width, |first, out| {
            let at = first * width..first * width + out.len();
            swiglu(&gate[at.clone()], &up[at], out);
        });
    }
}
