//! Scores, samples and the likeliest tokens of rows of logits.

use super::{REFERENCE, close, down, numbers, part, same_bits, up};
use crate::{Backend, Draw, ScoreGradient};

pub(super) fn run<B: Backend>(backend: &B) {
    for (rows, vocab) in [(0, 7), (1, 1), (1, 64), (5, 131), (3, 1031)] {
        for temperature in [1.0, 0.7] {
            score(backend, [rows, vocab], temperature);
        }
    }
    special_values(backend);
    sample(backend);
    likeliest(backend);
}

fn logits_of(rows: usize, vocab: usize) -> Vec<f32> {
    numbers(rows * vocab, 1).into_iter().map(|x| 6.0 * x).collect()
}

fn score<B: Backend>(backend: &B, [rows, vocab]: [usize; 2], temperature: f32) {
    let what = format!("score of {rows} rows of {vocab} at temperature {temperature}");
    let logits = logits_of(rows, vocab);
    let targets: Vec<u32> = (0..rows).map(|r| ((r * 37 + vocab - 1) % vocab) as u32).collect();
    let (buffer, mut lse) = (up(backend, &logits), B::Buffer::default());
    let got = backend.score(&buffer, &targets, temperature, (&mut lse, 2)).expect("score");
    let mut want_lse = Vec::new();
    let want = REFERENCE.score(&logits, &targets, temperature, (&mut want_lse, 2)).expect("score");
    close(&what, &got.logprobs, &want.logprobs, 1e-5);
    close(&format!("{what}: entropy"), &got.entropies, &want.entropies, 1e-4);
    if rows == 0 {
        return;
    }
    close(&format!("{what}: log-sum-exp"), &down(backend, &lse)[2..], &want_lse[2..], 1e-5);
    let one = up(backend, part(&logits, rows - 1..rows, vocab));
    let alone = backend
        .score(&one, &targets[rows - 1..], temperature, (&mut B::Buffer::default(), 0))
        .expect("score");
    same_bits(&format!("{what}: last row alone"), &alone.logprobs, &got.logprobs[rows - 1..]);
    // a sampled token has the log-prob that scoring gives it
    let draw = Draw { uniform: 0.4, temperature, top_k: None, top_p: 1.0, min_p: 0.0 };
    let drawn = backend.sample(&buffer, &vec![draw; rows]).expect("sample");
    let drawn: Vec<(u32, f32)> = drawn.into_iter().flatten().collect();
    let tokens: Vec<u32> = drawn.iter().map(|(token, _)| *token).collect();
    let scores = backend.score(&buffer, &tokens, temperature, (&mut B::Buffer::default(), 0)).expect("score");
    let sampled: Vec<f32> = drawn.iter().map(|(_, logprob)| *logprob).collect();
    same_bits(&format!("{what}: sampler and scorer"), &sampled, &scores.logprobs);

    let d_logprobs: Vec<f32> = numbers(rows, 5);
    let gradient = ScoreGradient {
        vocab,
        rows: 0..rows,
        first_lse: 2,
        targets: &targets,
        d_logprobs: &d_logprobs,
        temperature,
    };
    let (mut d, mut want) = (up(backend, &logits), logits.clone());
    backend.score_backward(&mut d, &lse, &gradient);
    REFERENCE.score_backward(&mut want, &want_lse, &gradient);
    let whole = down(backend, &d);
    close(&format!("{what}: backward"), &whole, &want, 1e-5);
    let last = ScoreGradient {
        rows: rows - 1..rows,
        first_lse: rows + 1,
        targets: &targets[rows - 1..],
        d_logprobs: &d_logprobs[rows - 1..],
        ..gradient
    };
    let mut d = up(backend, &logits);
    backend.score_backward(&mut d, &lse, &last);
    let got = down(backend, &d);
    same_bits(
        &format!("{what}: backward of the last row"),
        part(&got, rows - 1..rows, vocab),
        part(&whole, rows - 1..rows, vocab),
    );
    same_bits(
        &format!("{what}: rows left alone"),
        part(&got, 0..rows - 1, vocab),
        part(&logits, 0..rows - 1, vocab),
    );
}

fn special_values<B: Backend>(backend: &B) {
    let vocab = 37;
    let mut logits = logits_of(3, vocab);
    logits[5] = f32::NEG_INFINITY;
    logits[vocab + 4] = f32::NAN;
    let buffer = up(backend, &logits);
    let scores = backend.score(&buffer, &[0, 0, 5], 1.0, (&mut B::Buffer::default(), 0)).expect("score");
    assert!(
        scores.logprobs[0].is_finite() && scores.entropies[0].is_finite(),
        "a logit of -inf is a probability of 0"
    );
    assert!(!scores.logprobs[1].is_finite(), "NaN among the logits is seen");
    assert!(scores.logprobs[2].is_finite(), "NaN in one row does not reach the next");
    let draw = Draw { uniform: 0.5, temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0 };
    let drawn = backend.sample(&buffer, &[draw; 3]).expect("sample");
    assert_eq!(
        drawn.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true],
        "samples beside NaN"
    );
}

fn sample<B: Backend>(backend: &B) {
    let vocab = 203;
    let mut logits = logits_of(1, vocab);
    (logits[0], logits[202], logits[9]) = (f32::NEG_INFINITY, f32::NEG_INFINITY, logits[100]);
    let buffer = up(backend, &logits);
    let draws = |draw: Draw| {
        // far from the edges of the intervals, where rounding decides
        let found = (0..400).map(|i| Draw { uniform: (f64::from(i) + 0.5) / 400.0, ..draw });
        found
            .filter(|draw| {
                let nudged = |by: f64| {
                    let draw = Draw { uniform: (draw.uniform + by).clamp(0.0, 0.999_999), ..*draw };
                    REFERENCE.sample(&logits, &[draw]).expect("sample")[0].map(|(id, _)| id)
                };
                nudged(-1e-5) == nudged(1e-5)
            })
            .collect::<Vec<_>>()
    };
    let plain = Draw { uniform: 0.0, temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0 };
    for draw in [
        plain,
        Draw { temperature: 0.3, ..plain },
        Draw { temperature: 0.0, ..plain },
        Draw { top_k: Some(7), ..plain },
        Draw { top_k: Some(1000), top_p: 0.83, ..plain },
        Draw { min_p: 0.05, ..plain },
        Draw { temperature: 1.7, top_k: Some(50), top_p: 0.9, min_p: 0.01, ..plain },
    ] {
        for draw in draws(draw) {
            let got = backend.sample(&buffer, &[draw]).expect("sample")[0];
            let want = REFERENCE.sample(&logits, &[draw]).expect("sample")[0];
            assert_eq!(got.map(|d| d.0), want.map(|d| d.0), "sample with {draw:?}");
            close("log-prob of a sample", &[got.map_or(0.0, |d| d.1)], &[want.map_or(0.0, |d| d.1)], 1e-5);
        }
    }
    for uniform in [0.0, 0.999_999_999] {
        let got = backend.sample(&buffer, &[Draw { uniform, ..plain }]).expect("sample")[0];
        assert!(got.is_some_and(|(id, _)| id != 0 && id != 202), "a token of probability 0 is not drawn");
    }
    // a row alone and among others
    let two = up(backend, &[logits.clone(), logits_of(1, vocab)].concat());
    let both = backend.sample(&two, &[Draw { uniform: 0.3, ..plain }; 2]).expect("sample");
    assert_eq!(
        both[0],
        backend.sample(&buffer, &[Draw { uniform: 0.3, ..plain }]).expect("sample")[0],
        "a row alone"
    );
}

fn likeliest<B: Backend>(backend: &B) {
    let vocab = 101;
    let mut logits = logits_of(2, vocab);
    logits[vocab + 3] = logits[vocab + 90];
    let buffer = up(backend, &logits);
    let wanted = [(1, 3, 5), (0, 100, 0), (1, 0, 101), (0, 7, 300)];
    let got = backend.likeliest(&buffer, vocab, &wanted).expect("likeliest");
    let want = REFERENCE.likeliest(&logits, vocab, &wanted).expect("likeliest");
    assert_eq!(got.len(), want.len(), "likeliest of each wanted");
    for (got, want) in got.iter().zip(&want) {
        close("log-prob of a token", &[got.logprob], &[want.logprob], 1e-5);
        let ids = |found: &crate::Likeliest| found.top.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(ids(got), ids(want), "the likeliest, equals by id");
        let logprobs = |found: &crate::Likeliest| found.top.iter().map(|(_, p)| *p).collect::<Vec<_>>();
        close("log-probs of the likeliest", &logprobs(got), &logprobs(want), 1e-5);
    }
    assert!(backend.likeliest(&buffer, vocab, &[]).expect("likeliest").is_empty(), "nothing wanted");
}
