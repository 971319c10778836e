//! CommonsenseQA (Talmor et al. 2019): five options each; the 1,221 problems of the validation split, since the test
//! split has no public answers.
//!
//! Graded by the option's letter.
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("csqa").unwrap();
//! let row = r#"{"question": "Where does a mug go?", "answerKey": "B",
//!     "choices": {"label": ["A", "B"], "text": ["sky", "shelf"]}}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, "B");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "Where does a mug go?\n\nA. sky\nB. shelf\n\n\
//!      Reason step by step, and put the letter of the right option in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, Benchmark, HubFile, LETTER, Source, options};
use crate::Question;
use crate::rows::Row;

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "csqa",
    title: "CSQA",
    suffix: LETTER,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "csqa/validation",
        hub: HubFile {
            repo: "tau/commonsense_qa",
            revision: None,
            file: "data/validation-00000-of-00001.parquet",
        },
        question,
    },
};

/// Options with labels of their own beside their texts, the answer by its label; ARC has the same layout.
pub(super) fn question(row: &Row, index: u32, _: u64) -> Result<Question, String> {
    let choices = row.row("choices")?;
    let (labels, texts) = (choices.texts("label")?, choices.texts("text")?);
    if labels.len() != texts.len() {
        return Err(format!("{} labels for {} options", labels.len(), texts.len()));
    }
    let gold = options::place_of(row.text("answerKey")?, &labels)?;
    options::question(index, row.text("question")?, &texts, gold)
}
