//! The golds of MATH-500 and GSM8K, where the data is at hand: each grades itself correct, also re-spelt
//! without harm, and wrong against answers changed in a way that matters.

mod grading {
    pub mod data;
    pub mod mutations;
    pub mod spellings;
}

use std::collections::BTreeMap;

use grading::data::{gsm8k_golds, math500_golds};
use grading::{mutations, spellings};
use thinktune_tasks::Verdict;
use thinktune_tasks::grading::{AnswerKind, compare, grade};

/// The fewest changed answers a gold answer is held against.
const MUTATIONS: usize = 20;

/// How often each verdict was given.
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
