//! MATH-500 (Lightman et al. 2023, arXiv 2305.20050): 500 problems of the MATH test set (Hendrycks et al. 2021).
//!
//! Graded by mathematical equality of the boxed answer with the reference, not by spelling: `\frac12`, `0.5` and
//! `\dfrac{1}{2}` are one answer.
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("math500").unwrap();
//! let row = r#"{"problem": "What is $\\frac{3}{4}-\\frac14$?", "answer": "\\frac{1}{2}", "solution": "...", "level": 1}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, r"\frac{1}{2}");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "What is $\\frac{3}{4}-\\frac14$?\n\nReason step by step, and put the final answer in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, BOXED, Benchmark, HubFile, Source};
use crate::Question;
use crate::grading::AnswerKind;

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "math500",
    title: "MATH-500",
    suffix: BOXED,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "math500/test",
        hub: HubFile { repo: "HuggingFaceH4/MATH-500", revision: None, file: "test.jsonl" },
        question: |row, index, _| {
            Ok(Question {
                index,
                text: row.text("problem")?.into(),
                gold: row.text("answer")?.into(),
                solution: row.text("solution").ok().map(str::to_owned),
                kind: AnswerKind::Math,
            })
        },
    },
};
