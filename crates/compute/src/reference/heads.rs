//! Bias, norm of each head, and rope: component i of a head is rotated with component i + d/2.

use std::ops::Range;

use super::{add, norm};
use crate::HeadStage;

/// In place; `raw` gets the rows between bias and norm.
pub(super) fn forward(
    positions: &[usize],
    stage: &HeadStage<Vec<f32>>,
    raw: Option<&mut Vec<f32>>,
    x: &mut Vec<f32>,
) {
    if let Some(bias) = stage.bias {
        x.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias));
    }
    if let Some(raw) = raw {
        raw.clone_from(x);
    }
    if let Some(weight) = stage.norm {
        *x = norm::forward(x, weight, stage.eps);
    }
    rotate(positions, stage, x, 1.0);
}

/// In place; the gradients of bias and norm are added to.
pub(super) fn backward(
    positions: &[usize],
    stage: &HeadStage<Vec<f32>>,
    raw: &[f32],
    d: &mut Vec<f32>,
    (grads, d_bias, d_norm): (&mut Vec<f32>, Option<Range<usize>>, Option<Range<usize>>),
) {
    rotate(positions, stage, d, -1.0);
    if let (Some(weight), Some(at)) = (stage.norm, d_norm) {
        let mut by_raw = vec![0.0; d.len()];
        norm::backward([raw, d], weight, stage.eps, &mut by_raw, &mut grads[at]);
        *d = by_raw;
    }
    if let Some(at) = d_bias {
        d.chunks_exact(stage.heads * stage.dim).for_each(|row| add(&mut grads[at.clone()], row));
    }
}

/// Rotates every head by its position's angles, or back for `sign` -1.
fn rotate(positions: &[usize], stage: &HeadStage<Vec<f32>>, x: &mut [f32], sign: f32) {
    let Some(table) = stage.rope else { return };
    let half = stage.dim / 2;
    for (row, &position) in x.chunks_exact_mut(stage.heads * stage.dim).zip(positions) {
        for head in row.chunks_exact_mut(stage.dim) {
            for i in 0..half {
                let (cos, sin) = (table.cos[position * half + i], sign * table.sin[position * half + i]);
                let (a, b) = (head[i], head[i + half]);
                head[i] = a * cos - b * sin;
                head[i + half] = b * cos + a * sin;
            }
        }
    }
}
