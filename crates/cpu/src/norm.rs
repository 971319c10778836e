//! RMSNorm: y = x / sqrt(mean(x^2) + eps) * w, forward and backward, row by row.

use crate::isa::multiversion;
use crate::math::{dot, sum_squares};

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum_squares(x) / x.len() as f32 + eps).sqrt()
}

multiversion! {
    /// Normalises each row of width `weight.len()`.
    ///
    /// # Shapes
    /// `x`, `y`: `[T, D]`; `weight`: `[D]`.
    pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
        let width = weight.len();
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
            let inverse = inverse_rms(x, eps);
            for i in 0..width {
                y[i] = x[i] * inverse * weight[i];
            }
        }
    }
}

multiversion! {
    /// Normalises each row in place.
    pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32) {
        let width = weight.len();
        for x in x.chunks_exact_mut(width) {
            let inverse = inverse_rms(x, eps);
            for i in 0..width {
                x[i] = x[i] * inverse * weight[i];
            }
        }
    }
}

multiversion! {
    /// Backward of [`rms_norm`] by its input: with s = 1/rms and g = dy * w,
    /// dx += s g - x s^3 (g . x) / D.
    ///
    /// # Shapes
    /// `x`, `dy`, `dx`: `[T, D]`; `weight`: `[D]`; `inverse`, the s of each row for
    /// [`rms_norm_backward_weight`]: `[T]`. `dx` is added to.
    pub fn rms_norm_backward(
        x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32], inverse: &mut [f32],
    ) {
        let width = weight.len();
        let mut g = vec![0.0f32; width];
        let rows = x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
        for (((x, dy), dx), s) in rows.zip(inverse) {
            *s = inverse_rms(x, eps);
            for i in 0..width {
                g[i] = dy[i] * weight[i];
            }
            let correction = *s * *s * *s * dot(&g, x) / width as f32;
            for i in 0..width {
                dx[i] += s.mul_add(g[i], -(correction * x[i]));
            }
        }
    }
}

multiversion! {
    /// Backward of [`rms_norm`] by its weight, for columns `from..from + d_weight.len()` of rows of width D:
    /// dw += dy x s, a chain over the rows.
    ///
    /// # Shapes
    /// `x`, `dy`: `[T, D]`; `inverse`: `[T]`, from [`rms_norm_backward`].
    pub fn rms_norm_backward_weight(
        x: &[f32], dy: &[f32], inverse: &[f32], width: usize, from: usize, d_weight: &mut [f32],
    ) {
        for ((x, dy), s) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(inverse) {
            let (x, dy) = (&x[from..][..d_weight.len()], &dy[from..][..d_weight.len()]);
            for ((d_weight, x), dy) in d_weight.iter_mut().zip(x).zip(dy) {
                *d_weight = (dy * s).mul_add(*x, *d_weight);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backward_agrees_with_finite_differences() {
        let width = 7;
        let x: Vec<f32> = (0..14).map(|i| ((i * 37 % 11) as f32 - 5.0) * 0.3).collect();
        let w: Vec<f32> = (0..width).map(|i| 0.5 + 0.2 * i as f32).collect();
        let dy: Vec<f32> = (0..14).map(|i| ((i * 53 % 13) as f32 - 6.0) * 0.1).collect();
        let loss = |x: &[f32], w: &[f32]| {
            let mut y = vec![0.0; 14];
            rms_norm(x, w, 1e-5, &mut y);
            y.iter().zip(&dy).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let (mut dx, mut dw) = (vec![0.0; 14], vec![0.0; width]);
        let mut inverse = [0.0; 2];
        rms_norm_backward(&x, &w, 1e-5, &dy, &mut dx, &mut inverse);
        let (left, right) = dw.split_at_mut(3);
        rms_norm_backward_weight(&x, &dy, &inverse, width, 0, left);
        rms_norm_backward_weight(&x, &dy, &inverse, width, 3, right);
        let step = 1e-3f32;
        for i in 0..14 {
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += step;
            down[i] -= step;
            let numeric = (loss(&up, &w) - loss(&down, &w)) / (2.0 * f64::from(step));
            assert!((numeric - f64::from(dx[i])).abs() < 2e-4, "dx[{i}] {} vs {numeric}", dx[i]);
        }
        for i in 0..width {
            let (mut up, mut down) = (w.clone(), w.clone());
            up[i] += step;
            down[i] -= step;
            let numeric = (loss(&x, &up) - loss(&x, &down)) / (2.0 * f64::from(step));
            assert!((numeric - f64::from(dw[i])).abs() < 2e-4, "dw[{i}]");
        }
    }
}
