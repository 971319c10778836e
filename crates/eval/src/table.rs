//! Results as people and programs read them: terminal, Markdown, CSV, JSON.

use crate::Summary;

/// A table of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Headings.
    pub head: Vec<String>,
    /// Rows, each as long as `head`.
    pub rows: Vec<Vec<String>>,
    /// Columns from the left that hold names and stand flush left; the others hold numbers.
    pub names: usize,
}

impl Table {
    /// Aligned columns, for a terminal.
    pub fn to_text(&self) -> String {
        let widths = self.widths();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.names { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            padded.collect::<Vec<_>>().join("  ").trim_end().to_string()
        };
        let lines = std::iter::once(&self.head).chain(&self.rows);
        lines.map(|cells| line(cells)).collect::<Vec<_>>().join("\n")
    }

    /// A Markdown table.
    pub fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        let rule = (0..self.head.len()).map(|column| if column < self.names { "---" } else { "---:" });
        let rule = format!("|{}|", rule.collect::<Vec<_>>().join("|"));
        let rows = self.rows.iter().map(|row| line(row));
        [line(&self.head), rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
    }

    fn widths(&self) -> Vec<usize> {
        let longest = |column: usize| {
            let cells = self.rows.iter().map(|row| &row[column]).chain([&self.head[column]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.head.len()).map(longest).collect()
    }
}

/// The table of results. Columns for several samples are there only where there are several, those for reflection where
/// an answer reflects. `correct, any end` counts answers that are not right, and would be if any end did.
pub fn results(summaries: &[Summary]) -> Table {
    let samples = summaries.iter().map(|summary| summary.samples).max().unwrap_or(1);
    let over_budget = summaries.iter().any(|summary| summary.over_budget > 0.0);
    let reflects = summaries.iter().any(|summary| summary.reflects > 0.0);
    let mut head: Vec<String> =
        ["benchmark", "method", "n", "accuracy %", "95 % interval", "correct, any end %"]
            .map(String::from)
            .into();
    if samples > 1 {
        head.push(format!("pass@{samples} %"));
        head.push(format!("maj@{samples} %"));
    }
    head.push("unparseable %".into());
    if over_budget {
        head.push("over budget %".into());
    }
    if reflects {
        head.extend(["reflects %", "changed %", "mended %", "spoilt %"].map(String::from));
    }
    head.extend(["truncated %", "tokens", "tokens/s"].map(String::from));
    let row = |summary: &Summary| {
        let mut row = vec![
            summary.benchmark_title.clone(),
            summary.method_title.clone(),
            summary.questions.to_string(),
            with_error(summary.accuracy, summary.standard_error),
            format!("{} - {}", percent(summary.interval_low), percent(summary.interval_high)),
            percent(summary.correct_any_end),
        ];
        if samples > 1 {
            row.push(percent(summary.pass_at.last().map_or(f64::NAN, |pass| pass.share)));
            row.push(percent(summary.majority));
        }
        row.push(percent(summary.unparseable));
        if over_budget {
            row.push(percent(summary.over_budget));
        }
        if reflects {
            let of = [summary.reflects, summary.changed, summary.mended, summary.spoilt];
            row.extend(of.map(percent));
        }
        row.extend([
            percent(summary.truncated),
            fixed(summary.tokens_mean),
            fixed(summary.tokens_per_second),
        ]);
        row
    };
    Table { head, rows: summaries.iter().map(row).collect(), names: 2 }
}

/// One line per benchmark and method, numbers unrounded; a cell is empty where there is no number.
pub fn results_csv(summaries: &[Summary]) -> String {
    let head = "benchmark,method,questions,samples,accuracy,correct_any_end,standard_error,interval_low,interval_high,pass_at_k,\
                majority_at_k,unparseable,over_budget,truncated,reflects,changed,mended,spoilt,tokens_mean,tokens_per_second\n";
    let cell = |value: f64| if value.is_finite() { value.to_string() } else { String::new() };
    let line = |s: &Summary| {
        let numbers = [
            s.accuracy,
            s.correct_any_end,
            s.standard_error,
            s.interval_low,
            s.interval_high,
            s.pass_at.last().map_or(f64::NAN, |pass| pass.share),
            s.majority,
            s.unparseable,
            s.over_budget,
            s.truncated,
            s.reflects,
            s.changed,
            s.mended,
            s.spoilt,
            s.tokens_mean,
            s.tokens_per_second,
        ];
        let numbers = numbers.map(cell).join(",");
        format!("{},{},{},{},{numbers}\n", s.benchmark, s.method, s.questions, s.samples)
    };
    std::iter::once(head.to_string()).chain(summaries.iter().map(line)).collect()
}

/// A share as a percentage, or a dash.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.2}", 100.0 * share) } else { "-".into() }
}

/// A share with its standard error, where it has one.
pub(crate) fn with_error(share: f64, error: f64) -> String {
    if error.is_finite() { format!("{} ± {}", percent(share), percent(error)) } else { percent(share) }
}

/// A number with one decimal, or a dash.
pub(crate) fn fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.1}") } else { "-".into() }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::summary::PassAt;

    pub(crate) fn summary(benchmark: &str, method: &str, samples: usize) -> Summary {
        let known = thinktune_tasks::benchmarks::by_name(benchmark).unwrap();
        let prompting = crate::methods::by_name(method).unwrap();
        Summary {
            benchmark: benchmark.into(),
            benchmark_title: known.title.into(),
            method: method.into(),
            method_title: prompting.title().into(),
            questions: 500,
            samples,
            accuracy: 0.4321,
            correct_any_end: 0.03,
            standard_error: if samples > 1 { 0.0123 } else { f64::NAN },
            interval_low: 0.39,
            interval_high: 0.475,
            pass_at: vec![PassAt { k: samples, share: 0.6 }],
            majority: 0.5,
            unparseable: 0.02,
            over_budget: 0.0,
            truncated: 0.1,
            reflects: 0.0,
            changed: f64::NAN,
            mended: f64::NAN,
            spoilt: f64::NAN,
            tokens_mean: 321.25,
            tokens_per_second: f64::NAN,
        }
    }

    #[test]
    fn terminal_and_markdown() {
        let one = results(&[summary("math500", "zero-shot", 1), summary("gsm8k", "s1", 1)]);
        assert_eq!(
            one.to_text(),
            "benchmark  method           n  accuracy %  95 % interval  correct, any end %  unparseable %  truncated %  tokens  tokens/s\n\
             MATH-500   zero-shot CoT  500       43.21  39.00 - 47.50                3.00           2.00        10.00   321.2         -\n\
             GSM8K      s1 budget      500       43.21  39.00 - 47.50                3.00           2.00        10.00   321.2         -"
        );
        let four = results(&[summary("gsm8k", "zero-shot", 4)]);
        assert_eq!(
            four.to_markdown(),
            "| benchmark | method | n | accuracy % | 95 % interval | correct, any end % | pass@4 % | maj@4 % | unparseable % | truncated % | tokens | tokens/s |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n\
             | GSM8K | zero-shot CoT | 500 | 43.21 ± 1.23 | 39.00 - 47.50 | 3.00 | 60.00 | 50.00 | 2.00 | 10.00 | 321.2 | - |"
        );
    }

    #[test]
    fn reflection_is_shown_where_there_is_any() {
        let reflecting =
            Summary { reflects: 0.5, changed: 0.4, mended: 0.3, spoilt: 0.1, ..summary("gsm8k", "s1", 1) };
        let text = results(&[reflecting]).to_text();
        assert!(text.contains("reflects %  changed %  mended %  spoilt %  truncated %"), "{text}");
        assert!(text.contains("50.00      40.00     30.00     10.00"), "{text}");
    }

    #[test]
    fn csv_and_json_hold_the_numbers_unrounded() {
        let summary = summary("gsm8k", "zero-shot", 1);
        let csv = results_csv(std::slice::from_ref(&summary));
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[1], "gsm8k,zero-shot,500,1,0.4321,0.03,,0.39,0.475,0.6,0.5,0.02,0,0.1,0,,,,321.25,");
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
        let json = serde_json::to_string(&summary).unwrap();
        assert!(json.contains("\"standard_error\":null"), "{json}");
        let back: Summary = serde_json::from_str(&json).unwrap();
        assert!(back.standard_error.is_nan() && back.accuracy == summary.accuracy);
    }
}
