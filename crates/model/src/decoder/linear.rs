//! A product with a weight, forward and backward: the only place that multiplies by weights.

use std::ops::Range;

use thinktune_compute::{Backend, OperandUse, Part, Precision};

/// A weight and the bias that belongs to it.
pub(crate) struct Linear<B: Backend> {
    pub(crate) matrix: B::Matrix,
    /// None where the family has none.
    pub(crate) bias: Option<B::Buffer>,
}

impl<B: Backend> Linear<B> {
    pub(crate) fn new(biased: bool) -> Self {
        Self { matrix: B::Matrix::default(), bias: biased.then(B::Buffer::default) }
    }
}

/// y = x W^T, or y += x W^T, for each weight; biases are the caller's.
pub(crate) fn forward<B: Backend, const P: usize>(
    backend: &B,
    input: &B::Operand,
    outputs: [(&Linear<B>, &mut B::Buffer); P],
    accumulate: bool,
) {
    backend.linear(input, outputs.map(|(linear, out)| (&linear.matrix, out)), accumulate);
}

/// One product in the backward pass.
pub(crate) struct Backward<'a, B: Backend> {
    /// The weight as dx = dy W reads it.
    pub(crate) transposed: &'a B::Transposed,
    /// Width of y.
    pub(crate) outputs: usize,
    /// Rows of dy that take part.
    pub(crate) rows: Range<usize>,
    /// What operands are.
    pub(crate) precision: Precision,
}

impl<B: Backend> Backward<'_, B> {
    /// dx = dy W, or dx += dy W; dW += dy^T x. `input` is x as [`OperandUse::SavedInput`]; `space` holds dy.
    pub(crate) fn run(
        &self,
        backend: &B,
        dy: &B::Buffer,
        input: &B::Operand,
        dx: (&mut B::Buffer, bool),
        d_weight: Part<B::Buffer>,
        space: &mut B::Operand,
    ) {
        let (dx, accumulate) = dx;
        backend.operand(dy, self.rows.clone(), self.outputs, (self.precision, OperandUse::Input), space);
        backend.linear_backward_input(space, self.transposed, dx, accumulate);
        let layout = (self.precision, OperandUse::OutputGradient);
        backend.operand(dy, self.rows.clone(), self.outputs, layout, space);
        backend.linear_backward_weight(space, input, d_weight);
    }
}
