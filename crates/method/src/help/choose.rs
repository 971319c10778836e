//! Choice of the attempts of a group that are guided.

use thinktune_policy::{SampleKey, Stream, rng};

/// Picks max(1, floor(|eligible| gamma)) of the eligible rows uniformly without replacement, none if none is
/// eligible or gamma is 0. The choice is a function of (seed, step, question) and of the eligible rows.
/// Returns rows in ascending order.
pub fn choose(eligible: &[usize], gamma: f64, seed: u64, step: u32, question: u32) -> Vec<usize> {
    if eligible.is_empty() || gamma <= 0.0 {
        return Vec::new();
    }
    let count = ((eligible.len() as f64 * gamma).floor() as usize).max(1);
    let mut rows = eligible.to_vec();
    rng::shuffle(seed, SampleKey { stream: Stream::Choice, step, question, sample: 0 }, &mut rows);
    rows.truncate(count);
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn at_least_one_where_one_is_eligible() {
        assert_eq!(choose(&[2], 0.01, 1, 1, 0), [2]);
        assert_eq!(choose(&[0, 1, 2, 3, 4], 0.1, 1, 1, 0).len(), 1);
        assert_eq!(choose(&[0, 1, 2, 3, 4], 0.5, 1, 1, 0).len(), 2);
        assert_eq!(choose(&[0, 1, 2, 3, 4], 1.0, 1, 1, 0), [0, 1, 2, 3, 4]);
        assert!(choose(&[], 1.0, 1, 1, 0).is_empty());
        assert!(choose(&[0, 1], 0.0, 1, 1, 0).is_empty());
    }

    #[test]
    fn every_pair_is_as_likely() {
        let mut counts = std::collections::BTreeMap::new();
        let trials = 6000;
        for question in 0..trials {
            *counts.entry(choose(&[0, 1, 3, 5], 0.5, 9, 2, question)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Each count is binomial with mean 1000 and standard deviation 29.
        assert!(counts.values().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn keyed_by_seed_step_and_question() {
        let rows: Vec<usize> = (0..32).collect();
        let base = choose(&rows, 0.5, 1, 1, 1);
        assert_eq!(base, choose(&rows, 0.5, 1, 1, 1));
        for other in [choose(&rows, 0.5, 2, 1, 1), choose(&rows, 0.5, 1, 2, 1), choose(&rows, 0.5, 1, 1, 2)] {
            assert_ne!(base, other);
        }
    }

    proptest! {
        #[test]
        fn a_choice_is_a_subset_of_the_right_size(
            eligible in prop::collection::btree_set(0usize..50, 0..20),
            gamma in 0.0f64..=1.0,
            seed: u64,
        ) {
            let eligible: Vec<usize> = eligible.into_iter().collect();
            let chosen = choose(&eligible, gamma, seed, 3, 4);
            let floor = (eligible.len() as f64 * gamma).floor() as usize;
            let expected = if eligible.is_empty() || gamma == 0.0 { 0 } else { floor.max(1) };
            prop_assert_eq!(chosen.len(), expected);
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(chosen.iter().all(|row| eligible.contains(row)));
        }
    }
}
