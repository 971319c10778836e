//! Summary of the answers to a benchmark by a method.

use serde::{Deserialize, Serialize};
use thinktune_tasks::Verdict;
use thinktune_tasks::grading::{AnswerKind, compare};

use crate::methods::Method;
use crate::record::AnswerRecord;
use crate::run::{BenchmarkSet, EvalSettings};
use crate::statistics::{bootstrap_interval, mean, pass_at, share, standard_error};

/// The numbers of one line of the table. Shares are of all answers; what cannot be computed is NaN, in JSON `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The benchmark, as on the command line.
    pub benchmark: String,
    /// The benchmark, as in tables.
    pub benchmark_title: String,
    /// The method, as on the command line.
    pub method: String,
    /// The method, as in tables.
    pub method_title: String,
    /// Questions asked.
    pub questions: usize,
    /// Samples of each (k).
    pub samples: usize,
    /// Share of right answers, which ended by themselves with a correct final answer; avg@k where there are several
    /// samples.
    #[serde(deserialize_with = "null_is_nan")]
    pub accuracy: f64,
    /// Share of answers that are not right, and would be if any end did and, without a box, the last number counted.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub correct_any_end: f64,
    /// Standard error of the accuracy over repeats: sample i of every question is repeat i. NaN for a single one.
    #[serde(deserialize_with = "null_is_nan")]
    pub standard_error: f64,
    /// 95 % bootstrap interval of the accuracy over questions: lower end.
    #[serde(deserialize_with = "null_is_nan")]
    pub interval_low: f64,
    /// Upper end.
    #[serde(deserialize_with = "null_is_nan")]
    pub interval_high: f64,
    /// pass@k for k = 1, 2, 4, ... up to the number of samples, and for that number.
    pub pass_at: Vec<PassAt>,
    /// Share of questions whose commonest answer is right, k being the number of samples; among equally common
    /// answers the first given counts.
    #[serde(deserialize_with = "null_is_nan")]
    pub majority: f64,
    /// Share of answers in which no final answer could be read.
    #[serde(deserialize_with = "null_is_nan")]
    pub unparseable: f64,
    /// Share of answers whose grading would have taken too long.
    #[serde(deserialize_with = "null_is_nan")]
    pub over_budget: f64,
    /// Share of answers cut off by the token limit or the model's context.
    #[serde(deserialize_with = "null_is_nan")]
    pub truncated: f64,
    /// Share of answers that go on reflecting after a first final answer.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub reflects: f64,
    /// Of the reflecting answers, the share whose final answer differs from the first.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub changed: f64,
    /// Of the reflecting answers, the share whose first final answer is wrong and which are right.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub mended: f64,
    /// Of the reflecting answers, the share whose first final answer is correct and which are not right.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub spoilt: f64,
    /// Mean number of tokens drawn for an answer, all rounds together.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_mean: f64,
    /// Tokens drawn per second of wall clock.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
}

/// Probability that one of k samples is right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PassAt {
    /// k.
    pub k: usize,
    /// Unbiased estimate, averaged over questions.
    #[serde(deserialize_with = "null_is_nan")]
    pub share: f64,
}

fn nan() -> f64 {
    f64::NAN
}

fn null_is_nan<'de, D: serde::Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
}

impl Summary {
    /// Sums up all answers, which stand question by question.
    pub fn of(
        set: &BenchmarkSet,
        method: &dyn Method,
        settings: &EvalSettings,
        answers: &[AnswerRecord],
        tokens_per_second: f64,
    ) -> Self {
        let samples = settings.samples.max(1) as usize;
        let of_questions: Vec<&[AnswerRecord]> = answers.chunks(samples).collect();
        let accuracies: Vec<f64> = of_questions.iter().map(|answers| accuracy(answers)).collect();
        let repeats: Vec<f64> =
            (0..samples).map(|sample| repeat_accuracy(answers, sample, samples)).collect();
        let [interval_low, interval_high] = bootstrap_interval(&accuracies, settings.seed);
        let verdict = |verdict: Verdict| share(answers, |answer| answer.verdict == verdict);
        let majorities = set.questions.iter().zip(&of_questions);
        let majorities: Vec<f64> =
            majorities.map(|(question, answers)| number(majority_is_right(answers, question.kind))).collect();
        let reflecting: Vec<&AnswerRecord> =
            answers.iter().filter(|answer| answer.reflection.is_some()).collect();
        Self {
            benchmark: set.benchmark.name.into(),
            benchmark_title: set.benchmark.title.into(),
            method: method.name().into(),
            method_title: method.title().into(),
            questions: of_questions.len(),
            samples,
            accuracy: mean(&accuracies),
            correct_any_end: share(answers, |answer| answer.correct_any_end),
            standard_error: standard_error(&repeats),
            interval_low,
            interval_high,
            pass_at: passes(&of_questions, samples),
            majority: mean(&majorities),
            unparseable: verdict(Verdict::Unparseable),
            over_budget: verdict(Verdict::OverBudget),
            truncated: share(answers, |answer| answer.truncated),
            reflects: share(answers, |answer| answer.reflection.is_some()),
            changed: share(&reflecting, |answer| answer.is_changed()),
            mended: share(&reflecting, |answer| answer.is_mended()),
            spoilt: share(&reflecting, |answer| answer.is_spoilt()),
            tokens_mean: mean(&answers.iter().map(|answer| answer.tokens as f64).collect::<Vec<_>>()),
            tokens_per_second,
        }
    }
}

/// Share of right answers: [`AnswerRecord::is_right`].
pub(crate) fn accuracy(answers: &[AnswerRecord]) -> f64 {
    share(answers, AnswerRecord::is_right)
}

fn repeat_accuracy(answers: &[AnswerRecord], sample: usize, samples: usize) -> f64 {
    let of: Vec<f64> =
        answers.iter().skip(sample).step_by(samples).map(|answer| number(answer.is_right())).collect();
    mean(&of)
}

fn passes(of_questions: &[&[AnswerRecord]], samples: usize) -> Vec<PassAt> {
    let powers = std::iter::successors(Some(1), |k| Some(2 * k)).take_while(|k| *k < samples);
    let share = |k| {
        let of = |answers: &&[AnswerRecord]| {
            let right = answers.iter().filter(|answer| answer.is_right()).count();
            pass_at(k, right, answers.len())
        };
        mean(&of_questions.iter().map(of).collect::<Vec<_>>())
    };
    powers.chain([samples]).map(|k| PassAt { k, share: share(k) }).collect()
}

/// Answers that say the same are one; those that could not be read or were cut off do not vote.
fn majority_is_right(answers: &[AnswerRecord], kind: AnswerKind) -> bool {
    let mut groups: Vec<(&AnswerRecord, &str, usize)> = Vec::new();
    for answer in answers {
        let Some(extracted) = answer.extracted.as_deref().filter(|_| !answer.truncated) else { continue };
        let same =
            |said: &str| said == extracted || compare(kind, said, extracted).verdict == Verdict::Correct;
        match groups.iter_mut().find(|(_, said, _)| same(said)) {
            Some(group) => group.2 += 1,
            None => groups.push((answer, extracted, 1)),
        }
    }
    let most = groups.iter().map(|group| group.2).max();
    groups.iter().find(|group| Some(group.2) == most).is_some_and(|group| group.0.is_right())
}

fn number(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(extracted: Option<&str>, right: bool) -> AnswerRecord {
        AnswerRecord {
            question: 0,
            sample: 0,
            gold: "4".into(),
            verdict: if right { Verdict::Correct } else { Verdict::Wrong },
            extracted: extracted.map(str::to_owned),
            reason: None,
            truncated: false,
            why_wrong: None,
            correct_any_end: false,
            reflection: None,
            tokens: 1,
            rounds: 1,
            earlier: Vec::new(),
            response: String::new(),
        }
    }

    #[test]
    fn the_commonest_answer_counts_and_spellings_of_one_answer_are_one() {
        let right = |answers: &[AnswerRecord]| majority_is_right(answers, AnswerKind::Boxed);
        let (four, four_again) = (answer(Some("4"), true), answer(Some("4.0"), true));
        let (five, none) = (answer(Some("5"), false), answer(None, false));
        assert!(right(&[five.clone(), four.clone(), four_again.clone()]));
        assert!(!right(&[five.clone(), five.clone(), four.clone()]));
        assert!(right(&[none.clone(), none.clone(), four.clone()]), "what cannot be read does not vote");
        assert!(!right(&[none]));
        assert!(right(&[four.clone(), five.clone()]) && !right(&[five, four]), "the first of equals");
        assert!(!right(&[]));
    }
}
