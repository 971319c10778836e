//! One file per command.

pub mod bench;
pub mod compare;
pub mod demo;
pub mod dry_run;
pub mod eval;
pub mod generate;
pub mod grade;
pub mod guidance;
pub mod logprobs;
pub mod serve;
pub mod settings;
pub mod train;
pub mod word_problems;

use std::io::{self, Write};

/// Writes a result to stdout. A reader that has gone away (`| head`) is no error.
///
/// # Errors
/// Stdout cannot be written, e.g. because the disk it goes to is full.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to stdout: {e}"))
        }
        _ => Ok(()),
    }
}
