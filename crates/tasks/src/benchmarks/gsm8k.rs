//! GSM8K (Cobbe et al. 2021, arXiv 2110.14168): grade-school word problems; the test set has 1,319.
//!
//! Graded as its authors do, by the number after `####` in the reference answer: the response's final answer must be
//! the same number (thousands separators, currency and units do not matter).
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("gsm8k").unwrap();
//! let row = r#"{"question": "Ida bakes 12 rolls and eats 3. How many are left?", "answer": "12-3=<<12-3=9>>9\n#### 9"}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, "9");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "Ida bakes 12 rolls and eats 3. How many are left?\n\n\
//!      Reason step by step, and put the final answer in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, BOXED, Benchmark, HubFile, Source};
use crate::gsm8k::question_of;

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "gsm8k",
    title: "GSM8K",
    suffix: BOXED,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "gsm8k/test",
        hub: HubFile { repo: "openai/gsm8k", revision: None, file: "main/test-00000-of-00001.parquet" },
        question: |row, index, _| question_of(row.text("question")?, row.text("answer")?, index),
    },
};
