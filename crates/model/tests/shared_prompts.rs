//! A group's responses continue their prompt inside a batch: the prompt is computed once, and everything else is
//! as if it stood before every response.

use thinktune_model::memory::Recompute;
use thinktune_model::spec::Family;
use thinktune_model::{Device, LocalModel, ModelSpec, Precision, init_random};
use thinktune_policy::{Score, TokenBatch, Train};

/// A prompt and its responses.
type Group = (Vec<u32>, Vec<Vec<u32>>);

fn model() -> LocalModel {
    let spec = ModelSpec {
        family: Family::Qwen3,
        vocab_size: 53,
        width: 24,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 6,
        ffn: 40,
        rope_theta: 10_000.0,
        rope_scaling: None,
        norm_eps: 1e-5,
        qkv_bias: false,
        qk_norm: true,
        tied_head: true,
        context: 128,
    };
    let mut params = init_random(spec, 3);
    params.data.iter_mut().for_each(|weight| *weight *= 6.0);
    LocalModel::new(params, Device::Cpu, Precision::F32).expect("model")
}

fn groups() -> Vec<Group> {
    let ids = |count: usize, seed: usize| (0..count).map(|i| ((i * 17 + seed * 29) % 53) as u32).collect();
    vec![
        (ids(19, 1), vec![ids(5, 2), ids(1, 3), ids(20, 4)]),
        (ids(3, 5), vec![ids(7, 6), ids(2, 7)]),
        (ids(33, 8), vec![ids(16, 9)]),
    ]
}

fn shared(groups: &[Group]) -> TokenBatch {
    let mut batch = TokenBatch::new(0.9);
    for (prompt, responses) in groups {
        let prefix = batch.push(prompt, []);
        for response in responses {
            batch.push_after(prefix, response, 0..response.len());
        }
    }
    batch
}

fn repeated(groups: &[Group]) -> TokenBatch {
    let mut batch = TokenBatch::new(0.9);
    for (prompt, responses) in groups {
        for response in responses {
            let whole = [prompt.as_slice(), response].concat();
            batch.push(&whole, prompt.len()..whole.len());
        }
    }
    batch
}

fn slopes(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7 % 11) as f32 * 0.1 - 0.5).collect()
}

fn gradient(model: &mut LocalModel, batches: &[TokenBatch]) -> Vec<f32> {
    let all = slopes(batches.iter().map(|batch| batch.targets.len()).sum());
    let mut rest = all.as_slice();
    for batch in batches {
        let scores = model.forward(batch).unwrap();
        let (now, later) = rest.split_at(scores.logprobs.len());
        model.backward(now).unwrap();
        rest = later;
    }
    model.gradients().expect("gradients")
}

#[test]
fn log_probs_have_the_same_bits() {
    let mut model = model();
    let (once, each) = (model.score(&shared(&groups())).unwrap(), model.score(&repeated(&groups())).unwrap());
    assert_eq!(once.logprobs, each.logprobs);
    assert_eq!(once.entropies, each.entropies);
    assert!(shared(&groups()).tokens.len() < repeated(&groups()).tokens.len());
}

#[test]
fn the_gradient_is_that_of_the_repeated_prompt() {
    let once = gradient(&mut model(), &[shared(&groups())]);
    let each = gradient(&mut model(), &[repeated(&groups())]);
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut once.iter().zip(&each).map(|(a, b)| f64::from(a - b)));
    let size = norm(&mut each.iter().map(|x| f64::from(*x)));
    assert!(size > 0.1 && difference / size < 1e-6, "{difference:e} of {size}");
}

#[test]
fn cutting_between_groups_or_recomputing_changes_no_bit() {
    let whole = gradient(&mut model(), &[shared(&groups())]);
    let pieces: Vec<TokenBatch> = groups().iter().map(|group| shared(std::slice::from_ref(group))).collect();
    assert_eq!(gradient(&mut model(), &pieces), whole);
    let mut recomputing = model().with_recompute(Recompute::Always);
    assert_eq!(gradient(&mut recomputing, &[shared(&groups())]), whole);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut model = model();
    let mut of_later = shared(&groups());
    of_later.prefixes[0] = Some(2);
    assert!(model.score(&of_later).unwrap_err().to_string().contains("continues sequence 2"));
    let mut nested = TokenBatch::new(1.0);
    let first = nested.push(&[1, 2], []);
    let second = nested.push_after(first, &[3], []);
    nested.push_after(second, &[4], [0]);
    assert!(model.score(&nested).is_err());
    let mut too_long = TokenBatch::new(1.0);
    let first = too_long.push(&[1; 100], []);
    too_long.push_after(first, &[2; 29], [0]);
    assert!(model.score(&too_long).unwrap_err().to_string().contains("129 tokens"));
    let mut nothing_before = TokenBatch::new(1.0);
    let first = nothing_before.push(&[], []);
    nothing_before.push_after(first, &[2], [0]);
    assert!(model.score(&nothing_before).unwrap_err().to_string().contains("nothing precedes it"));
}
