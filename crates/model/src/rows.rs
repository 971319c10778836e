//! A packed batch as the decoder sees it: checked, cut to fit memory, and as rows.

use thinktune_compute::{RowLayout, RowSpan};
use thinktune_policy::{ModelError, TokenBatch};

use crate::ModelSpec;
use crate::decoder::head::Predictions;

/// Position and span of each row.
pub(crate) fn row_layout(batch: &TokenBatch) -> RowLayout {
    let length = |sequence: usize| batch.offsets[sequence + 1] - batch.offsets[sequence];
    let positions = (0..batch.sequences())
        .flat_map(|sequence| {
            let first = batch.prefixes[sequence].map_or(0, length);
            first..first + length(sequence)
        })
        .collect();
    let spans = batch.offsets.windows(2).zip(&batch.prefixes);
    let spans = spans.map(|(pair, prefix)| RowSpan { rows: pair[0]..pair[1], prefix: *prefix });
    RowLayout { positions, spans: spans.collect() }
}

/// The row that predicts each target; [`check`] has refused targets without one.
pub(crate) fn predictions(batch: &TokenBatch) -> Predictions {
    Predictions {
        rows: batch.targets.iter().filter_map(|&target| batch.predecessor(target)).collect(),
        targets: batch.targets.iter().map(|&target| batch.tokens[target]).collect(),
        temperature: batch.temperature,
    }
}

/// An error naming the target with a non-finite value.
pub(crate) fn non_finite(what: &'static str, value: f32, batch: &TokenBatch, index: usize) -> ModelError {
    let target = batch.targets[index];
    let sequence = batch.sequence_of(target);
    let token = target - batch.offsets[sequence];
    ModelError::NonFinite { what, detail: format!("{value} for token {token} of sequence {sequence}") }
}

/// Tokens of the longest sequence, its prefix included.
pub(crate) fn longest(batch: &TokenBatch) -> usize {
    (0..batch.sequences()).map(|sequence| length_with_prefix(batch, sequence)).max().unwrap_or(0)
}

/// Refuses what would index outside the vocabulary or the rope table.
pub(crate) fn check(spec: &ModelSpec, batch: &TokenBatch) -> Result<(), ModelError> {
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
pub(crate) fn split(batch: &TokenBatch, budget: usize) -> Vec<TokenBatch> {
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
