//! Decoding: so many prompts completed side by side.

use std::time::Duration;

use serde_json::json;
use thinktune_model::{FrozenModel, Precision};
use thinktune_policy::{Generate, Prompt, SampleKey, Sampling, Stream};

use super::flops::{self, Stretch};
use super::peak;
use super::report::{Report, Row};
use super::subject::{KEY, Subject, tokens};
use super::timed::clocked;
use crate::args::BenchArgs;

/// Completes 1, 16, 64, ... prompts of random tokens by `--new-tokens` tokens each.
///
/// # Errors
/// What the model reports.
pub fn run(subject: Subject, args: &BenchArgs) -> anyhow::Result<Report> {
    let Subject { mut model, name, .. } = subject;
    // nothing but the packed weights is needed, and that is what is to be measured
    let precision = model.precision();
    let mut model = {
        let frozen = model.frozen()?;
        drop(model);
        frozen
    };
    let mut rows = Vec::new();
    for &batch in &args.batches {
        rows.push(measure(&mut model, precision, batch, args)?);
    }
    let title = format!(
        "decoding: {} tokens after prompts of {}; each prompt is another one",
        args.new_tokens, args.prompt_tokens
    );
    let mut report = Report::new("decode", title, precision, Some((&name, model.spec())));
    let per_second = rows.iter().map(|(batch, rate, _)| (batch.to_string(), json!(rate)));
    report.fact("tokens_per_second", per_second.collect::<serde_json::Map<_, _>>());
    report.fact("memory_gigabytes_per_second", peak::memory_bandwidth() / 1e9);
    report.rows("batches", rows.into_iter().map(|(_, _, row)| row).collect());
    Ok(report)
}

/// The batch, tokens per second of the whole call (prompts included), and the decoding alone.
fn measure(
    model: &mut FrozenModel,
    precision: Precision,
    batch: u32,
    args: &BenchArgs,
) -> anyhow::Result<(u32, f64, Row)> {
    let vocab = model.spec().vocab_size;
    let prompts: Vec<Prompt> = (0..batch)
        .map(|question| Prompt {
            tokens: tokens(args.seed, vocab, SampleKey { question, ..KEY }, args.prompt_tokens).into(),
            keys: vec![SampleKey { stream: Stream::Generate, question, ..KEY }],
        })
        .collect();
    let sampling = Sampling::plain(args.seed, args.new_tokens, Vec::new());
    // Completions of one token come from the prompts' own logits: all that is run is the prompts.
    let first = Sampling { max_tokens: 1, ..sampling.clone() };
    let (mut prefill, mut whole) = (Duration::ZERO, Duration::ZERO);
    clocked(&mut prefill, || model.share().generate(&prompts, &first, &mut |_| {}))?;
    clocked(&mut whole, || model.share().generate(&prompts, &sampling, &mut |_| {}))?;
    let decode = whole.saturating_sub(prefill);
    let (rows, steps) = (batch as usize, args.new_tokens - 1);
    let stretch = Stretch { from: args.prompt_tokens, tokens: steps, predicting: steps };
    let spec = model.spec();
    let rate = (rows * args.new_tokens) as f64 / whole.as_secs_f64();
    let row = Row::new(&batch.to_string(), &format!("batch {batch}"), decode)
        .tokens(rows * steps)
        .flop(rows as f64 * flops::forward(spec, stretch))
        .bytes(rows.div_ceil(64) as f64 * steps as f64 * flops::decode_bytes(spec, precision));
    Ok((batch, rate, row))
}
