//! Prompts run lately, kept for the next that begins like one of them: a conversation that goes on, a teacher's
//! few-shot examples, questions after the same instructions.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cache::{Segment, common_prefix};

/// A beginning shorter than this is run again sooner than found.
const SHORTEST: usize = 16;

/// Prompts looked through for each new one.
const MOST: usize = 64;

/// Keys and values of the prompts run last, up to a number of tokens.
pub(super) struct PromptCache {
    /// The one used last in front.
    prompts: VecDeque<(Arc<[u32]>, Arc<Segment>)>,
    tokens: usize,
    budget: usize,
    /// K d.
    stride: usize,
}

impl PromptCache {
    pub(super) fn new(budget: usize, stride: usize) -> Self {
        Self { prompts: VecDeque::new(), tokens: 0, budget, stride }
    }

    /// The longest known beginning of `prompt` that leaves a token to run, as a segment to go on from.
    pub(super) fn beginning(&mut self, prompt: &[u32]) -> Option<(Segment, usize)> {
        let own = &prompt[..prompt.len().saturating_sub(1)];
        let common = |(tokens, _): &(Arc<[u32]>, Arc<Segment>)| common_prefix(own, tokens).len();
        let (index, length) =
            self.prompts.iter().map(common).enumerate().max_by_key(|&(index, length)| (length, !index))?;
        if length < SHORTEST {
            return None;
        }
        let used = self.prompts.remove(index)?;
        let segment = used.1.first(length, self.stride);
        self.prompts.push_front(used);
        Some((segment, length))
    }

    /// Keeps a prompt that has been run, in place of those that it continues.
    pub(super) fn keep(&mut self, prompt: &Arc<[u32]>, segment: &Arc<Segment>) {
        if prompt.len() > self.budget {
            return;
        }
        self.prompts.retain(|(tokens, _)| !prompt.starts_with(tokens));
        self.prompts.push_front((Arc::clone(prompt), Arc::clone(segment)));
        self.tokens = self.prompts.iter().map(|(tokens, _)| tokens.len()).sum();
        while self.tokens > self.budget || self.prompts.len() > MOST {
            let Some((tokens, _)) = self.prompts.pop_back() else { return };
            self.tokens -= tokens.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(cache: &mut PromptCache, tokens: &[u32]) {
        cache.keep(&tokens.to_vec().into(), &Arc::new(Segment::new(0)));
    }

    fn found(cache: &mut PromptCache, prompt: &[u32]) -> Option<usize> {
        cache.beginning(prompt).map(|(_, length)| length)
    }

    #[test]
    fn the_longest_beginning_is_found_and_a_token_is_left_to_run() {
        let mut cache = PromptCache::new(1000, 1);
        let long: Vec<u32> = (0..40).collect();
        keep(&mut cache, &long[..20]);
        keep(&mut cache, &[7; 30]);
        assert_eq!(found(&mut cache, &long), Some(20));
        assert_eq!(found(&mut cache, &long[..20]), Some(19));
        assert_eq!(found(&mut cache, &long[..10]), None, "too short to be worth it");
        assert_eq!(found(&mut cache, &[]), None);
        keep(&mut cache, &long);
        assert_eq!(cache.prompts.len(), 2, "a continuation takes the place of what it continues");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut cache = PromptCache::new(60, 1);
        for first in 0..2 {
            keep(&mut cache, &[first; 25]);
        }
        assert_eq!(found(&mut cache, &[0; 30]), Some(25));
        keep(&mut cache, &[2; 25]);
        assert_eq!(found(&mut cache, &[1; 30]), None);
        assert_eq!(found(&mut cache, &[0; 30]), Some(25));
        keep(&mut cache, &[3; 61]);
        assert_eq!(cache.tokens, 50, "what exceeds the budget alone is not kept");
    }
}
