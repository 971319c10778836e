//! Two evaluations of the same questions, side by side: does the second model answer better, longer, more reflectively?

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use thinktune_tasks::Behaviour;
use thinktune_tasks::markers::marked;
use thinktune_tasks::{benchmarks, reflects};

use crate::EvalError;
use crate::agreement::Agreement;
use crate::folder::{cells, read_answers, read_identity};
use crate::methods;
use crate::record::AnswerRecord;
use crate::statistics::{bootstrap_interval, mcnemar, mean};
use crate::summary::accuracy;
use crate::table::{Table, fixed, percent};

/// Comparison of two evaluations on one benchmark by one method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The benchmark.
    pub benchmark: String,
    /// The method.
    pub method: String,
    /// Questions both have answers to.
    pub questions: usize,
    /// Questions only one of them has answers to; they are left out.
    pub unpaired: usize,
    /// Of the first.
    pub a: Side,
    /// Of the second.
    pub b: Side,
    /// Accuracy of the second less that of the first.
    pub difference: f64,
    /// 95 % bootstrap interval of the difference over questions: lower end.
    pub interval_low: f64,
    /// Upper end.
    pub interval_high: f64,
    /// Questions only the first gets right, in more than half of its samples.
    pub only_a: usize,
    /// Questions only the second gets right.
    pub only_b: usize,
    /// Two-sided p of McNemar's exact test on those two counts. There is none with several samples of a question, which
    /// are no independent pairs: then the paired bootstrap stands alone.
    pub p: Option<f64>,
    /// Mean length of the second's answers over that of the first's.
    pub length_ratio: f64,
}

/// One evaluation's part in a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Share of right answers.
    pub accuracy: f64,
    /// Mean tokens drawn for an answer.
    pub tokens_mean: f64,
    /// Share of responses that go on reflecting after a first final answer.
    pub reflects: f64,
    /// Share of responses with a marker of each behaviour.
    pub markers: BTreeMap<&'static str, f64>,
}

/// All that two evaluation folders have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The comparisons, in the order of the paper's table.
    pub comparisons: Vec<Comparison>,
    /// The settings in which the evaluations differ, with both values: they were let pass.
    pub differences: Vec<String>,
    /// The benchmarks of which a folder does not say how they were asked, because an earlier version wrote it.
    pub unchecked: Vec<String>,
}

/// Compares all that two evaluation folders have in common. Settings that differ, the model aside, are let pass only with
/// `force`.
///
/// # Errors
/// A folder that holds no evaluation, other settings or data, other questions under the same name, nothing in common.
pub fn compare(a: &Path, b: &Path, seed: u64, force: bool) -> Result<Compared, EvalError> {
    let (of_a, of_b) = (read_identity(a)?, read_identity(b)?);
    let cells_b = cells(b)?;
    let mut shared: Vec<(String, String)> =
        cells(a)?.into_iter().filter(|cell| cells_b.contains(cell)).collect();
    if shared.is_empty() {
        return Err(EvalError::Setting(format!(
            "{} and {} have no benchmark with the same method in common",
            a.display(),
            b.display()
        )));
    }
    shared.sort_by_key(|(benchmark, method)| (place(benchmark), method_place(method)));
    let Agreement { differences, unchecked } = Agreement::of(&of_a, &of_b, &shared);
    if !differences.is_empty() && !force {
        return Err(EvalError::Setting(format!(
            "the evaluations differ in more than the model: {}; evaluate with equal settings, or add --force",
            differences.join("; ")
        )));
    }
    let pair = |(benchmark, method): &(String, String)| {
        let answers = |dir| read_answers(dir, benchmark, method);
        Comparison::of(benchmark, method, &answers(a)?, &answers(b)?, seed)
    };
    let comparisons = shared.iter().map(pair).collect::<Result<_, _>>()?;
    Ok(Compared { comparisons, differences, unchecked })
}

fn place(benchmark: &str) -> usize {
    benchmarks::ALL.iter().position(|known| known.name == benchmark).unwrap_or(usize::MAX)
}

fn method_place(method: &str) -> usize {
    methods::ALL.iter().position(|known| known.name() == method).unwrap_or(usize::MAX)
}

impl Comparison {
    /// Compares answers to one benchmark by one method.
    ///
    /// # Errors
    /// A question with another reference answer on the other side.
    pub fn of(
        benchmark: &str,
        method: &str,
        a: &[AnswerRecord],
        b: &[AnswerRecord],
        seed: u64,
    ) -> Result<Self, EvalError> {
        let (of_a, of_b) = (by_question(a), by_question(b));
        let pairs = pairs(benchmark, &of_a, &of_b)?;
        let differences: Vec<f64> = pairs.iter().map(|(a, b)| share_right(b) - share_right(a)).collect();
        let [interval_low, interval_high] = bootstrap_interval(&differences, seed);
        let only = |right: fn(f64, f64) -> bool| {
            pairs.iter().filter(|(a, b)| right(share_right(a), share_right(b))).count()
        };
        let only_a = only(|a, b| a > 0.5 && b <= 0.5);
        let only_b = only(|a, b| b > 0.5 && a <= 0.5);
        let single = pairs.iter().all(|(a, b)| a.len() == 1 && b.len() == 1);
        let side_a = Side::of(pairs.iter().flat_map(|(a, _)| a.iter().copied()));
        let side_b = Side::of(pairs.iter().flat_map(|(_, b)| b.iter().copied()));
        Ok(Self {
            benchmark: benchmark.into(),
            method: method.into(),
            questions: pairs.len(),
            unpaired: of_a.len() + of_b.len() - 2 * pairs.len(),
            difference: mean(&differences),
            interval_low,
            interval_high,
            only_a,
            only_b,
            p: single.then(|| mcnemar(only_a, only_b)),
            length_ratio: side_b.tokens_mean / side_a.tokens_mean,
            a: side_a,
            b: side_b,
        })
    }
}

/// Answers to each question.
type ByQuestion<'a> = BTreeMap<u32, Vec<&'a AnswerRecord>>;
/// Answers to one question.
type Answers<'a> = &'a [&'a AnswerRecord];

/// Both sides' answers to the questions both have.
fn pairs<'a>(
    benchmark: &str,
    of_a: &'a ByQuestion<'_>,
    of_b: &'a ByQuestion<'_>,
) -> Result<Vec<(Answers<'a>, Answers<'a>)>, EvalError> {
    let mut pairs = Vec::new();
    for (question, a) in of_a {
        let Some(b) = of_b.get(question) else { continue };
        if a[0].gold != b[0].gold {
            return Err(EvalError::Setting(format!(
                "{benchmark}, question {question}: the right answer is {:?} in one evaluation and {:?} in the other; \
                 options were shuffled with another seed",
                a[0].gold, b[0].gold
            )));
        }
        pairs.push((a.as_slice(), b.as_slice()));
    }
    Ok(pairs)
}

fn by_question(answers: &[AnswerRecord]) -> ByQuestion<'_> {
    let mut by_question = ByQuestion::new();
    for answer in answers {
        by_question.entry(answer.question).or_default().push(answer);
    }
    by_question
}

fn share_right(answers: &[&AnswerRecord]) -> f64 {
    let right = answers.iter().filter(|answer| answer.is_right()).count();
    right as f64 / answers.len() as f64
}

impl Side {
    fn of<'a>(answers: impl Iterator<Item = &'a AnswerRecord>) -> Self {
        let answers: Vec<AnswerRecord> = answers.cloned().collect();
        let share = |holds: &dyn Fn(&AnswerRecord) -> bool| {
            mean(&answers.iter().map(|answer| if holds(answer) { 1.0 } else { 0.0 }).collect::<Vec<_>>())
        };
        let rate = |behaviour: Behaviour| share(&|answer| marked(&answer.response).contains(&behaviour));
        Self {
            accuracy: accuracy(&answers),
            tokens_mean: mean(&answers.iter().map(|answer| answer.tokens as f64).collect::<Vec<_>>()),
            reflects: share(&|answer| reflects(&answer.response)),
            markers: Behaviour::ALL
                .into_iter()
                .map(|behaviour| (behaviour.name(), rate(behaviour)))
                .collect(),
        }
    }
}

/// Accuracies, their difference, and lengths.
pub fn accuracies(comparisons: &[Comparison]) -> Table {
    let head = [
        "benchmark",
        "method",
        "n",
        "A %",
        "B %",
        "B - A",
        "95 % interval",
        "only A",
        "only B",
        "p",
        "tokens A",
        "tokens B",
        "B / A",
    ];
    let row = |c: &Comparison| {
        vec![
            c.benchmark.clone(),
            c.method.clone(),
            c.questions.to_string(),
            percent(c.a.accuracy),
            percent(c.b.accuracy),
            signed(c.difference),
            format!("{} to {}", signed(c.interval_low), signed(c.interval_high)),
            c.only_a.to_string(),
            c.only_b.to_string(),
            c.p.map_or("-".into(), probability),
            fixed(c.a.tokens_mean),
            fixed(c.b.tokens_mean),
            if c.length_ratio.is_finite() { format!("{:.3}", c.length_ratio) } else { "-".into() },
        ]
    };
    Table { head: head.map(String::from).into(), rows: comparisons.iter().map(row).collect(), names: 2 }
}

/// Shares of responses that reflect, and that hold a marker of each behaviour, as `A > B`.
pub fn reflections(comparisons: &[Comparison]) -> Table {
    let mut head: Vec<String> = ["benchmark", "method", "reflects %"].map(String::from).into();
    head.extend(Behaviour::ALL.map(|behaviour| format!("{} %", behaviour.name())));
    let change = |a: f64, b: f64| format!("{} > {}", percent(a), percent(b));
    let row = |c: &Comparison| {
        let mut row = vec![c.benchmark.clone(), c.method.clone(), change(c.a.reflects, c.b.reflects)];
        let names = Behaviour::ALL.map(Behaviour::name);
        row.extend(names.map(|name| change(c.a.markers[name], c.b.markers[name])));
        row
    };
    Table { head, rows: comparisons.iter().map(row).collect(), names: 2 }
}

/// A difference of shares in points.
fn signed(share: f64) -> String {
    if share.is_finite() { format!("{:+.2}", 100.0 * share) } else { "-".into() }
}

fn probability(p: f64) -> String {
    if p < 0.0001 { format!("{p:.1e}") } else { format!("{p:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thinktune_tasks::Verdict;

    fn answer(question: u32, right: bool, tokens: u64, response: &str) -> AnswerRecord {
        AnswerRecord {
            question,
            sample: 0,
            gold: "4".into(),
            verdict: if right { Verdict::Correct } else { Verdict::Wrong },
            extracted: None,
            reason: None,
            truncated: false,
            why_wrong: None,
            correct_any_end: false,
            reflection: None,
            tokens,
            rounds: 1,
            earlier: Vec::new(),
            response: response.into(),
        }
    }

    #[test]
    fn differences_worked_out_by_hand() {
        // of ten questions A has 0..4 right, B 3..10; question 10 only A has
        let a: Vec<_> = (0..11).map(|i| answer(i, i < 4, 10, "\\boxed{4}")).collect();
        let b: Vec<_> =
            (0..10).map(|i| answer(i, i >= 3, 12, "\\boxed{4}\n\nWait, I agree. \\boxed{4}")).collect();
        let found = Comparison::of("gsm8k", "zero-shot", &a, &b, 1).unwrap();
        assert_eq!((found.questions, found.unpaired, found.only_a, found.only_b), (10, 1, 3, 6));
        assert!((found.difference - 0.3).abs() < 1e-12 && found.p == Some(mcnemar(3, 6)));
        assert!(found.interval_low < 0.0 && found.interval_high > 0.6, "{found:?}");
        assert_eq!(found.length_ratio, 1.2);
        assert_eq!((found.a.reflects, found.b.reflects), (0.0, 1.0));
        assert_eq!((found.b.markers["self-conflict"], found.b.markers["self-agreement"]), (1.0, 1.0));
        assert_eq!(found.b.markers["self-critique"], 0.0);
        let text = accuracies(std::slice::from_ref(&found)).to_text();
        assert!(text.contains("40.00  70.00  +30.00"), "{text}");
        assert!(reflections(&[found]).to_text().contains("0.00 > 100.00"));
    }

    #[test]
    fn several_samples_are_paired_by_question() {
        let of = |right: [bool; 3]| -> Vec<AnswerRecord> {
            (0..)
                .zip(right)
                .map(|(sample, right)| AnswerRecord { sample, ..answer(0, right, 5, "") })
                .collect()
        };
        let found = Comparison::of("x", "y", &of([true, true, false]), &of([false, false, true]), 1).unwrap();
        assert_eq!((found.only_a, found.only_b, found.questions), (1, 0, 1));
        assert_eq!(found.p, None, "no exact test with several samples");
        assert!(accuracies(std::slice::from_ref(&found)).to_text().contains("  1       0  -  "));
        assert!((found.difference + 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn other_golds_are_refused() {
        let other = AnswerRecord { gold: "C".into(), ..answer(0, true, 1, "") };
        let error =
            Comparison::of("gpqa", "s1", &[answer(0, true, 1, "")], &[other], 1).unwrap_err().to_string();
        assert!(error.contains("question 0") && error.contains("another seed"), "{error}");
    }

    #[test]
    fn a_folder_without_an_evaluation_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = compare(dir.path(), dir.path(), 1, false).unwrap_err().to_string();
        assert!(error.contains("evaluation.json") && error.contains("thinktune eval"), "{error}");
    }
}
