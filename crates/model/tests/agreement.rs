//! Runs that must agree: sampler and trainer, one thread and several, alone and in company, whole and in parts,
//! stopped and resumed. Where bits are compared, any difference at all is a failure.

mod common;

use common::{FAMILIES, Reference, assert_close, assert_same_bits, gradient_distance, key, model_dir};
use thinktune_model::init_random;
use thinktune_model::memory::Recompute;
use thinktune_model::surface::{AdamW, Completion, Generate, Prompt, Sampling, Score, TokenBatch, Train};
use thinktune_model::{LocalModel, ModelSpec, Params};

const ADAMW: AdamW =
    AdamW { lr: 3e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, max_grad_norm: 1.0 };

/// The reference models, and one whose sizes run past every tile and block of the kernels without
/// being a multiple of any.
const MODELS: [&str; 6] = ["llama", "llama_untied", "mistral", "qwen2", "qwen3", "wide"];

/// Too large for a thread's cache: sampled by all threads together.
const LARGE: &str = "large";

fn load(name: &str) -> LocalModel {
    let (width, ffn, head_dim, vocab_size) = match name {
        "wide" => (136, 301, 26, 1031),
        LARGE => (448, 1030, 72, 5003),
        family => return LocalModel::load(&model_dir(family)).expect("model"),
    };
    let spec = ModelSpec::from_dir(&model_dir("llama_untied")).expect("spec");
    let spec = ModelSpec { vocab_size, width, heads: 6, kv_heads: 2, head_dim, ffn, context: 400, ..spec };
    let mut params = init_random(spec, 7);
    for (tensor, range) in params.layout.tensors().to_vec() {
        if tensor.decays() {
            params.data[range].iter_mut().for_each(|w| *w *= 5.0);
        }
    }
    LocalModel::new(params)
}

/// Prompts of different lengths; the last two begin alike.
fn prompts(model: &LocalModel, samples: u32) -> Vec<Prompt> {
    let vocab = model.spec().vocab_size as u32;
    let scale = model.spec().context.div_ceil(64);
    [1, 7 * scale, 12 * scale, 17 * scale]
        .into_iter()
        .enumerate()
        .map(|(question, length)| {
            let salt = question.min(2) as u32;
            let tokens: Vec<u32> =
                (0..length as u32).map(|i| (i * i * 7 + i * 3 + salt * 11) % vocab).collect();
            let keys = (0..samples).map(|sample| key(question as u32, sample)).collect();
            Prompt { tokens: tokens.into(), keys }
        })
        .collect()
}

fn sampling(temperature: f32, max_tokens: usize) -> Sampling {
    let mut sampling = Sampling::plain(11, max_tokens, vec![2, 5]);
    sampling.temperature = temperature;
    sampling
}

fn generate(model: &mut LocalModel, prompts: &[Prompt], sampling: &Sampling) -> Vec<Vec<Completion>> {
    model.generate(prompts, sampling, &mut |_| {}).expect("generate")
}

/// Prompts with their completions as one packed batch, every completion token a target.
fn packed<'a>(
    rows: impl IntoIterator<Item = (&'a Prompt, &'a Completion)>,
    temperature: f32,
) -> (TokenBatch, Vec<f32>) {
    let (mut batch, mut recorded) = (TokenBatch::new(temperature), Vec::new());
    for (prompt, completion) in rows {
        let tokens = [&prompt.tokens[..], &completion.tokens].concat();
        batch.push(&tokens, prompt.tokens.len()..tokens.len());
        recorded.extend_from_slice(&completion.logprobs);
    }
    (batch, recorded)
}

fn pairs<'a>(prompts: &'a [Prompt], out: &'a [Vec<Completion>]) -> Vec<(&'a Prompt, &'a Completion)> {
    prompts
        .iter()
        .zip(out)
        .flat_map(|(prompt, completions)| completions.iter().map(move |c| (prompt, c)))
        .collect()
}

fn threads<R: Send>(count: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(count).build().expect("thread pool").install(work)
}

#[test]
fn sampler_scorer_and_trainer_record_the_same_bits() {
    for name in MODELS.into_iter().chain([LARGE]) {
        let mut model = load(name);
        let cases = [(1.0, 1.0), (0.7, 0.7), (0.0, 1.0)];
        for (drawn_at, temperature) in cases.into_iter().take(if name == LARGE { 1 } else { 3 }) {
            let prompts = prompts(&model, 5);
            let out = generate(&mut model, &prompts, &sampling(drawn_at, 30));
            let rows = pairs(&prompts, &out);
            assert!(rows.iter().all(|(_, c)| c.tokens.len() == c.logprobs.len()));

            let (batch, recorded) = packed(rows.clone(), temperature);
            let scored = model.score(&batch).expect("score").logprobs;
            assert_same_bits(&format!("{name}: cached decoding and score"), &recorded, &scored);
            let trained = Train::forward(&mut model, &batch).expect("forward").logprobs;
            assert_same_bits(&format!("{name}: cached decoding and training"), &recorded, &trained);

            for row in rows.iter().rev() {
                let (single, recorded) = packed([*row], temperature);
                let alone = model.score(&single).expect("score").logprobs;
                assert_same_bits(&format!("{name}: a row alone"), &recorded, &alone);
            }
        }
    }
}

#[test]
fn logits_are_those_of_the_prefix_and_explain_the_logprobs() {
    for name in MODELS {
        let mut model = load(name);
        let prompts = prompts(&model, 1);
        let tokens = prompts[3].tokens.to_vec();
        let vocab = model.spec().vocab_size;
        let whole = model.logits(&tokens).expect("logits");
        assert_eq!(whole.len(), tokens.len() * vocab);
        for length in [1, 2, tokens.len() / 2, tokens.len() - 1] {
            let prefix = model.logits(&tokens[..length]).expect("logits");
            assert_same_bits(&format!("{name}: logits of a prefix"), &prefix, &whole[..length * vocab]);
        }
        for temperature in [1.0, 0.7] {
            let mut batch = TokenBatch::new(temperature);
            batch.push(&tokens, 1..tokens.len());
            let scores = model.score(&batch).expect("score");
            let rows: Vec<Vec<f64>> = whole.chunks(vocab).map(|row| log_softmax(row, temperature)).collect();
            let logprobs: Vec<f32> =
                (1..tokens.len()).map(|t| rows[t - 1][tokens[t] as usize] as f32).collect();
            let entropy = |row: &Vec<f64>| -row.iter().map(|l| l.exp() * l).sum::<f64>();
            let entropies: Vec<f32> = rows[..rows.len() - 1].iter().map(|row| entropy(row) as f32).collect();
            assert_close(&format!("{name}: log-probs and logits"), &scores.logprobs, &logprobs, 1e-5);
            assert_close(&format!("{name}: entropies and logits"), &scores.entropies, &entropies, 2e-5);
        }
    }
}

fn log_softmax(row: &[f32], temperature: f32) -> Vec<f64> {
    let scaled: Vec<f64> = row.iter().map(|x| f64::from(*x) / f64::from(temperature)).collect();
    let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = top + scaled.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
    scaled.iter().map(|x| x - log_sum).collect()
}

#[test]
fn a_sample_does_not_depend_on_its_neighbours() {
    for name in MODELS {
        let mut model = load(name);
        let plain = sampling(1.0, 24);
        let prompts = prompts(&model, 6);
        let together = generate(&mut model, &prompts, &plain);
        let lengths: Vec<usize> = together.iter().flatten().map(|c| c.tokens.len()).collect();
        assert!(lengths.iter().min() < lengths.iter().max(), "{name}: rows should end at different times");

        let mut reversed: Vec<Prompt> = prompts.iter().rev().cloned().collect();
        reversed.iter_mut().for_each(|prompt| prompt.keys.reverse());
        let mut out = generate(&mut model, &reversed, &plain);
        out.reverse();
        out.iter_mut().for_each(|completions| completions.reverse());
        assert_eq!(out, together, "{name}: order");

        let mut fewer = prompts.clone();
        fewer.iter_mut().for_each(|prompt| prompt.keys.truncate(2));
        for (some, all) in generate(&mut model, &fewer, &plain).iter().zip(&together) {
            assert_eq!(some[..], all[..2], "{name}: number of samples");
        }
        for (prompt, completions) in prompts.iter().zip(&together) {
            let alone = Prompt { keys: vec![prompt.keys[5]], ..prompt.clone() };
            assert_eq!(generate(&mut model, &[alone], &plain)[0][0], completions[5], "{name}: alone");
        }
        let split: Vec<Prompt> = prompts
            .iter()
            .flat_map(|prompt| prompt.keys.iter().map(|key| Prompt { keys: vec![*key], ..prompt.clone() }))
            .collect();
        let split: Vec<Completion> = generate(&mut model, &split, &plain).into_iter().flatten().collect();
        assert_eq!(split, together.concat(), "{name}: a prompt per sample");
    }
}

/// What all prompts begin with is prefilled once, and kept for the next call where it still serves.
#[test]
fn a_shared_beginning_changes_no_bit() {
    for name in MODELS {
        let mut model = load(name);
        let vocab = model.spec().vocab_size as u32;
        let begin = |length: u32, end: &[u32]| {
            let tokens: Vec<u32> =
                (0..length).map(|i| (i * 13 + 5) % vocab).chain(end.iter().copied()).collect();
            Prompt { tokens: tokens.into(), keys: vec![key(0, 0), key(0, 1)] }
        };
        let calls = [
            vec![begin(20, &[1]), begin(20, &[2, 3, 4]), begin(20, &[1])],
            vec![begin(20, &[4, 4, 4, 4]), begin(20, &[5])],
            vec![begin(18, &[9]), begin(20, &[])],
            vec![begin(25, &[7]), begin(25, &[8])],
            vec![begin(30, &[6]), begin(3, &[6])],
            vec![begin(20, &[])],
        ];
        let plain = sampling(1.0, 12);
        for (number, prompts) in calls.iter().enumerate() {
            let together = generate(&mut model, prompts, &plain);
            for (prompt, completions) in prompts.iter().zip(&together) {
                let alone = generate(&mut load(name), std::slice::from_ref(prompt), &plain);
                assert_eq!(alone[0], *completions, "{name}: call {number}");
            }
        }
    }
}

#[test]
fn more_rows_than_are_decoded_at_a_time_make_no_difference() {
    let mut model = load("llama");
    let plain = sampling(1.0, 24);
    let prompts = prompts(&model, 150);
    let many = generate(&mut model, &prompts, &plain);
    let few = generate(&mut model, &prompts[2..], &plain);
    assert_eq!(many[2..], few);
    for sample in [0, 70, 149] {
        let prompt = Prompt { keys: vec![prompts[3].keys[sample]], ..prompts[3].clone() };
        assert_eq!(generate(&mut model, &[prompt], &plain)[0][0], many[3][sample]);
    }
}

#[test]
fn a_batch_too_long_for_one_pass_scores_the_same_bits() {
    let mut model = load("mistral");
    let prompt = prompts(&model, 1).pop().expect("prompts");
    let (mut batch, mut single) = (TokenBatch::new(1.0), TokenBatch::new(1.0));
    single.push(&prompt.tokens, 1..prompt.tokens.len());
    while batch.tokens.len() < 10_000 {
        batch.push(&prompt.tokens, 1..prompt.tokens.len());
    }
    let want = model.score(&single).expect("score");
    let got = model.score(&batch).expect("score");
    assert_same_bits("log-probs", &got.logprobs, &want.logprobs.repeat(batch.sequences()));
    assert_same_bits("entropies", &got.entropies, &want.entropies.repeat(batch.sequences()));
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

/// Nothing computed from the weights before an update is used after it.
#[test]
fn after_an_update_a_model_is_one_of_its_new_weights() {
    for name in MODELS {
        let mut model = load(name);
        let (batch, prompts) = (training_batch(&model), prompts(&model, 3));
        generate(&mut model, &prompts[2..], &sampling(1.0, 8));
        train_once(&mut model, &batch);
        let mut fresh = LocalModel::new(model.params().clone());
        let (after, expected) =
            [&mut model, &mut fresh].map(|m| generate(m, &prompts[2..], &sampling(1.0, 8))).into();
        assert_eq!(after, expected, "{name}");
        let scored = model.score(&batch).expect("score").logprobs;
        assert_same_bits(&format!("{name}: score"), &scored, &fresh.score(&batch).expect("score").logprobs);
    }
}

/// A training step on part of the reference sequences; gives the scores, the gradient and the new weights.
fn train_once(model: &mut LocalModel, batch: &TokenBatch) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let scores = Train::forward(model, batch).expect("forward");
    model.backward(&derivative(batch.targets.len())).expect("backward");
    let gradient = model.gradients();
    model.update(&ADAMW).expect("update");
    (scores.logprobs, gradient, model.params().data.clone())
}

/// Uneven derivatives of both signs, a zero among them.
fn derivative(targets: usize) -> Vec<f32> {
    (0..targets).map(|i| ((i * 5) % 7) as f32 / 10.0 - 0.3).collect()
}

/// Rows long and short, all of whose tokens are targets.
fn training_batch(model: &LocalModel) -> TokenBatch {
    let mut batch = TokenBatch::new(1.0);
    for prompt in prompts(model, 1).iter().skip(1) {
        batch.push(&prompt.tokens, 1..prompt.tokens.len());
        batch.push(&prompt.tokens[..2], [1]);
    }
    batch
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for name in MODELS.into_iter().chain([LARGE]) {
        let run = |count| {
            threads(count, || {
                let mut model = load(name);
                let batch = training_batch(&model);
                let first = train_once(&mut model, &batch);
                let second = train_once(&mut model, &batch);
                let prompts = prompts(&model, 4);
                (first, second, generate(&mut model, &prompts, &sampling(1.0, 12)))
            })
        };
        let one = run(1);
        for count in if name == LARGE { 2..3 } else { 2..4 } {
            let many = run(count);
            for (a, b) in [(&one.0, &many.0), (&one.1, &many.1)] {
                assert_same_bits(&format!("{name}: log-probs, {count} threads"), &a.0, &b.0);
                assert_same_bits(&format!("{name}: gradient, {count} threads"), &a.1, &b.1);
                assert_same_bits(&format!("{name}: weights, {count} threads"), &a.2, &b.2);
            }
            assert_eq!(one.2, many.2, "{name}: completions, {count} threads");
        }
    }
}

#[test]
fn micro_batches_add_up_to_the_same_gradient() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        let derivative = derivative(batch.targets.len());
        let scores = Train::forward(&mut model, &batch).expect("forward");
        model.backward(&derivative).expect("backward");
        let whole = model.gradients();
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
        let (gradient, mut worst) = (model.gradients(), 0.0f64);
        for (tensor, range) in model.params().layout.tensors() {
            let what = format!("{name}: gradient of {}", tensor.name);
            let distance = gradient_distance(&what, &gradient[range.clone()], &whole[range.clone()]);
            assert!(distance.norm <= 1e-5, "{what}: {distance:?}");
            worst = worst.max(distance.norm);
        }
        println!("measured {name}: gradient of micro-batches {worst:.2e} (relative, tolerance 1e-5)");
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
        assert!(model.gradients().iter().all(|g| *g == 0.0), "{name}");
        let mut derivative = derivative(targets);
        derivative[targets / 2..].fill(0.0);
        Train::forward(&mut model, &batch).expect("forward");
        model.backward(&derivative).expect("backward");
        let masked = model.gradients();
        let mut model = load(name);
        let mut fewer = batch.clone();
        fewer.targets.truncate(targets / 2);
        Train::forward(&mut model, &fewer).expect("forward");
        model.backward(&derivative[..targets / 2]).expect("backward");
        let gradient = model.gradients();
        for (tensor, range) in model.params().layout.tensors() {
            let what = format!("{name}: gradient of {}", tensor.name);
            let distance = gradient_distance(&what, &masked[range.clone()], &gradient[range.clone()]);
            assert!(distance.norm <= 1e-5, "{what}: {distance:?}");
        }
    }
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
        let mut model = LocalModel::new(params.clone());
        Train::forward(&mut model, &batch).expect("forward");
        model.backward(&derivative).expect("backward");
        let gradient = model.gradients();
        for (tensor, range) in params.layout.tensors() {
            assert!(gradient[range.clone()].iter().any(|g| *g != 0.0), "{} matters to the loss", tensor.name);
        }
        Self { params, batch, derivative, gradient }
    }

    fn loss(&self, direction: &[(usize, f32)], step: f32) -> f64 {
        let mut params = self.params.clone();
        direction.iter().for_each(|(index, by)| params.data[*index] += step * by);
        let scores = LocalModel::new(params).score(&self.batch).expect("score");
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
        let slope = Slope::of(load(family).params().clone(), Reference::of(family).part(2..4, 0.9));
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
    let slope = Slope::of(model.params().clone(), training_batch(&model));
    let mut worst = 0.0f64;
    for (tensor, range) in slope.params.layout.tensors() {
        let norm = slope.gradient[range.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
        let direction: Vec<(usize, f32)> = range.clone().map(|i| (i, slope.gradient[i] / norm)).collect();
        worst = worst.max(slope.error(&tensor.name, &direction, 1e-2));
    }
    println!("measured wide: finite differences along whole tensors {worst:.2e} (relative, tolerance 5e-3)");
}

#[test]
fn a_saved_state_continues_bit_for_bit() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        for _ in 0..3 {
            train_once(&mut model, &batch);
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        model.save_state(dir.path()).expect("save");
        let mut twin = load(name);
        twin.load_state(dir.path()).expect("load");
        assert_same_bits(&format!("{name}: restored weights"), &model.params().data, &twin.params().data);
        for _ in 0..2 {
            let (a, b) = (train_once(&mut model, &batch), train_once(&mut twin, &batch));
            assert_same_bits(&format!("{name}: log-probs after resuming"), &a.0, &b.0);
            assert_same_bits(&format!("{name}: gradient after resuming"), &a.1, &b.1);
            assert_same_bits(&format!("{name}: weights after resuming"), &a.2, &b.2);
        }
        assert_eq!(
            model.update(&ADAMW).expect("update").updates,
            twin.update(&ADAMW).expect("update").updates
        );
    }
}

#[test]
fn a_frozen_copy_stays_as_it_was() {
    for name in MODELS {
        let mut model = load(name);
        let batch = training_batch(&model);
        let mut frozen = model.frozen_copy();
        let before = frozen.score(&batch).expect("score").logprobs;
        train_once(&mut model, &batch);
        let after = frozen.score(&batch).expect("score").logprobs;
        assert_same_bits(&format!("{name}: frozen copy"), &before, &after);
        assert_ne!(before, model.score(&batch).expect("score").logprobs, "{name}: the student moved");
    }
}

#[test]
fn an_update_that_is_not_finite_changes_nothing() {
    let mut model = load("llama");
    let batch = training_batch(&model);
    train_once(&mut model, &batch);
    let before = model.params().data.clone();
    Train::forward(&mut model, &batch).expect("forward");
    let mut bad = derivative(batch.targets.len());
    bad[3] = f32::NAN;
    let refused = model.backward(&bad).and_then(|()| model.update(&ADAMW).map(|_| ()));
    assert!(refused.is_err(), "a NaN derivative must be refused");
    assert_same_bits("weights after a refused update", &model.params().data, &before);
    Train::forward(&mut model, &batch).expect("forward");
    model.backward(&derivative(batch.targets.len())).expect("backward");
    assert!(model.gradients().iter().all(|g| g.is_finite()), "nothing of the refused gradient is left");
    model.update(&ADAMW).expect("a later update succeeds");
}

#[test]
fn weights_that_are_not_numbers_are_an_error() {
    for family in FAMILIES {
        for part in ["embed_tokens.weight", "q_proj.weight", "down_proj.weight", "model.norm.weight"] {
            let mut params = load(family).params().clone();
            for (tensor, range) in params.layout.tensors().to_vec() {
                if tensor.name.ends_with(part) {
                    params.data[range].fill(f32::NAN);
                }
            }
            let mut model = LocalModel::new(params);
            let prompts = prompts(&model, 2);
            for temperature in [1.0, 0.0] {
                let out = model.generate(&prompts, &sampling(temperature, 4), &mut |_| {});
                assert!(out.is_err(), "{family}: generate with NaN in {part}, temperature {temperature}");
            }
            let batch = training_batch(&model);
            assert!(model.score(&batch).is_err(), "{family}: score with NaN in {part}");
            let before = model.params().data.clone();
            let trained = Train::forward(&mut model, &batch)
                .and_then(|_| model.backward(&derivative(batch.targets.len())))
                .and_then(|()| model.update(&ADAMW));
            assert!(trained.is_err(), "{family}: an update with NaN in {part}");
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&before), bits(&model.params().data), "{family}: weights after a refused update");
        }
    }
}
