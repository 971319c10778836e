//! `thinktune logprobs`: log-probs of given ids, for comparison with another implementation.

use serde_json::{Value, json};
use thinktune_model::FrozenModel;
use thinktune_text::ChatTokenizer;

use crate::args::{Common, LogprobsArgs};
use crate::commands::print;
use crate::config::DEFAULT_DATE;
use crate::model_source::ModelSource;

/// Alternatives shown per position.
const TOP: usize = 5;

/// One position: what was given, and what the model would have said.
struct Scored {
    id: u32,
    /// `None` at the first id: nothing precedes it.
    logprob: Option<f64>,
    /// Likeliest ids in the place of `id`, likeliest first.
    top: Vec<(u32, f64)>,
}

/// Scores the ids and prints the result.
pub fn run(args: &LogprobsArgs, common: Common) -> anyhow::Result<()> {
    let dir = ModelSource::named(&args.model)?.fetch(common.offline)?;
    // Only for showing tokens as text: a model folder without a tokenizer is good enough.
    let tokenizer = ChatTokenizer::load(&dir, DEFAULT_DATE).ok();
    let token = |id: u32| tokenizer.as_ref().map(|tokenizer| tokenizer.decode_raw(&[id]));
    let mut model = FrozenModel::load(&dir, args.device, args.precision.into())?;
    let logits = model.logits(&args.ids)?;
    let scored = score(&args.ids, &logits);
    if args.json {
        return print(&to_json(&scored, &token).to_string());
    }
    for Scored { id, logprob, top } in &scored {
        let shown = |id: u32| token(id).map_or_else(|| id.to_string(), |text| format!("{id} {text:?}"));
        let logprob = logprob.map_or("-".into(), |logprob| format!("{logprob:.6}"));
        let top: Vec<String> =
            top.iter().map(|&(id, logprob)| format!("{} {logprob:.4}", shown(id))).collect();
        print(&format!("{:<24} {logprob:>12}   {}", shown(*id), top.join("  ")))?;
    }
    Ok(())
}

/// `logits` `[T, V]` of `ids` `[T]`: position t predicts id t + 1.
fn score(ids: &[u32], logits: &[f32]) -> Vec<Scored> {
    let vocab = logits.len() / ids.len();
    let first = ids.first().map(|&id| Scored { id, logprob: None, top: Vec::new() });
    let rest = logits.chunks_exact(vocab).zip(&ids[1..]).map(|(row, &id)| {
        let logprobs = log_softmax(row);
        let mut order: Vec<u32> = (0..vocab as u32).collect();
        let likelier =
            |a: &u32, b: &u32| logprobs[*b as usize].total_cmp(&logprobs[*a as usize]).then(a.cmp(b));
        let shown = TOP.min(vocab);
        order.select_nth_unstable_by(shown - 1, likelier);
        order.truncate(shown);
        order.sort_by(likelier);
        let top = order.into_iter().map(|id| (id, logprobs[id as usize])).collect();
        Scored { id, logprob: Some(logprobs[id as usize]), top }
    });
    first.into_iter().chain(rest).collect()
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    let normaliser = f64::from(max) + sum.ln();
    row.iter().map(|&logit| f64::from(logit) - normaliser).collect()
}

fn to_json(scored: &[Scored], token: &dyn Fn(u32) -> Option<String>) -> Value {
    let alternative =
        |&(id, logprob): &(u32, f64)| json!({ "id": id, "token": token(id), "logprob": logprob });
    let top: Vec<Value> = scored.iter().map(|s| s.top.iter().map(alternative).collect()).collect();
    let ids: Vec<u32> = scored.iter().map(|s| s.id).collect();
    let logprobs: Vec<Option<f64>> = scored.iter().map(|s| s.logprob).collect();
    json!({ "ids": ids, "logprobs": logprobs, "top": top })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_the_first_id_has_none() {
        let logits = [0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 100.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let scored = score(&[1, 5], &logits);
        assert!(scored[0].logprob.is_none() && scored[0].top.is_empty());
        let total: f64 = (0..6).map(|z| f64::from(z).exp()).sum();
        assert!((scored[1].logprob.unwrap() - (5.0 - total.ln())).abs() < 1e-12);
        let order: Vec<u32> = scored[1].top.iter().map(|(id, _)| *id).collect();
        assert_eq!(order, [5, 4, 3, 2, 1]);
    }
}
