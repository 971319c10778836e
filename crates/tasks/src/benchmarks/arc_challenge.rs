//! ARC-Challenge (Clark et al. 2018, arXiv 1803.05457): science questions of school examinations; the test set has
//! 1,172, mostly with four options, some with three or five.
//!
//! Graded by the option's letter. 22 questions label their options 1, 2, 3, ...: here all have letters.
//!
//! A sample problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("arc-challenge").unwrap();
//! let row = r#"{"question": "Which is a gas?", "answerKey": "2",
//!     "choices": {"text": ["ice", "air", "salt"], "label": ["1", "2", "3"]}}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(question.gold, "B");
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "Which is a gas?\n\nA. ice\nB. air\nC. salt\n\n\
//!      Reason step by step, and put the letter of the right option in \\boxed{}."
//! );
//! ```

use super::{ANSWER_TOKENS, Benchmark, HubFile, LETTER, Source, csqa};

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "arc-challenge",
    title: "ARC-C",
    suffix: LETTER,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "arc_challenge/test",
        hub: HubFile {
            repo: "allenai/ai2_arc",
            revision: None,
            file: "ARC-Challenge/test-00000-of-00001.parquet",
        },
        question: csqa::question,
    },
};
