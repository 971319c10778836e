//! Packed batches of token sequences, and the scores of their targets.

/// A packed batch: token lists back to back, no padding, and which tokens' log-probs are wanted.
///
/// A sequence may continue an earlier one of the batch, its *prefix*, as the responses of a group continue
/// their prompt: the prefix is then computed once, forward and backward, for all that continue it.
#[derive(Debug, Clone, Default)]
pub struct TokenBatch {
    /// Token ids of all sequences. `[T]`
    pub tokens: Vec<u32>,
    /// Start of each sequence in `tokens`, and the end of the last. `[B + 1]`
    pub offsets: Vec<usize>,
    /// For each sequence the earlier one that it continues, if any; that one continues none. `[B]`
    pub prefixes: Vec<Option<usize>>,
    /// Ascending indices into `tokens` of the tokens to score; never the first of a sequence without prefix.
    pub targets: Vec<usize>,
    /// Log-probs are of softmax(logits / temperature).
    pub temperature: f32,
}

impl TokenBatch {
    /// An empty batch.
    pub fn new(temperature: f32) -> Self {
        Self { offsets: vec![0], temperature, ..Self::default() }
    }

    /// Appends a sequence and returns its index; `score` gives the indices within it of the tokens to score
    /// (all >= 1, ascending).
    pub fn push(&mut self, tokens: &[u32], score: impl IntoIterator<Item = usize>) -> usize {
        self.push_sequence(None, tokens, score)
    }

    /// Appends a sequence that continues sequence `prefix`; index 0 within it may be scored too.
    pub fn push_after(
        &mut self,
        prefix: usize,
        tokens: &[u32],
        score: impl IntoIterator<Item = usize>,
    ) -> usize {
        self.push_sequence(Some(prefix), tokens, score)
    }

    fn push_sequence(
        &mut self,
        prefix: Option<usize>,
        tokens: &[u32],
        score: impl IntoIterator<Item = usize>,
    ) -> usize {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.offsets.push(self.tokens.len());
        self.prefixes.push(prefix);
        self.targets.extend(score.into_iter().map(|i| start + i));
        self.sequences() - 1
    }

    /// B.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The sequence that holds the token at `index`.
    pub fn sequence_of(&self, index: usize) -> usize {
        self.offsets.partition_point(|&offset| offset <= index) - 1
    }

    /// Index of the token that precedes the one at `index`: the row that predicts it. None for the first of a
    /// sequence without prefix.
    pub fn predecessor(&self, index: usize) -> Option<usize> {
        let sequence = self.sequence_of(index);
        if index > self.offsets[sequence] {
            return Some(index - 1);
        }
        let prefix = self.prefixes[sequence]?;
        (self.offsets[prefix] < self.offsets[prefix + 1]).then(|| self.offsets[prefix + 1] - 1)
    }
}

/// What a forward pass says of the targets of a batch, in their order.
#[derive(Debug, Clone, Default)]
pub struct TokenScores {
    /// log pi(target | what precedes it).
    pub logprobs: Vec<f32>,
    /// Entropy of the distribution the target was drawn from, in nats.
    pub entropies: Vec<f32>,
}
