//! Passes that must agree: sampler, scorer and trainer, alone and in company, on one thread and several.
//! Where bits are compared, any difference at all is a failure.

mod common;
#[path = "common/models.rs"]
mod models;

use common::{assert_close, assert_same_bits, key};
use models::{LARGE, MODELS, generate, large, load, prompts, sampling, threads, train_once, training_batch};
use thinktune_policy::{Completion, Prompt, Score, TokenBatch, Train};

#[test]
fn sampler_scorer_and_trainer_record_the_same_bits() {
    for name in MODELS.into_iter().chain(large().iter().copied()) {
        let mut model = load(name);
        let cases = [(1.0, 1.0), (0.7, 0.7), (0.0, 1.0)];
        for (drawn_at, temperature) in cases.into_iter().take(if name.starts_with(LARGE) { 1 } else { 3 }) {
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
        let mut plain = sampling(1.0, 24);
        plain.stop = (0..model.spec().vocab_size as u32 / 32).collect();
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

/// Takes about five seconds: a model must be large for its products to be shared among threads at all.
#[test]
fn the_number_of_threads_changes_no_bit() {
    for name in MODELS.into_iter().chain(large().iter().copied()) {
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
        for count in if name.starts_with(LARGE) { 2..3 } else { 2..4 } {
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
