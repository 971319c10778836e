//! A step as the run folder records it.

use std::collections::BTreeMap;

use thinktune_runlog::PhaseTokens;
use thinktune_runlog::event::{BehaviourMetrics, GuidanceRecord, RolloutRecord, StepMetrics, author_runs};
use thinktune_tasks::Verdict;

use crate::act::questions::Questions;
use crate::help::feedback::Opinion;
use crate::help::prompts::Behaviour;
use crate::reward::phrase::says_once;
use crate::rollout::{Asked, Help, Scored};
use crate::settings::RlSettings;
use crate::step::Step;

/// The line of `metrics.jsonl`. `updates_before` counts the updates of the steps before.
pub fn step_metrics(
    step: &Step,
    questions: &Questions,
    settings: &RlSettings,
    updates_before: u64,
) -> StepMetrics {
    let rows: Vec<&Scored> = step.groups.iter().flat_map(|group| &group.rows).collect();
    let mut metrics = StepMetrics {
        step: step.number.into(),
        epoch: questions.epochs_after(step.number),
        questions: step.groups.len() as u64,
        responses: rows.len() as u64,
        equal_groups: share(&step.groups, |group| group.has_equal_rewards()),
        all_right_groups: count(&step.groups, |group| group.rows.iter().all(|row| row.outcome.is_right())),
        all_wrong_groups: count(&step.groups, |group| group.rows.iter().all(|row| !row.outcome.is_right())),
        prompt_tokens_mean: mean(step.groups.iter().map(|group| group.asked.prompt.len() as f64)),
        ..StepMetrics::default()
    };
    describe_responses(&mut metrics, &rows, settings);
    describe_help(&mut metrics, step, &rows);
    describe_training(&mut metrics, step, settings, updates_before);
    metrics
}

fn describe_responses(metrics: &mut StepMetrics, rows: &[&Scored], settings: &RlSettings) {
    let rewards: Vec<f64> = rows.iter().map(|row| row.reward).collect();
    (metrics.reward_mean, metrics.reward_std) = mean_and_std(&rewards);
    metrics.accuracy = share(rows, |row| row.attempt_outcome.is_right());
    metrics.first_attempt_accuracy = share(rows, |row| row.first_attempt_right);
    metrics.guided_accuracy = share(rows, |row| row.outcome.is_right());
    for why in rows.iter().filter_map(|row| row.why_attempt_wrong()) {
        *metrics.wrong.entry(why.into()).or_default() += 1;
    }
    metrics.unparseable = share(rows, |row| row.attempt_outcome.grade.verdict == Verdict::Unparseable);
    metrics.phrase_rate = match &settings.reward.phrase {
        Some(phrase) => share(rows, |row| says_once(&row.guided.attempt.text, phrase)),
        None => f64::NAN,
    };
    metrics.response_tokens_mean = mean(rows.iter().map(|row| row.guided.attempt.tokens.len() as f64));
    metrics.truncated = share(rows, |row| !row.attempt_outcome.ended);
    metrics.reflection_rate = share(rows, |row| row.reflects);
    let reflecting: Vec<&&Scored> = rows.iter().filter(|row| row.reflects).collect();
    metrics.changed = share(&reflecting, |row| row.changed);
    metrics.mended = share(&reflecting, |row| row.is_mended());
    metrics.spoilt = share(&reflecting, |row| row.is_spoilt());
}

fn describe_help(metrics: &mut StepMetrics, step: &Step, rows: &[&Scored]) {
    metrics.gamma = step.help.gamma;
    metrics.eligible = step.help.eligible as u64;
    metrics.chosen = step.help.chosen as u64;
    metrics.rejected = rejections(rows.iter().copied());
    (metrics.behaviours, metrics.uplift) = ledger(step);
    let guided: Vec<&&Scored> = rows.iter().filter(|row| row.guided.is_guided()).collect();
    let count = |is: &dyn Fn(&Scored) -> bool| guided.iter().filter(|row| is(row)).count() as u64;
    metrics.guided = guided.len() as u64;
    metrics.wrong_to_right = count(&|row| !row.attempt_outcome.is_right() && row.outcome.is_right());
    metrics.right_to_wrong = count(&|row| row.attempt_outcome.is_right() && !row.outcome.is_right());
    metrics.right_to_right = count(&|row| row.attempt_outcome.is_right() && row.outcome.is_right());
    metrics.wrong_to_wrong = count(&|row| !row.attempt_outcome.is_right() && !row.outcome.is_right());
    metrics.opinions_right = count(&|row| match &row.guided.help {
        Help::Given { feedback, .. } => {
            (feedback.opinion == Opinion::Correct) == row.attempt_outcome.is_right()
        }
        _ => false,
    });
    metrics.guided_tokens_mean = mean(guided.iter().map(|row| row.guided.tokens.len() as f64));
    metrics.guidance_tokens_mean = mean(
        guided.iter().map(|row| row.guided.tokens.len() as f64 - row.guided.attempt.tokens.len() as f64),
    );
}

fn describe_training(metrics: &mut StepMetrics, step: &Step, settings: &RlSettings, updates_before: u64) {
    let stats = &step.train;
    let per = |sum: f64, count: usize| if count == 0 { f64::NAN } else { sum / count as f64 };
    metrics.loss = per(stats.loss, stats.updates);
    metrics.clip_fraction = per(stats.clipped_tokens as f64, stats.ratio_tokens);
    metrics.entropy = per(stats.entropy, stats.tokens);
    metrics.kl = if settings.loss.beta > 0.0 { per(stats.kl, stats.tokens) } else { f64::NAN };
    metrics.grad_norm = per(stats.grad_norm, stats.updates);
    metrics.lr = stats.lr;
    metrics.updates = stats.updates as u64;
    metrics.updates_total = stats.updates_total.unwrap_or(updates_before);
    metrics.trained_tokens = stats.tokens as u64;
    metrics.guided_tokens = stats.shaped_tokens as u64;
    metrics.teacher_tokens = stats.teacher_tokens as u64;
    metrics.masked_tokens = stats.masked_tokens as u64;
    metrics.w_aas_mean = per(stats.w_aas, stats.shaped_tokens);
    metrics.skipped_groups = stats.skipped_groups as u64;
}

/// Name of feedback in which no behaviour is recognised.
const UNCLASSIFIED: &str = "unclassified";

/// The name of a behaviour in the ledger.
fn behaviour_name(row: &Scored) -> &'static str {
    row.guided.help.behaviour().map_or(UNCLASSIFIED, Behaviour::name)
}

/// The feedback of each behaviour, and the uplift of all of it.
fn ledger(step: &Step) -> (BTreeMap<String, BehaviourMetrics>, f64) {
    let mut entries: BTreeMap<String, BehaviourMetrics> = BTreeMap::new();
    let mut all = BehaviourMetrics::default();
    for group in &step.groups {
        for row in group.rows.iter().filter(|row| row.guided.help.is_reply()) {
            let (before, after) = (row.attempt_outcome.is_right(), row.outcome.is_right());
            let valid = row.guided.is_guided();
            let uplift = if valid { group.uplift(row) } else { None };
            let feedback = BehaviourMetrics {
                used: 1,
                valid: valid.into(),
                wrong_to_right: (valid && !before && after).into(),
                right_to_wrong: (valid && before && !after).into(),
                compared: uplift.is_some().into(),
                uplift: uplift.unwrap_or(f64::NAN),
            };
            entries.entry(behaviour_name(row).into()).or_default().add(&feedback);
            all.add(&feedback);
        }
    }
    let uplift = if all.compared == 0 { f64::NAN } else { all.uplift };
    (entries, uplift)
}

/// Feedback not used, by reason.
pub fn rejections<'a>(rows: impl IntoIterator<Item = &'a Scored>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        if let Help::Rejected { reason, .. } = &row.guided.help {
            *counts.entry(reason.to_string()).or_insert(0) += 1;
        }
    }
    counts
}

/// Tokens each phase worked on, the evaluation aside.
pub fn phase_tokens(step: &Step) -> PhaseTokens {
    let rows = step.groups.iter().flat_map(|group| &group.rows);
    PhaseTokens {
        act: rows.map(|row| row.guided.attempt.tokens.len() as u64).sum(),
        help: step.help.teacher_tokens as u64,
        train: step.train.sequence_tokens as u64,
        evaluate: 0,
    }
}

/// The lines of the step's rollout file.
pub fn rollout_records(step: &Step, settings: &RlSettings) -> Vec<RolloutRecord> {
    let record = |asked: &Asked, row: &Scored| RolloutRecord {
        step: step.number.into(),
        question: asked.question.index,
        sample: row.guided.attempt.key.sample,
        question_text: asked.question.text.clone(),
        gold: asked.question.gold.clone(),
        response: row.text.clone(),
        tokens: row.guided.ids(),
        authors: author_runs(row.guided.tokens.iter().map(|token| token.author)),
        ended: row.outcome.ended,
        guided: row.guided.is_guided(),
        verdict: row.outcome.grade.verdict.name().into(),
        why_wrong: row.why_wrong().map(Into::into),
        grade_reason: row.outcome.grade.reason.clone(),
        extracted: row.outcome.grade.extracted.clone(),
        reward: row.reward,
        advantage: row.advantage,
        guidance: guidance_record(row),
        logprobs: settings
            .run
            .log_logprobs
            .then(|| row.guided.tokens.iter().map(|token| token.old_logprob.unwrap_or(f32::NAN)).collect()),
    };
    let groups = step.groups.iter();
    groups.flat_map(|group| group.rows.iter().map(|row| record(&group.asked, row))).collect()
}

fn guidance_record(row: &Scored) -> Option<GuidanceRecord> {
    let (reply, opinion, rejected) = match &row.guided.help {
        Help::NotChosen => return None,
        Help::Rejected { reply, reason } => (reply, None, Some(reason.to_string())),
        Help::Given { reply, feedback } => (reply, Some(feedback.opinion.word().into()), None),
    };
    Some(GuidanceRecord {
        attempt: row.guided.attempt.text.clone(),
        attempt_verdict: row.attempt_outcome.grade.verdict.name().into(),
        feedback: reply.clone(),
        behaviour: row.guided.help.behaviour().map(|behaviour| behaviour.name().into()),
        opinion,
        rejected,
    })
}

/// Share of the items for which something holds; NaN where there are none.
pub(crate) fn share<T>(items: &[T], holds: impl Fn(&T) -> bool) -> f64 {
    mean(items.iter().map(|item| if holds(item) { 1.0 } else { 0.0 }))
}

/// Number of the items for which something holds.
fn count<T>(items: &[T], holds: impl Fn(&T) -> bool) -> u64 {
    items.iter().filter(|item| holds(item)).count() as u64
}

/// NaN where there is nothing to average.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { f64::NAN } else { sum / count as f64 }
}

/// Mean, and standard deviation with n - 1 (NaN for fewer than two).
pub(crate) fn mean_and_std(values: &[f64]) -> (f64, f64) {
    let mean = mean(values.iter().copied());
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let std = if values.len() < 2 { f64::NAN } else { (squares / (values.len() - 1) as f64).sqrt() };
    (mean, std)
}
