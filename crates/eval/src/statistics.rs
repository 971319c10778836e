//! The statistics of an evaluation: means, standard errors, bootstrap intervals, pass@k, exact tests.

use thinktune_policy::rng::SampleRng;
use thinktune_policy::{SampleKey, Stream};

/// Mean; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Share of the items for which something holds; NaN of nothing.
pub fn share<T>(items: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    mean(&items.iter().map(|item| if holds(item) { 1.0 } else { 0.0 }).collect::<Vec<_>>())
}

/// Standard deviation with n - 1; NaN for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return f64::NAN;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// Standard error of the mean: the standard deviation (n - 1) over the root of n; NaN for fewer than two values.
pub fn standard_error(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return f64::NAN;
    }
    let (mean, n) = (mean(values), values.len() as f64);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (n - 1.0) / n).sqrt()
}

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// 95 % percentile-bootstrap interval of the mean (Efron 1979): values are drawn anew with replacement, and the 2.5th
/// and 97.5th percentiles of the means taken. The seed makes it reproducible.
pub fn bootstrap_interval(values: &[f64], seed: u64) -> [f64; 2] {
    if values.is_empty() {
        return [f64::NAN; 2];
    }
    let mut means: Vec<f64> =
        (0..RESAMPLES as u32).map(|resample| resampled_mean(values, seed, resample)).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    [at(0.025), at(0.975)]
}

fn resampled_mean(values: &[f64], seed: u64, resample: u32) -> f64 {
    let rng =
        SampleRng::new(seed, SampleKey { stream: Stream::Bootstrap, step: 0, question: 0, sample: resample });
    let n = values.len();
    let mut sum = 0.0;
    for block in 0..n.div_ceil(4) {
        let words = rng.words(block as u32);
        for word in &words[..(n - 4 * block).min(4)] {
            sum += values[((u64::from(*word) * n as u64) >> 32) as usize];
        }
    }
    sum / n as f64
}

/// Wilson's 95 % interval of a share of which `count` of `n` were seen (Wilson 1927):
/// (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), p = count / n, z = 1.96; NaN of nothing.
pub fn wilson_interval(count: usize, n: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 {
        return [f64::NAN; 2];
    }
    let (p, n) = (count as f64 / n as f64, n as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    [((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0)]
}

/// Unbiased estimate of the probability that one of k samples is right, given that `right` of `n` were
/// (Chen et al. 2021, arXiv 2107.03374, equation 1): 1 - C(n - right, k) / C(n, k).
pub fn pass_at(k: usize, right: usize, n: usize) -> f64 {
    if k > n {
        return f64::NAN;
    }
    if n - right < k {
        return 1.0;
    }
    let none: f64 = (n - right + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product();
    1.0 - none
}

/// Two-sided p of McNemar's exact test: of the pairs that disagree, `b` one way and `c` the other, how likely is a split
/// at least as uneven when both ways are equally likely.
pub fn mcnemar(b: usize, c: usize) -> f64 {
    let (n, fewer) = (b + c, b.min(c));
    let mut log_choose = 0.0f64;
    let mut tail = 0.0;
    for i in 0..=fewer {
        if i > 0 {
            log_choose += ((n - i + 1) as f64).ln() - (i as f64).ln();
        }
        tail += (log_choose - n as f64 * std::f64::consts::LN_2).exp();
    }
    (2.0 * tail).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn means_and_their_errors() {
        near(standard_error(&[0.2, 0.4, 0.6]), (0.04f64 / 3.0).sqrt());
        assert!(standard_error(&[0.5]).is_nan() && mean(&[]).is_nan());
    }

    /// By counting subsets: n = 5, 2 right. Of the 10 pairs, 3 hold no right one; of the 10 triples, 1.
    #[test]
    fn pass_at_k_counts_subsets() {
        near(pass_at(1, 2, 5), 0.4);
        near(pass_at(2, 2, 5), 0.7);
        near(pass_at(3, 2, 5), 0.9);
        near(pass_at(4, 2, 5), 1.0);
        near(pass_at(5, 0, 5), 0.0);
        near(pass_at(1, 5, 5), 1.0);
        assert!(pass_at(6, 1, 5).is_nan());
        near(pass_at(100, 1, 1000), 0.1);
    }

    /// Binomial tails by hand; the last from SciPy's `binomtest(40, 100).pvalue`.
    #[test]
    fn mcnemar_is_the_exact_binomial_test() {
        near(mcnemar(0, 0), 1.0);
        near(mcnemar(1, 0), 1.0);
        near(mcnemar(0, 6), 2.0 / 64.0);
        near(mcnemar(8, 2), 2.0 * 56.0 / 1024.0);
        near(mcnemar(3, 3), 1.0);
        assert!((mcnemar(40, 60) - 0.056_887_933).abs() < 1e-8, "{}", mcnemar(40, 60));
        assert!(
            mcnemar(4000, 8000) < 1e-200 && mcnemar(6000, 6032) > 0.5,
            "large counts neither overflow nor vanish"
        );
    }

    #[test]
    fn the_interval_is_the_normal_one_where_there_is_plenty() {
        let values: Vec<f64> = (0..2000).map(|i| if i % 4 == 0 { 1.0 } else { 0.0 }).collect();
        let [low, high] = bootstrap_interval(&values, 1);
        let half = 1.96 * (0.25f64 * 0.75 / 2000.0).sqrt();
        assert!((low - (0.25 - half)).abs() < 0.003 && (high - (0.25 + half)).abs() < 0.003, "{low} {high}");
        assert_eq!([low, high], bootstrap_interval(&values, 1));
        assert_ne!([low, high], bootstrap_interval(&values, 2));
        assert_eq!(bootstrap_interval(&[1.0; 9], 3), [1.0, 1.0]);
        assert!(bootstrap_interval(&[], 3)[0].is_nan());
    }
}
