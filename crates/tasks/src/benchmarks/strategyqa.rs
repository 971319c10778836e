//! StrategyQA (Geva et al. 2021, arXiv 2101.02235): yes/no questions that take several facts. The official test
//! set has no public answers: a file at hand is one cut of the official training set, the hub's another (687 questions),
//! so accuracies on the two are not of the same questions.
//!
//! Graded by yes or no.
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("strategyqa").unwrap();
//! let row = r#"{"qid": "x", "question": "Could a cat lift a car?", "answer": false, "facts": []}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, "no");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "Could a cat lift a car?\n\nReason step by step, and put yes or no in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, Benchmark, HubFile, Source};
use crate::Question;
use crate::grading::AnswerKind;

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "strategyqa",
    title: "StrategyQA",
    suffix: "\n\nReason step by step, and put yes or no in \\boxed{}.",
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "strategyqa/test",
        hub: HubFile {
            repo: "ChilleD/StrategyQA",
            revision: Some("refs/convert/parquet"),
            file: "default/test/0000.parquet",
        },
        question: |row, index, _| {
            let gold = if row.yes_no("answer")? { "yes" } else { "no" };
            Ok(Question {
                index,
                text: row.text("question")?.into(),
                gold: gold.into(),
                solution: None,
                kind: AnswerKind::YesNo,
            })
        },
    },
};
