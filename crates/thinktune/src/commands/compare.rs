//! `thinktune compare`: two evaluations of the same questions, side by side.

use std::path::{Path, PathBuf};

use serde_json::json;
use thinktune_eval::compare::{Comparison, accuracies, compare, reflections};

use crate::args::CompareArgs;
use crate::commands::print;

/// Compares and prints.
pub fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let (a, b) = (evaluation(&args.a), evaluation(&args.b));
    let comparisons = compare(&a, &b, args.seed)?;
    if args.json {
        return print(&json!({ "a": a, "b": b, "comparisons": comparisons }).to_string());
    }
    let unpaired: usize = comparisons.iter().map(|comparison| comparison.unpaired).sum();
    if unpaired > 0 {
        eprintln!("note: {unpaired} questions have answers in one evaluation only and are left out");
    }
    print(&format!("A  {}\nB  {}\n\n{}", a.display(), b.display(), text(&comparisons)))
}

fn text(comparisons: &[Comparison]) -> String {
    let (accuracies, reflections) = (accuracies(comparisons), reflections(comparisons));
    format!(
        "{}\n\nB - A in points, with its 95 % bootstrap interval; only A, only B: questions one of them alone gets \
         right;\np: McNemar's exact test on these; tokens: mean length of an answer.\n\n{}\n\n\
         Shares of responses, A > B: those that go on after a first final answer, and those with words of each behaviour.",
        accuracies.to_text(),
        reflections.to_text()
    )
}

/// A run's evaluation lies within its folder.
fn evaluation(folder: &Path) -> PathBuf {
    let within = folder.join("eval");
    if !folder.join("evaluation.json").exists() && within.is_dir() { within } else { folder.into() }
}
