//! Row-wise operations: norms, rope, biases, cut among threads by rows.

use std::ops::Range;

use rayon::prelude::*;
use thinktune_compute::HeadStage;

use super::handle::{Cpu, ROWS};
use crate::elementwise::{add_bias, add_bias_backward};
use crate::norm::{rms_norm, rms_norm_backward, rms_norm_backward_weight, rms_norm_in_place};
use crate::rope::rope;

/// Columns of a norm's weight per parallel task.
const COLUMNS: usize = 128;

impl Cpu {
    /// RMSNorm of rows as wide as `weight`.
    pub(super) fn norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let width = weight.len();
        self.by_rows(out, width, |first, out| {
            rms_norm(&x[first * width..][..out.len()], weight, eps, out);
        });
    }

    /// Bias, head norm and rope, in place.
    pub(super) fn finish_heads(
        &self,
        positions: &[usize],
        stage: &HeadStage<Vec<f32>>,
        raw: Option<&mut Vec<f32>>,
        x: &mut Vec<f32>,
    ) {
        if let Some(bias) = stage.bias {
            add_bias(x, bias);
        }
        if let Some(raw) = raw {
            raw.clone_from(x);
        }
        let width = stage.heads * stage.dim;
        if stage.norm.is_none() && stage.rope.is_none() {
            return;
        }
        self.by_rows(x, width, |first, x| {
            if let Some(norm) = stage.norm {
                rms_norm_in_place(x, norm, stage.eps);
            }
            if let Some(table) = stage.rope {
                let positions = &positions[first..first + x.len() / width];
                rope(x, stage.heads, &table.cos, &table.sin, positions, false);
            }
        });
    }

    /// Backward of [`finish_heads`](Self::finish_heads), in place in `d`.
    pub(super) fn unfinish_heads(
        &self,
        positions: &[usize],
        stage: &HeadStage<Vec<f32>>,
        raw: &[f32],
        d: &mut Vec<f32>,
        (grads, d_bias, d_norm): (&mut Vec<f32>, Option<Range<usize>>, Option<Range<usize>>),
    ) {
        let width = stage.heads * stage.dim;
        if let Some(table) = stage.rope {
            self.by_rows(d, width, |first, d| {
                let positions = &positions[first..first + d.len() / width];
                rope(d, stage.heads, &table.cos, &table.sin, positions, true);
            });
        }
        if let (Some(norm), Some(at)) = (stage.norm, d_norm) {
            let mut by_raw = vec![0.0; d.len()];
            self.norm_backward([raw, d], norm, stage.eps, &mut by_raw, &mut grads[at]);
            *d = by_raw;
        }
        if let Some(at) = d_bias {
            add_bias_backward(d, &mut grads[at]);
        }
    }

    /// Backward of RMSNorm of rows as wide as `weight`; `dx` and `d_weight` are added to.
    pub(super) fn norm_backward(
        &self,
        [x, dy]: [&[f32]; 2],
        weight: &[f32],
        eps: f32,
        dx: &mut [f32],
        d_weight: &mut [f32],
    ) {
        let width = weight.len();
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
}
