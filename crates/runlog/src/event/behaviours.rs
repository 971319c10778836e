//! What the feedback of each behaviour was worth.

use super::field::{Metrics, metrics};

metrics! {
    /// The feedback of one behaviour, in a step or in a whole run. The behaviour is the one asked for, or else that of the
    /// first sentence of the reason that holds one of the behaviour's words (`crates/tasks/src/markers.rs`);
    /// `unclassified` where none does.
    pub struct BehaviourMetrics {
        /// Replies of the teacher that show the behaviour, used or not.
        pub used: u64 = Count,
        /// Of those, the ones accepted and spliced in.
        pub valid: u64 = Count,
        /// Of the accepted ones, those that made a wrong attempt right.
        pub wrong_to_right: u64 = Count,
        /// Of the accepted ones, those that made a right attempt wrong.
        pub right_to_wrong: u64 = Count,
        /// Of the accepted ones, those whose group has an unguided response to compare with.
        pub compared: u64 = Count,
        /// Mean over the compared ones: reward of the guided response minus the mean reward of the unguided responses of its group; null without any.
        pub uplift: f64 = Reward,
    }
}

impl BehaviourMetrics {
    /// Adds the feedback of another step.
    pub fn add(&mut self, other: &Self) {
        let sum = |of: &Self| if of.compared == 0 { 0.0 } else { of.uplift * of.compared as f64 };
        let uplifts = sum(self) + sum(other);
        self.used += other.used;
        self.valid += other.valid;
        self.wrong_to_right += other.wrong_to_right;
        self.right_to_wrong += other.right_to_wrong;
        self.compared += other.compared;
        self.uplift = if self.compared == 0 { f64::NAN } else { uplifts / self.compared as f64 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uplifts_are_weighted_by_what_was_compared() {
        let of = |used, compared, uplift| BehaviourMetrics { used, compared, uplift, ..Default::default() };
        let mut sum = of(2, 1, 0.5);
        sum.add(&of(3, 3, -0.5));
        assert_eq!((sum.used, sum.compared, sum.uplift), (5, 4, -0.25));
        sum.add(&of(1, 0, f64::NAN));
        assert_eq!((sum.used, sum.compared, sum.uplift), (6, 4, -0.25));
        let mut none = BehaviourMetrics::default();
        none.add(&of(1, 0, f64::NAN));
        assert!(none.uplift.is_nan(), "nothing to average is null");
    }
}
