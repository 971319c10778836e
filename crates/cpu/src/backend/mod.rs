//! [`Cpu`]: the kernels of this crate behind [`Backend`]. Threads, instruction set, packed panels and both weight
//! layouts are decided here.

mod attend;
mod backward;
mod handle;
mod kv;
mod logits;
mod operand;
mod rows;

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use thinktune_compute::{
    AdamWStep, Attended, Backend, ComputeError, Draw, Facts, HeadStage, Heads, Likeliest, MatrixShape,
    OperandUse, Part, Precision, RowLayout, ScoreGradient, Scores,
};

use crate::gemm::{Packed, View, gemm, gemm_each};
use crate::{SpinPool, adamw, elementwise, isa};
pub use handle::Cpu;
use handle::{PIECE, Workers};
pub use kv::KvSeq;
pub use operand::Operand;

/// A model whose weights take fewer bytes than this stays in cache, so that each thread better decodes
/// rows of its own than shares the work of every product.
const SMALL_MODEL_BYTES: u64 = 24 << 20;

/// Rows that a thread must have to be worth its own pass over the weights of a larger model.
const ROWS_OF_A_DECODER: usize = 16;

impl Backend for Cpu {
    type Buffer = Vec<f32>;
    type Matrix = Packed;
    type Transposed = Packed;
    type Operand = Operand;
    type Plan = RowLayout;
    type KvSeq = KvSeq;

    fn facts(&self) -> Facts {
        Facts { name: format!("cpu ({})", isa().name()), memory: None }
    }

    fn decoders(&self, rows: usize, weight_bytes: u64) -> Vec<Self> {
        let threads = self.threads().count();
        let small = weight_bytes < SMALL_MODEL_BYTES;
        let wanted = if small { 1 } else { ROWS_OF_A_DECODER };
        let count = match rows >= wanted * threads {
            true => threads,
            false if small => rows.max(1),
            false => 1,
        };
        let workers =
            if count > 1 { Workers::Caller } else { Workers::Spin(Arc::new(SpinPool::new(threads))) };
        vec![Self { workers }; count]
    }

    fn len(&self, buffer: &Vec<f32>) -> usize {
        buffer.len()
    }

    fn upload(&self, values: Vec<f32>) -> Result<Vec<f32>, ComputeError> {
        Ok(values)
    }

    fn download(&self, from: &Vec<f32>, at: Range<usize>, to: &mut [f32]) -> Result<(), ComputeError> {
        to.copy_from_slice(&from[at]);
        Ok(())
    }

    fn zeros(&self, len: usize, to: &mut Vec<f32>) {
        to.resize(len, 0.0);
        self.pieces(to, |_, to| to.fill(0.0));
    }

    fn copy(&self, from: &Vec<f32>, at: Range<usize>, to: &mut Vec<f32>) {
        let from = &from[at];
        to.resize(from.len(), 0.0);
        self.pieces(to, |first, to| to.copy_from_slice(&from[first..][..to.len()]));
    }

    fn add(&self, x: &Vec<f32>, to: Part<Vec<f32>>) {
        self.pieces(&mut to.buffer[to.at], |first, to| elementwise::add(to, &x[first..][..to.len()]));
    }

    fn gather(&self, x: &Vec<f32>, width: usize, rows: &[usize], out: &mut Vec<f32>) {
        out.resize(rows.len() * width, 0.0);
        self.by_rows(out, width, |first, out| {
            for (out, row) in out.chunks_exact_mut(width).zip(&rows[first..]) {
                out.copy_from_slice(&x[row * width..][..width]);
            }
        });
    }

    fn scatter_add(&self, d_rows: &Vec<f32>, width: usize, rows: &[usize], dx: &mut Vec<f32>) {
        for (d_row, row) in d_rows.chunks_exact(width).zip(rows) {
            elementwise::add(&mut dx[row * width..][..width], d_row);
        }
    }

    fn load_matrix(
        &self,
        values: &[f32],
        rows: Range<usize>,
        shape: MatrixShape,
        to: &mut Packed,
    ) -> Result<(), ComputeError> {
        let part = View::new(values, rows.len(), shape.inputs);
        to.fill_columns(part.t(), rows.start, shape.outputs, shape.precision, self.threads());
        Ok(())
    }

    fn cast_matrix(&self, params: &Vec<f32>, at: Range<usize>, shape: MatrixShape, to: &mut Packed) {
        let matrix = View::new(&params[at], shape.outputs, shape.inputs);
        to.fill(matrix.t(), shape.precision, self.threads());
    }

    fn cast_transposed(&self, params: &Vec<f32>, at: Range<usize>, shape: MatrixShape, to: &mut Packed) {
        let matrix = View::new(&params[at], shape.outputs, shape.inputs);
        to.fill(matrix, shape.precision, self.threads());
    }

    fn matrix_bytes(&self, matrix: &Packed) -> u64 {
        matrix.bytes() as u64
    }

    fn plan(&self, rows: RowLayout) -> RowLayout {
        rows
    }

    fn embed(&self, table: &Packed, tokens: &[u32], out: &mut Vec<f32>) {
        let width = table.k();
        out.resize(tokens.len() * width, 0.0);
        self.by_rows(out, width, |first, out| {
            for (row, &token) in out.chunks_exact_mut(width).zip(&tokens[first..]) {
                table.column(token as usize, row);
            }
        });
    }

    fn operand(
        &self,
        x: &Vec<f32>,
        rows: Range<usize>,
        width: usize,
        layout: (Precision, OperandUse),
        out: &mut Operand,
    ) {
        out.fill(self, &x[rows.start * width..rows.end * width], width, layout);
    }

    fn rms_norm(
        &self,
        x: &Vec<f32>,
        weight: &Vec<f32>,
        eps: f32,
        layout: (Precision, OperandUse),
        out: &mut Operand,
    ) {
        self.norm(x, weight, eps, out.values(x.len()));
        out.fill_from_values(self, weight.len(), layout);
    }

    fn gate(
        &self,
        gate: &Vec<f32>,
        up: &Vec<f32>,
        width: usize,
        layout: (Precision, OperandUse),
        out: &mut Operand,
    ) {
        self.by_rows(out.values(gate.len()), width, |first, out| {
            let at = first * width..first * width + out.len();
            elementwise::swiglu(&gate[at.clone()], &up[at], out);
        });
        out.fill_from_values(self, width, layout);
    }

    fn linear<const P: usize>(
        &self,
        input: &Operand,
        outputs: [(&Packed, &mut Vec<f32>); P],
        accumulate: bool,
    ) {
        let input = input.rows();
        let outputs = outputs.map(|(weight, out)| {
            if !accumulate {
                out.resize(input.m() * weight.n(), 0.0);
            }
            (weight, out.as_mut_slice())
        });
        gemm_each(input, outputs, accumulate, self.threads());
    }

    fn heads(
        &self,
        plan: &RowLayout,
        stage: &HeadStage<Vec<f32>>,
        raw: Option<&mut Vec<f32>>,
        x: &mut Vec<f32>,
    ) {
        self.finish_heads(&plan.positions, stage, raw, x);
    }

    fn attend(
        &self,
        plan: &RowLayout,
        heads: Heads,
        [q, k, v]: [&Vec<f32>; 3],
        out: &mut Vec<f32>,
        lse: &mut Vec<f32>,
    ) {
        self.attend_spans(plan, heads, [q, k, v], out, lse);
    }

    fn attend_cached(
        &self,
        plan: &RowLayout,
        layer: usize,
        heads: Heads,
        q: &Vec<f32>,
        seqs: &[&mut KvSeq],
        out: &mut Vec<f32>,
    ) {
        self.attend_sequences(plan, layer, heads, q, seqs, out);
    }

    fn kv(&self, layers: usize, kv_width: usize) -> KvSeq {
        KvSeq::new(layers, kv_width)
    }

    fn kv_len(&self, seq: &KvSeq) -> usize {
        seq.len()
    }

    fn kv_fork(&self, seq: &KvSeq, len: usize) -> KvSeq {
        seq.fork(len)
    }

    fn kv_push(&self, plan: &RowLayout, layer: usize, k: &Vec<f32>, v: &Vec<f32>, seqs: &mut [&mut KvSeq]) {
        for (seq, span) in seqs.iter_mut().zip(&plan.spans) {
            seq.push(layer, k, v, span.rows.clone());
        }
    }

    fn score(
        &self,
        logits: &Vec<f32>,
        targets: &[u32],
        temperature: f32,
        (lse, first_row): (&mut Vec<f32>, usize),
    ) -> Result<Scores, ComputeError> {
        lse.resize(lse.len().max(first_row + targets.len()), 0.0);
        Ok(logits::score(logits, targets, temperature, &mut lse[first_row..][..targets.len()]))
    }

    fn sample(&self, logits: &Vec<f32>, draws: &[Draw]) -> Result<Vec<Option<(u32, f32)>>, ComputeError> {
        let vocab = logits.len() / draws.len().max(1);
        let mut drawn = vec![None; draws.len()];
        self.threads().chunks_mut(&mut drawn, 1, |index, drawn| {
            drawn[0] = logits::sample(&logits[index * vocab..][..vocab], &draws[index]);
        });
        Ok(drawn)
    }

    fn likeliest(
        &self,
        logits: &Vec<f32>,
        vocab: usize,
        wanted: &[(usize, u32, usize)],
    ) -> Result<Vec<Likeliest>, ComputeError> {
        let mut found = vec![Likeliest::default(); wanted.len()];
        self.threads().chunks_mut(&mut found, 1, |index, found| {
            let (row, token, count) = wanted[index];
            found[0] = logits::likeliest_of(&logits[row * vocab..][..vocab], token, count);
        });
        Ok(found)
    }

    fn score_backward(&self, logits: &mut Vec<f32>, lse: &Vec<f32>, gradient: &ScoreGradient) {
        let ScoreGradient { vocab, rows, .. } = gradient;
        logits::score_backward(&mut logits[rows.start * vocab..rows.end * vocab], lse, gradient);
    }

    fn linear_backward_input(&self, dy: &Operand, weight: &Packed, dx: &mut Vec<f32>, accumulate: bool) {
        let dy = dy.rows();
        if !accumulate {
            dx.resize(dy.m() * weight.n(), 0.0);
        }
        gemm(dy, weight, dx, accumulate, self.threads());
    }

    fn linear_backward_weight(&self, dy: &Operand, input: &Operand, d_weight: Part<Vec<f32>>) {
        gemm(dy.rows(), input.packed(), &mut d_weight.buffer[d_weight.at], true, self.threads());
    }

    fn rms_norm_backward(
        &self,
        x: &Vec<f32>,
        weight: &Vec<f32>,
        eps: f32,
        dy: &Vec<f32>,
        dx: &mut Vec<f32>,
        d_weight: Part<Vec<f32>>,
    ) {
        self.norm_backward([x, dy], weight, eps, dx, &mut d_weight.buffer[d_weight.at]);
    }

    fn heads_backward(
        &self,
        plan: &RowLayout,
        stage: &HeadStage<Vec<f32>>,
        raw: &Vec<f32>,
        d: &mut Vec<f32>,
        grads: (&mut Vec<f32>, Option<Range<usize>>, Option<Range<usize>>),
    ) {
        self.unfinish_heads(&plan.positions, stage, raw, d, grads);
    }

    fn attend_backward(
        &self,
        plan: &RowLayout,
        heads: Heads,
        attended: &Attended<Vec<f32>>,
        d_out: &Vec<f32>,
        d_inputs: [&mut Vec<f32>; 3],
    ) {
        self.attend_spans_backward(plan, heads, attended, d_out, d_inputs);
    }

    fn gate_backward(&self, gate: &mut Vec<f32>, up: &mut Vec<f32>, d_out: &Vec<f32>) {
        let piece = PIECE;
        gate.par_chunks_mut(piece)
            .zip(up.par_chunks_mut(piece))
            .zip(d_out.par_chunks(piece))
            .for_each(|((gate, up), d_out)| elementwise::swiglu_backward(gate, up, d_out));
    }

    fn embed_backward(&self, tokens: &[u32], dx: &Vec<f32>, d_table: Part<Vec<f32>>) {
        let (width, table) = (dx.len() / tokens.len().max(1), &mut d_table.buffer[d_table.at]);
        for (token, d_row) in tokens.iter().zip(dx.chunks_exact(width.max(1))) {
            elementwise::add(&mut table[*token as usize * width..][..width], d_row);
        }
    }

    fn sum_squares(&self, x: &Vec<f32>) -> Result<f64, ComputeError> {
        Ok(adamw::sum_squares(x))
    }

    fn adamw(&self, [params, grads, first, second]: [&mut Vec<f32>; 4], at: Range<usize>, step: &AdamWStep) {
        let (params, grads) = (&mut params[at.clone()], &mut grads[at.clone()]);
        adamw::adamw(params, grads, &mut first[at.clone()], &mut second[at], *step);
    }
}
