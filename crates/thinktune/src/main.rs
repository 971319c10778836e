//! `thinktune`: the program. Reads the command line and the configuration, wires the libraries together, prints
//! results to stdout and everything else to stderr, and chooses the exit code.

mod args;
mod commands;
mod config;
mod failure;
mod fault_point;
mod held_out;
mod help_check;
mod interrupt;
mod logging;
mod memory;
mod model_source;
mod plan;
mod progress;
mod raise;
mod session;
mod shapes;
mod student;
mod work;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::UsageError;

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.common.verbose, cli.common.quiet);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    check_isa()?;
    match &cli.command {
        Command::Demo(args) => in_pool(|| commands::demo::run(args, cli.common)),
        Command::Train(args) => in_pool(|| commands::train::run(args, cli.common)),
        Command::Compare(args) => commands::compare::run(args),
        Command::Eval(args) => in_pool(|| commands::eval::run(args, cli.common)),
        Command::Generate(args) => in_pool(|| commands::generate::run(args, cli.common)),
        Command::Logprobs(args) => in_pool(|| commands::logprobs::run(args, cli.common)),
        Command::Grade(args) => commands::grade::run(args),
        Command::Guidance(args) => in_pool(|| commands::guidance::run(args, cli.common)),
        Command::Serve(args) => in_pool(|| commands::serve::run(args, cli.common)),
        Command::WordProblems(args) => commands::word_problems::run(args),
        Command::Homework { .. } => commands::word_problems::renamed(),
        Command::Bench(args) => in_pool(|| commands::bench::run(args, cli.common)),
        Command::Settings(args) => commands::settings::run(args),
    }
}

/// Runs a command that computes inside the thread pool: kernels cut their work among its threads, and from inside it
/// that costs no waiting for a thread to take notice.
fn in_pool(command: impl FnOnce() -> anyhow::Result<()> + Send) -> anyhow::Result<()> {
    // The threads get the stack that a main thread has. A pool that is there already is as good.
    let _ = rayon::ThreadPoolBuilder::new().stack_size(8 << 20).build_global();
    rayon::scope(|_| command())
}

/// Refuses kernels that were asked for and that this machine cannot run.
fn check_isa() -> Result<(), UsageError> {
    thinktune_cpu::forced().map(drop).map_err(|unknown| UsageError(unknown.to_string()))
}
