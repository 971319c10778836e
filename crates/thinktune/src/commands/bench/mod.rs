//! `thinktune bench`: how fast real work is on this machine, and what share of the machine that is.
//!
//! - `step` runs GRPO steps through [`act`](thinktune_method::act) and [`train`](thinktune_method::train), the code a
//!   run goes through, with a stopwatch around the model. Completions all have the same length (no token ends one)
//!   and rewards are numbers in [0, 1) that follow from the seed, so every group is trained on.
//! - `decode` completes prompts side by side, `train` makes updates on packed sequences, `gemm` multiplies matrices.
//!
//! Work is counted from the model's shape ([`flops`]), so a rate is of useful operations, and its share is of the
//! best rate this program's own kernel reaches on one large product in the same process ([`peak::peak`]).

mod decode;
mod flops;
mod gemm;
mod peak;
mod report;
mod step;
mod subject;
mod timed;
mod train;

use thinktune_model::memory::MachineMemory;
use thinktune_model::{ModelSpec, Precision};

use crate::args::{BenchArgs, BenchPart, Common};
use crate::commands::print;
use crate::failure::UsageError;
use report::Report;
use subject::Subject;

/// Measures and prints.
pub fn run(args: &BenchArgs, common: Common) -> anyhow::Result<()> {
    check(args)?;
    let report = match args.part {
        BenchPart::Gemm => gemm::run(args.precision.into()),
        part => {
            let subject = Subject::open(args, common.offline, |spec| check_fit(args, part, spec))?;
            measure(subject, args, part)?
        }
    };
    print(&if args.json { report.to_json().to_string() } else { report.to_text() })
}

fn measure(subject: Subject, args: &BenchArgs, part: BenchPart) -> anyhow::Result<Report> {
    match part {
        BenchPart::Step => step::run(subject, args),
        BenchPart::Decode => decode::run(subject, args),
        BenchPart::Train => train::run(subject, args),
        BenchPart::Gemm => Ok(gemm::run(args.precision.into())),
    }
}

/// What can be refused before anything is loaded.
fn check(args: &BenchArgs) -> Result<(), UsageError> {
    if let Some(data) = &args.data {
        if args.part != BenchPart::Step {
            let part = args.part.name();
            return Err(UsageError(format!(
                "--data with --part {part}: expected --part step, which asks questions"
            )));
        }
        if !data.is_file() {
            return Err(UsageError(format!("--data {}: expected a file that exists", data.display())));
        }
    }
    Ok(())
}

/// Refuses what the model or the machine has no room for, before weights are made or loaded.
fn check_fit(args: &BenchArgs, part: BenchPart, spec: &ModelSpec) -> Result<(), UsageError> {
    let longest = match part {
        BenchPart::Train => train::LENGTH,
        _ if args.data.is_some() => args.new_tokens + 1,
        _ => args.prompt_tokens + args.new_tokens,
    };
    if longest > spec.context {
        let context = spec.context;
        return Err(UsageError(format!(
            "sequences of {longest} tokens: the model's context is {context}; lower --prompt-tokens or --new-tokens"
        )));
    }
    // f32 weights, packed once to decode and twice to train; training adds gradients and two moments.
    let (f32s, packed) = if part == BenchPart::Decode { (1, 1) } else { (4, 2) };
    let bytes = f32s * 4 + packed * Precision::from(args.precision).bytes();
    let (needed, machine) = ((bytes * spec.parameters()) as u64, MachineMemory::detect().total);
    if needed > machine {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        return Err(UsageError(format!(
            "--part {} of this model holds {bytes} bytes for each of its weights, {:.1} GiB; this machine has {:.1} GiB. \
             Take a smaller --shape{}",
            part.name(),
            gib(needed),
            gib(machine),
            if part == BenchPart::Decode { "" } else { ", or --part decode" },
        )));
    }
    Ok(())
}
