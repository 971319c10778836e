//! Backward pass of one layer. Every sum over tokens (weights, biases, norms, embedding) is a chain in
//! token order that continues from the gradient already there, so cutting a batch between sequences
//! does not change a bit.

use std::ops::Range;

use rayon::prelude::*;
use thinktune_kernels::attention::{Heads, Saved, attend_backward};
use thinktune_kernels::elementwise::{add_bias_backward, swiglu_backward};
use thinktune_kernels::gemm::{Threads, View, gemm};
use thinktune_kernels::norm::rms_norm_backward;
use thinktune_kernels::rope::rope;

use super::weights::{
    DOWN_PROJ, EMBEDDING, FINAL_NORM, GATE_PROJ, INPUT_NORM, K_BIAS, K_NORM, K_PROJ, O_PROJ, POST_NORM,
    Q_BIAS, Q_NORM, Q_PROJ, UP_PROJ, V_BIAS, V_PROJ, layer_name, matrix, tensor,
};
use super::{Activations, Decoder};
use crate::surface::TokenBatch;

/// Gradients of all parameters, in their layout.
pub(crate) struct Gradients<'a> {
    pub(crate) layout: &'a crate::params::Layout,
    pub(crate) data: &'a mut [f32],
}

impl Gradients<'_> {
    pub(crate) fn get(&mut self, name: &str) -> &mut [f32] {
        let Some(range) = self.layout.range(name) else { unreachable!("the layout has no tensor {name}") };
        &mut self.data[range]
    }
}

impl Decoder<'_> {
    /// Turns d loss / d output of a layer into d loss / d input, in place, and adds to the gradients.
    ///
    /// # Shapes
    /// `d_x`: `[T, D]`; `positions`: `[T]`.
    pub(crate) fn layer_backward(
        &self,
        layer: usize,
        acts: Activations,
        batch: &TokenBatch,
        positions: &[usize],
        d_x: &mut [f32],
        grads: &mut Gradients,
    ) {
        let Activations { x, q_raw, k_raw, q, k, v, attention, lse, mid, gate, up, .. } = acts;
        self.mlp_backward(layer, &mid, gate, up, d_x, grads);
        let spec = self.spec();
        let (rows, q_width) = (positions.len(), spec.heads * spec.head_dim);

        // mid = x + attention Wo^T
        let mut d_attention = vec![0.0; rows * q_width];
        let d_mid = View::new(d_x, rows, spec.width);
        gemm(d_mid, self.layer_matrix(layer, O_PROJ), &mut d_attention, false, Threads::All);
        let d_wo = grads.get(&layer_name(layer, O_PROJ));
        gemm(d_mid.t(), View::new(&attention, rows, q_width), d_wo, true, Threads::All);

        let attended = Attended { q: &q, k: &k, v: &v, out: &attention, lse: &lse };
        let (mut dq, mut dk, dv) = self.attention_backward(attended, &d_attention, batch);
        rope(&mut dq, spec.heads, &self.rope.cos, &self.rope.sin, positions, true);
        rope(&mut dk, spec.kv_heads, &self.rope.cos, &self.rope.sin, positions, true);
        if spec.qk_norm {
            dq = self.head_norm_backward(layer, Q_NORM, &q_raw, &dq, grads);
            dk = self.head_norm_backward(layer, K_NORM, &k_raw, &dk, grads);
        }
        if spec.qkv_bias {
            for (name, d) in [(Q_BIAS, &dq), (K_BIAS, &dk), (V_BIAS, &dv)] {
                add_bias_backward(d, grads.get(&layer_name(layer, name)));
            }
        }

        let mut normed = Vec::new();
        self.norm(layer, INPUT_NORM, &x, &mut normed);
        let mut d_normed = vec![0.0; x.len()];
        for (i, (name, d)) in [(Q_PROJ, &dq), (K_PROJ, &dk), (V_PROJ, &dv)].into_iter().enumerate() {
            self.linear_backward(layer, name, d, &normed, &mut d_normed, i > 0, grads);
        }
        self.norm_backward(layer, INPUT_NORM, &x, &d_normed, d_x, grads);
    }

    /// Backward of mid + SwiGLU(norm(mid)): `d_x` becomes d loss / d mid.
    fn mlp_backward(
        &self,
        layer: usize,
        mid: &[f32],
        mut gate: Vec<f32>,
        mut up: Vec<f32>,
        d_x: &mut [f32],
        grads: &mut Gradients,
    ) {
        let spec = self.spec();
        let rows = mid.len() / spec.width;
        let mut product = Vec::new();
        self.swiglu(&gate, &up, &mut product);
        let d_out = View::new(d_x, rows, spec.width);
        let d_down = grads.get(&layer_name(layer, DOWN_PROJ));
        gemm(d_out.t(), View::new(&product, rows, spec.ffn), d_down, true, Threads::All);
        let mut d_product = product;
        gemm(d_out, self.layer_matrix(layer, DOWN_PROJ), &mut d_product, false, Threads::All);
        let piece = 32 * spec.ffn;
        gate.par_chunks_mut(piece)
            .zip(up.par_chunks_mut(piece))
            .zip(d_product.par_chunks(piece))
            .for_each(|((gate, up), d_product)| swiglu_backward(gate, up, d_product));
        drop(d_product);
        let mut normed = Vec::new();
        self.norm(layer, POST_NORM, mid, &mut normed);
        let mut d_normed = vec![0.0; mid.len()];
        self.linear_backward(layer, GATE_PROJ, &gate, &normed, &mut d_normed, false, grads);
        self.linear_backward(layer, UP_PROJ, &up, &normed, &mut d_normed, true, grads);
        self.norm_backward(layer, POST_NORM, mid, &d_normed, d_x, grads);
    }

    /// Backward of y = input W^T: d_input (+)= dy W, dW += dy^T input.
    #[allow(clippy::too_many_arguments)]
    fn linear_backward(
        &self,
        layer: usize,
        name: &str,
        dy: &[f32],
        input: &[f32],
        d_input: &mut [f32],
        accumulate: bool,
        grads: &mut Gradients,
    ) {
        let width = self.spec().width;
        let rows = input.len() / width;
        let dy = View::new(dy, rows, dy.len() / rows);
        gemm(dy, self.layer_matrix(layer, name), d_input, accumulate, Threads::All);
        gemm(dy.t(), View::new(input, rows, width), grads.get(&layer_name(layer, name)), true, Threads::All);
    }

    /// Backward of attention over each sequence and the prefix it continues: gradients of q, k, v (after
    /// rope).
    fn attention_backward(
        &self,
        attended: Attended,
        d_out: &[f32],
        batch: &TokenBatch,
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let heads = self.heads();
        let group = heads.query / heads.kv;
        let parts: Vec<AttentionPart> = (0..batch.sequences() * heads.kv)
            .into_par_iter()
            .map_init(Vec::new, |scratch, unit| {
                let (sequence, kv_head) = (unit / heads.kv, unit % heads.kv);
                let (rows, prefix) = (rows_of(batch, sequence), prefix_of(batch, sequence));
                let positions = prefix.len() + rows.len();
                let mut part = AttentionPart {
                    sequence,
                    kv_head,
                    dq: vec![0.0; rows.len() * group * heads.dim],
                    dk: vec![0.0; positions * heads.dim],
                    dv: vec![0.0; positions * heads.dim],
                };
                let q_stride = heads.query * heads.dim;
                let d_out = &d_out[rows.start * q_stride..rows.end * q_stride];
                let saved = attended.of_sequence(heads, rows, prefix);
                let AttentionPart { dq, dk, dv, .. } = &mut part;
                attend_backward(saved, d_out, heads, kv_head, scratch, dq, dk, dv);
                part
            })
            .collect();
        let (q_stride, kv_stride) = (heads.query * heads.dim, heads.kv * heads.dim);
        let (mut dq, mut dk, mut dv) =
            (vec![0.0; attended.q.len()], vec![0.0; attended.k.len()], vec![0.0; attended.v.len()]);
        let outputs: Vec<_> = by_sequence(&mut dq, q_stride, batch)
            .zip(by_sequence(&mut dk, kv_stride, batch))
            .zip(by_sequence(&mut dv, kv_stride, batch))
            .collect();
        outputs.into_par_iter().enumerate().for_each(|(sequence, ((dq, dk), dv))| {
            // in the order of the sequences, so that what continues a prefix adds to it in that order
            for part in &parts {
                part.add_to(sequence, batch, heads, dq, dk, dv);
            }
        });
        (dq, dk, dv)
    }

    fn head_norm_backward(
        &self,
        layer: usize,
        name: &str,
        raw: &[f32],
        d: &[f32],
        grads: &mut Gradients,
    ) -> Vec<f32> {
        let mut out = vec![0.0; d.len()];
        let name = layer_name(layer, name);
        let weight = tensor(self.params, &name);
        rms_norm_backward(raw, weight, self.spec().norm_eps, d, &mut out, grads.get(&name));
        out
    }

    fn norm_backward(
        &self,
        layer: usize,
        part: &str,
        x: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        grads: &mut Gradients,
    ) {
        let name = layer_name(layer, part);
        let weight = tensor(self.params, &name);
        rms_norm_backward(x, weight, self.spec().norm_eps, dy, dx, grads.get(&name));
    }

    /// Backward of the final norm over some rows: returns d loss / d row.
    pub(crate) fn final_norm_backward(&self, x: &[f32], dy: &[f32], grads: &mut Gradients) -> Vec<f32> {
        let mut dx = vec![0.0; x.len()];
        let weight = tensor(self.params, FINAL_NORM);
        rms_norm_backward(x, weight, self.spec().norm_eps, dy, &mut dx, grads.get(FINAL_NORM));
        dx
    }

    /// Backward of the embedding: adds each row to its token's gradient, in token order.
    pub(crate) fn embed_backward(&self, tokens: &[u32], d_x: &[f32], grads: &mut Gradients) {
        let width = self.spec().width;
        let table = grads.get(EMBEDDING);
        for (token, d_row) in tokens.iter().zip(d_x.chunks_exact(width)) {
            let at = *token as usize * width;
            thinktune_kernels::elementwise::add(&mut table[at..at + width], d_row);
        }
    }

    fn layer_matrix(&self, layer: usize, part: &str) -> View<'_> {
        matrix(self.params, &layer_name(layer, part))
    }
}

/// Rows of a sequence in the batch.
fn rows_of(batch: &TokenBatch, sequence: usize) -> Range<usize> {
    batch.offsets[sequence]..batch.offsets[sequence + 1]
}

/// Rows of the prefix that a sequence continues.
fn prefix_of(batch: &TokenBatch, sequence: usize) -> Range<usize> {
    batch.prefixes[sequence].map_or(0..0, |prefix| rows_of(batch, prefix))
}

/// What the attention of all rows read and gave.
#[derive(Clone, Copy)]
struct Attended<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
}

impl<'a> Attended<'a> {
    fn of_sequence(&self, heads: Heads, rows: Range<usize>, prefix: Range<usize>) -> Saved<'a> {
        let of = |x: &'a [f32], rows: &Range<usize>, width: usize| &x[rows.start * width..rows.end * width];
        let (q_stride, kv_stride) = (heads.query * heads.dim, heads.kv * heads.dim);
        Saved {
            q: of(self.q, &rows, q_stride),
            k: [of(self.k, &prefix, kv_stride), of(self.k, &rows, kv_stride)],
            v: [of(self.v, &prefix, kv_stride), of(self.v, &rows, kv_stride)],
            out: of(self.out, &rows, q_stride),
            lse: of(self.lse, &rows, heads.query),
        }
    }
}

/// Gradients of one sequence and its prefix by one key/value head.
struct AttentionPart {
    sequence: usize,
    kv_head: usize,
    /// `[T, H / K * d]`
    dq: Vec<f32>,
    /// `[P + T, d]`
    dk: Vec<f32>,
    dv: Vec<f32>,
}

impl AttentionPart {
    /// Adds what belongs to the rows of `sequence`.
    fn add_to(
        &self,
        sequence: usize,
        batch: &TokenBatch,
        heads: Heads,
        dq: &mut [f32],
        dk: &mut [f32],
        dv: &mut [f32],
    ) {
        let Heads { query, kv, dim } = heads;
        let (at, prefix) = (self.kv_head * dim, prefix_of(batch, self.sequence).len() * dim);
        if self.sequence == sequence {
            let width = query / kv * dim;
            scatter(&self.dq, width, dq, query * dim, self.kv_head * width);
            scatter(&self.dk[prefix..], dim, dk, kv * dim, at);
            scatter(&self.dv[prefix..], dim, dv, kv * dim, at);
        } else if batch.prefixes[self.sequence] == Some(sequence) {
            scatter(&self.dk[..prefix], dim, dk, kv * dim, at);
            scatter(&self.dv[..prefix], dim, dv, kv * dim, at);
        }
    }
}

/// Rows of width `width` cut between the sequences of the batch.
fn by_sequence<'a>(
    mut rows: &'a mut [f32],
    width: usize,
    batch: &TokenBatch,
) -> impl Iterator<Item = &'a mut [f32]> {
    batch.offsets.windows(2).map(move |pair| {
        let own;
        (own, rows) = std::mem::take(&mut rows).split_at_mut((pair[1] - pair[0]) * width);
        own
    })
}

/// Adds rows of width `width` to columns `at..at + width` of rows of width `stride`.
fn scatter(rows: &[f32], width: usize, out: &mut [f32], stride: usize, at: usize) {
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(stride)) {
        thinktune_kernels::elementwise::add(&mut out[at..at + width], row);
    }
}
