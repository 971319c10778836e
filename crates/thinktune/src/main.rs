//! `thinktune`: the program. Reads the command line and the configuration, wires the libraries together, prints
//! results to stdout and everything else to stderr, and chooses the exit code.

mod args;
mod commands;
mod config;
mod failure;
mod interrupt;
mod logging;
mod place;
mod plan;
mod progress;
mod session;
mod shapes;
mod stall;
mod work;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::start(cli.common.verbose, cli.common.quiet);
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Demo(args) => commands::demo::run(args, cli.common),
        Command::Train(args) => commands::train::run(args, cli.common),
        Command::Generate(args) => commands::generate::run(args, cli.common),
        Command::Logprobs(args) => commands::logprobs::run(args, cli.common),
        Command::Grade(args) => commands::grade::run(args),
        Command::Homework(args) => commands::homework::run(args),
        Command::Bench(args) => commands::bench::run(args, cli.common),
        Command::Settings => commands::settings::run(),
    }
}
