//! [`Reference`]: every operation as plain loops, on one thread. It is slow and easy to read; other backends are
//! compared with it.

mod attend;
mod heads;
mod kv;
mod linear;
mod logits;
mod norm;
mod optimizer;

use std::ops::Range;

use crate::{
    AdamWStep, Attended, Backend, ComputeError, Draw, Facts, HeadStage, Heads, Likeliest, MatrixShape,
    OperandUse, Part, Precision, RowLayout, ScoreGradient, Scores,
};
pub use kv::KvSeq;
pub use linear::{Matrix, Operand};

/// The backend of plain loops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reference;

impl Backend for Reference {
    type Buffer = Vec<f32>;
    type Matrix = Matrix;
    type Transposed = Matrix;
    type Operand = Operand;
    type Plan = RowLayout;
    type KvSeq = KvSeq;

    fn facts(&self) -> Facts {
        Facts { name: "reference".into(), memory: None }
    }

    fn decoders(&self, _rows: usize, _weight_bytes: u64) -> Vec<Self> {
        vec![*self]
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
        *to = vec![0.0; len];
    }

    fn copy(&self, from: &Vec<f32>, at: Range<usize>, to: &mut Vec<f32>) {
        *to = from[at].to_vec();
    }

    fn add(&self, x: &Vec<f32>, to: Part<Vec<f32>>) {
        add(&mut to.buffer[to.at], x);
    }

    fn gather(&self, x: &Vec<f32>, width: usize, rows: &[usize], out: &mut Vec<f32>) {
        *out = rows.iter().flat_map(|row| &x[row * width..(row + 1) * width]).copied().collect();
    }

    fn scatter_add(&self, d_rows: &Vec<f32>, width: usize, rows: &[usize], dx: &mut Vec<f32>) {
        for (d_row, row) in d_rows.chunks_exact(width).zip(rows) {
            add(&mut dx[row * width..(row + 1) * width], d_row);
        }
    }

    fn load_matrix(
        &self,
        values: &[f32],
        rows: Range<usize>,
        shape: MatrixShape,
        to: &mut Matrix,
    ) -> Result<(), ComputeError> {
        if rows.start == 0 {
            *to = Matrix::default();
        }
        to.append(values, shape);
        Ok(())
    }

    fn cast_matrix(&self, params: &Vec<f32>, at: Range<usize>, shape: MatrixShape, to: &mut Matrix) {
        *to = Matrix::new(&params[at], shape);
    }

    fn cast_transposed(&self, params: &Vec<f32>, at: Range<usize>, shape: MatrixShape, to: &mut Matrix) {
        *to = Matrix::new(&params[at], shape);
    }

    fn matrix_bytes(&self, matrix: &Matrix) -> u64 {
        matrix.bytes()
    }

    fn plan(&self, rows: RowLayout) -> RowLayout {
        rows
    }

    fn embed(&self, table: &Matrix, tokens: &[u32], out: &mut Vec<f32>) {
        *out = tokens.iter().flat_map(|&token| table.row(token as usize)).copied().collect();
    }

    fn operand(
        &self,
        x: &Vec<f32>,
        rows: Range<usize>,
        width: usize,
        (precision, _): (Precision, OperandUse),
        out: &mut Operand,
    ) {
        *out = Operand::new(&x[rows.start * width..rows.end * width], width, precision);
    }

    fn rms_norm(
        &self,
        x: &Vec<f32>,
        weight: &Vec<f32>,
        eps: f32,
        (precision, _): (Precision, OperandUse),
        out: &mut Operand,
    ) {
        *out = Operand::new(&norm::forward(x, weight, eps), weight.len(), precision);
    }

    fn gate(
        &self,
        gate: &Vec<f32>,
        up: &Vec<f32>,
        width: usize,
        (precision, _): (Precision, OperandUse),
        out: &mut Operand,
    ) {
        let product: Vec<f32> = gate.iter().zip(up).map(|(gate, up)| gate * sigmoid(*gate) * up).collect();
        *out = Operand::new(&product, width, precision);
    }

    fn linear<const P: usize>(
        &self,
        input: &Operand,
        outputs: [(&Matrix, &mut Vec<f32>); P],
        accumulate: bool,
    ) {
        for (weight, out) in outputs {
            linear::forward(input, weight, out, accumulate);
        }
    }

    fn heads(
        &self,
        plan: &RowLayout,
        stage: &HeadStage<Vec<f32>>,
        raw: Option<&mut Vec<f32>>,
        x: &mut Vec<f32>,
    ) {
        heads::forward(&plan.positions, stage, raw, x);
    }

    fn attend(
        &self,
        plan: &RowLayout,
        heads: Heads,
        [q, k, v]: [&Vec<f32>; 3],
        out: &mut Vec<f32>,
        lse: &mut Vec<f32>,
    ) {
        attend::packed(plan, heads, [q, k, v], out, lse);
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
        attend::cached(plan, layer, heads, q, seqs, out);
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
        Ok(logits::score(logits, targets, temperature, &mut lse[first_row..]))
    }

    fn sample(&self, logits: &Vec<f32>, draws: &[Draw]) -> Result<Vec<Option<(u32, f32)>>, ComputeError> {
        let vocab = logits.len() / draws.len().max(1);
        Ok(logits.chunks(vocab.max(1)).zip(draws).map(|(row, draw)| logits::sample(row, draw)).collect())
    }

    fn likeliest(
        &self,
        logits: &Vec<f32>,
        vocab: usize,
        wanted: &[(usize, u32, usize)],
    ) -> Result<Vec<Likeliest>, ComputeError> {
        let row = |row: usize| &logits[row * vocab..(row + 1) * vocab];
        Ok(wanted.iter().map(|&(at, token, count)| logits::likeliest(row(at), token, count)).collect())
    }

    fn score_backward(&self, logits: &mut Vec<f32>, lse: &Vec<f32>, gradient: &ScoreGradient) {
        logits::score_backward(logits, lse, gradient);
    }

    fn linear_backward_input(&self, dy: &Operand, weight: &Matrix, dx: &mut Vec<f32>, accumulate: bool) {
        linear::backward_input(dy, weight, dx, accumulate);
    }

    fn linear_backward_weight(&self, dy: &Operand, input: &Operand, d_weight: Part<Vec<f32>>) {
        linear::backward_weight(dy, input, &mut d_weight.buffer[d_weight.at]);
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
        norm::backward([x, dy], weight, eps, dx, &mut d_weight.buffer[d_weight.at]);
    }

    fn heads_backward(
        &self,
        plan: &RowLayout,
        stage: &HeadStage<Vec<f32>>,
        raw: &Vec<f32>,
        d: &mut Vec<f32>,
        grads: (&mut Vec<f32>, Option<Range<usize>>, Option<Range<usize>>),
    ) {
        heads::backward(&plan.positions, stage, raw, d, grads);
    }

    fn attend_backward(
        &self,
        plan: &RowLayout,
        heads: Heads,
        attended: &Attended<Vec<f32>>,
        d_out: &Vec<f32>,
        d_inputs: [&mut Vec<f32>; 3],
    ) {
        attend::backward(plan, heads, attended, d_out, d_inputs);
    }

    fn gate_backward(&self, gate: &mut Vec<f32>, up: &mut Vec<f32>, d_out: &Vec<f32>) {
        // d silu(g) / dg = s + g s (1 - s), s = sigmoid(g)
        for ((gate, up), d_out) in gate.iter_mut().zip(up).zip(d_out) {
            let (g, s) = (*gate, sigmoid(*gate));
            *gate = d_out * *up * (s + g * s * (1.0 - s));
            *up = d_out * g * s;
        }
    }

    fn embed_backward(&self, tokens: &[u32], dx: &Vec<f32>, d_table: Part<Vec<f32>>) {
        let width = dx.len() / tokens.len().max(1);
        let table = &mut d_table.buffer[d_table.at];
        for (token, d_row) in tokens.iter().zip(dx.chunks_exact(width.max(1))) {
            add(&mut table[*token as usize * width..][..width], d_row);
        }
    }

    fn sum_squares(&self, x: &Vec<f32>) -> Result<f64, ComputeError> {
        Ok(x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum())
    }

    fn adamw(&self, state: [&mut Vec<f32>; 4], at: Range<usize>, step: &AdamWStep) {
        optimizer::adamw(state, at, step);
    }
}

/// y += x.
fn add(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
