//! One training step: act, help, reward, train.

use std::sync::Arc;

use thinktune_policy::{Policy, Score, Teacher, Tokenizer};

use crate::act::act;
use crate::error::MethodError;
use crate::help::{HelpReport, help, old};
use crate::progress::{Phase, Progress};
use crate::reward::reward;
use crate::rollout::{Asked, Group, Scored};
use crate::settings::RlSettings;
use crate::train::{check_logprobs, stats::TrainStats, train};

/// Models of a run, and the student's tokenizer.
pub struct Models<'a> {
    /// M: samples, is scored, learns.
    pub student: &'a mut dyn Policy,
    /// The student's tokenizer and chat template.
    pub tokenizer: &'a dyn Tokenizer,
    /// Gives feedback; none for GRPO.
    pub teacher: Option<&'a mut dyn Teacher>,
    /// pi_ref; none where beta is 0.
    pub reference: Option<&'a mut dyn Score>,
}

/// Results of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number, from 1.
    pub number: u32,
    /// The groups trained on.
    pub groups: Vec<Group<Scored>>,
    /// The teacher's round.
    pub help: HelpReport,
    /// The updates.
    pub train: TrainStats,
}

/// Algorithm 1 of the paper, once, on the questions drawn for step `number`.
///
/// # Errors
/// A model or teacher that fails, a loss that is not finite.
pub fn step(
    models: &mut Models<'_>,
    questions: &[Arc<Asked>],
    number: u32,
    settings: &RlSettings,
    progress: &mut dyn Progress,
) -> Result<Step, MethodError> {
    let Models { student, tokenizer, teacher, reference } = models;
    let tokenizer = *tokenizer;
    progress.phase(number, Phase::Act);
    let attempts = act(&mut **student, tokenizer, questions, number, settings, progress)?;
    progress.phase(number, Phase::Help);
    let (mut guided, help) = help(teacher.as_deref_mut(), tokenizer, attempts, number, settings, progress)?;
    if old::is_needed(settings) {
        old::score_guidance(&mut **student, &mut guided, settings.rollout.temperature)?;
    }
    progress.phase(number, Phase::Reward);
    let groups = reward(guided, tokenizer, &settings.reward);
    progress.phase(number, Phase::Train);
    if settings.run.check_logprobs {
        check_logprobs(&mut **student, &groups, number, settings)?;
    }
    let train = train(&mut **student, reference.as_deref_mut(), &groups, number, settings, progress)?;
    Ok(Step { number, groups, help, train })
}
