//! SwiGLU, residual additions and biases.

use crate::isa::multiversion;
use crate::math::sigmoid;

multiversion! {
    /// SwiGLU: out = gate sigmoid(gate) up.
    pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((gate, up), out) in gate.iter().zip(up).zip(out) {
            *out = gate * sigmoid(*gate) * up;
        }
    }
}

multiversion! {
    /// Backward of [`swiglu`], in place: `gate` and `up` are replaced by their gradients.
    /// d silu(g)/dg = s + g s (1 - s), s = sigmoid(g).
    pub fn swiglu_backward(gate: &mut [f32], up: &mut [f32], d_out: &[f32]) {
        for ((gate, up), d_out) in gate.iter_mut().zip(up).zip(d_out) {
            let (g, s) = (*gate, sigmoid(*gate));
            let d_gate = d_out * *up * (g * s).mul_add(1.0 - s, s);
            *up = d_out * g * s;
            *gate = d_gate;
        }
    }
}

multiversion! {
    /// y += x.
    pub fn add(y: &mut [f32], x: &[f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

multiversion! {
    /// Adds `bias` to every row of width `bias.len()`.
    pub fn add_bias(y: &mut [f32], bias: &[f32]) {
        for row in y.chunks_exact_mut(bias.len()) {
            for (y, bias) in row.iter_mut().zip(bias) {
                *y += bias;
            }
        }
    }
}

multiversion! {
    /// Backward of [`add_bias`]: d_bias += sum of the rows.
    pub fn add_bias_backward(dy: &[f32], d_bias: &mut [f32]) {
        for row in dy.chunks_exact(d_bias.len()) {
            for (d_bias, dy) in d_bias.iter_mut().zip(row) {
                *d_bias += dy;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swiglu_backward_agrees_with_finite_differences() {
        let gate = [-3.0f32, -0.5, 0.0, 0.7, 4.0];
        let up = [0.3f32, -1.0, 2.0, 0.1, 1.5];
        let d_out = [1.0f32, 0.5, -2.0, 0.25, 1.0];
        let (mut d_gate, mut d_up) = (gate, up);
        swiglu_backward(&mut d_gate, &mut d_up, &d_out);
        let silu = |g: f64| g / (1.0 + (-g).exp());
        for i in 0..gate.len() {
            let (g, u, d) = (f64::from(gate[i]), f64::from(up[i]), f64::from(d_out[i]));
            let slope = (silu(g + 1e-5) - silu(g - 1e-5)) / 2e-5;
            assert!((f64::from(d_gate[i]) - d * u * slope).abs() < 1e-5);
            assert!((f64::from(d_up[i]) - d * silu(g)).abs() < 1e-5);
        }
    }
}
