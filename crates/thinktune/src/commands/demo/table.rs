//! The table at the end of a demo.

use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thinktune_runlog::event::EvalMetrics;
use thinktune_runlog::read_metrics;

/// Results of a demo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Seed of every random number.
    pub seed: u64,
    /// The 30-second version.
    pub quick: bool,
    /// The "unknown behaviour" experiment.
    pub catch_phrase: bool,
    /// Responses sampled while training, the same number for both methods.
    pub samples_per_run: u64,
    /// Before, GRPO, ThinkTuning.
    pub columns: Vec<Column>,
    /// Effects of the teacher's guidance.
    pub guidance: Guidance,
    /// Reflections of the ThinkTuning student.
    pub samples: Vec<Sample>,
}

/// One student on the held-out questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// Its numbers.
    pub held_out: EvalMetrics,
}

/// Effects of the teacher's guidance on attempts over a whole run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guidance {
    /// Attempts the teacher was asked about.
    pub chosen: u64,
    /// Attempts continued with valid guidance.
    pub guided: u64,
    /// Wrong attempts it made right.
    pub wrong_to_right: u64,
    /// Wrong attempts it left wrong.
    pub wrong_to_wrong: u64,
    /// Right attempts it left right.
    pub right_to_right: u64,
    /// Right attempts it made wrong.
    pub right_to_wrong: u64,
}

/// A reflection to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The question.
    pub question: String,
    /// The right answer.
    pub gold: String,
    /// The student's response.
    pub response: String,
    /// Its first answer was right.
    pub first_correct: bool,
    /// Its final answer is right.
    pub correct: bool,
}

impl Guidance {
    /// Sums over the steps of a run.
    ///
    /// # Errors
    /// The metrics cannot be read.
    pub fn of_run(run: &Path) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for step in read_metrics(run)?.records {
            sum.chosen += step.chosen;
            sum.guided += step.guided;
            sum.wrong_to_right += step.wrong_to_right;
            sum.wrong_to_wrong += step.wrong_to_wrong;
            sum.right_to_right += step.right_to_right;
            sum.right_to_wrong += step.right_to_wrong;
        }
        Ok(sum)
    }
}

const NAME: usize = 34;
const CELL: usize = 16;

impl Table {
    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let Some(first) = self.columns.first() else { return text };
        let (n, samples) = (first.held_out.questions, self.samples_per_run);
        let _ = writeln!(text, "{n} held-out problems, {samples} samples per run, seed {}\n", self.seed);
        let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        row(&mut text, "", &names);
        let mut line = |name: &str, cell: &dyn Fn(&EvalMetrics) -> String| {
            let cells: Vec<String> = self.columns.iter().map(|column| cell(&column.held_out)).collect();
            row(&mut text, name, &cells);
        };
        line("accuracy, final answer", &|m| {
            format!("{:.1} ± {:.1} %", 100.0 * m.accuracy, 100.0 * m.accuracy_stderr)
        });
        line("accuracy, first attempt", &|m| percent(m.first_attempt_accuracy));
        line("reflects", &|m| percent(m.reflection_rate));
        line("  right at first, right at the end", &|m| percent(m.reflected_right_to_right));
        line("  wrong at first, right at the end", &|m| percent(m.reflected_wrong_to_right));
        line("says the catch-phrase", &|m| percent(m.phrase_rate));
        line("mean length", &|m| format!("{:.1} tokens", m.response_tokens_mean));
        text.push_str(&self.guidance_text());
        for sample in &self.samples {
            text.push_str(&sample.to_text());
        }
        text
    }

    fn guidance_text(&self) -> String {
        let Guidance { chosen, guided, wrong_to_right, wrong_to_wrong, right_to_right, right_to_wrong } =
            self.guidance;
        let rate = |part: u64, other: u64| percent(part as f64 / (part + other) as f64);
        format!(
            "\nteacher: {guided} of {chosen} replies used; wrong->right {} of {}, right->right {} of {}\n",
            rate(wrong_to_right, wrong_to_wrong),
            wrong_to_right + wrong_to_wrong,
            rate(right_to_right, right_to_wrong),
            right_to_right + right_to_wrong,
        )
    }
}

impl Sample {
    fn to_text(&self) -> String {
        let word = |right| if right { "right" } else { "wrong" };
        let (first, last) = (word(self.first_correct), word(self.correct));
        let quoted: String = self.response.lines().map(|line| format!("  | {line}\n")).collect();
        format!("\n{first} at first, {last} at the end: {} ({})\n{quoted}", self.question, self.gold)
    }
}

fn row(text: &mut String, name: &str, cells: &[String]) {
    let cells: String = cells.iter().map(|cell| format!("{cell:>CELL$}")).collect();
    let _ = writeln!(text, "{name:<NAME$}{cells}");
}

/// A share as a percentage, or a dash where there was nothing to count.
fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1} %", 100.0 * share) } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_as_documented() {
        let held_out = |accuracy: f64, reflection_rate: f64| EvalMetrics {
            questions: 512,
            accuracy,
            accuracy_stderr: 0.022,
            first_attempt_accuracy: accuracy,
            reflection_rate,
            phrase_rate: 0.0,
            reflected_right_to_right: if reflection_rate > 0.0 { 0.97 } else { f64::NAN },
            reflected_wrong_to_right: if reflection_rate > 0.0 { 0.4 } else { f64::NAN },
            response_tokens_mean: 31.25,
            ..Default::default()
        };
        let column = |name: &str, held_out| Column { name: name.into(), held_out };
        let sample = Sample {
            question: "Q?".into(),
            gold: "3".into(),
            response: "\\boxed{2}\n\nNo: \\boxed{3}".into(),
            first_correct: false,
            correct: true,
        };
        let table = Table {
            seed: 1,
            quick: false,
            catch_phrase: false,
            samples_per_run: 19200,
            columns: vec![
                column("before", held_out(0.5, 0.0)),
                column("GRPO", held_out(0.61, 0.0)),
                column("ThinkTuning", held_out(0.6, 0.5)),
            ],
            guidance: Guidance {
                chosen: 10,
                guided: 9,
                wrong_to_right: 3,
                wrong_to_wrong: 1,
                right_to_right: 5,
                right_to_wrong: 0,
            },
            samples: vec![sample],
        };
        let expected = "\
512 held-out problems, 19200 samples per run, seed 1

                                            before            GRPO     ThinkTuning
accuracy, final answer                50.0 ± 2.2 %    61.0 ± 2.2 %    60.0 ± 2.2 %
accuracy, first attempt                     50.0 %          61.0 %          60.0 %
reflects                                     0.0 %           0.0 %          50.0 %
  right at first, right at the end               -               -          97.0 %
  wrong at first, right at the end               -               -          40.0 %
says the catch-phrase                        0.0 %           0.0 %           0.0 %
mean length                            31.2 tokens     31.2 tokens     31.2 tokens

teacher: 9 of 10 replies used; wrong->right 75.0 % of 4, right->right 100.0 % of 5

wrong at first, right at the end: Q? (3)
  | \\boxed{2}
  |\u{20}
  | No: \\boxed{3}
";
        assert_eq!(table.to_text(), expected);
        let back: Table = serde_json::from_str(&serde_json::to_string(&table).unwrap()).unwrap();
        assert_eq!(back.columns[2], table.columns[2]);
    }
}
