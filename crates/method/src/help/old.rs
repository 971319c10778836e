//! log pi_old of the teacher's tokens: the student had no say in them when it sampled.

use thinktune_policy::{Score, TokenBatch};

use crate::error::MethodError;
use crate::rollout::{Group, Guided};
use crate::settings::{LowConfidence, RlSettings};

/// Returns true where the settings have a use for log pi_old of the teacher's tokens: for the clipped ratio, the log, or the check.
pub fn is_needed(settings: &RlSettings) -> bool {
    settings.loss.low_confidence == LowConfidence::Clip
        || settings.run.log_logprobs
        || settings.run.check_logprobs
}

/// Fills in the log-prob of every token that has none, under the student as it is before the step's updates,
/// by one scoring pass over the guided trajectories.
pub fn score_guidance(
    student: &mut (impl Score + ?Sized),
    groups: &mut [Group<Guided>],
    temperature: f32,
) -> Result<(), MethodError> {
    let mut batch = TokenBatch::new(temperature);
    for group in groups.iter() {
        let prompt = &group.asked.prompt;
        for row in group.rows.iter().filter(|row| row.is_guided()) {
            let unknown = row.tokens.iter().enumerate().filter(|(_, token)| token.old_logprob.is_none());
            let sequence: Vec<u32> = prompt.iter().copied().chain(row.ids()).collect();
            batch.push(&sequence, unknown.map(|(index, _)| prompt.len() + index));
        }
    }
    if batch.targets.is_empty() {
        return Ok(());
    }
    let mut logprobs = student.score(&batch)?.logprobs.into_iter();
    let rows = groups.iter_mut().flat_map(|group| &mut group.rows).filter(|row| row.is_guided());
    for token in rows.flat_map(|row| &mut row.tokens).filter(|token| token.old_logprob.is_none()) {
        token.old_logprob = logprobs.next();
    }
    Ok(())
}
