//! Rows of logits: scores, samples, the likeliest, and the backward pass of scores.

use rayon::prelude::*;
use thinktune_compute::{Draw, Likeliest, ScoreGradient, Scores};

use crate::head::{self, Normaliser, log_normaliser, logprob_backward};

/// Log-probs and entropies of the targets of all rows; their log-sum-exps go to `lse`.
pub(super) fn score(logits: &[f32], targets: &[u32], temperature: f32, lse: &mut [f32]) -> Scores {
    let vocab = logits.len() / targets.len().max(1);
    let normalisers: Vec<Normaliser> =
        logits.par_chunks(vocab.max(1)).map(|row| log_normaliser(row, temperature)).collect();
    let mut scores = Scores::default();
    for (r, (normaliser, &target)) in normalisers.iter().zip(targets).enumerate() {
        scores.logprobs.push(normaliser.logprob(logits[r * vocab + target as usize]));
        scores.entropies.push(normaliser.entropy as f32);
        lse[r] = normaliser.lse as f32;
    }
    scores
}

/// Backward of [`score`] over the rows of `gradient`, in place.
pub(super) fn score_backward(logits: &mut [f32], lse: &[f32], gradient: &ScoreGradient) {
    let ScoreGradient { vocab, first_lse, targets, d_logprobs, temperature, .. } = *gradient;
    let scale = 1.0 / temperature;
    logits.par_chunks_mut(vocab.max(1)).enumerate().for_each(|(r, row)| {
        logprob_backward(row, scale, lse[first_lse + r], targets[r] as usize, d_logprobs[r]);
    });
}

/// Draws a token of a row; returns it with its log-prob under softmax(logits / temperature), untruncated. None where
/// the logits are not finite.
///
/// Tokens are laid out in the order of their ids (or, where truncated, by falling probability) and the
/// one whose interval of the cumulated mass holds the uniform number is taken.
pub(super) fn sample(logits: &[f32], how: &Draw) -> Option<(u32, f32)> {
    let greedy = how.temperature == 0.0;
    let normaliser = log_normaliser(logits, if greedy { 1.0 } else { how.temperature });
    if !normaliser.lse.is_finite() {
        return None;
    }
    let probability = |id: usize| f64::from(normaliser.logprob(logits[id])).exp();
    let truncated = how.top_k.is_some() || how.top_p < 1.0 || how.min_p > 0.0;
    let id = if greedy {
        argmax(logits)
    } else if truncated {
        let kept = truncate(logits, how, probability);
        let mass = kept.iter().map(|&id| probability(id)).sum::<f64>();
        draw(kept.iter().copied(), probability, how.uniform * mass)
    } else {
        head::draw(logits, normaliser, how.uniform)
    };
    Some((id as u32, normaliser.logprob(logits[id])))
}

/// The log-prob of `token` and the `count` likeliest tokens of a row of logits.
pub(super) fn likeliest_of(logits: &[f32], token: u32, count: usize) -> Likeliest {
    let normaliser = log_normaliser(logits, 1.0);
    let logprob = |id: u32| normaliser.logprob(logits[id as usize]);
    let top = likeliest(logits, count).into_iter().map(|id| (id, logprob(id))).collect();
    Likeliest { logprob: logprob(token), top }
}

/// Ids of the `count` largest logits, largest first, equals by id. One pass that keeps few: `count` is small.
fn likeliest(logits: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(logits.len());
    let mut kept: Vec<u32> = Vec::with_capacity(count + 1);
    for (id, logit) in logits.iter().enumerate() {
        let full = kept.len() == count;
        if full && kept.last().is_none_or(|&last| logits[last as usize] >= *logit) {
            continue;
        }
        let place = kept.partition_point(|&other| logits[other as usize] >= *logit);
        kept.insert(place, id as u32);
        kept.truncate(count);
    }
    kept
}

/// The first of the largest.
fn argmax(logits: &[f32]) -> usize {
    let largest = head::largest(logits);
    logits.iter().position(|logit| *logit == largest).unwrap_or(0)
}

/// Ids by falling probability (equals by id), cut by top-k, then top-p, then min-p.
fn truncate(logits: &[f32], how: &Draw, probability: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    let order = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if let Some(k) = how.top_k
        && k < ids.len()
    {
        ids.select_nth_unstable_by(k - 1, order);
        ids.truncate(k);
    }
    ids.sort_unstable_by(order);
    // top-p acts on the distribution that top-k left
    let mass: f64 = ids.iter().map(|&id| probability(id)).sum();
    let mut sum = 0.0;
    let kept = ids.iter().position(|&id| {
        sum += probability(id) / mass;
        sum >= f64::from(how.top_p)
    });
    ids.truncate(kept.map_or(ids.len(), |last| last + 1));
    let floor = probability(ids[0]) * f64::from(how.min_p);
    ids.retain(|&id| probability(id) >= floor);
    ids
}

/// The id at which the cumulated probability first exceeds `target`; the last possible one if rounding
/// leaves the sum below it.
fn draw(ids: impl Iterator<Item = usize>, probability: impl Fn(usize) -> f64, target: f64) -> usize {
    let (mut sum, mut last) = (0.0, 0);
    for id in ids {
        let p = probability(id);
        if p > 0.0 {
            sum += p;
            last = id;
            if sum > target {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Draw {
        Draw { uniform: 0.0, temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0 }
    }

    /// ln of .5, .3, .15, .05
    const LOGITS: [f32; 4] = [-std::f32::consts::LN_2, -1.203_972_8, -1.897_12, -2.995_732_3];

    fn reachable(how: &Draw) -> Vec<u32> {
        let mut ids: Vec<u32> = (0..1000)
            .map(|i| sample(&LOGITS, &Draw { uniform: f64::from(i) / 1000.0, ..*how }).unwrap().0)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn the_uniform_number_picks_the_interval() {
        for (u, id) in [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (0.96, 3), (0.999_999, 3)] {
            let (chosen, logprob) = sample(&LOGITS, &Draw { uniform: u, ..plain() }).unwrap();
            assert_eq!(chosen, id);
            assert!((logprob - LOGITS[id as usize]).abs() < 1e-6);
        }
    }

    #[test]
    fn truncations_keep_what_they_should() {
        assert_eq!(reachable(&plain()), [0, 1, 2, 3]);
        assert_eq!(reachable(&Draw { top_k: Some(2), ..plain() }), [0, 1]);
        assert_eq!(reachable(&Draw { top_k: Some(9), ..plain() }), [0, 1, 2, 3]);
        assert_eq!(reachable(&Draw { top_p: 0.7, ..plain() }), [0, 1]);
        assert_eq!(reachable(&Draw { top_p: 0.01, ..plain() }), [0]);
        assert_eq!(reachable(&Draw { min_p: 0.25, ..plain() }), [0, 1, 2]);
        assert_eq!(reachable(&Draw { temperature: 0.0, ..plain() }), [0]);
    }

    #[test]
    fn the_likeliest_come_first_and_equals_by_id() {
        let logits = [1.0, 3.0, 2.0, 3.0, -1.0];
        assert_eq!(likeliest(&logits, 3), [1, 3, 2]);
        assert_eq!(likeliest(&logits, 9), [1, 3, 2, 0, 4]);
        assert_eq!(likeliest(&logits, 0), [0u32; 0]);
        let found = likeliest_of(&LOGITS, 2, 2);
        assert!((found.logprob - 0.15f32.ln()).abs() < 1e-5);
        assert_eq!(found.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn nan_logits_give_no_token() {
        assert!(sample(&[0.0, f32::NAN], &plain()).is_none());
    }
}
