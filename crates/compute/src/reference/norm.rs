//! RMSNorm: y = x / sqrt(mean(x^2) + eps) * w.

fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    1.0 / (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32 + eps).sqrt()
}

/// Rows as wide as `weight`.
pub(super) fn forward(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for x in x.chunks_exact(weight.len().max(1)) {
        let s = inverse_rms(x, eps);
        y.extend(x.iter().zip(weight).map(|(x, w)| x * s * w));
    }
    y
}

/// With s = 1 / rms and g = dy w: dx += s g - x s^3 (g . x) / D; dw += dy x s, a chain over the rows.
pub(super) fn backward([x, dy]: [&[f32]; 2], weight: &[f32], eps: f32, dx: &mut [f32], d_weight: &mut [f32]) {
    let width = weight.len().max(1);
    for ((x, dy), dx) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(dx.chunks_exact_mut(width)) {
        let s = inverse_rms(x, eps);
        let along: f32 = (0..width).map(|i| dy[i] * weight[i] * x[i]).sum();
        for i in 0..width {
            dx[i] += s * dy[i] * weight[i] - x[i] * s * s * s * along / width as f32;
            d_weight[i] += dy[i] * x[i] * s;
        }
    }
}
