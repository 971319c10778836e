//! MMLU-Pro (Wang et al. 2024, arXiv 2406.01574): 12,032 questions of fourteen subjects, three to ten options each.
//!
//! Graded by the option's letter. The letter in `answer` counts, as in the authors' own evaluation: one row of the
//! copies in circulation has another `answer_index`.
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("mmlu-pro").unwrap();
//! let row = r#"{"question": "2+2?", "options": ["3", " 4", "5"], "answer": "B", "answer_index": 1}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, "B");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "2+2?\n\nA. 3\nB. 4\nC. 5\n\nReason step by step, and put the letter of the right option in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, Benchmark, HubFile, LETTER, Source, letter, options};
use crate::Question;
use crate::rows::Row;

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "mmlu-pro",
    title: "MMLU-Pro",
    suffix: LETTER,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "mmlu_pro/test",
        hub: HubFile { repo: "TIGER-Lab/MMLU-Pro", revision: None, file: "data/test-00000-of-00001.parquet" },
        question,
    },
};

fn question(row: &Row, index: u32, _: u64) -> Result<Question, String> {
    let shown = row.texts("options")?;
    let letters: Vec<String> = (0..26).take(shown.len()).map(|place| letter(place).to_string()).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    options::question(index, row.text("question")?, &shown, options::place_of(row.text("answer")?, &letters)?)
}
