//! Rotary position embedding in the half-rotation layout of Hugging Face checkpoints: component i is
//! paired with component i + d/2.

use crate::isa::multiversion;

multiversion! {
    /// Rotates every head of every row by its position's angles, in place. With `inverse`, rotates
    /// back: the transpose, which is also the backward pass.
    ///
    /// # Shapes
    /// `x`: `[T, heads * d]`; `cos`, `sin`: `[positions, d/2]`; `positions`: `[T]`, rows of the tables.
    pub fn rope(x: &mut [f32], heads: usize, cos: &[f32], sin: &[f32], positions: &[usize], inverse: bool) {
        if positions.is_empty() {
            return;
        }
        let row = x.len() / positions.len();
        let head_dim = row / heads;
        let half = head_dim / 2;
        for (x, &position) in x.chunks_exact_mut(row).zip(positions) {
            let cos = &cos[position * half..(position + 1) * half];
            let sin = &sin[position * half..(position + 1) * half];
            for head in x.chunks_exact_mut(head_dim) {
                let (first, second) = head.split_at_mut(half);
                for i in 0..half {
                    let s = if inverse { -sin[i] } else { sin[i] };
                    let (a, b) = (first[i], second[i]);
                    first[i] = a.mul_add(cos[i], -(b * s));
                    second[i] = b.mul_add(cos[i], a * s);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes_and_position_zero_is_identity() {
        let x: Vec<f32> = (0..16).map(|i| i as f32 * 0.3 - 2.0).collect();
        let angles: Vec<f32> = (0..3 * 2).map(|i| i as f32 / 2.0).collect();
        let cos: Vec<f32> =
            angles.iter().enumerate().map(|(i, a)| if i < 2 { 1.0 } else { a.cos() }).collect();
        let sin: Vec<f32> =
            angles.iter().enumerate().map(|(i, a)| if i < 2 { 0.0 } else { a.sin() }).collect();
        let mut y = x.clone();
        rope(&mut y, 2, &cos, &sin, &[0, 2], false);
        assert_eq!(y[..8], x[..8]);
        assert_ne!(y[8..], x[8..]);
        rope(&mut y, 2, &cos, &sin, &[0, 2], true);
        assert!(x.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
