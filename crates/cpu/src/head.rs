//! Log-softmax over the vocabulary, row by row: the log-prob of a target, the entropy, the gradient.
//! Sampling and training both call [`log_normaliser`], so their log-probs have the same bits.

use crate::isa::multiversion;
use crate::math::{exp, max, sum};

/// Partial sums: fixed, so that every variant adds in the same order.
const LANES: usize = 16;

/// What normalises a row of logits at a temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normaliser {
    /// 1 / temperature.
    pub scale: f32,
    /// log sum_j exp(scale logit_j).
    pub lse: f64,
    /// Entropy in nats.
    pub entropy: f64,
}

impl Normaliser {
    /// log softmax(logits / temperature)`[j]`, given logit j.
    #[inline(always)]
    pub fn logprob(&self, logit: f32) -> f32 {
        (f64::from(logit * self.scale) - self.lse) as f32
    }
}

multiversion! {
    /// Normaliser of a row of logits, `[V]`, at `temperature` > 0.
    pub fn log_normaliser(logits: &[f32], temperature: f32) -> Normaliser {
        let scale = 1.0 / temperature;
        // scale > 0: the largest logit is the largest scaled
        let max = max(logits) * scale;
        // total = sum e^(x - max), moment = sum (x - max) e^(x - max)
        let (mut total, mut moment) = ([0.0f32; LANES], [0.0f32; LANES]);
        let mut add = |i: usize, logit: f32| {
            let x = logit * scale - max;
            let weight = exp(x);
            total[i] += weight;
            // a logit of -inf has weight 0 and adds nothing to the entropy
            let bounded = if x < -1e30 { 0.0 } else { x };
            moment[i] = weight.mul_add(bounded, moment[i]);
        };
        let blocks = logits.chunks_exact(LANES);
        let rest = blocks.remainder();
        for block in blocks {
            for i in 0..LANES {
                add(i, block[i]);
            }
        }
        for (i, &logit) in rest.iter().enumerate() {
            add(i, logit);
        }
        let sum = |lanes: &[f32; LANES]| lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
        let (total, moment) = (sum(&total), sum(&moment));
        Normaliser { scale, lse: f64::from(max) + total.ln(), entropy: total.ln() - moment / total }
    }
}

multiversion! {
    /// The largest logit, NaN passed over.
    pub fn largest(logits: &[f32]) -> f32 {
        max(logits)
    }
}

/// Ids whose mass is summed at a time by [`draw`].
const DRAW_BLOCK: usize = 64;

multiversion! {
    /// The first id at which the cumulated probability exceeds `target`, in `[0, 1)`; the last possible one if
    /// rounding leaves the sum below it.
    pub fn draw(logits: &[f32], normaliser: Normaliser, target: f64) -> usize {
        let (scale, lse) = (normaliser.scale, normaliser.lse as f32);
        let probability = |logit: f32| exp(logit * scale - lse);
        let mut before = 0.0f64;
        for (block, logits) in logits.chunks(DRAW_BLOCK).enumerate() {
            let mut weights = [0.0f32; DRAW_BLOCK];
            for (weight, logit) in weights.iter_mut().zip(logits) {
                *weight = probability(*logit);
            }
            let mass = f64::from(sum(&weights));
            if before + mass > target {
                let mut cumulated = before;
                for (i, weight) in weights.iter().enumerate() {
                    cumulated += f64::from(*weight);
                    if *weight > 0.0 && cumulated > target {
                        return block * DRAW_BLOCK + i;
                    }
                }
            }
            before += mass;
        }
        logits.iter().rposition(|logit| probability(*logit) > 0.0).unwrap_or(0)
    }
}

multiversion! {
    /// Turns a row of logits into d loss / d logits, in place, for a loss whose derivative by the
    /// target's log-prob is `d_logprob`: d = d_logprob (onehot - softmax) scale. `scale` = 1 / temperature; `lse` is that
    /// of the scaled logits.
    pub fn logprob_backward(logits: &mut [f32], scale: f32, lse: f32, target: usize, d_logprob: f32) {
        let factor = d_logprob * scale;
        for logit in logits.iter_mut() {
            *logit = -factor * exp(*logit * scale - lse);
        }
        logits[target] += factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logprob_entropy_and_gradient_agree_with_f64() {
        let logits: Vec<f32> = (0..37).map(|i| ((i * 31 % 37) as f32 - 18.0) * 0.4).collect();
        let temperature = 0.7;
        let x: Vec<f64> = logits.iter().map(|l| f64::from(*l) / f64::from(temperature)).collect();
        let lse = x.iter().map(|v| v.exp()).sum::<f64>().ln();
        let entropy: f64 = x.iter().map(|v| -(v - lse).exp() * (v - lse)).sum();
        let normaliser = log_normaliser(&logits, temperature);
        assert!((normaliser.lse - lse).abs() < 1e-5);
        assert!((normaliser.entropy - entropy).abs() < 1e-5);
        assert!((f64::from(normaliser.logprob(logits[4])) - (x[4] - lse)).abs() < 1e-5);
        let mut gradient = logits.clone();
        logprob_backward(&mut gradient, normaliser.scale, normaliser.lse as f32, 4, 2.0);
        for j in 0..37 {
            let exact = 2.0 / f64::from(temperature) * (f64::from(u8::from(j == 4)) - (x[j] - lse).exp());
            assert!((f64::from(gradient[j]) - exact).abs() < 1e-5);
        }
    }

    #[test]
    fn draws_the_id_whose_interval_holds_the_number() {
        let mut logits: Vec<f32> = (0..200).map(|i| ((i * 31 % 37) as f32 - 18.0) * 0.4).collect();
        (logits[0], logits[199]) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        let normaliser = log_normaliser(&logits, 0.7);
        let mut before = 0.0;
        for (id, logit) in logits.iter().enumerate() {
            let p = f64::from(normaliser.logprob(*logit)).exp();
            if p > 1e-4 {
                assert_eq!(draw(&logits, normaliser, before + 0.01 * p), id);
                assert_eq!(draw(&logits, normaliser, before + 0.99 * p), id);
            }
            before += p;
        }
        // what cannot be drawn is not, whatever rounding does at the ends
        assert_eq!(draw(&logits, normaliser, 0.0), 1);
        assert_eq!(draw(&logits, normaliser, 1.0), 198);
    }

    #[test]
    fn minus_infinity_is_a_probability_of_zero_and_nan_is_seen() {
        let normaliser = log_normaliser(&[0.0, f32::NEG_INFINITY, 0.0], 1.0);
        assert!((normaliser.lse - 2f64.ln()).abs() < 1e-7);
        assert!((normaliser.entropy - 2f64.ln()).abs() < 1e-7);
        assert!(log_normaliser(&[0.0, f32::NAN], 1.0).lse.is_nan());
    }
}
