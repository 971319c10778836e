//! Scalar building blocks with a fixed order of operations. All are written so that the compiler can
//! vectorise loops over them.

/// Number of partial sums of [`dot`] and [`sum_squares`].
const LANES: usize = 16;

/// Adds 16 partial sums as a balanced tree: a fixed order. Written out, for the compiler keeps it in
/// vector registers only so.
#[inline(always)]
fn reduce(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// The largest element; -inf of nothing. NaN elements are passed over: what is computed with the result
/// and the same elements sees them.
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let larger = |best: f32, x: f32| if x > best { x } else { best };
    let (blocks, rest) = a.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    // the rest goes in first, against -inf, so that a NaN in it is passed over as well
    let mut best = [f32::NEG_INFINITY; LANES];
    for i in 0..LANES {
        best[i] = larger(best[i], lanes[i]);
    }
    for block in blocks {
        for i in 0..LANES {
            best[i] = larger(best[i], block[i]);
        }
    }
    let eight: [f32; 8] = std::array::from_fn(|i| larger(best[i], best[i + 8]));
    eight.iter().fold(f32::NEG_INFINITY, |best, &x| larger(best, x))
}

/// The sum in 16 interleaved chains, then a balanced tree.
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let blocks = a.chunks_exact(LANES);
    let rest = blocks.remainder();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] += block[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    reduce(lanes)
}

/// sum_i a_i b_i in 16 interleaved chains of fused multiply-adds, then a balanced tree.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0.0f32; LANES];
    let (a_blocks, b_blocks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_blocks.remainder(), b_blocks.remainder());
    for (x, y) in a_blocks.zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    for (i, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] = x.mul_add(*y, lanes[i]);
    }
    reduce(lanes)
}

/// sum_i a_i^2, in the order of [`dot`].
#[inline(always)]
pub fn sum_squares(a: &[f32]) -> f32 {
    dot(a, a)
}

/// y += alpha x.
#[inline(always)]
pub fn axpy(alpha: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = alpha.mul_add(*x, *y);
    }
}

/// e^x, within 2 ulp; NaN stays NaN, overflow is infinite, x < -87.33 gives 0.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding and subtracting it rounds to an integer
    let clamped = if x < -87.33 { -87.33 } else { x };
    let clamped = if clamped > 88.72 { 88.72 } else { clamped };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // n as an integer, from the low bits of its shifted self: a cast would not vectorise
    let n_int = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    // r = x - n ln 2, with ln 2 split in two so that the product is exact
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let p = p.mul_add(r * r, r) + 1.0;
    // 2^n in two factors, so that n = 128 does not overflow before p < 1 is multiplied in
    let half = n_int >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) << 23) as u32);
    let value = p * power(half) * power(n_int.wrapping_sub(half));
    let value = if x < -87.33 { 0.0 } else { value };
    if x > 88.72 { f32::INFINITY } else { value }
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_over_its_whole_range() {
        let mut worst = 0.0f64;
        for i in -87_000..88_700 {
            let x = i as f32 / 1000.0 + 0.000_37;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.4e-7, "relative error {worst:e}");
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(88.71).is_finite());
    }

    #[test]
    fn max_and_sum_see_everything() {
        let values: Vec<f32> = (0..37).map(|i| (i * 29 % 37) as f32 - 40.0).collect();
        for len in 0..37 {
            let exact = values[..len].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&values[..len]), exact);
            assert_eq!(sum(&values[..len]), values[..len].iter().sum::<f32>());
            for nan in 0..len {
                let mut values = values[..len].to_vec();
                values[nan] = f32::NAN;
                assert!(!max(&values).is_nan() && sum(&values).is_nan());
            }
        }
    }

    #[test]
    fn dot_of_odd_lengths() {
        for len in [0, 1, 5, 16, 17, 31, 33, 100] {
            let a: Vec<f32> = (0..len).map(|i| i as f32 * 0.5 - 3.0).collect();
            let b: Vec<f32> = (0..len).map(|i| 1.0 - i as f32 * 0.25).collect();
            let exact: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            assert!((f64::from(dot(&a, &b)) - exact).abs() <= 1e-5 * exact.abs().max(1.0), "{len}");
        }
    }
}
