//! `thinktune compare`: two evaluations of the same questions, side by side.

use std::path::{Path, PathBuf};

use serde_json::json;
use thinktune_eval::compare::{Compared, Comparison, accuracies, compare, reflections};

use crate::args::CompareArgs;
use crate::commands::print;

/// Compares and prints.
pub fn run(args: &CompareArgs) -> anyhow::Result<()> {
    let (a, b) = (evaluation(&args.a), evaluation(&args.b));
    let Compared { comparisons, differences, unchecked } = compare(&a, &b, args.seed, args.force)?;
    if !unchecked.is_empty() {
        eprintln!(
            "note: an earlier version wrote one of the folders; whether {} had the same prompt and limits cannot be checked",
            unchecked.join(", ")
        );
    }
    for difference in &differences {
        eprintln!("note: --force: {difference}");
    }
    if args.json {
        let comparison = json!({ "a": a, "b": b, "comparisons": comparisons, "differences": differences });
        return print(&comparison.to_string());
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
         right;\np: McNemar's exact test on these, with one sample of each question; tokens: mean length of an answer.\n\n{}\n\n\
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
