//! Drawing one token from a row of logits.

use thinktune_kernels::head;
use thinktune_kernels::head::log_normaliser;
use thinktune_policy::{Alternatives, ModelError, Sampling};

/// Draws a token with the uniform number `u`; returns it with its log-prob under
/// softmax(logits / temperature), untruncated.
///
/// Tokens are laid out in the order of their ids (or, where truncated, by falling probability) and the
/// one whose interval of the cumulated mass holds `u` is taken.
pub(crate) fn choose(logits: &[f32], sampling: &Sampling, u: f64) -> Result<(u32, f32), ModelError> {
    let greedy = sampling.temperature == 0.0;
    let normaliser = log_normaliser(logits, if greedy { 1.0 } else { sampling.temperature });
    if !normaliser.lse.is_finite() {
        return Err(ModelError::NonFinite {
            what: "logits",
            detail: "while sampling; the weights hold NaN or infinite values, or overflow".into(),
        });
    }
    let probability = |id: usize| f64::from(normaliser.logprob(logits[id])).exp();
    let truncated = sampling.top_k.is_some() || sampling.top_p < 1.0 || sampling.min_p > 0.0;
    let id = if greedy {
        argmax(logits)
    } else if truncated {
        let kept = truncate(logits, sampling, probability);
        draw(kept.iter().copied(), probability, u * kept.iter().map(|&id| probability(id)).sum::<f64>())
    } else {
        head::draw(logits, normaliser, u)
    };
    Ok((id as u32, normaliser.logprob(logits[id])))
}

/// The log-prob of `token` and the `count` likeliest tokens of a row of logits.
pub(crate) fn alternatives(logits: &[f32], token: u32, count: usize) -> Alternatives {
    let normaliser = log_normaliser(logits, 1.0);
    let logprob = |id: u32| normaliser.logprob(logits[id as usize]);
    let top = likeliest(logits, count).into_iter().map(|id| (id, logprob(id))).collect();
    Alternatives { logprob: logprob(token), top }
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
fn truncate(logits: &[f32], sampling: &Sampling, probability: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    let order = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if let Some(k) = sampling.top_k
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
        sum >= f64::from(sampling.top_p)
    });
    ids.truncate(kept.map_or(ids.len(), |last| last + 1));
    let floor = probability(ids[0]) * f64::from(sampling.min_p);
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

    fn sampling() -> Sampling {
        Sampling::plain(0, 10, vec![])
    }

    /// ln of .5, .3, .15, .05
    const LOGITS: [f32; 4] = [-std::f32::consts::LN_2, -1.203_972_8, -1.897_12, -2.995_732_3];

    fn reachable(sampling: &Sampling) -> Vec<u32> {
        let mut ids: Vec<u32> =
            (0..1000).map(|i| choose(&LOGITS, sampling, f64::from(i) / 1000.0).unwrap().0).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn the_uniform_number_picks_the_interval() {
        for (u, id) in [(0.0, 0), (0.49, 0), (0.51, 1), (0.79, 1), (0.81, 2), (0.96, 3), (0.999_999, 3)] {
            let (chosen, logprob) = choose(&LOGITS, &sampling(), u).unwrap();
            assert_eq!(chosen, id);
            assert!((logprob - LOGITS[id as usize]).abs() < 1e-6);
        }
    }

    #[test]
    fn truncations_keep_what_they_should() {
        assert_eq!(reachable(&sampling()), [0, 1, 2, 3]);
        assert_eq!(reachable(&Sampling { top_k: Some(2), ..sampling() }), [0, 1]);
        assert_eq!(reachable(&Sampling { top_k: Some(9), ..sampling() }), [0, 1, 2, 3]);
        assert_eq!(reachable(&Sampling { top_p: 0.7, ..sampling() }), [0, 1]);
        assert_eq!(reachable(&Sampling { top_p: 0.01, ..sampling() }), [0]);
        assert_eq!(reachable(&Sampling { min_p: 0.25, ..sampling() }), [0, 1, 2]);
        assert_eq!(reachable(&Sampling { temperature: 0.0, ..sampling() }), [0]);
    }

    #[test]
    fn the_likeliest_come_first_and_equals_by_id() {
        let logits = [1.0, 3.0, 2.0, 3.0, -1.0];
        assert_eq!(likeliest(&logits, 3), [1, 3, 2]);
        assert_eq!(likeliest(&logits, 9), [1, 3, 2, 0, 4]);
        assert_eq!(likeliest(&logits, 0), [0u32; 0]);
        let found = alternatives(&LOGITS, 2, 2);
        assert!((found.logprob - 0.15f32.ln()).abs() < 1e-5);
        assert_eq!(found.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn nan_logits_are_an_error() {
        assert!(choose(&[0.0, f32::NAN], &sampling(), 0.5).is_err());
    }
}
