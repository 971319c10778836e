//! Gradings per second on one core, and the slowest of a folder of inputs.
//!
//! `cargo bench -p thinktune-tasks --bench grading` grades MATH-500's answers against each other: each gold
//! against itself, against its reference solution, and against the next gold. With a folder as argument, each
//! file in it is an input of the fuzz target `compare`.

#[path = "../tests/grading/data.rs"]
#[allow(dead_code)]
mod data;

use std::path::Path;
use std::time::{Duration, Instant};

use thinktune_tasks::grading::{AnswerKind, compare, grade};

fn main() {
    match std::env::args().skip(1).find(|argument| !argument.starts_with("--")) {
        Some(folder) => slowest(Path::new(&folder)),
        None => speed(),
    }
}

/// Gradings per second, best of five passes.
fn speed() {
    let Some(rows) = data::rows("math500/test.jsonl") else { return };
    let text = |at: usize, field: &str| rows[at % rows.len()][field].as_str().unwrap();
    let boxed = |at: usize| format!("Thus the answer is $\\boxed{{{}}}$.", text(at, "answer"));
    let pairs = |response: &dyn Fn(usize) -> String| -> Vec<(String, String)> {
        (0..rows.len()).map(|at| (text(at, "answer").to_string(), response(at))).collect()
    };
    let sets = [
        (
            "gold against itself, re-spelt",
            pairs(&|at| boxed(at).replace("frac", "dfrac").replace('+', " + ")),
        ),
        ("gold against the next gold", pairs(&|at| boxed(at + 1))),
        ("gold against its solution", pairs(&|at| text(at, "solution").to_string())),
    ];
    for (name, pairs) in &sets {
        let pass = || {
            let start = Instant::now();
            for _ in 0..20 {
                for (gold, response) in pairs {
                    std::hint::black_box(grade(AnswerKind::Math, gold, response));
                }
            }
            start.elapsed()
        };
        let best = (0..5).map(|_| pass()).min().unwrap();
        println!("{name}: {:.0} gradings/s", 20.0 * pairs.len() as f64 / best.as_secs_f64());
    }
}

/// The slowest comparisons of a folder of fuzz inputs.
fn slowest(folder: &Path) {
    let mut times: Vec<(Duration, String)> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let (gold, answer) = text.split_once('\n').unwrap_or((&text, &text));
        for (gold, answer) in [(gold, answer), (answer, gold)] {
            let start = Instant::now();
            let grading = compare(AnswerKind::Math, gold, answer);
            times.push((start.elapsed(), format!("{} {:?}", path.display(), grading.verdict)));
        }
    }
    times.sort();
    println!("{} comparisons; the slowest:", times.len());
    for (time, path) in times.iter().rev().take(10) {
        println!("{time:?} {path}");
    }
}
