//! One training step: act, help, reward, train.

use thinktune_policy::{Policy, Score};

use crate::act::{act, questions::Questions};
use crate::error::MethodError;
use crate::help::{HelpReport, help, teacher::Teacher};
use crate::language::Tokenizer;
use crate::observer::{Observer, Phase};
use crate::reward::reward;
use crate::rollout::{Group, Scored};
use crate::settings::RlSettings;
use crate::train::{check_logprobs, tally::Tally, train};

/// Who takes part in a run.
pub struct Classroom<'a> {
    /// M: samples, is scored, learns.
    pub student: &'a mut dyn Policy,
    /// The student's tokenizer and chat template.
    pub language: &'a dyn Tokenizer,
    /// Gives feedback; none for GRPO.
    pub teacher: Option<&'a mut dyn Teacher>,
    /// pi_ref; none where beta is 0.
    pub reference: Option<&'a mut dyn Score>,
}

/// What a step produced.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its number, from 1.
    pub number: u32,
    /// The groups trained on.
    pub groups: Vec<Group<Scored>>,
    /// The teacher's round.
    pub help: HelpReport,
    /// The updates.
    pub train: Tally,
}

/// Algorithm 1 of the paper, once.
pub fn step(
    room: &mut Classroom<'_>,
    questions: &Questions,
    number: u32,
    settings: &RlSettings,
    observer: &mut dyn Observer,
) -> Result<Step, MethodError> {
    observer.phase(number, Phase::Act);
    let attempts = act(room, &questions.of_step(number), number, settings, observer)?;
    observer.phase(number, Phase::Help);
    let (guided, help) = help(room, attempts, number, settings, observer)?;
    observer.phase(number, Phase::Reward);
    let groups = reward(guided, room.language, &settings.reward);
    observer.phase(number, Phase::Train);
    if settings.run.check_logprobs {
        check_logprobs(room, &groups, number, settings)?;
    }
    let train = train(room, &groups, number, settings, observer)?;
    Ok(Step { number, groups, help, train })
}
