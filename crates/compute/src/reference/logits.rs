//! Log-softmax over the vocabulary, samples, and the gradient.

use crate::{Draw, Likeliest, ScoreGradient, Scores};

/// log sum_j exp(logit_j / temperature).
fn log_sum_exp(logits: &[f32], temperature: f32) -> f64 {
    let scale = 1.0 / temperature;
    let scaled = |logit: &f32| f64::from(logit * scale);
    let max = logits.iter().map(scaled).fold(f64::NEG_INFINITY, f64::max);
    max + logits.iter().map(|logit| (scaled(logit) - max).exp()).sum::<f64>().ln()
}

fn logprob(logit: f32, temperature: f32, lse: f64) -> f64 {
    f64::from(logit * (1.0 / temperature)) - lse
}

pub(super) fn score(logits: &[f32], targets: &[u32], temperature: f32, lse: &mut [f32]) -> Scores {
    let vocab = logits.len() / targets.len().max(1);
    let mut scores = Scores::default();
    for (r, (row, &target)) in logits.chunks(vocab.max(1)).zip(targets).enumerate() {
        let sum = log_sum_exp(row, temperature);
        let logprobs = row.iter().map(|&logit| logprob(logit, temperature, sum));
        scores.logprobs.push(logprob(row[target as usize], temperature, sum) as f32);
        let entropy: f64 = logprobs.map(|p| if p > -1e30 { -p.exp() * p } else { 0.0 }).sum();
        scores.entropies.push(entropy as f32);
        lse[r] = sum as f32;
    }
    scores
}

pub(super) fn score_backward(logits: &mut [f32], lse: &[f32], gradient: &ScoreGradient) {
    let ScoreGradient { vocab, rows, first_lse, targets, d_logprobs, temperature } = gradient;
    let scale = 1.0 / temperature;
    for (r, row) in logits.chunks_mut(*vocab).skip(rows.start).take(rows.len()).enumerate() {
        let factor = d_logprobs[r] * scale;
        for logit in row.iter_mut() {
            *logit = -factor * (*logit * scale - lse[first_lse + r]).exp();
        }
        row[targets[r] as usize] += factor;
    }
}

pub(super) fn sample(logits: &[f32], draw: &Draw) -> Option<(u32, f32)> {
    let greedy = draw.temperature == 0.0;
    let temperature = if greedy { 1.0 } else { draw.temperature };
    let lse = log_sum_exp(logits, temperature);
    if !lse.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let probability = |id: usize| logprob(logits[id], temperature, lse).exp();
    let falling = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    if greedy {
        ids.sort_by(falling);
        ids.truncate(1);
    } else if draw.top_k.is_some() || draw.top_p < 1.0 || draw.min_p > 0.0 {
        ids.sort_by(falling);
        ids.truncate(draw.top_k.unwrap_or(ids.len()));
        let mass: f64 = ids.iter().map(|&id| probability(id)).sum();
        let mut sum = 0.0;
        let last = ids.iter().position(|&id| {
            sum += probability(id) / mass;
            sum >= f64::from(draw.top_p)
        });
        ids.truncate(last.map_or(ids.len(), |last| last + 1));
        let floor = probability(ids[0]) * f64::from(draw.min_p);
        ids.retain(|&id| probability(id) >= floor);
    }
    let target = draw.uniform * ids.iter().map(|&id| probability(id)).sum::<f64>();
    let (mut sum, mut id) = (0.0, ids[0]);
    for candidate in ids {
        if probability(candidate) > 0.0 {
            (sum, id) = (sum + probability(candidate), candidate);
            if sum > target {
                break;
            }
        }
    }
    Some((id as u32, logprob(logits[id], temperature, lse) as f32))
}

pub(super) fn likeliest(logits: &[f32], token: u32, count: usize) -> Likeliest {
    let lse = log_sum_exp(logits, 1.0);
    let logprob = |id: usize| logprob(logits[id], 1.0, lse) as f32;
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let top = ids.into_iter().take(count).map(|id| (id as u32, logprob(id))).collect();
    Likeliest { logprob: logprob(token as usize), top }
}
