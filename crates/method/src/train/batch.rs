//! Cutting work to size: mini-batches of questions, micro-batches of tokens.

use std::ops::Range;

/// Lengths in tokens of a group's prompt, which is computed once, and of its responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLengths {
    /// Of the prompt.
    pub prompt: usize,
    /// Of each response.
    pub responses: Vec<usize>,
}

impl GroupLengths {
    /// A sequence that shares nothing.
    pub fn alone(length: usize) -> Self {
        Self { prompt: 0, responses: vec![length] }
    }
}

/// Cuts rows, the responses of all groups in order, into consecutive micro-batches of at most `budget` tokens.
/// A group is cut only where it alone passes the budget, and a response that alone passes it gets a micro-batch
/// of its own. Cutting changes memory, not gradients: between groups not a bit of them.
pub fn micro_batches(groups: impl IntoIterator<Item = GroupLengths>, budget: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let (mut row, mut room) = (0, 0);
    for GroupLengths { prompt, responses } in groups {
        if responses.is_empty() {
            continue;
        }
        let mut enter = prompt + responses.iter().sum::<usize>() > room;
        room = room.saturating_sub(prompt);
        for length in responses {
            match batches.last_mut().filter(|_| !enter && length <= room) {
                Some(batch) => batch.end = row + 1,
                None => {
                    batches.push(row..row + 1);
                    room = budget.saturating_sub(prompt);
                }
            }
            room = room.saturating_sub(length);
            row += 1;
            enter = false;
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(prompt: usize, responses: &[usize]) -> GroupLengths {
        GroupLengths { prompt, responses: responses.to_vec() }
    }

    #[test]
    fn whole_groups_up_to_the_budget_then_pieces() {
        assert_eq!(micro_batches([group(2, &[2, 1]), group(1, &[4]), group(1, &[9])], 10), [0..3, 3..4]);
        let groups = [group(0, &[7]), group(5, &[10]), group(16, &[12]), group(16, &[21])];
        assert_eq!(micro_batches(groups, 66), [0..3, 3..4], "a prompt that joins takes room too");
        assert_eq!(
            micro_batches([group(2, &[2, 1]), group(1, &[5])], 10),
            [0..2, 2..3],
            "not cut to fill up"
        );
        assert_eq!(micro_batches([group(4, &[3, 3, 3, 3])], 10), [0..2, 2..4], "its prompt is in both");
        assert_eq!(micro_batches([group(4, &[30, 3])], 10), [0..1, 1..2], "too long and let through");
        assert!(micro_batches([], 10).is_empty());
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_batch_in_order(
            groups in prop::collection::vec((0usize..20, prop::collection::vec(1usize..40, 0..6)), 0..12),
            budget in 1usize..90,
        ) {
            let groups: Vec<GroupLengths> = groups.iter().map(|(prompt, rows)| group(*prompt, rows)).collect();
            let batches = micro_batches(groups.iter().cloned(), budget);
            let rows: Vec<(usize, usize)> = groups
                .iter()
                .enumerate()
                .flat_map(|(g, group)| group.responses.iter().map(move |&length| (g, length)))
                .collect();
            let covered: Vec<usize> = batches.iter().cloned().flatten().collect();
            prop_assert_eq!(covered, (0..rows.len()).collect::<Vec<_>>());
            for batch in batches {
                let mut prompts: Vec<usize> = rows[batch.clone()].iter().map(|(group, _)| *group).collect();
                prompts.dedup();
                let tokens: usize = prompts.iter().map(|&g| groups[g].prompt).sum::<usize>()
                    + rows[batch.clone()].iter().map(|(_, length)| length).sum::<usize>();
                prop_assert!(tokens <= budget || batch.len() == 1);
            }
        }
    }
}
