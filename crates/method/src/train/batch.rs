//! Cutting work to size: mini-batches of questions, micro-batches of tokens.

use std::ops::Range;

/// Cuts rows of the given lengths into consecutive micro-batches of at most `budget` tokens.
/// A row longer than the budget gets a micro-batch of its own. Cutting changes memory, not gradients.
pub fn micro_batches(lengths: impl IntoIterator<Item = usize>, budget: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut room = 0;
    for (row, length) in lengths.into_iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if length <= room => {
                batch.end = row + 1;
                room -= length;
            }
            _ => {
                batches.push(row..row + 1);
                room = budget.saturating_sub(length);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fills_up_to_the_budget_and_lets_long_rows_through() {
        assert_eq!(micro_batches([3, 4, 3, 12, 1], 10), [0..3, 3..4, 4..5]);
        assert!(micro_batches([], 10).is_empty());
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_batch_in_order(
            lengths in prop::collection::vec(1usize..40, 0..30),
            budget in 1usize..60,
        ) {
            let batches = micro_batches(lengths.iter().copied(), budget);
            let rows: Vec<usize> = batches.iter().cloned().flatten().collect();
            prop_assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                let tokens: usize = lengths[batch.clone()].iter().sum();
                prop_assert!(tokens <= budget || batch.len() == 1);
            }
        }
    }
}
