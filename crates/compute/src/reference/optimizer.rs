//! AdamW (Loshchilov and Hutter, 2019), as `torch.optim.AdamW` orders it.

use std::ops::Range;

use crate::AdamWStep;

/// `state`: parameters, gradients, first and second moments.
pub(super) fn adamw([params, grads, first, second]: [&mut Vec<f32>; 4], at: Range<usize>, step: &AdamWStep) {
    let exponent = step.update.min(i32::MAX as u64) as i32;
    let corrected = |beta: f32| 1.0 - f64::from(beta).powi(exponent);
    let rate = (f64::from(step.lr) / corrected(step.beta1)) as f32;
    let root = corrected(step.beta2).sqrt() as f32;
    for i in at {
        let g = std::mem::take(&mut grads[i]) * step.grad_scale;
        first[i] += (1.0 - step.beta1) * (g - first[i]);
        second[i] = step.beta2 * second[i] + (1.0 - step.beta2) * g * g;
        params[i] -= params[i] * step.lr * step.weight_decay;
        params[i] -= rate * first[i] / (second[i].sqrt() / root + step.eps);
    }
}
