//! Backward pass of one layer. Every sum over tokens (weights, biases, norms, embedding) is a chain in
//! token order that continues from the gradient already there, so cutting a batch between sequences
//! does not change a bit.

use std::ops::Range;

use rayon::prelude::*;
use thinktune_kernels::attention::{Heads, Saved, attend_backward};
use thinktune_kernels::elementwise::{add_bias_backward, swiglu_backward};
use thinktune_kernels::gemm::{Packed, Scratch, Threads, View, gemm};
use thinktune_kernels::norm::{rms_norm_backward, rms_norm_backward_weight};
use thinktune_kernels::rope::rope;
use thinktune_policy::TokenBatch;

use super::layer::ROWS;
use super::weights::{
    DOWN_PROJ, EMBEDDING, FINAL_NORM, GATE_PROJ, INPUT_NORM, K_BIAS, K_NORM, K_PROJ, LayerTransposes, O_PROJ,
    POST_NORM, Q_BIAS, Q_NORM, Q_PROJ, UP_PROJ, V_BIAS, V_PROJ, layer_name,
};
use super::{Activations, Decoder, Workspace};

/// Columns of a norm's weight per parallel task.
const COLUMNS: usize = 128;

/// Gradients of all parameters, in their layout.
pub(crate) struct Gradients<'a> {
    pub(crate) layout: &'a crate::params::Layout,
    pub(crate) data: &'a mut [f32],
}

/// Memory of the backward pass, kept from layer to layer and from call to call.
#[derive(Default)]
pub(crate) struct BackwardSpace {
    pub(crate) work: Workspace,
    /// Right operand of the product that gives a weight's gradient.
    input: Packed,
    /// Derivative by the input of a matrix. `[T, in]`
    d_input: Vec<f32>,
}

impl Gradients<'_> {
    pub(crate) fn get(&mut self, name: &str) -> &mut [f32] {
        let Some(range) = self.layout.range(name) else { unreachable!("the layout has no tensor {name}") };
        &mut self.data[range]
    }
}

impl Decoder<'_> {
    /// Turns d loss / d output of a layer into d loss / d input, in place, and adds to the gradients.
    /// `gate` and `up` of `acts` are spent.
    ///
    /// # Shapes
    /// `d_x`: `[T, D]`; `positions`: `[T]`.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn layer_backward(
        &self,
        layer: usize,
        transposes: &LayerTransposes,
        acts: &mut Activations,
        batch: &TokenBatch,
        positions: &[usize],
        d_x: &mut [f32],
        grads: &mut Gradients,
        space: &mut BackwardSpace,
    ) {
        self.mlp_backward(layer, transposes, acts, d_x, grads, space);
        let Activations { x, q_raw, k_raw, q, k, v, attention, lse, .. } = acts;
        let spec = self.spec();
        let weights = &self.weights.layers[layer];
        let q_width = spec.heads * spec.head_dim;

        // mid = x + attention Wo^T
        space.d_input.resize(positions.len() * q_width, 0.0);
        gemm(
            self.operand(&mut space.work.rows, d_x, spec.width),
            &transposes.o,
            &mut space.d_input,
            false,
            Threads::All,
        );
        self.pack_input(attention, q_width, &mut space.input);
        let d_wo = grads.get(&layer_name(layer, O_PROJ));
        self.weight_backward(d_x, spec.width, &space.input, d_wo, &mut space.work.rows);

        let attended = Attended { q, k, v, out: attention, lse };
        let (mut dq, mut dk, dv) = self.attention_backward(attended, &space.d_input, batch);
        for (d, heads) in [(&mut dq, spec.heads), (&mut dk, spec.kv_heads)] {
            let width = heads * spec.head_dim;
            self.by_rows(d, width, |first, d| {
                let positions = &positions[first..first + d.len() / width];
                rope(d, heads, &self.rope.cos, &self.rope.sin, positions, true);
            });
        }
        if spec.qk_norm {
            dq = self.head_norm_backward(&weights.q_norm, q_raw, &dq, grads.get(&layer_name(layer, Q_NORM)));
            dk = self.head_norm_backward(&weights.k_norm, k_raw, &dk, grads.get(&layer_name(layer, K_NORM)));
        }
        if spec.qkv_bias {
            for (name, d) in [(Q_BIAS, &dq), (K_BIAS, &dk), (V_BIAS, &dv)] {
                add_bias_backward(d, grads.get(&layer_name(layer, name)));
            }
        }

        self.norm(&weights.input_norm, x, &mut space.work.normed);
        let outputs = [
            (Q_PROJ, &transposes.q, dq.as_slice()),
            (K_PROJ, &transposes.k, &dk),
            (V_PROJ, &transposes.v, &dv),
        ];
        self.linear_backward(layer, outputs, grads, space);
        let d_norm = grads.get(&layer_name(layer, INPUT_NORM));
        self.norm_backward(&weights.input_norm, x, &space.d_input, d_x, d_norm);
    }

    /// Backward of mid + SwiGLU(norm(mid)): `d_x` becomes d loss / d mid.
    fn mlp_backward(
        &self,
        layer: usize,
        transposes: &LayerTransposes,
        acts: &mut Activations,
        d_x: &mut [f32],
        grads: &mut Gradients,
        space: &mut BackwardSpace,
    ) {
        let spec = self.spec();
        let weights = &self.weights.layers[layer];
        let Activations { mid, gate, up, .. } = acts;
        self.swiglu(gate, up, &mut space.work.product);
        self.pack_input(&space.work.product, spec.ffn, &mut space.input);
        let d_down = grads.get(&layer_name(layer, DOWN_PROJ));
        self.weight_backward(d_x, spec.width, &space.input, d_down, &mut space.work.rows);
        let d_product = &mut space.work.product;
        let d_out = self.operand(&mut space.work.rows, d_x, spec.width);
        gemm(d_out, &transposes.down, d_product, false, Threads::All);
        let piece = ROWS * spec.ffn;
        gate.par_chunks_mut(piece)
            .zip(up.par_chunks_mut(piece))
            .zip(d_product.par_chunks(piece))
            .for_each(|((gate, up), d_product)| swiglu_backward(gate, up, d_product));
        self.norm(&weights.post_norm, mid, &mut space.work.normed);
        let outputs =
            [(GATE_PROJ, &transposes.gate, gate.as_slice()), (UP_PROJ, &transposes.up, up.as_slice())];
        self.linear_backward(layer, outputs, grads, space);
        let d_norm = grads.get(&layer_name(layer, POST_NORM));
        self.norm_backward(&weights.post_norm, mid, &space.d_input, d_x, d_norm);
    }

    /// Backward of several y = input W^T with one input, the rows in `space.work.normed`: the sum of all dy W
    /// goes to `space.d_input`, and each dW += dy^T input. `outputs`: name, W and dy of each.
    fn linear_backward<const N: usize>(
        &self,
        layer: usize,
        outputs: [(&str, &Packed, &[f32]); N],
        grads: &mut Gradients,
        space: &mut BackwardSpace,
    ) {
        let BackwardSpace { work: Workspace { normed, rows, .. }, input, d_input } = space;
        self.pack_input(normed, self.spec().width, input);
        d_input.resize(normed.len(), 0.0);
        for (index, (name, transpose, dy)) in outputs.into_iter().enumerate() {
            let width = transpose.k();
            gemm(self.operand(rows, dy, width), transpose, d_input, index > 0, Threads::All);
            self.weight_backward(dy, width, input, grads.get(&layer_name(layer, name)), rows);
        }
    }

    /// Lays out `[T, width]` as the right operand of dW += dy^T input.
    fn pack_input(&self, input: &[f32], width: usize, packed: &mut Packed) {
        let input = View::new(input, input.len() / width, width);
        packed.fill(input, self.weights.precision, Threads::All);
    }

    /// dW += dy^T input, for dy `[T, width]`.
    fn weight_backward(
        &self,
        dy: &[f32],
        width: usize,
        input: &Packed,
        dw: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let dy = View::new(dy, dy.len() / width, width).t();
        gemm(scratch.rows(dy, self.weights.precision, Threads::All), input, dw, true, Threads::All);
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

    /// Backward of the norm of queries or keys: returns the derivative by what was normalised.
    fn head_norm_backward(&self, weight: &[f32], raw: &[f32], d: &[f32], d_weight: &mut [f32]) -> Vec<f32> {
        let mut out = vec![0.0; d.len()];
        self.norm_backward(weight, raw, d, &mut out, d_weight);
        out
    }

    /// Backward of RMSNorm of rows as wide as `weight`; `dx` and `d_weight` are added to.
    fn norm_backward(&self, weight: &[f32], x: &[f32], dy: &[f32], dx: &mut [f32], d_weight: &mut [f32]) {
        let (width, eps) = (weight.len(), self.spec().norm_eps);
        let piece = ROWS * width;
        let mut inverse = vec![0.0; x.len() / width];
        x.par_chunks(piece)
            .zip(dy.par_chunks(piece))
            .zip(dx.par_chunks_mut(piece))
            .zip(inverse.par_chunks_mut(ROWS))
            .for_each(|(((x, dy), dx), inverse)| rms_norm_backward(x, weight, eps, dy, dx, inverse));
        d_weight.par_chunks_mut(COLUMNS).enumerate().for_each(|(index, d_weight)| {
            rms_norm_backward_weight(x, dy, &inverse, width, index * COLUMNS, d_weight);
        });
    }

    /// Backward of the final norm over some rows: returns d loss / d row.
    pub(crate) fn final_norm_backward(&self, x: &[f32], dy: &[f32], grads: &mut Gradients) -> Vec<f32> {
        let mut dx = vec![0.0; x.len()];
        self.norm_backward(&self.weights.final_norm, x, dy, &mut dx, grads.get(FINAL_NORM));
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
