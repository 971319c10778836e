//! Generated word problems that no training run has seen (see [`crate::word_problems`]).
//!
//! Graded by the number in the last box. Nothing is appended to a question: the demo's models know how to answer.
//!
//! ```
//! # use thinktune_tasks::benchmarks::{self, Source};
//! let benchmark = benchmarks::by_name("word-problems").unwrap();
//! let Source::Generated(generate) = benchmark.source else { unreachable!() };
//! let question = &generate(1, 4)[0];
//! assert!(question.text.contains(" How many "));
//! assert_eq!(benchmark.prompt(question), question.text);
//! ```

use super::{Benchmark, Source};
use crate::word_problems::{Split, questions};

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "word-problems",
    title: "Word problems",
    suffix: "",
    answer_tokens: 96,
    source: Source::Generated(|seed, count| questions(seed, Split::HeldOut, count)),
};
