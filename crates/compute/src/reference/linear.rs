//! Products with weights: every element is one chain of fused multiply-adds over ascending k.

use crate::{MatrixShape, Precision, precision};

/// A weight, `[N, K]`, rounded to its precision.
#[derive(Debug, Clone, Default)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    bytes: u64,
    values: Vec<f32>,
}

impl Matrix {
    pub(super) fn new(values: &[f32], shape: MatrixShape) -> Self {
        let mut matrix = Self::default();
        matrix.append(values, shape);
        matrix
    }

    /// Appends rows.
    pub(super) fn append(&mut self, values: &[f32], shape: MatrixShape) {
        (self.outputs, self.inputs) = (shape.outputs, shape.inputs);
        self.bytes += (values.len() * shape.precision.bytes()) as u64;
        self.values.extend(rounded(values, shape.precision));
    }

    /// Row `n`. `[K]`
    pub(super) fn row(&self, n: usize) -> &[f32] {
        &self.values[n * self.inputs..(n + 1) * self.inputs]
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Rows, `[M, K]`, rounded to the precision of a product.
#[derive(Debug, Clone, Default)]
pub struct Operand {
    width: usize,
    values: Vec<f32>,
}

impl Operand {
    pub(super) fn new(values: &[f32], width: usize, precision: Precision) -> Self {
        Self { width, values: rounded(values, precision) }
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width.max(1))
    }
}

fn rounded(values: &[f32], to: Precision) -> Vec<f32> {
    let round = |x: &f32| if to == Precision::Bf16 { precision::round(*x) } else { *x };
    values.iter().map(round).collect()
}

/// y = x W^T, or y += x W^T.
pub(super) fn forward(input: &Operand, weight: &Matrix, out: &mut Vec<f32>, accumulate: bool) {
    let m = input.rows().count();
    if !accumulate {
        *out = vec![0.0; m * weight.outputs];
    }
    for (x, y) in input.rows().zip(out.chunks_exact_mut(weight.outputs.max(1))) {
        for (n, y) in y.iter_mut().enumerate() {
            for (x, w) in x.iter().zip(weight.row(n)) {
                *y = x.mul_add(*w, *y);
            }
        }
    }
}

/// dx = dy W, or dx += dy W.
pub(super) fn backward_input(dy: &Operand, weight: &Matrix, dx: &mut Vec<f32>, accumulate: bool) {
    let m = dy.rows().count();
    if !accumulate {
        *dx = vec![0.0; m * weight.inputs];
    }
    for (dy, dx) in dy.rows().zip(dx.chunks_exact_mut(weight.inputs.max(1))) {
        for (k, dx) in dx.iter_mut().enumerate() {
            for (n, dy) in dy.iter().enumerate() {
                *dx = dy.mul_add(weight.values[n * weight.inputs + k], *dx);
            }
        }
    }
}

/// dW += dy^T x, a chain over the rows. `[N, K]`
pub(super) fn backward_weight(dy: &Operand, input: &Operand, d_weight: &mut [f32]) {
    for (dy, x) in dy.rows().zip(input.rows()) {
        for (dy, d_row) in dy.iter().zip(d_weight.chunks_exact_mut(input.width.max(1))) {
            for (d, x) in d_row.iter_mut().zip(x) {
                *d = dy.mul_add(*x, *d);
            }
        }
    }
}
