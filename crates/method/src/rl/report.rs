//! The end of a run in words: what guidance was worth, and, where a run came to nothing, why.

use std::collections::BTreeMap;

use thinktune_runlog::event::{BehaviourMetrics, RunTotals};

use crate::help::gamma::gamma;
use crate::settings::RlSettings;

/// The end of a run: its totals, read against its settings.
#[derive(Debug, Clone, Copy)]
pub struct RunReport<'a> {
    /// Counts over the whole run.
    pub totals: &'a RunTotals,
    /// Settings of the run.
    pub settings: &'a RlSettings,
}

impl RunReport<'_> {
    /// The guidance ledger as a table, a line each; nothing where the teacher answered nothing.
    pub fn ledger(&self) -> Vec<String> {
        let totals = self.totals;
        if totals.behaviours.is_empty() {
            return Vec::new();
        }
        let head = ["guidance", "used", "valid", "wrong->right", "right->wrong", "uplift"];
        let mut all = BehaviourMetrics::default();
        totals.behaviours.values().for_each(|entry| all.add(entry));
        let rows =
            totals.behaviours.iter().map(|(name, entry)| (name.as_str(), entry)).chain([("all", &all)]);
        let mut lines = vec![line(&head.map(String::from))];
        lines.extend(rows.map(|(name, entry)| {
            let uplift = if entry.compared == 0 { "-".into() } else { format!("{:+.3}", entry.uplift) };
            let counts = [entry.used, entry.valid, entry.wrong_to_right, entry.right_to_wrong];
            let [used, valid, mended, spoilt] = counts.map(|count| count.to_string());
            line(&[name.into(), used, valid, mended, spoilt, uplift])
        }));
        if !totals.rejected.is_empty() {
            lines.push(format!("not used: {}", listed(&totals.rejected)));
        }
        lines
    }

    /// What came to nothing, and why, a sentence each: no update was made, or nobody was guided.
    pub fn faults(&self) -> Vec<String> {
        let RunTotals { updates, steps, .. } = *self.totals;
        let mut faults = Vec::new();
        if updates == 0 && steps > 0 {
            faults.push(format!("nothing was learnt: no update in {steps} steps; {}", self.why_no_update()));
        }
        faults.extend(self.unguided());
        faults
    }

    /// Why nobody was guided although guidance was asked for; none where somebody was, or it was not asked for.
    ///
    /// A run that goes on from a checkpoint without totals is not judged.
    pub fn unguided(&self) -> Option<String> {
        let RunTotals { steps, guided_steps, guided, .. } = *self.totals;
        let run_steps = self.settings.run.steps;
        let counted = steps == u64::from(run_steps);
        let asked_for = guided_steps > 0
            || (1..=run_steps).any(|step| gamma(&self.settings.guidance, run_steps, step) > 0.0);
        (counted && asked_for && guided == 0).then(|| {
            format!(
                "nobody was guided: guidance was asked for in {guided_steps} steps; {}",
                self.why_unguided()
            )
        })
    }

    /// Why no feedback was used so far.
    pub fn why_unguided(&self) -> String {
        let RunTotals { responses, eligible, chosen, rejected, .. } = self.totals;
        if *eligible == 0 {
            return format!("none of {responses} attempts ended by itself ({})", self.ends());
        }
        if *chosen == 0 {
            return format!("of {eligible} attempts that ended by themselves none was chosen");
        }
        let mut why =
            format!("the teacher was asked {chosen} times, feedback not used: {}", listed(rejected));
        let guidance = &self.settings.guidance;
        let advice = rejected.iter().max_by_key(|(_, count)| **count).map_or("", |(reason, _)| reason);
        why.push_str(&match advice {
            "truncated" => format!(
                "; replies were cut off at guidance.max_teacher_tokens = {}: raise it",
                guidance.max_teacher_tokens
            ),
            "prompt_too_long" => format!(
                "; requests are longer than guidance.max_teacher_prompt_tokens = {}: raise it",
                guidance.max_teacher_prompt_tokens
            ),
            "feedback_too_long" => format!(
                "; guidance is longer than guidance.max_feedback_tokens = {}: raise it",
                guidance.max_feedback_tokens
            ),
            "response_too_long" => format!(
                "; attempt and guidance are longer than rollout.max_response_tokens = {}: raise it",
                self.settings.rollout.max_response_tokens
            ),
            reason if reason.starts_with("teacher_") => "; see the teacher's server".into(),
            _ => "; the replies are in the rollouts: a larger teacher or other guidance.prompts may help"
                .into(),
        });
        why
    }

    /// Why no update was made: groups whose rewards are all equal, and how the attempts went wrong.
    fn why_no_update(&self) -> String {
        let RunTotals { groups, all_right_groups, all_wrong_groups, .. } = *self.totals;
        let flat = format!(
            "in all {groups} groups the rewards are equal ({all_right_groups} all right, {all_wrong_groups} all wrong)"
        );
        if all_right_groups == groups {
            return format!("{flat}: the questions are too easy for this model");
        }
        format!("{flat}; {}", self.ends())
    }

    /// How the attempts failed, with the setting that bears on the commonest failure.
    fn ends(&self) -> String {
        let RunTotals { responses, wrong, .. } = self.totals;
        let rollout = &self.settings.rollout;
        let Some((reason, count)) = wrong.iter().max_by_key(|(_, count)| **count) else {
            return format!("all {responses} attempts were right");
        };
        let share = format!("{count} of {responses} attempts");
        match reason.as_str() {
            "not_ended" => format!(
                "{share} were cut off at {} tokens: raise rollout.max_response_tokens",
                rollout.max_response_tokens
            ),
            "other_end" => format!(
                "{share} ended otherwise than by the chat template's end of turn: is this a model that was taught to \
                 converse?"
            ),
            "no_answer" => format!(
                "{share} ended without a final answer in the form asked for: see data.prompt_suffix and the rollouts"
            ),
            "wrong_answer" => {
                format!("{share} ended in a wrong answer: the questions are too hard for this model")
            }
            other => format!("{share} earned nothing: {other}"),
        }
    }
}

/// Counts by reason, in words.
pub fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if counts.is_empty() { "none".into() } else { counts.join(", ") }
}

fn line(cells: &[String; 6]) -> String {
    let [name, used, valid, mended, spoilt, uplift] = cells;
    format!("{name:<18}{used:>6}{valid:>7}{mended:>14}{spoilt:>14}{uplift:>9}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(reason, count)| (reason.to_string(), *count)).collect()
    }

    /// Six steps of four groups of four, of which nothing came.
    fn nothing() -> RunTotals {
        RunTotals {
            steps: 6,
            responses: 96,
            groups: 24,
            skipped_groups: 24,
            all_wrong_groups: 24,
            guided_steps: 6,
            wrong: counts(&[("not_ended", 90), ("no_answer", 6)]),
            ..RunTotals::default()
        }
    }

    fn faults(totals: &RunTotals) -> Vec<String> {
        RunReport { totals, settings: &testing::rl_settings() }.faults()
    }

    #[test]
    fn a_run_that_learnt_nothing_says_why() {
        let cut = faults(&nothing());
        assert_eq!(cut.len(), 2, "{cut:?}");
        assert!(cut[0].starts_with("nothing was learnt: no update in 6 steps"), "{cut:?}");
        assert!(cut[0].contains("(0 all right, 24 all wrong)"), "{cut:?}");
        for sentence in &cut {
            let advice = "90 of 96 attempts were cut off at 60 tokens: raise rollout.max_response_tokens";
            assert!(sentence.contains(advice), "{sentence}");
        }
        let easy = RunTotals { all_right_groups: 24, all_wrong_groups: 0, wrong: counts(&[]), ..nothing() };
        assert!(
            faults(&easy)[0]
                .ends_with("(24 all right, 0 all wrong): the questions are too easy for this model")
        );
        let hard = RunTotals { wrong: counts(&[("wrong_answer", 96)]), ..nothing() };
        assert!(faults(&hard)[0].ends_with("the questions are too hard for this model"));
    }

    #[test]
    fn a_run_that_guided_nobody_says_why() {
        let asked = RunTotals {
            updates: 3,
            eligible: 50,
            chosen: 12,
            rejected: counts(&[("truncated", 10), ("bad_format_missing_tag", 2)]),
            ..nothing()
        };
        let sentences = faults(&asked);
        assert_eq!(sentences.len(), 1);
        let words = [
            "nobody was guided: guidance was asked for in 6 steps",
            "the teacher was asked 12 times, feedback not used: bad_format_missing_tag 2, truncated 10",
            "guidance.max_teacher_tokens = 200: raise it",
        ];
        for word in words {
            assert!(sentences[0].contains(word), "{word}: {sentences:?}");
        }
        assert!(faults(&RunTotals { guided: 1, ..asked.clone() }).is_empty());
        assert!(faults(&RunTotals { steps: 2, ..asked }).is_empty(), "the first steps were not counted");
    }

    #[test]
    fn the_ledger_is_a_small_table() {
        let entry = |used, valid, compared, uplift| BehaviourMetrics {
            used,
            valid,
            wrong_to_right: 1,
            right_to_wrong: 0,
            compared,
            uplift,
        };
        let behaviours = BTreeMap::from([
            ("self-conflict".to_string(), entry(5, 3, 3, 0.25)),
            ("unclassified".to_string(), entry(2, 1, 0, f64::NAN)),
        ]);
        let totals = RunTotals { behaviours, rejected: counts(&[("truncated", 3)]), ..nothing() };
        let settings = testing::rl_settings();
        let report = RunReport { totals: &totals, settings: &settings };
        let expected = [
            "guidance            used  valid  wrong->right  right->wrong   uplift",
            "self-conflict          5      3             1             0   +0.250",
            "unclassified           2      1             1             0        -",
            "all                    7      4             2             0   +0.250",
            "not used: truncated 3",
        ];
        assert_eq!(report.ledger(), expected);
        assert!(RunReport { totals: &nothing(), settings: &settings }.ledger().is_empty());
    }
}
