//! Step 4, train: several optimizer updates on the scored groups, one per mini-batch of questions.

pub mod loss;

pub mod shaping;

pub mod aggregate;

pub mod kl;

pub mod batch;

pub mod schedule;

pub mod stats;

use thinktune_policy::{Score, TokenBatch, TokenScores, Train};

use crate::error::MethodError;
use crate::progress::Progress;
use crate::rollout::{Asked, Group, Scored};
use crate::settings::RlSettings;
use aggregate::shares;
use batch::{GroupLengths, micro_batches};
use kl::k3;
use loss::token_loss;
use schedule::learning_rate;
use stats::TrainStats;

/// Trains the student on `groups`, `mini_batch_questions` at a time.
///
/// Groups without advantage are not forwarded where beta is 0, but still count in the denominators; a
/// mini-batch of such groups only makes no update.
pub fn train(
    student: &mut dyn Train,
    mut reference: Option<&mut (dyn Score + '_)>,
    groups: &[Group<Scored>],
    step: u32,
    settings: &RlSettings,
    progress: &mut dyn Progress,
) -> Result<TrainStats, MethodError> {
    let lr = learning_rate(&settings.optimizer, step, settings.run.steps);
    let mut stats = TrainStats { lr, ..TrainStats::default() };
    for (index, mini_batch) in groups.chunks(settings.mini_batch_questions).enumerate() {
        let rows = rows_of(mini_batch, settings);
        let responses = settings.mini_batch_questions * settings.rollout.group_size;
        stats.skipped_groups += mini_batch.iter().filter(|group| is_skipped(group, settings)).count();
        if rows.is_empty() {
            continue;
        }
        let mut loss = 0.0;
        for micro_batch in micro_batches(lengths_of(&rows), student.token_budget()) {
            let end = micro_batch.end;
            loss += micro_step(
                student,
                reference.as_deref_mut(),
                &rows[micro_batch],
                step,
                settings,
                &mut stats,
            )?;
            progress.training(index * responses + end, groups.len() * settings.rollout.group_size);
        }
        let report = student.update(&settings.optimizer.adamw(lr))?;
        stats.updated(loss, &report);
    }
    Ok(stats)
}

/// A response of the mini-batch being trained on.
struct LossRow<'a> {
    asked: &'a Asked,
    scored: &'a Scored,
    /// Factor of each of its tokens in the loss.
    share: f64,
}

impl LossRow<'_> {
    /// Names the sample, in words.
    fn name(&self) -> String {
        let (question, sample) = (self.asked.question.index, self.scored.guided.attempt.key.sample);
        format!("question {question}, sample {sample}")
    }
}

/// Returns true where two rows belong to one group.
fn one_group(a: &LossRow<'_>, b: &LossRow<'_>) -> bool {
    std::ptr::eq(a.asked, b.asked)
}

/// Lengths of the rows, group by group.
fn lengths_of(rows: &[LossRow<'_>]) -> Vec<GroupLengths> {
    let lengths = |group: &[LossRow<'_>]| GroupLengths {
        prompt: group[0].asked.prompt.len(),
        responses: group.iter().map(|row| row.scored.guided.tokens.len()).collect(),
    };
    rows.chunk_by(one_group).map(lengths).collect()
}

fn is_skipped(group: &Group<Scored>, settings: &RlSettings) -> bool {
    group.is_flat() && settings.loss.beta == 0.0
}

/// The rows to forward, each with its share of the whole mini-batch.
fn rows_of<'a>(mini_batch: &'a [Group<Scored>], settings: &RlSettings) -> Vec<LossRow<'a>> {
    let all = mini_batch.iter().flat_map(|group| group.rows.iter().map(move |scored| (group, scored)));
    let lengths: Vec<usize> = all.clone().map(|(_, scored)| scored.guided.tokens.len()).collect();
    let shares = shares(settings.loss.aggregation, &lengths, settings.rollout.max_response_tokens);
    all.zip(shares)
        .filter(|((group, _), _)| !is_skipped(group, settings))
        .map(|((group, scored), share)| LossRow { asked: &group.asked, scored, share })
        .collect()
}

/// Computes log pi of every token of the step a second time, before its first update, and compares it with what
/// was recorded while sampling: pi_old = pi, to the bit.
///
/// # Errors
/// The first token whose two log-probs differ.
pub fn check_logprobs(
    student: &mut dyn Train,
    groups: &[Group<Scored>],
    step: u32,
    settings: &RlSettings,
) -> Result<(), MethodError> {
    let rows = rows_of(groups, settings);
    for micro_batch in micro_batches(lengths_of(&rows), student.token_budget()) {
        let rows = &rows[micro_batch];
        let scores = student.forward(&batch_of(rows, settings))?;
        let mut computed = scores.logprobs.iter();
        for row in rows {
            for (index, (token, &computed)) in row.scored.guided.tokens.iter().zip(&mut computed).enumerate()
            {
                let Some(recorded) = token.old_logprob else { continue };
                if recorded.to_bits() != computed.to_bits() {
                    let sample = row.name();
                    return Err(MethodError::OffPolicy { step, sample, token: index, recorded, computed });
                }
            }
        }
    }
    Ok(())
}

/// The sequences of some rows, each group's prompt once.
fn batch_of(rows: &[LossRow<'_>], settings: &RlSettings) -> TokenBatch {
    let mut batch = TokenBatch::new(settings.rollout.temperature);
    for group in rows.chunk_by(one_group) {
        let prompt = batch.push(&group[0].asked.prompt, []);
        for row in group {
            let response = row.scored.guided.ids();
            batch.push_after(prompt, &response, 0..response.len());
        }
    }
    batch
}

/// Forward, loss, backward of one micro-batch; its part of the mini-batch loss.
fn micro_step(
    student: &mut dyn Train,
    reference: Option<&mut (dyn Score + '_)>,
    rows: &[LossRow<'_>],
    step: u32,
    settings: &RlSettings,
    stats: &mut TrainStats,
) -> Result<f64, MethodError> {
    let batch = batch_of(rows, settings);
    let reference = match reference {
        Some(reference) if settings.loss.beta > 0.0 => Some(reference.score(&batch)?),
        _ => None,
    };
    let scores = student.forward(&batch)?;
    let (loss, slopes) = losses(rows, &scores, reference.as_ref(), step, settings, stats)?;
    student.backward(&slopes)?;
    stats.sequence_tokens += batch.tokens.len();
    Ok(loss)
}

/// The loss of a micro-batch and d loss / d log-prob of each target.
fn losses(
    rows: &[LossRow<'_>],
    scores: &TokenScores,
    reference: Option<&TokenScores>,
    step: u32,
    settings: &RlSettings,
    stats: &mut TrainStats,
) -> Result<(f64, Vec<f32>), MethodError> {
    let mut slopes = Vec::with_capacity(scores.logprobs.len());
    let mut loss = 0.0;
    for row in rows {
        let mut row_loss = 0.0;
        for token in &row.scored.guided.tokens {
            let target = slopes.len();
            let logprob = f64::from(scores.logprobs[target]);
            let mut term = token_loss(logprob, token, row.scored, &settings.loss);
            stats.token(&term, token.author, f64::from(scores.entropies[target]));
            if let Some(reference) = reference {
                let (value, slope) = k3(logprob, f64::from(reference.logprobs[target]));
                term.value += settings.loss.beta * value;
                term.slope += settings.loss.beta * slope;
                stats.kl += value;
            }
            row_loss += row.share * term.value;
            slopes.push((row.share * term.slope) as f32);
        }
        let finite = row_loss.is_finite() && slopes.iter().all(|slope| slope.is_finite());
        if !finite {
            return Err(MethodError::NonFinite { step, sample: row.name(), value: row_loss });
        }
        loss += row_loss;
    }
    Ok((loss, slopes))
}
