//! AIME: problems of the American Invitational Mathematics Examination; every answer is an integer from 0 to 999.
//!
//! `aime` is the collection 1983-2024 (933 problems: some years are incomplete), which the paper's accuracies are
//! of; `aime24` are the 30 of 2024.
//!
//! Graded as the contest does: the integer counts, `025` is 25. One problem of 2022 has two accepted answers, "080 or
//! 081", and either is right.
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("aime").unwrap();
//! let row = r#"{"ID": "1900-1", "Year": 1900, "Problem Number": 1, "Question": "Find $5^2$ .", "Answer": "025", "Part": null}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, "025");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "Find $5^2$ .\n\nReason step by step, and put the final answer in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, BOXED, Benchmark, HubFile, Source};
use crate::Question;
use crate::grading::AnswerKind;
use crate::rows::Row;

/// 1983 to 2024.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "aime",
    title: "AIME",
    suffix: BOXED,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "aime/test",
        hub: HubFile {
            repo: "di-zhang-fdu/AIME_1983_2024",
            revision: None,
            file: "AIME_Dataset_1983_2024.csv",
        },
        question,
    },
};

/// 2024 alone.
pub(super) const AIME_2024: Benchmark = Benchmark {
    name: "aime24",
    title: "AIME 2024",
    suffix: BOXED,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "aime/aime24",
        hub: HubFile {
            repo: "HuggingFaceH4/aime_2024",
            revision: None,
            file: "data/train-00000-of-00001.parquet",
        },
        question,
    },
};

/// The two collections name their columns differently.
fn question(row: &Row, index: u32, _: u64) -> Result<Question, String> {
    Ok(Question {
        index,
        text: row.text_under(&["Question", "problem"])?.into(),
        gold: row.text_under(&["Answer", "answer"])?.into(),
        solution: row.text("solution").ok().map(str::to_owned),
        kind: AnswerKind::Aime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::grading::grade;

    #[test]
    fn both_layouts_and_the_problem_with_two_answers() {
        let two = r#"{"Question": "q", "Answer": "080 or 081 (both were accepted)"}"#;
        let two = BENCHMARK.sample(two).unwrap();
        let says = |answer: &str| grade(two.kind, &two.gold, &format!("\\boxed{{{answer}}}")).verdict;
        assert_eq!((says("80"), says("081")), (Verdict::Correct, Verdict::Correct));
        assert_eq!((says("82"), says("80 or 81")), (Verdict::Wrong, Verdict::Wrong));
        let other =
            AIME_2024.sample(r#"{"id": 60, "problem": "q", "answer": "025", "solution": "s"}"#).unwrap();
        assert_eq!(grade(other.kind, &other.gold, "\\boxed{25}").verdict, Verdict::Correct);
        assert!(BENCHMARK.sample("{}").unwrap_err().contains("`Question` or `problem`"));
    }
}
