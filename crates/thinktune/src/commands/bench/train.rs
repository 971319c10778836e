//! Training: updates on packed sequences, every token but the first a target.

use std::time::Duration;

use thinktune_policy::{AdamW, SampleKey, TokenBatch, Train};

use super::flops::{self, Stretch};
use super::report::{Report, Row};
use super::subject::{KEY, Subject, tokens};
use super::timed::{Clocks, Timed};
use crate::args::BenchArgs;

/// Sequences of an update.
const SEQUENCES: usize = 8;
/// Tokens of each.
pub const LENGTH: usize = 256;
const ADAMW: AdamW =
    AdamW { lr: 1e-6, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, max_grad_norm: 1.0 };

/// Makes `--steps` updates; the report is of the one of median length.
///
/// # Errors
/// What the model reports.
pub fn run(subject: Subject, args: &BenchArgs) -> anyhow::Result<Report> {
    let Subject { model, name, .. } = subject;
    let mut model = Timed::new(model);
    let mut updates: Vec<Clocks> =
        (1..=args.steps).map(|step| update(&mut model, step, args.seed)).collect::<anyhow::Result<_>>()?;
    let seconds: Vec<f64> = updates.iter().map(|clocks| clocks.work().as_secs_f64()).collect();
    updates.sort_by_key(Clocks::work);
    let median = updates[(updates.len() - 1) / 2];
    let spec = model.model().spec();
    let tokens = SEQUENCES * LENGTH;
    let stretch = Stretch { from: 0, tokens: LENGTH, predicting: LENGTH - 1 };
    let forward = SEQUENCES as f64 * flops::forward(spec, stretch);
    let row =
        |key: &str, name: &str, time: Duration, flop| Row::new(key, name, time).tokens(tokens).flop(flop);
    let title = format!("training: {SEQUENCES} sequences x {LENGTH} random tokens an update");
    let mut report = Report::new("train", title, args.precision.into(), Some((&name, spec)));
    report.fact("seconds_per_update", median.work().as_secs_f64());
    report.fact("updates_seconds", seconds);
    report.fact("tokens_per_second", tokens as f64 / median.work().as_secs_f64());
    report.rows(
        "phases",
        vec![
            Row::new("pack", "packing weights", median.pack),
            row("train_forward", "forward", median.forward, forward),
            row("train_backward", "backward", median.backward, 2.0 * forward),
            Row::new("update", "update", median.update),
            row("all", "all", median.work(), 3.0 * forward),
        ],
    );
    Ok(report)
}

fn update(model: &mut Timed, step: u32, seed: u64) -> anyhow::Result<Clocks> {
    let vocab = model.model().spec().vocab_size;
    let mut batch = TokenBatch::new(1.0);
    for sequence in 0..SEQUENCES as u32 {
        let key = SampleKey { step, question: sequence, ..KEY };
        batch.push(&tokens(seed, vocab, key, LENGTH), 1..LENGTH);
    }
    let targets = model.forward(&batch)?.logprobs.len();
    model.backward(&vec![-1.0 / targets as f32; targets])?;
    model.update(&ADAMW)?;
    Ok(model.take())
}
