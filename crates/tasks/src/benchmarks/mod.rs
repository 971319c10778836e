//! The benchmarks: one file each, with a sample problem, the prompt made of it, and how it is graded.
//!
//! A benchmark says where its problems lie - in a folder of data, on the hub, or in a generator - and makes a
//! [`Question`] of each row. Everything else is the same for all.
//!
//! ```
//! use thinktune_tasks::benchmarks;
//! assert_eq!(benchmarks::by_name("math500").unwrap().title, "MATH-500");
//! assert!(benchmarks::by_name("math").is_none());
//! ```

mod aime;
mod arc_challenge;
mod csqa;
mod gpqa_diamond;
mod gsm8k;
mod math500;
mod mmlu_pro;
mod options;
mod strategyqa;
mod word_problems;

use std::path::{Path, PathBuf};

use crate::rows::{self, Row};
use crate::{Question, TaskError};

pub use options::letter;

/// A set of problems with known answers.
#[derive(Debug)]
pub struct Benchmark {
    /// As on the command line.
    pub name: &'static str,
    /// As in tables, and in the paper's where it is there.
    pub title: &'static str,
    /// Appended to each question: how to answer.
    pub suffix: &'static str,
    /// Longest answer, in tokens, where nobody says.
    pub answer_tokens: usize,
    /// The source of the problems.
    pub source: Source,
}

/// The source of a benchmark's problems.
#[derive(Debug)]
pub enum Source {
    /// Rows of a file.
    Rows {
        /// Path of the file in a folder of data, without its ending.
        file: &'static str,
        /// The same file on the hub.
        hub: HubFile,
        /// Makes a question of a row, given its index and the seed.
        question: fn(&Row, u32, u64) -> Result<Question, String>,
    },
    /// Generated: so many, from a seed.
    Generated(fn(u64, usize) -> Vec<Question>),
}

/// A file of a data set on the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubFile {
    /// `org/name`.
    pub repo: &'static str,
    /// Branch, tag or commit; `main` where there is none.
    pub revision: Option<&'static str>,
    /// Path within it.
    pub file: &'static str,
}

/// All benchmarks, in the order of the paper's table; what the paper does not have comes last.
pub const ALL: [&Benchmark; 10] = [
    &gsm8k::BENCHMARK,
    &math500::BENCHMARK,
    &aime::BENCHMARK,
    &csqa::BENCHMARK,
    &arc_challenge::BENCHMARK,
    &gpqa_diamond::BENCHMARK,
    &strategyqa::BENCHMARK,
    &mmlu_pro::BENCHMARK,
    &aime::AIME_2024,
    &word_problems::BENCHMARK,
];

/// Enough for most worked answers; the longest the paper trains on.
const ANSWER_TOKENS: usize = 1024;

/// Number of problems generated where none is given.
pub const GENERATED: usize = 512;

/// Asks for a worked answer in a box.
const BOXED: &str = "\n\nReason step by step, and put the final answer in \\boxed{}.";
/// Asks for an option's letter in a box.
const LETTER: &str = "\n\nReason step by step, and put the letter of the right option in \\boxed{}.";

/// Returns the benchmark of that name.
pub fn by_name(name: &str) -> Option<&'static Benchmark> {
    ALL.into_iter().find(|benchmark| benchmark.name == name)
}

/// Benchmarks that had another name: the earlier one first.
const RENAMED: [(&str, &str); 1] = [("homework", "word-problems")];

/// Returns the present name of a benchmark that was called `name` before, in folders of that time.
pub fn renamed(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(earlier, _)| *earlier == name).map(|(_, now)| *now)
}

/// Returns the earlier name of a benchmark that has been renamed.
pub fn earlier_name(name: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(_, now)| *now == name).map(|(earlier, _)| *earlier)
}

/// Endings a data file may have, the likeliest first.
const ENDINGS: [&str; 4] = ["jsonl", "parquet", "csv", "json"];

impl Benchmark {
    /// The question as it is put to a model.
    pub fn prompt(&self, question: &Question) -> String {
        format!("{}{}", question.text, self.suffix)
    }

    /// The files in which a folder of data may hold the problems: under the names used here, or as the hub has them.
    pub fn files(&self, data: &Path) -> Vec<PathBuf> {
        let Source::Rows { file, hub, .. } = self.source else { return Vec::new() };
        let own = ENDINGS.iter().map(|ending| data.join(format!("{file}.{ending}")));
        own.chain([data.join(hub.repo).join(hub.file)]).collect()
    }

    /// Reads the problems from a file; `seed` orders options that have no order of their own.
    ///
    /// # Errors
    /// A file that cannot be read or has no rows, a row that is no problem of this benchmark (file and line are
    /// named), a benchmark that is generated.
    pub fn load(&self, path: &Path, seed: u64) -> Result<Vec<Question>, TaskError> {
        match self.source {
            Source::Rows { question, .. } => rows::read(path, |row, index| question(row, index, seed)),
            Source::Generated(_) => Err(TaskError::BadFile {
                path: path.into(),
                message: format!("{} is generated and has no file", self.name),
            }),
        }
    }

    /// One problem from a row written as JSON, for documentation and tests.
    ///
    /// # Errors
    /// What is wrong with the row.
    pub fn sample(&self, row: &str) -> Result<Question, String> {
        match self.source {
            Source::Rows { question, .. } => question(&Row::from_json(row)?, 0, 0),
            Source::Generated(_) => Err(format!("{} is generated", self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use thinktune_testing::{DATA, data_folder, real_data, skipped};

    use super::*;
    use crate::Verdict;
    use crate::grading::{AnswerKind, grade};

    #[test]
    fn earlier_names_lead_to_present_ones() {
        for (earlier, now) in RENAMED {
            assert!(by_name(earlier).is_none() && by_name(now).is_some(), "{earlier}");
            assert_eq!((renamed(earlier), earlier_name(now)), (Some(now), Some(earlier)));
        }
        assert_eq!((renamed("gsm8k"), earlier_name("gsm8k")), (None, None));
    }

    #[test]
    fn names_and_files_are_distinct() {
        for (index, one) in ALL.iter().enumerate() {
            for other in &ALL[..index] {
                assert!(one.name != other.name && one.title != other.title, "{}", one.name);
                let files = one.files(Path::new("d"));
                assert!(other.files(Path::new("d")).iter().all(|file| !files.contains(file)));
            }
        }
    }

    /// Three invented rows in GPQA's format, where they are at hand.
    #[test]
    fn the_format_of_gpqa_is_read() {
        let Some(path) = real_data("gpqa_diamond/sample_invented.csv") else { return };
        let questions = by_name("gpqa-diamond").unwrap().load(&path, 3).unwrap();
        assert_eq!(questions.len(), 3);
        for (question, gold) in questions.iter().zip(["2", "X2", "a"]) {
            assert!(question.text.contains(&format!("\n{}. {gold}", question.gold)), "{question:?}");
            assert!(
                !question.text.contains(" \n") && question.text.starts_with("INVENTED ROW"),
                "{question:?}"
            );
        }
    }

    /// The real files, where they are at hand: how many rows, and that a response which states the gold answer as
    /// asked is correct while one that states another option is wrong.
    #[test]
    fn the_real_sets_load_and_their_golds_grade() {
        let (data, mut absent) = (data_folder(), Vec::new());
        for (name, count) in [
            ("gsm8k", 1319),
            ("math500", 500),
            ("aime", 933),
            ("aime24", 30),
            ("csqa", 1221),
            ("arc-challenge", 1172),
            ("strategyqa", 229),
            ("mmlu-pro", 12032),
        ] {
            let benchmark = by_name(name).unwrap();
            let Some(path) = benchmark.files(&data).into_iter().find(|file| file.is_file()) else {
                absent.push(name);
                continue;
            };
            let questions = benchmark.load(&path, 7).unwrap();
            assert_eq!(questions.len(), count, "{name}");
            for question in &questions {
                let said =
                    |answer: &str| grade(question.kind, &question.gold, &format!("So \\boxed{{{answer}}}."));
                let gold = question.gold.split(' ').next().unwrap_or_default();
                let gold = if name == "aime" { gold } else { &question.gold };
                assert_eq!(said(gold).verdict, Verdict::Correct, "{name}: {question:?}");
                if let AnswerKind::Choice { options } = question.kind {
                    let other = (0..options).map(letter).find(|other| other.to_string() != question.gold);
                    assert_eq!(said(&other.unwrap().to_string()).verdict, Verdict::Wrong);
                    assert!(
                        question.text.contains(&format!("\n{}. ", letter(options - 1))),
                        "{}",
                        question.text
                    );
                    assert!(
                        !question.text.contains(&format!("\n{}. ", letter(options))),
                        "{}",
                        question.text
                    );
                }
            }
        }
        if !absent.is_empty() {
            skipped(&format!("no {} below {}; set {DATA}", absent.join(", "), data.display()));
        }
    }
}
