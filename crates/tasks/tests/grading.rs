//! The golds of MATH-500 and GSM8K, where the data is at hand: each grades itself correct, also re-spelt
//! without harm, and wrong against answers changed in a way that matters.

mod grading {
    pub mod data;
    pub mod mutations;
    pub mod spellings;
}

use std::collections::BTreeMap;

use grading::data::{gsm8k_golds, math500_golds, rows};
use grading::{mutations, spellings};
use thinktune_tasks::Verdict;
use thinktune_tasks::grading::{AnswerKind, compare, grade};

/// The fewest changed answers a gold answer is held against.
const MUTATIONS: usize = 20;

/// Counts of each verdict.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, usize>);

impl Counts {
    fn add(&mut self, verdict: Verdict) {
        *self.0.entry(verdict.name()).or_default() += 1;
    }
}

#[test]
fn golds_grade_themselves_right_and_their_mutations_wrong() {
    for (name, kind, golds) in
        [("MATH-500", AnswerKind::Math, math500_golds()), ("GSM8K", AnswerKind::Gsm8k, gsm8k_golds())]
    {
        let Some(golds) = golds else { continue };
        let (mut same, mut changed, mut faults) = (Counts::default(), Counts::default(), Vec::new());
        for gold in &golds {
            let mut spellings = spellings::of(gold, kind);
            spellings.push(gold.clone());
            for spelling in spellings {
                let grading = compare(kind, gold, &spelling);
                same.add(grading.verdict);
                if grading.verdict != Verdict::Correct {
                    faults.push(format!(
                        "{gold} re-spelt {spelling}: {:?} {:?}",
                        grading.verdict, grading.reason
                    ));
                }
                let response = format!("Thus the answer is $\\boxed{{{spelling}}}$.");
                assert_eq!(grade(kind, gold, &response).verdict, grading.verdict, "{response}");
            }
            let mutations = mutations::of(gold, kind);
            assert!(mutations.len() >= MUTATIONS, "{gold}: only {mutations:?}");
            for mutation in mutations {
                let grading = compare(kind, gold, &mutation);
                changed.add(grading.verdict);
                if grading.verdict != Verdict::Wrong {
                    faults.push(format!(
                        "{gold} mutated {mutation}: {:?} {:?}",
                        grading.verdict, grading.reason
                    ));
                }
            }
        }
        println!("{name}: {} golds; re-spelt {:?}; mutated {:?}", golds.len(), same.0, changed.0);
        assert!(
            faults.is_empty(),
            "{name}: {} faults\n{}",
            faults.len(),
            faults[..faults.len().min(60)].join("\n")
        );
    }
}

/// The reference solutions end in the gold answer, as the data set's authors write it.
#[test]
fn reference_solutions_are_right() {
    for (file, kind, solution, answer) in [
        ("math500/test.jsonl", AnswerKind::Math, "solution", "answer"),
        ("gsm8k/test.jsonl", AnswerKind::Gsm8k, "answer", "answer"),
    ] {
        let Some(rows) = rows(file) else { continue };
        for row in rows {
            let (response, gold) = (row[solution].as_str().unwrap(), row[answer].as_str().unwrap());
            let gold = gold.rsplit_once("####").map_or(gold, |(_, gold)| gold).trim();
            let grading = grade(kind, gold, response);
            assert_eq!(grading.verdict, Verdict::Correct, "{file}: {gold} {grading:?}");
        }
    }
}

/// AIME's golds are integers, some with leading zeros, one with two accepted answers.
#[test]
fn aime_golds_grade_themselves_right() {
    for (file, field) in [("aime/test.jsonl", "Answer"), ("aime/aime24.jsonl", "answer")] {
        let Some(rows) = rows(file) else { continue };
        for row in rows {
            let gold = row[field].as_str().unwrap();
            let answers: Vec<&str> =
                gold.split(" or ").map(|part| &part[..part.find(' ').unwrap_or(part.len())]).collect();
            for answer in answers {
                let number: u32 = answer.parse().unwrap();
                for spelling in
                    [answer.to_string(), number.to_string(), format!("{number:03}"), format!("{number}.0")]
                {
                    assert_eq!(
                        compare(AnswerKind::Aime, gold, &spelling).verdict,
                        Verdict::Correct,
                        "{gold}"
                    );
                }
                for change in [1, 10, 100, 1000] {
                    let other = (number + change).to_string();
                    let accepted = gold.contains(" or ") && change == 1;
                    assert!(
                        accepted || compare(AnswerKind::Aime, gold, &other).verdict == Verdict::Wrong,
                        "{gold}"
                    );
                }
            }
        }
    }
}

/// Pieces that answers are made of, put together at random.
const PIECES: &[&str] = &[
    "\\frac",
    "\\sqrt",
    "\\left(",
    "\\right)",
    "\\text{or}",
    "\\text{cm}",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\\\",
    "&",
    "\\pm",
    "\\cup",
    "\\infty",
    "\\pi",
    "\\sin",
    "\\log_",
    "\\le",
    "\\in",
    "^\\circ",
    "^",
    "_",
    "{",
    "}",
    "\\{",
    "\\}",
    "(",
    ")",
    "[",
    "]",
    "|",
    "\\boxed{",
    "####",
    "answer is ",
    "\\%",
    "\\$",
    "$",
    ",",
    "{,}",
    ";",
    " and ",
    "!",
    "=",
    "<",
    "-",
    "+",
    "*",
    "/",
    ".",
    "0",
    "1",
    "2",
    "9",
    "12",
    "1000",
    "e",
    "i",
    "x",
    "y",
    "xy",
    "cm",
    "word",
    "ⅷ",
    "९",
    "√",
    "\u{0}",
    "\n",
    " ",
];

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(4_000))]

    #[test]
    fn whatever_is_written_is_graded(pieces in proptest::collection::vec(0..PIECES.len(), 0..40)) {
        let text: String = pieces.iter().map(|&piece| PIECES[piece]).collect();
        let kinds = [AnswerKind::Boxed, AnswerKind::Gsm8k, AnswerKind::Math, AnswerKind::Aime, AnswerKind::Choice { options: 5 }, AnswerKind::YesNo];
        for kind in kinds {
            for gold in ["5", "\\frac{x+1}{2}", "(3,4]", "\\{1\\pm\\sqrt{5},-2\\}", &text] {
                let grading = grade(kind, gold, &text);
                let silent = matches!(grading.verdict, Verdict::Correct | Verdict::Wrong);
                proptest::prop_assert!(silent || grading.reason.is_some(), "{grading:?}");
                proptest::prop_assert_eq!(&grading, &grade(kind, gold, &text));
            }
        }
    }
}
