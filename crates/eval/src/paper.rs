//! The paper's table beside ours: Llama-3.2-3B-Instruct, prompted in four ways and trained in four.

use crate::Summary;
use crate::table::{Table, percent, with_error};

/// Columns of the paper's table, by the names of the benchmarks.
const BENCHMARKS: [&str; 8] =
    ["gsm8k", "math500", "aime", "csqa", "arc-challenge", "gpqa-diamond", "strategyqa", "mmlu-pro"];

/// Rows: the name in the paper's table, accuracies in percent.
const ROWS: [(&str, [f64; 8]); 8] = [
    ("zero-shot CoT", [71.08, 38.14, 9.32, 67.39, 75.49, 25.10, 66.40, 34.41]),
    ("self-verify", [52.08, 34.98, 8.19, 54.41, 61.56, 23.94, 52.10, 28.10]),
    ("self-correct", [51.45, 32.46, 7.81, 45.90, 52.88, 24.60, 52.39, 25.50]),
    ("s1 budget", [51.30, 25.72, 9.01, 54.21, 59.51, 26.57, 57.88, 28.59]),
    ("SFT", [62.27, 29.00, 6.07, 65.91, 70.90, 24.49, 64.12, 36.07]),
    ("STaR", [73.54, 40.78, 8.91, 67.91, 77.24, 21.46, 66.84, 34.69]),
    ("GRPO", [78.89, 45.46, 12.03, 69.86, 79.13, 24.19, 70.68, 36.07]),
    ("ThinkTuning", [74.22, 47.54, 14.26, 70.43, 79.80, 28.18, 66.52, 37.21]),
];

/// For each benchmark of ours that the paper has, our accuracies and the paper's. The paper's trained models answer
/// zero-shot: it is our zero-shot row that a trained model's compare with.
pub fn beside_ours(summaries: &[Summary]) -> Table {
    let one = |benchmark: &str| summaries.iter().find(|summary| summary.benchmark == benchmark);
    let shown: Vec<(usize, &str)> = (0..).zip(BENCHMARKS).filter(|(_, name)| one(name).is_some()).collect();
    let title = |name: &str| one(name).map_or(name.into(), |summary| summary.benchmark_title.clone());
    let head = ["ours / paper".to_string()].into_iter().chain(shown.iter().map(|(_, name)| title(name)));
    let row = |(row_title, accuracies): &(&str, [f64; 8])| {
        let cell = |(column, name): &(usize, &str)| {
            let ours =
                summaries.iter().find(|ours| ours.benchmark == *name && ours.method_title == *row_title);
            let ours = ours.map_or("-".into(), |ours| with_error(ours.accuracy, ours.standard_error));
            format!("{ours} / {}", percent(accuracies[*column] / 100.0))
        };
        [row_title.to_string()].into_iter().chain(shown.iter().map(cell)).collect()
    };
    let head = head.collect();
    Table { head, rows: ROWS.iter().map(row).collect(), names: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::summary;

    #[test]
    fn ours_stand_beside_the_papers() {
        let ours = [
            summary("math500", "zero-shot", 4),
            summary("word-problems", "zero-shot", 4),
            summary("math500", "s1", 1),
        ];
        let text = beside_ours(&ours).to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ours / paper               MATH-500");
        assert_eq!(lines[1], "zero-shot CoT  43.21 ± 1.23 / 38.14");
        assert_eq!(lines[4], "s1 budget             43.21 / 25.72");
        assert_eq!(lines[8], "ThinkTuning               - / 47.54");
    }

    #[test]
    fn rows_and_columns_are_those_that_are_evaluated() {
        for method in crate::methods::ALL {
            assert!(ROWS.iter().any(|(title, _)| *title == method.title()), "{}", method.title());
        }
        for name in BENCHMARKS {
            assert!(thinktune_tasks::benchmarks::by_name(name).is_some(), "{name}");
        }
    }
}
