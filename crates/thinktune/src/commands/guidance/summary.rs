//! What the replies come to: shares with their intervals.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use thinktune_eval::statistics::wilson_interval;
use thinktune_eval::table::Table;
use thinktune_method::help::prompts::PromptSet;

use super::replies::Record;

/// A share with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Cases in which it holds.
    pub count: usize,
    /// All cases.
    pub of: usize,
    /// Wilson's 95 % interval; NaN (null in JSON) where there are no cases.
    pub interval: [f64; 2],
}

impl Share {
    fn new<'a>(records: impl Iterator<Item = &'a Record>, holds: impl Fn(&Record) -> bool) -> Self {
        let (count, of) =
            records.fold((0, 0), |(count, of), record| (count + usize::from(holds(record)), of + 1));
        Self { count, of, interval: wilson_interval(count, of) }
    }

    fn cells(&self) -> [String; 2] {
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        if self.of == 0 {
            return ["-".into(), "-".into()];
        }
        let [low, high] = self.interval;
        [
            format!("{} ({}/{})", percent(self.count as f64 / self.of as f64), self.count, self.of),
            format!("{} to {}", percent(low), percent(high)),
        ]
    }
}

/// What one teacher came to with one prompt set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The teacher, as it was named.
    pub teacher: String,
    /// The prompt set, as it was named.
    pub prompts: String,
    /// SHA-256 of the prompt set's text.
    pub prompts_sha256: String,
    /// Replies that were spliced in, of all.
    pub accepted: Share,
    /// Opinions that agree with the grader, of the accepted.
    pub opinions_right: Share,
    /// Opinions `correct`, of those on right attempts.
    pub trusted: Share,
    /// Opinions `incorrect`, of those on wrong attempts.
    pub caught: Share,
    /// Guided wrong attempts that end right.
    pub wrong_to_right: Share,
    /// Guided right attempts that end wrong.
    pub right_to_wrong: Share,
    /// Reasons for which replies were not used, with their counts.
    pub rejected: BTreeMap<String, usize>,
    /// Mean length of a reply, in the teacher's tokens; null where nothing was drawn.
    pub reply_tokens: f64,
    /// Mean length of the guidance, in the student's tokens; null where nothing was accepted.
    pub guidance_tokens: f64,
}

impl Summary {
    /// Counts the records.
    pub fn of(teacher: &str, set: &PromptSet, records: &[Record]) -> Self {
        let accepted = || records.iter().filter(|record| record.is_accepted());
        let wrong = || accepted().filter(|record| !record.attempt_right);
        let right = || accepted().filter(|record| record.attempt_right);
        let mut rejected = BTreeMap::new();
        for record in records.iter().filter(|record| !record.is_accepted()) {
            *rejected.entry(record.fate.clone()).or_insert(0) += 1;
        }
        let asked = records.iter().filter(|record| record.reply_tokens > 0);
        Self {
            teacher: teacher.into(),
            prompts: set.name.clone(),
            prompts_sha256: set.sha256.clone(),
            accepted: Share::new(records.iter(), Record::is_accepted),
            opinions_right: Share::new(accepted(), Record::is_opinion_right),
            trusted: Share::new(right(), Record::is_opinion_right),
            caught: Share::new(wrong(), Record::is_opinion_right),
            wrong_to_right: Share::new(wrong(), |record| record.result_right),
            right_to_wrong: Share::new(right(), |record| !record.result_right),
            rejected,
            reply_tokens: mean(asked.map(|record| record.reply_tokens)),
            guidance_tokens: mean(accepted().map(|record| record.guidance_tokens)),
        }
    }

    /// Teacher and prompt set, short enough for a table.
    fn names(&self) -> [String; 2] {
        let last = |name: &str| {
            let name = Path::new(name.trim_end_matches('/'));
            name.file_stem().unwrap_or_default().to_string_lossy().into_owned()
        };
        let teacher = self.teacher.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        [teacher.into(), last(&self.prompts)]
    }
}

fn mean(values: impl Iterator<Item = usize>) -> f64 {
    let (sum, count) = values.fold((0, 0), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { f64::NAN } else { sum as f64 / count as f64 }
}

/// The table of shares.
pub fn table(summaries: &[Summary]) -> Table {
    const SHARES: [&str; 6] =
        ["accepted %", "opinions right %", "trusted %", "caught %", "wrong->right %", "right->wrong %"];
    let mut head = vec!["teacher".to_string(), "prompts".into()];
    for share in SHARES {
        head.extend([share.to_string(), "95 %".into()]);
    }
    head.extend(["reply tokens".to_string(), "guidance tokens".into()]);
    let tokens = |mean: f64| if mean.is_nan() { "-".into() } else { format!("{mean:.0}") };
    let row = |summary: &Summary| {
        let Summary { accepted, opinions_right, trusted, caught, wrong_to_right, right_to_wrong, .. } =
            summary;
        let shares = [accepted, opinions_right, trusted, caught, wrong_to_right, right_to_wrong];
        let mut cells = Vec::from(summary.names());
        cells.extend(shares.iter().flat_map(|share| share.cells()));
        cells.extend([tokens(summary.reply_tokens), tokens(summary.guidance_tokens)]);
        cells
    };
    Table { head, rows: summaries.iter().map(row).collect(), names: 2 }
}

/// The table of reasons for which replies were not used.
pub fn reasons(summaries: &[Summary]) -> Table {
    let head = ["teacher", "prompts", "not used because", "replies"].map(String::from).into();
    let rows = summaries.iter().flat_map(|summary| {
        let [teacher, prompts] = summary.names();
        summary.rejected.iter().map(move |(reason, count)| {
            vec![teacher.clone(), prompts.clone(), reason.clone(), count.to_string()]
        })
    });
    Table { head, rows: rows.collect(), names: 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(attempt_right: bool, opinion: Option<&str>, result_right: bool, fate: &str) -> Record {
        Record {
            question: 0,
            gold: "1".into(),
            attempt: String::new(),
            attempt_right,
            reply: String::new(),
            reply_tokens: 10,
            fate: fate.into(),
            opinion: opinion.map(String::from),
            result_right,
            guidance_tokens: 4,
        }
    }

    #[test]
    fn shares_are_counted_of_what_they_speak_of() {
        let set = PromptSet::load("reasoning").unwrap();
        let records = [
            record(false, Some("incorrect"), true, "accepted"),
            record(false, Some("correct"), false, "accepted"),
            record(true, Some("incorrect"), false, "accepted"),
            record(true, None, true, "truncated"),
        ];
        let summary = Summary::of("a/b/", &set, &records);
        let counts = |share: Share| (share.count, share.of);
        assert_eq!(counts(summary.accepted), (3, 4));
        assert_eq!(counts(summary.opinions_right), (1, 3));
        assert_eq!(counts(summary.caught), (1, 2));
        assert_eq!(counts(summary.trusted), (0, 1));
        assert_eq!(counts(summary.wrong_to_right), (1, 2));
        assert_eq!(counts(summary.right_to_wrong), (1, 1));
        assert_eq!(summary.rejected, BTreeMap::from([("truncated".to_string(), 1)]));
        assert_eq!((summary.reply_tokens, summary.guidance_tokens), (10.0, 4.0));
        let text = table(std::slice::from_ref(&summary)).to_text();
        assert!(text.contains("75.0 (3/4)") && text.lines().nth(1).unwrap().starts_with("b "), "{text}");
        assert!(reasons(&[summary]).to_text().contains("truncated"));
    }
}
