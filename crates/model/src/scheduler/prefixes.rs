//! Prompts prefilled lately, kept for the next that begins like one of them: a conversation that goes on, a teacher's
//! few-shot examples, questions after the same instructions.

use std::collections::VecDeque;
use std::sync::Arc;

use thinktune_compute::Backend;

/// A beginning shorter than this is run again sooner than found.
pub(crate) const SHORTEST: usize = 16;

/// Prompts looked through for each new one.
const MOST: usize = 64;

/// A prompt and its keys and values.
type Kept<B> = (Arc<[u32]>, Arc<<B as Backend>::KvSeq>);

/// Keys and values of the prompts run last, up to a number of tokens.
pub(crate) struct PrefixStore<B: Backend> {
    /// The one used last in front.
    prompts: VecDeque<Kept<B>>,
    tokens: usize,
    budget: usize,
}

/// A prefilled beginning.
pub(crate) struct Prefix<B: Backend> {
    pub(crate) seq: Arc<B::KvSeq>,
    /// Positions of `seq` that count.
    pub(crate) len: usize,
}

impl<B: Backend> PrefixStore<B> {
    /// A store of at most `budget` tokens.
    pub(crate) fn new(budget: usize) -> Self {
        Self { prompts: VecDeque::new(), tokens: 0, budget }
    }

    /// The longest known beginning of `prompt`; none where that is too short to be worth it.
    pub(crate) fn find(&mut self, prompt: &[u32]) -> Option<Prefix<B>> {
        let common = |(tokens, _): &Kept<B>| common_prefix(prompt, tokens).len();
        let (index, len) =
            self.prompts.iter().map(common).enumerate().max_by_key(|&(index, len)| (len, !index))?;
        if len < SHORTEST {
            return None;
        }
        let used = self.prompts.remove(index)?;
        let prefix = Prefix { seq: Arc::clone(&used.1), len };
        self.prompts.push_front(used);
        Some(prefix)
    }

    /// Keeps a prompt that has been run, in place of those that it continues.
    pub(crate) fn keep(&mut self, prompt: &Arc<[u32]>, seq: &Arc<B::KvSeq>) {
        if prompt.len() > self.budget {
            return;
        }
        self.prompts.retain(|(tokens, _)| !prompt.starts_with(tokens));
        self.prompts.push_front((Arc::clone(prompt), Arc::clone(seq)));
        self.tokens = self.prompts.iter().map(|(tokens, _)| tokens.len()).sum();
        while self.tokens > self.budget || self.prompts.len() > MOST {
            let Some((tokens, _)) = self.prompts.pop_back() else { return };
            self.tokens -= tokens.len();
        }
    }

    /// Forgets all prompts.
    pub(crate) fn clear(&mut self) {
        self.prompts.clear();
        self.tokens = 0;
    }
}

pub(crate) fn common_prefix<'a>(a: &'a [u32], b: &[u32]) -> &'a [u32] {
    let length = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    &a[..length]
}

#[cfg(test)]
mod tests {
    use thinktune_cpu::Cpu;

    use super::*;

    fn keep(store: &mut PrefixStore<Cpu>, tokens: &[u32]) {
        store.keep(&tokens.to_vec().into(), &Arc::new(Cpu::new().kv(0, 1)));
    }

    fn found(store: &mut PrefixStore<Cpu>, prompt: &[u32]) -> Option<usize> {
        store.find(prompt).map(|prefix| prefix.len)
    }

    #[test]
    fn longest_beginning_is_found() {
        let mut store = PrefixStore::new(1000);
        let long: Vec<u32> = (0..40).collect();
        keep(&mut store, &long[..20]);
        keep(&mut store, &[7; 30]);
        assert_eq!(found(&mut store, &long), Some(20));
        assert_eq!(found(&mut store, &long[..19]), Some(19));
        assert_eq!(found(&mut store, &long[..10]), None, "too short to be worth it");
        assert_eq!(found(&mut store, &[]), None);
        keep(&mut store, &long);
        assert_eq!(store.prompts.len(), 2, "a continuation takes the place of what it continues");
    }

    #[test]
    fn longest_unused_goes_first() {
        let mut store = PrefixStore::new(60);
        for first in 0..2 {
            keep(&mut store, &[first; 25]);
        }
        assert_eq!(found(&mut store, &[0; 30]), Some(25));
        keep(&mut store, &[2; 25]);
        assert_eq!(found(&mut store, &[1; 30]), None);
        assert_eq!(found(&mut store, &[0; 30]), Some(25));
        keep(&mut store, &[3; 61]);
        assert_eq!(store.tokens, 50, "what exceeds the budget alone is not kept");
    }
}
