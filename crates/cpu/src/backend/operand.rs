//! Rows laid out as an operand of products.

use thinktune_compute::{OperandUse, Precision};

use super::handle::Cpu;
use crate::gemm::{Packed, Placed, Rows, Scratch, View};

/// Rows laid out for one use; memory is kept from one filling to the next.
#[derive(Debug, Default)]
pub struct Operand {
    /// The rows themselves, where the kernels read them unpacked or they were computed here. `[M, K]`
    values: Vec<f32>,
    scratch: Scratch,
    placed: Option<Placed>,
    packed: Packed,
}

impl Operand {
    /// Room for `len` values, to be filled and then laid out by [`fill_from_values`](Self::fill_from_values).
    pub(super) fn values(&mut self, len: usize) -> &mut Vec<f32> {
        self.values.resize(len, 0.0);
        &mut self.values
    }

    /// Lays out the values, `[M, width]`.
    pub(super) fn fill_from_values(
        &mut self,
        cpu: &Cpu,
        width: usize,
        (precision, kind): (Precision, OperandUse),
    ) {
        let Self { values, scratch, placed, packed } = self;
        let view = View::new(values, values.len() / width.max(1), width);
        match kind {
            OperandUse::Input => *placed = Some(scratch.place(view, precision, cpu.threads())),
            OperandUse::OutputGradient => *placed = Some(scratch.place(view.t(), precision, cpu.threads())),
            OperandUse::SavedInput => packed.fill(view, precision, cpu.threads()),
        }
    }

    /// Lays out `x`, `[M, width]`.
    pub(super) fn fill(&mut self, cpu: &Cpu, x: &[f32], width: usize, layout: (Precision, OperandUse)) {
        let (precision, kind) = layout;
        let view = View::new(x, x.len() / width.max(1), width);
        let view = match kind {
            OperandUse::SavedInput => return self.packed.fill(view, precision, cpu.threads()),
            OperandUse::Input => view,
            OperandUse::OutputGradient => view.t(),
        };
        let placed = self.scratch.place(view, precision, cpu.threads());
        self.placed = Some(placed);
        if placed.in_place() {
            // products read the rows where they are, and `x` may be gone by then
            let values = self.values(x.len());
            cpu.pieces(values, |first, values| values.copy_from_slice(&x[first..][..values.len()]));
        }
    }

    /// The left operand.
    ///
    /// # Panics
    /// If it was not laid out as one.
    pub(super) fn rows(&self) -> Rows<'_> {
        let placed = self.placed.expect("an operand is laid out before it is used");
        self.scratch.placed(&self.values, placed)
    }

    /// The right operand.
    pub(super) fn packed(&self) -> &Packed {
        &self.packed
    }
}
