//! AdamW (Loshchilov and Hutter, 2019) in one pass over memory, with the operations and the order of
//! `torch.optim.AdamW`.

use rayon::prelude::*;
use thinktune_compute::AdamWStep;

use crate::isa::multiversion;

/// Elements per parallel task: the update is elementwise, so the cut does not change results.
const CHUNK: usize = 1 << 16;

multiversion! {
    /// The update of a piece, on one thread; its gradients are cleared. `step` = lr / (1 - beta1^t),
    /// `root` = sqrt(1 - beta2^t).
    pub fn update_chunk(
        weights: &mut [f32], grads: &mut [f32], first: &mut [f32], second: &mut [f32],
        constants: AdamWStep, step: f32, root: f32,
    ) {
        let AdamWStep { lr, beta1, beta2, eps, weight_decay, grad_scale, .. } = constants;
        let keep = 1.0 - lr * weight_decay;
        for (((w, g), m), v) in weights.iter_mut().zip(grads).zip(first).zip(second) {
            let g = std::mem::take(g) * grad_scale;
            *m = (1.0 - beta1).mul_add(g - *m, *m);
            *v = ((1.0 - beta2) * g).mul_add(g, beta2 * *v);
            let denominator = v.sqrt() / root + eps;
            *w = (-step).mul_add(*m / denominator, *w * keep);
        }
    }
}

/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
/// w = w (1 - lr decay) - lr m_hat / (sqrt(v_hat) + eps). The gradients are cleared.
///
/// # Shapes
/// All slices have one length.
pub fn adamw(
    weights: &mut [f32],
    grads: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    constants: AdamWStep,
) {
    let exponent = constants.update.min(i32::MAX as u64) as i32;
    let step = (f64::from(constants.lr) / (1.0 - f64::from(constants.beta1).powi(exponent))) as f32;
    let root = (1.0 - f64::from(constants.beta2).powi(exponent)).sqrt() as f32;
    weights
        .par_chunks_mut(CHUNK)
        .zip(grads.par_chunks_mut(CHUNK))
        .zip(first.par_chunks_mut(CHUNK))
        .zip(second.par_chunks_mut(CHUNK))
        .for_each(|(((w, g), m), v)| update_chunk(w, g, m, v, constants, step, root));
}

/// Sum of squares in f64, in fixed blocks: the same on any number of threads.
pub fn sum_squares(x: &[f32]) -> f64 {
    let partial: Vec<f64> =
        x.par_chunks(CHUNK).map(|chunk| chunk.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()).collect();
    partial.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first update moves every weight by lr against the sign of its gradient.
    #[test]
    fn first_update_has_the_size_of_the_learning_rate() {
        let (mut w, mut m, mut v) = (vec![1.0f32, -1.0], vec![0.0; 2], vec![0.0; 2]);
        let constants = AdamWStep {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            grad_scale: 1.0,
            update: 1,
        };
        let mut g = [3.0, -0.002];
        adamw(&mut w, &mut g, &mut m, &mut v, constants);
        assert_eq!(g, [0.0; 2]);
        assert!((w[0] - (0.999 - 0.1)).abs() < 1e-5);
        assert!((w[1] - (-0.999 + 0.1)).abs() < 1e-5);
    }
}
