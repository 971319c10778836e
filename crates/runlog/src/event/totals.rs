//! Counts over a whole run, and what guidance was worth.

use std::collections::BTreeMap;

use super::field::{Metrics, metrics};
use super::{BehaviourMetrics, StepMetrics};

metrics! {
    /// Counts over a whole run of ThinkTuning or GRPO: `totals.json`, written when the run is done.
    pub struct RunTotals {
        /// Steps counted.
        #[serde(default)]
        pub steps: u64 = Count,
        /// Optimizer updates made.
        #[serde(default)]
        pub updates: u64 = Count,
        /// The student's own attempts.
        #[serde(default)]
        pub responses: u64 = Count,
        /// The student's own attempts that are not right, by reason.
        #[serde(default)]
        pub wrong: BTreeMap<String, u64> = CountByReason,
        /// Groups of responses.
        #[serde(default)]
        pub groups: u64 = Count,
        /// Groups whose responses, guided ones included, are all right.
        #[serde(default)]
        pub all_right_groups: u64 = Count,
        /// Groups whose responses, guided ones included, are all wrong.
        #[serde(default)]
        pub all_wrong_groups: u64 = Count,
        /// Groups left out of training because their advantages are all zero.
        #[serde(default)]
        pub skipped_groups: u64 = Count,
        /// Steps with gamma above 0.
        #[serde(default)]
        pub guided_steps: u64 = Count,
        /// Attempts that ended by themselves in those steps, and might have been guided.
        #[serde(default)]
        pub eligible: u64 = Count,
        /// Attempts the teacher was asked about.
        #[serde(default)]
        pub chosen: u64 = Count,
        /// Attempts continued with valid guidance.
        #[serde(default)]
        pub guided: u64 = Count,
        /// Feedback not used, by reason.
        #[serde(default)]
        pub rejected: BTreeMap<String, u64> = CountByReason,
        /// Guided attempts whose opinion agrees with the grader's verdict on the attempt.
        #[serde(default)]
        pub opinions_right: u64 = Count,
        /// The guidance ledger: the feedback of each behaviour that was shown.
        #[serde(default)]
        pub behaviours: BTreeMap<String, BehaviourMetrics> = Record,
    }
}

impl RunTotals {
    /// Adds a step.
    pub fn add(&mut self, step: &StepMetrics) {
        self.steps += 1;
        self.updates += step.updates;
        self.responses += step.responses;
        add_counts(&mut self.wrong, &step.wrong);
        self.groups += step.questions;
        self.all_right_groups += step.all_right_groups;
        self.all_wrong_groups += step.all_wrong_groups;
        self.skipped_groups += step.skipped_groups;
        if step.gamma > 0.0 {
            self.guided_steps += 1;
            self.eligible += step.eligible;
        }
        self.chosen += step.chosen;
        self.guided += step.guided;
        add_counts(&mut self.rejected, &step.rejected);
        self.opinions_right += step.opinions_right;
        for (behaviour, of_step) in &step.behaviours {
            self.behaviours.entry(behaviour.clone()).or_default().add(of_step);
        }
    }
}

fn add_counts(to: &mut BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) {
    for (reason, count) in counts {
        *to.entry(reason.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eligible_attempts_count_where_guidance_was_wanted() {
        let step = |gamma| StepMetrics { gamma, eligible: 3, responses: 4, ..Default::default() };
        let mut totals = RunTotals::default();
        totals.add(&step(0.0));
        totals.add(&step(0.1));
        assert_eq!((totals.steps, totals.guided_steps, totals.eligible, totals.responses), (2, 1, 3, 8));
        let text = serde_json::to_string(&totals).unwrap();
        assert_eq!(serde_json::from_str::<RunTotals>(&text).unwrap(), totals);
        assert_eq!(serde_json::from_str::<RunTotals>("{}").unwrap(), RunTotals::default());
    }
}
