//! What a model that is only read can do: generate and score. A model that learns has one too.

use std::sync::Arc;

use thinktune_kernels::gemm::{Scratch, Threads};
use thinktune_policy::{Completion, GenerateProgress, ModelError, Prompt, Sampling, TokenBatch, TokenScores};

use crate::ModelSpec;
use crate::decoder::{Decoder, RopeTable, Weights};
use crate::generate::{self, Preamble};
use crate::memory::{MachineMemory, Recompute};
use crate::train::{Forwarded, Keep};

/// Weights ready for the kernels, with what lasts from call to call as long as they stay.
pub(crate) struct Engine {
    pub(crate) weights: Arc<Weights>,
    rope: RopeTable,
    preamble: Option<Preamble>,
    pub(crate) memory: MachineMemory,
}

impl Engine {
    pub(crate) fn new(weights: Arc<Weights>) -> Self {
        let rope = RopeTable::new(&weights.spec);
        Self { weights, rope, preamble: None, memory: MachineMemory::detect() }
    }

    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.weights.spec
    }

    pub(crate) fn decoder(&self) -> Decoder<'_> {
        Decoder { weights: &self.weights, rope: &self.rope, threads: Threads::All }
    }

    /// Forgets what depends on the old weights.
    pub(crate) fn weights_changed(&mut self) {
        self.preamble = None;
    }

    /// Makes the rope table long enough for `positions`.
    pub(crate) fn reserve(&mut self, positions: usize) {
        self.rope.reserve(positions);
    }

    /// Checks a batch and makes the rope table long enough for it.
    pub(crate) fn prepare(&mut self, batch: &TokenBatch) -> Result<(), ModelError> {
        check_batch(self.spec(), batch)?;
        let longest = (0..batch.sequences()).map(|sequence| length_with_prefix(batch, sequence)).max();
        self.rope.reserve(longest.unwrap_or(0));
        Ok(())
    }

    /// See [`Generate::generate`](thinktune_policy::Generate::generate).
    pub(crate) fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        generate::check(self.spec(), prompts, sampling)?;
        let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
        self.rope.reserve(self.spec().context.min(longest + sampling.max_tokens));
        let previous = self.preamble.take();
        let preamble = generate::shared_preamble(&self.decoder(), prompts, previous);
        let done =
            generate::run(&self.decoder(), prompts, preamble.as_ref(), sampling, self.memory, progress);
        self.preamble = preamble;
        done
    }

    /// See [`Score::score`](thinktune_policy::Score::score).
    pub(crate) fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.prepare(batch)?;
        let budget = self.memory.token_budget(self.spec(), self.weights.precision, Recompute::Auto);
        let decoder = self.decoder();
        let mut scores = TokenScores::default();
        for piece in split(batch, budget) {
            let forwarded = Forwarded::run(&decoder, &piece, Keep::Nothing, &mut Vec::new());
            let (part, _) = forwarded.score(&decoder, &piece, None)?;
            scores.logprobs.extend(part.logprobs);
            scores.entropies.extend(part.entropies);
        }
        Ok(scores)
    }

    /// Logits of every position. `[T] -> [T, V]`
    pub(crate) fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut batch = TokenBatch::new(1.0);
        batch.push(tokens, []);
        self.prepare(&batch)?;
        let decoder = self.decoder();
        let forwarded = Forwarded::run(&decoder, &batch, Keep::Nothing, &mut Vec::new());
        let (mut normed, mut logits) = (Vec::new(), Vec::new());
        decoder.norm(&self.weights.final_norm, &forwarded.output, &mut normed);
        decoder.logits(&normed, &mut Scratch::default(), &mut logits);
        Ok(logits)
    }
}

/// Refuses what would index outside the vocabulary or the rope table.
fn check_batch(spec: &ModelSpec, batch: &TokenBatch) -> Result<(), ModelError> {
    if let Some(token) = batch.tokens.iter().find(|&&token| token as usize >= spec.vocab_size) {
        return Err(ModelError::BadInput(format!(
            "token id {token} is outside the model's vocabulary of {} ids",
            spec.vocab_size
        )));
    }
    let past_end = batch.targets.last().is_some_and(|&target| target >= batch.tokens.len());
    if past_end || batch.targets.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(ModelError::BadInput("targets must be ascending positions of the batch".into()));
    }
    for sequence in 0..batch.sequences() {
        let misplaced = |&prefix: &usize| prefix >= sequence || batch.prefixes[prefix].is_some();
        if let Some(prefix) = batch.prefixes[sequence].filter(misplaced) {
            return Err(ModelError::BadInput(format!(
                "sequence {sequence} continues sequence {prefix}: expected an earlier one that continues none"
            )));
        }
        let length = length_with_prefix(batch, sequence);
        if length > spec.context {
            return Err(ModelError::BadInput(format!(
                "sequence {sequence} has {length} tokens; the model's context is {}",
                spec.context
            )));
        }
    }
    if let Some(&target) = batch.targets.iter().find(|&&target| batch.predecessor(target).is_none()) {
        return Err(ModelError::BadInput(format!(
            "the first token of sequence {} cannot be scored: nothing precedes it",
            batch.sequence_of(target)
        )));
    }
    if !(batch.temperature > 0.0 && batch.temperature.is_finite()) {
        return Err(ModelError::BadInput(format!(
            "log-probs at temperature {}: expected a positive number",
            batch.temperature
        )));
    }
    Ok(())
}

/// Tokens of a sequence and of the prefix it continues.
fn length_with_prefix(batch: &TokenBatch, sequence: usize) -> usize {
    let length = |sequence: usize| batch.offsets[sequence + 1] - batch.offsets[sequence];
    length(sequence) + batch.prefixes[sequence].map_or(0, length)
}

/// Cuts a batch between sequences into pieces of at most `budget` tokens (or one sequence). A prefix goes
/// into every piece that continues it.
fn split(batch: &TokenBatch, budget: usize) -> Vec<TokenBatch> {
    let rows = |sequence: usize| batch.offsets[sequence]..batch.offsets[sequence + 1];
    let mut pieces = Vec::new();
    let mut piece = TokenBatch::new(batch.temperature);
    // where the prefix last used stands in the piece at hand
    let mut placed: Option<(usize, usize)> = None;
    for sequence in 0..batch.sequences() {
        let at = rows(sequence);
        if !piece.tokens.is_empty() && piece.tokens.len() + at.len() > budget {
            pieces.push(std::mem::replace(&mut piece, TokenBatch::new(batch.temperature)));
            placed = None;
        }
        let from = batch.targets.partition_point(|&target| target < at.start);
        let to = batch.targets.partition_point(|&target| target < at.end);
        let score = batch.targets[from..to].iter().map(|target| target - at.start);
        let tokens = &batch.tokens[at.clone()];
        match batch.prefixes[sequence] {
            None => placed = Some((sequence, piece.push(tokens, score))),
            Some(prefix) => {
                let place = match placed {
                    Some((found, place)) if found == prefix => place,
                    _ => piece.push(&batch.tokens[rows(prefix)], []),
                };
                placed = Some((prefix, place));
                piece.push_after(place, tokens, score);
            }
        }
    }
    pieces.push(piece);
    pieces
}
