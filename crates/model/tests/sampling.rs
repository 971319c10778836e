//! What is drawn: frequencies against the logits, truncation, greedy choice, stop tokens, limits, bad input.

mod common;

use common::{key, model_dir};
use thinktune_model::{Device, LocalModel, Precision};
use thinktune_policy::{
    Completion, Finish, Generate, Prompt, SampleKey, Sampling, Stream, TokenBatch, Train,
};

const PROMPT: [u32; 6] = [7, 30, 12, 55, 3, 41];

fn model() -> LocalModel {
    LocalModel::load(&model_dir("qwen3"), Device::Cpu, Precision::F32).expect("model")
}

/// A model of which every next token is equally likely.
fn indifferent() -> LocalModel {
    let mut params = model().params().expect("weights").clone();
    let head = params.layout.range("lm_head.weight").expect("untied head");
    params.data[head].fill(0.0);
    LocalModel::new(params, Device::Cpu, Precision::F32).expect("model")
}

fn prompt(tokens: &[u32], keys: Vec<SampleKey>) -> Vec<Prompt> {
    vec![Prompt { tokens: tokens.into(), keys }]
}

fn samples(model: &mut LocalModel, count: u32, sampling: &Sampling) -> Vec<Completion> {
    let prompts = prompt(&PROMPT, (0..count).map(|sample| key(0, sample)).collect());
    model.generate(&prompts, sampling, &mut |_| {}).expect("generate").remove(0)
}

/// Probabilities of the token after `PROMPT`, from the logits.
fn next_token(model: &mut LocalModel, temperature: f64) -> Vec<f64> {
    let vocab = model.spec().vocab_size;
    let logits = model.logits(&PROMPT).expect("logits");
    normalised(
        logits[(PROMPT.len() - 1) * vocab..].iter().map(|x| (f64::from(*x) / temperature).exp()).collect(),
    )
}

fn normalised(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / sum).collect()
}

/// Keeps the tokens that `keep(rank, mass of likelier ones, probability)` allows.
fn truncated(probabilities: &[f64], keep: impl Fn(usize, f64, f64) -> bool) -> Vec<f64> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
    let (mut kept, mut mass) = (vec![0.0; probabilities.len()], 0.0);
    for (rank, token) in order.into_iter().enumerate() {
        if keep(rank, mass, probabilities[token]) {
            kept[token] = probabilities[token];
        }
        mass += probabilities[token];
    }
    normalised(kept)
}

/// Pearson's statistic with rare outcomes pooled; fails where it is five standard deviations too large,
/// or where something impossible was drawn.
fn assert_drawn_from(what: &str, draws: impl Iterator<Item = usize>, probabilities: &[f64]) {
    let mut counts = vec![0.0; probabilities.len()];
    draws.for_each(|outcome| counts[outcome] += 1.0);
    let total: f64 = counts.iter().sum();
    let (mut statistic, mut cells, mut rare) = (0.0, 0.0, (0.0, 0.0));
    for (count, probability) in counts.iter().zip(probabilities) {
        assert!(*count == 0.0 || *probability > 0.0, "{what}: drew what has probability 0");
        let expected = probability * total;
        if expected < 5.0 {
            rare = (rare.0 + count, rare.1 + expected);
        } else {
            statistic += (count - expected).powi(2) / expected;
            cells += 1.0;
        }
    }
    if rare.1 >= 5.0 {
        statistic += (rare.0 - rare.1).powi(2) / rare.1;
        cells += 1.0;
    }
    let freedom: f64 = cells - 1.0;
    println!("measured {what}: chi-square {statistic:.1} at {freedom} degrees of freedom");
    assert!(
        statistic < freedom + 5.0 * (2.0 * freedom).sqrt(),
        "{what}: {statistic} at {freedom} degrees of freedom"
    );
}

fn first_tokens(completions: &[Completion]) -> impl Iterator<Item = usize> {
    completions.iter().map(|completion| completion.tokens[0] as usize)
}

#[test]
fn frequencies_follow_the_logits() {
    let mut model = model();
    for temperature in [1.0f32, 0.5, 1.7] {
        let sampling = Sampling { temperature, ..Sampling::plain(3, 1, vec![]) };
        let want = next_token(&mut model, f64::from(temperature));
        let out = samples(&mut model, 4000, &sampling);
        assert_drawn_from(&format!("temperature {temperature}"), first_tokens(&out), &want);
        for completion in &out {
            let want = want[completion.tokens[0] as usize].ln();
            assert!((f64::from(completion.logprobs[0]) - want).abs() < 1e-5);
        }
    }
}

#[test]
fn truncation_keeps_what_it_says_and_records_untruncated_logprobs() {
    let mut model = model();
    let all = next_token(&mut model, 1.0);
    let plain = Sampling::plain(4, 1, vec![]);
    let top = all.iter().copied().fold(0.0, f64::max);
    let cases = [
        ("top-k 5", Sampling { top_k: Some(5), ..plain.clone() }, truncated(&all, |rank, _, _| rank < 5)),
        ("top-k beyond the vocabulary", Sampling { top_k: Some(999), ..plain.clone() }, all.clone()),
        ("top-p 0.6", Sampling { top_p: 0.6, ..plain.clone() }, truncated(&all, |_, mass, _| mass < 0.6)),
        ("min-p 0.1", Sampling { min_p: 0.1, ..plain.clone() }, truncated(&all, |_, _, p| p >= 0.1 * top)),
    ];
    for (name, sampling, want) in cases {
        let support = want.iter().filter(|p| **p > 0.0).count();
        assert!(name.contains("beyond") || (support > 2 && support < 40), "{name}: {support} tokens");
        let out = samples(&mut model, 4000, &sampling);
        assert_drawn_from(name, first_tokens(&out), &want);
        for completion in &out {
            let want = all[completion.tokens[0] as usize].ln();
            assert!((f64::from(completion.logprobs[0]) - want).abs() < 1e-5, "{name}");
        }
    }
}

#[test]
fn numbers_of_different_positions_samples_questions_and_steps_are_unrelated() {
    let mut model = indifferent();
    let plain = Sampling::plain(5, 16, vec![]);
    let vocab = model.spec().vocab_size;
    let uniform = vec![1.0 / vocab as f64; vocab];
    let pairs = vec![1.0 / 49.0; 49];
    let cell = |a: u32, b: u32| (a % 7 * 7 + b % 7) as usize;
    // 61 = 8 * 7 + 5: tokens are taken below 56 so that residues are equally likely.
    let draw = |model: &mut LocalModel, seed: u64, question: u32, step: u32, stream: Stream| {
        let keys = (0..200).map(|sample| SampleKey { stream, step, question, sample }).collect();
        let sampling = Sampling { seed, ..plain.clone() };
        let out = model.generate(&prompt(&PROMPT, keys), &sampling, &mut |_| {}).expect("generate");
        out[0].iter().flat_map(|c| c.tokens.clone()).collect::<Vec<u32>>()
    };
    let base = draw(&mut model, 5, 0, 1, Stream::Attempt);
    assert_drawn_from("uniform tokens", base.iter().map(|t| *t as usize), &uniform);
    let others = [
        ("the next position", [&base[1..], &base[..1]].concat()),
        ("the next sample", [&base[16..], &base[..16]].concat()),
        ("another question", draw(&mut model, 5, 1, 1, Stream::Attempt)),
        ("another step", draw(&mut model, 5, 0, 2, Stream::Attempt)),
        ("another stream", draw(&mut model, 5, 0, 1, Stream::HeldOut)),
        ("another seed", draw(&mut model, 6, 0, 1, Stream::Attempt)),
    ];
    for (name, other) in others {
        let both = base.iter().zip(&other).filter(|(a, b)| **a < 56 && **b < 56).map(|(a, b)| cell(*a, *b));
        assert_drawn_from(name, both, &pairs);
    }
    assert_eq!(base, draw(&mut model, 5, 0, 1, Stream::Attempt), "the same key gives the same numbers");
}

#[test]
fn greedy_takes_the_likeliest_and_records_temperature_one() {
    let mut model = model();
    let sampling = Sampling { temperature: 0.0, ..Sampling::plain(6, 12, vec![]) };
    let out = samples(&mut model, 2, &sampling);
    assert_eq!(out[0], out[1]);
    let vocab = model.spec().vocab_size;
    let tokens = [&PROMPT[..], &out[0].tokens].concat();
    let logits = model.logits(&tokens).expect("logits");
    for (i, token) in out[0].tokens.iter().enumerate() {
        let row = &logits[(PROMPT.len() - 1 + i) * vocab..][..vocab];
        let best = (0..vocab).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("vocabulary");
        assert_eq!(*token as usize, best, "position {i}");
        let sum: f64 = row.iter().map(|x| f64::from(*x).exp()).sum();
        assert!((f64::from(out[0].logprobs[i]) - (f64::from(row[best]) - sum.ln())).abs() < 1e-5);
    }
}

#[test]
fn a_completion_ends_with_the_first_stop_token_or_the_limit() {
    let mut model = model();
    let stop: Vec<u32> = vec![3, 17, 29, 44, 60];
    let out = samples(&mut model, 60, &Sampling::plain(8, 20, stop.clone()));
    let free = samples(&mut model, 60, &Sampling::plain(8, 20, vec![]));
    for (completion, free) in out.iter().zip(&free) {
        assert_eq!((free.tokens.len(), free.finish), (20, Finish::Length));
        let end = free.tokens.iter().position(|token| stop.contains(token)).map_or(20, |at| at + 1);
        assert_eq!(completion.tokens, free.tokens[..end]);
        assert_eq!(completion.logprobs, free.logprobs[..end]);
        let stopped = completion.tokens.last().is_some_and(|token| stop.contains(token));
        assert_eq!(completion.finish, if stopped { Finish::Stop } else { Finish::Length });
    }
    assert!(out.iter().any(|c| c.finish == Finish::Stop) && out.iter().any(|c| c.finish == Finish::Length));
}

#[test]
fn the_context_is_a_limit_too() {
    let mut model = model();
    let context = model.spec().context;
    for room in [1, 2, 5] {
        let tokens: Vec<u32> = (0..(context - room) as u32).map(|i| i * 5 % 61).collect();
        let out =
            model.generate(&prompt(&tokens, vec![key(0, 0)]), &Sampling::plain(9, 50, vec![]), &mut |_| {});
        let completion = out.expect("generate").remove(0).remove(0);
        assert_eq!((completion.tokens.len(), completion.finish), (room, Finish::Length));
    }
}

#[test]
fn progress_ends_complete() {
    let mut model = model();
    let mut seen = Vec::new();
    let prompts = prompt(&PROMPT, (0..9).map(|sample| key(0, sample)).collect());
    let out = model
        .generate(&prompts, &Sampling::plain(1, 8, vec![3, 17]), &mut |p| seen.push(p))
        .expect("generate");
    let last = seen.last().expect("progress is told");
    assert_eq!((last.finished, last.total), (9, 9));
    assert_eq!(last.tokens, out[0].iter().map(|c| c.tokens.len()).sum::<usize>());
    assert!(seen.windows(2).all(|w| w[0].finished <= w[1].finished && w[0].tokens <= w[1].tokens));
}

#[test]
fn bad_input_is_refused_in_words() {
    let mut model = model();
    let context = model.spec().context;
    let plain = Sampling::plain(1, 4, vec![]);
    for (tokens, expected) in [
        (vec![], "empty"),
        (vec![1, 61, 2], "61"),
        ((0..context as u32).map(|i| i % 61).collect::<Vec<_>>(), "context"),
    ] {
        let error =
            model.generate(&prompt(&tokens, vec![key(0, 0)]), &plain, &mut |_| {}).expect_err("refused");
        assert!(error.to_string().contains(expected), "{error}");
    }
    for (tokens, targets) in [(vec![1, 61, 2], 1), (vec![1; context + 1], 1)] {
        let mut batch = TokenBatch::new(1.0);
        batch.push(&tokens, [targets]);
        assert!(Train::forward(&mut model, &batch).is_err(), "{tokens:?}");
    }
    let mut batch = TokenBatch::new(1.0);
    batch.push(&[1, 2, 3], [1, 2]);
    Train::forward(&mut model, &batch).expect("forward");
    assert!(model.backward(&[1.0]).is_err(), "one derivative for two targets");
    assert_eq!(
        model.generate(&[], &plain, &mut |_| {}).expect("nothing asked"),
        Vec::<Vec<Completion>>::new()
    );
}
