//! GPQA-Diamond (Rein et al. 2023, arXiv 2311.12022): 198 questions of biology, physics and chemistry by experts.
//!
//! The data set is gated on the hub and its authors ask that no question be published; accept its terms, then set
//! `HF_TOKEN`. Its table gives the right and three wrong answers without an order: they are shuffled per row from the
//! seed, and the right one is known by its place, since some rows repeat an option's text. White space around an
//! option is dropped. Graded by the option's letter.
//!
//! An invented problem, and the prompt it becomes:
//!
//! ```
//! # let benchmark = thinktune_tasks::benchmarks::by_name("gpqa-diamond").unwrap();
//! let row = r#"{"Question": "How many?", "Correct Answer": "two ", "Incorrect Answer 1": "one",
//!     "Incorrect Answer 2": "three\n", "Incorrect Answer 3": "four"}"#;
//! let question = benchmark.sample(row).unwrap();
//! assert_eq!(
//!     benchmark.prompt(&question),
//!     "How many?\n\nA. two\nB. one\nC. four\nD. three\n\n\
//!      Reason step by step, and put the letter of the right option in \\boxed{}."
//! );
//! assert_eq!(question.gold, "A");
//! ```

use super::{ANSWER_TOKENS, Benchmark, HubFile, LETTER, Source, options};
use crate::Question;
use crate::rows::Row;
use crate::seeded_rng::SeededRng;

/// See the module.
pub(super) const BENCHMARK: Benchmark = Benchmark {
    name: "gpqa-diamond",
    title: "GPQA-D",
    suffix: LETTER,
    answer_tokens: ANSWER_TOKENS,
    source: Source::Rows {
        file: "gpqa_diamond/gpqa_diamond",
        hub: HubFile { repo: "Idavidrein/gpqa", revision: None, file: "gpqa_diamond.csv" },
        question,
    },
};

const COLUMNS: [&str; 4] =
    ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"];

fn question(row: &Row, index: u32, seed: u64) -> Result<Question, String> {
    let answers = COLUMNS.iter().map(|column| row.text(column)).collect::<Result<Vec<_>, _>>()?;
    let order = order(seed, index);
    let shown: Vec<&str> = order.iter().map(|&column| answers[column]).collect();
    let gold = order.iter().position(|&column| column == 0).unwrap_or(0);
    options::question(index, row.text("Question")?, &shown, gold)
}

/// Draws the order in which a row's columns are shown.
fn order(seed: u64, row: u32) -> [usize; 4] {
    let mut rng = SeededRng::new(seed, row.into());
    let mut order = [0, 1, 2, 3];
    for last in (1..order.len()).rev() {
        order.swap(last, rng.below(last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_answer_is_known_by_its_place_also_where_texts_repeat() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gpqa_diamond.csv");
        let header = "Record ID,Pre-Revision Question,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,\
                      Incorrect Answer 3,Subdomain\n";
        let rows = "r1,,\"Which, \"\"X\"\",\nis it?\",a,b,b,c,s\nr2,old,Next?,\" p\n\",q,r,s,s\n";
        std::fs::write(&path, format!("{header}{rows}")).unwrap();
        let mut places = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let questions = BENCHMARK.load(&path, seed).unwrap();
            let [one, two] = &questions[..] else { panic!("two rows") };
            assert!(one.text.starts_with("Which, \"X\",\nis it?\n\nA. "), "{}", one.text);
            assert!(one.text.contains(&format!("\n{}. a", one.gold)), "{one:?}");
            assert_eq!(one.text.matches(". b").count(), 2);
            assert!(
                two.text.contains(&format!("\n{}. p", two.gold)) && !two.text.contains("p\n\n"),
                "{two:?}"
            );
            places.insert(one.gold.clone());
            assert_eq!(questions, BENCHMARK.load(&path, seed).unwrap());
        }
        assert_eq!(places.len(), 4, "every place is reached");
    }

    #[test]
    fn orders_are_equally_likely_and_differ_by_row() {
        let mut first = [0; 4];
        for row in 0..4000 {
            first[order(3, row).iter().position(|&column| column == 0).unwrap()] += 1;
        }
        assert!(first.iter().all(|count| (900..1100).contains(count)), "{first:?}");
    }
}
