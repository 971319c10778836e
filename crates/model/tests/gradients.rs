//! Gradients that must agree: whole batches and parts of them, prompts shared and repeated, layers kept and
//! recomputed, and finite differences, which share nothing with the backward pass.

mod common;
#[path = "common/models.rs"]
mod models;

use common::{FAMILIES, Reference, assert_same_bits, gradient_distance};
use models::{MODELS, derivative, load, prompts, threads, train_once, training_batch};
use thinktune_model::memory::Recompute;
use thinktune_model::{Device, LocalModel, Params, Precision};
use thinktune_policy::{Score, TokenBatch, Train};

/// Sums reordered before they are rounded to bf16 differ by its rounding, not by that of f32.
fn tolerance(model: &LocalModel) -> f64 {
    if model.precision() == Precision::Bf16 { 1e-2 } else { 1e-5 }
}

/// Compares gradients tensor by tensor; returns the largest relative distance.
fn assert_gradients_close(name: &str, model: &LocalModel, got: &[f32], want: &[f32]) -> f64 {
    let mut worst = 0.0f64;
    for (tensor, range) in model.params().expect("weights").layout.tensors() {
        let what = format!("{name}: gradient of {}", tensor.name);
        let distance = gradient_distance(&what, &got[range.clone()], &want[range.clone()]);
        assert!(distance.norm <= tolerance(model), "{what}: {distance:?}");
        worst = worst.max(distance.norm);
    }
    worst
}

#[test]
fn micro_batches_add_up_to_the_same_gradient() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        let derivative = derivative(batch.targets.len());
        let scores = Train::forward(&mut model, &batch).expect("forward");
        model.backward(&derivative).expect("backward");
        let whole = model.gradients().expect("gradients");
        let mut model = load(name);
        let (mut logprobs, mut entropies) = (Vec::new(), Vec::new());
        for row in 0..batch.sequences() {
            let range = batch.offsets[row]..batch.offsets[row + 1];
            let mut part = TokenBatch::new(1.0);
            part.push(&batch.tokens[range.clone()], 1..range.len());
            let start = logprobs.len();
            let scores = Train::forward(&mut model, &part).expect("forward");
            model.backward(&derivative[start..start + range.len() - 1]).expect("backward");
            logprobs.extend(scores.logprobs);
            entropies.extend(scores.entropies);
        }
        assert_same_bits(&format!("{name}: log-probs of micro-batches"), &logprobs, &scores.logprobs);
        assert_same_bits(&format!("{name}: entropies of micro-batches"), &entropies, &scores.entropies);
        let gradient = model.gradients().expect("gradients");
        let worst = assert_gradients_close(name, &model, &gradient, &whole);
        println!("measured {name}: gradient of micro-batches {worst:.2e} (relative)");
        assert_same_bits(&format!("{name}: gradient of micro-batches"), &gradient, &whole);
    }
}

#[test]
fn a_derivative_of_zero_contributes_nothing() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        let targets = batch.targets.len();
        Train::forward(&mut model, &batch).expect("forward");
        model.backward(&vec![0.0; targets]).expect("backward");
        assert!(model.gradients().expect("gradients").iter().all(|g| *g == 0.0), "{name}");
        let mut derivative = derivative(targets);
        derivative[targets / 2..].fill(0.0);
        Train::forward(&mut model, &batch).expect("forward");
        model.backward(&derivative).expect("backward");
        let masked = model.gradients().expect("gradients");
        let mut model = load(name);
        let mut fewer = batch.clone();
        fewer.targets.truncate(targets / 2);
        Train::forward(&mut model, &fewer).expect("forward");
        model.backward(&derivative[..targets / 2]).expect("backward");
        let gradient = model.gradients().expect("gradients");
        assert_gradients_close(name, &model, &masked, &gradient);
    }
}

#[test]
fn recomputing_layers_changes_no_bit() {
    for name in MODELS {
        let run = |recompute| {
            let mut model = load(name).with_recompute(recompute);
            let batch = training_batch(&model);
            train_once(&mut model, &batch);
            train_once(&mut model, &batch)
        };
        let kept = run(Recompute::Never);
        for recompute in [Recompute::Always, Recompute::Auto] {
            let (logprobs, gradient, weights) = run(recompute);
            assert_same_bits(&format!("{name}: log-probs, {recompute:?}"), &logprobs, &kept.0);
            assert_same_bits(&format!("{name}: gradient, {recompute:?}"), &gradient, &kept.1);
            assert_same_bits(&format!("{name}: weights, {recompute:?}"), &weights, &kept.2);
        }
    }
}

/// Groups of responses to prompts that are computed once, and the same responses each with its own prompt.
/// The targets are the same, in the same order: some of the first prompt's, all of the responses'.
fn grouped(model: &LocalModel) -> (TokenBatch, TokenBatch) {
    let (mut shared, mut separate) = (TokenBatch::new(0.9), TokenBatch::new(0.9));
    for (number, prompt) in prompts(model, 1).iter().enumerate() {
        let count = prompt.tokens.len();
        let own = if number == 1 { 2..count } else { 0..0 };
        let prefix = shared.push(&prompt.tokens, own.clone());
        for (index, length) in [5, 1, 9].into_iter().enumerate() {
            let response: Vec<u32> = (0..length).map(|i| (i * 17 + index as u32 * 5 + 3) % 61).collect();
            shared.push_after(prefix, &response, 0..response.len());
            let whole = [&prompt.tokens[..], &response].concat();
            let own = if index == 0 { own.clone() } else { 0..0 };
            separate.push(&whole, own.chain(count..whole.len()));
        }
    }
    assert_eq!(shared.targets.len(), separate.targets.len());
    (shared, separate)
}

#[test]
fn a_prompt_computed_once_for_its_group_changes_no_log_prob_and_no_gradient() {
    for name in MODELS {
        let mut model = load(name);
        let (shared, separate) = grouped(&model);
        let derivative = derivative(shared.targets.len());
        let mut run = |batch: &TokenBatch| {
            let scored = model.score(batch).expect("score");
            let trained = Train::forward(&mut model, batch).expect("forward");
            assert_same_bits(&format!("{name}: score and forward"), &scored.logprobs, &trained.logprobs);
            model.backward(&derivative).expect("backward");
            let gradient = model.gradients().expect("gradients");
            model = load(name);
            (trained, gradient)
        };
        let ((once, gradient), (each, expected)) = (run(&shared), run(&separate));
        assert_same_bits(&format!("{name}: log-probs"), &once.logprobs, &each.logprobs);
        assert_same_bits(&format!("{name}: entropies"), &once.entropies, &each.entropies);
        let worst = assert_gradients_close(name, &model, &gradient, &expected);
        println!("measured {name}: gradient of shared prompts {worst:.2e} (relative)");
    }
}

/// Groups in micro-batches of their own, and threads and recomputation with shared prompts.
#[test]
fn shared_prompts_can_be_cut_between_groups_and_change_with_nothing() {
    for name in MODELS {
        let (whole, _) = grouped(&load(name));
        let run = |recompute, count| {
            threads(count, || train_once(&mut load(name).with_recompute(recompute), &whole))
        };
        let (logprobs, gradient, weights) = run(Recompute::Never, 1);
        for (recompute, count) in [(Recompute::Always, 1), (Recompute::Never, 2), (Recompute::Always, 3)] {
            let what = format!("{name}, {recompute:?}, {count} threads");
            let other = run(recompute, count);
            assert_same_bits(&what, &logprobs, &other.0);
            assert_same_bits(&what, &gradient, &other.1);
            assert_same_bits(&what, &weights, &other.2);
        }
        let mut model = load(name);
        let derivative = derivative(whole.targets.len());
        let mut done = 0;
        for group in 0..whole.sequences() / 4 {
            let mut part = TokenBatch::new(whole.temperature);
            for sequence in group * 4..group * 4 + 4 {
                let (start, end) = (whole.offsets[sequence], whole.offsets[sequence + 1]);
                let own = whole.targets.iter().filter(|t| (start..end).contains(t)).map(|t| t - start);
                match whole.prefixes[sequence] {
                    Some(prefix) => part.push_after(prefix - group * 4, &whole.tokens[start..end], own),
                    None => part.push(&whole.tokens[start..end], own),
                };
            }
            let scores = Train::forward(&mut model, &part).expect("forward");
            let next = done + part.targets.len();
            assert_same_bits(&format!("{name}: a group alone"), &scores.logprobs, &logprobs[done..next]);
            model.backward(&derivative[done..next]).expect("backward");
            done = next;
        }
        assert_same_bits(
            &format!("{name}: gradient group by group"),
            &model.gradients().expect("gradients"),
            &gradient,
        );
    }
}

#[test]
fn many_groups_are_cut_to_fit_and_score_the_same_bits() {
    let mut model = load("llama");
    let prompt = prompts(&model, 1).pop().expect("prompts");
    let response = [4, 8, 15, 16, 23, 42];
    let mut single = TokenBatch::new(1.0);
    let prefix = single.push(&prompt.tokens, []);
    single.push_after(prefix, &response, 0..response.len());
    let want = model.score(&single).expect("score");
    let mut batch = TokenBatch::new(1.0);
    while batch.tokens.len() < 10_000 {
        let prefix = batch.push(&prompt.tokens, []);
        (0..300).for_each(|_| {
            batch.push_after(prefix, &response, 0..response.len());
        });
    }
    let got = model.score(&batch).expect("score");
    let rows = batch.targets.len() / response.len();
    assert_same_bits("log-probs", &got.logprobs, &want.logprobs.repeat(rows));
    assert_same_bits("entropies", &got.entropies, &want.entropies.repeat(rows));
}

/// A loss that is linear in the log-probs of a batch, as a function of the weights.
struct Slope {
    params: Params,
    batch: TokenBatch,
    derivative: Vec<f32>,
    gradient: Vec<f32>,
}

impl Slope {
    fn of(params: Params, batch: TokenBatch) -> Self {
        let derivative = derivative(batch.targets.len());
        let mut model = LocalModel::new(params.clone(), Device::Cpu, Precision::F32).expect("model");
        Train::forward(&mut model, &batch).expect("forward");
        model.backward(&derivative).expect("backward");
        let gradient = model.gradients().expect("gradients");
        for (tensor, range) in params.layout.tensors() {
            assert!(gradient[range.clone()].iter().any(|g| *g != 0.0), "{} matters to the loss", tensor.name);
        }
        Self { params, batch, derivative, gradient }
    }

    fn loss(&self, direction: &[(usize, f32)], step: f32) -> f64 {
        let mut params = self.params.clone();
        direction.iter().for_each(|(index, by)| params.data[*index] += step * by);
        let scores = LocalModel::new(params, Device::Cpu, Precision::F32)
            .expect("model")
            .score(&self.batch)
            .expect("score");
        let terms = scores.logprobs.iter().zip(&self.derivative);
        terms.map(|(l, d)| f64::from(*l) * f64::from(*d)).sum()
    }

    /// Compares the slope along a direction, by central differences of fourth order, with the gradient's.
    fn error(&self, what: &str, direction: &[(usize, f32)], step: f32) -> f64 {
        let difference = |step| self.loss(direction, step) - self.loss(direction, -step);
        let measured = (8.0 * difference(step) - difference(2.0 * step)) / (12.0 * f64::from(step));
        let product = |(index, by): &(usize, f32)| f64::from(self.gradient[*index]) * f64::from(*by);
        let told: f64 = direction.iter().map(product).sum();
        let error = (measured - told).abs() / (measured.abs() + 0.1);
        assert!(error < 5e-3, "{what}: slope {measured}, by the gradient {told}");
        error
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for family in FAMILIES {
        let slope = Slope::of(load(family).params().expect("weights"), Reference::of(family).part(2..4, 0.9));
        let mut worst = 0.0f64;
        for (tensor, range) in slope.params.layout.tensors() {
            let size = |index: &usize| slope.gradient[*index].abs();
            let steepest = range.clone().max_by(|a, b| size(a).total_cmp(&size(b))).expect("not empty");
            for index in [steepest, range.start + range.len() / 2] {
                let what = format!("{family}: {} at {}", tensor.name, index - range.start);
                worst = worst.max(slope.error(&what, &[(index, 1.0)], 8e-3));
            }
        }
        println!("measured {family}: finite differences {worst:.2e} (relative, tolerance 5e-3)");
    }
}

/// Along a tensor's own gradient g the slope is |g|: a check of all its elements at once, on a model of odd sizes.
#[test]
fn gradients_of_whole_tensors_are_those_of_finite_differences() {
    let model = load("wide");
    let slope = Slope::of(model.params().expect("weights"), training_batch(&model));
    let mut worst = 0.0f64;
    for (tensor, range) in slope.params.layout.tensors() {
        let norm = slope.gradient[range.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
        let direction: Vec<(usize, f32)> = range.clone().map(|i| (i, slope.gradient[i] / norm)).collect();
        worst = worst.max(slope.error(&tensor.name, &direction, 1e-2));
    }
    println!("measured wide: finite differences along whole tensors {worst:.2e} (relative, tolerance 5e-3)");
}
