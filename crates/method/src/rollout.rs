//! What one step hands from stage to stage: [`act`](crate::act) gives groups of [`Attempt`]s,
//! [`help`](crate::help) makes them [`Guided`], [`reward`](crate::reward) [`Scored`]; only those can be trained on.

use std::sync::Arc;

use thinktune_policy::{Finish, SampleKey, Tokenizer};
use thinktune_runlog::event::Author;
use thinktune_tasks::Question;

use crate::help::behaviour;
use crate::help::feedback::{Feedback, Rejection};
use crate::help::prompts::Behaviour;
use crate::reward::outcome::Outcome;

/// A question with the prompt it is asked by.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// The student's prompt.
    pub prompt: Arc<[u32]>,
}

/// The rows of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<T> {
    /// The question.
    pub asked: Arc<Asked>,
    /// n rows, in the order they were sampled.
    pub rows: Vec<T>,
}

impl<T> Group<T> {
    /// The same question with other rows.
    pub fn with<U>(&self, rows: Vec<U>) -> Group<U> {
        Group { asked: Arc::clone(&self.asked), rows }
    }
}

/// A response sampled from the student.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Keys the random numbers it was sampled with.
    pub key: SampleKey,
    /// Tokens, the stop token included where there is one.
    pub tokens: Vec<u32>,
    /// log pi_old of each token, recorded while sampling.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
    /// Its text, special tokens left out.
    pub text: String,
}

impl Attempt {
    /// Returns true where it ended by itself: exactly one stop token, the end of the turn, at the end.
    pub fn ended(&self, tokenizer: &dyn Tokenizer) -> bool {
        tokenizer.ended(&self.tokens)
    }
}

/// A token of a trajectory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its author.
    pub author: Author,
    /// log pi_old: as recorded while sampling, or for the teacher's tokens under the student before
    /// the step's updates, where that was asked for.
    pub old_logprob: Option<f32>,
}

/// A response after the teacher's round, whether or not it was guided.
#[derive(Debug, Clone, PartialEq)]
pub struct Guided {
    /// The student's own sample.
    pub attempt: Attempt,
    /// The trajectory: the attempt, or the attempt with the guidance spliced in.
    pub tokens: Vec<Token>,
    /// Fate of the teacher's help.
    pub help: Help,
}

/// Fate of the teacher's help for one attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Help {
    /// The teacher was not asked.
    NotChosen,
    /// The teacher was asked and its reply could not be used.
    Rejected {
        /// The teacher's reply; empty where it could not be asked.
        reply: String,
        /// Why it was not used.
        reason: Rejection,
    },
    /// The feedback was spliced in.
    Given {
        /// The teacher's reply.
        reply: String,
        /// The parsed reply.
        feedback: Feedback,
    },
}

impl Help {
    /// Returns true where the teacher answered, in whatever form.
    pub fn is_reply(&self) -> bool {
        match self {
            Self::NotChosen => false,
            Self::Rejected { reply, .. } => !reply.is_empty(),
            Self::Given { .. } => true,
        }
    }

    /// The behaviour that the feedback shows, as its reason's words tell; of a reply that is not in the demanded format,
    /// as the words of the whole reply tell.
    pub fn behaviour(&self) -> Option<Behaviour> {
        match self {
            Self::NotChosen => None,
            Self::Rejected { reply, .. } => behaviour::shown(reply),
            Self::Given { feedback, .. } => behaviour::shown(&feedback.reason),
        }
    }
}

impl Guided {
    /// An attempt left as it was.
    pub fn plain(attempt: Attempt, help: Help) -> Self {
        let tokens = attempt.tokens.iter().zip(&attempt.logprobs);
        let token = |(&id, &logprob)| Token { id, author: Author::Student, old_logprob: Some(logprob) };
        Self { tokens: tokens.map(token).collect(), attempt, help }
    }

    /// Returns true where the teacher's feedback is part of the trajectory.
    pub fn is_guided(&self) -> bool {
        matches!(self.help, Help::Given { .. })
    }

    /// Token ids of the trajectory.
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

/// A response with its reward and advantage: what the loss is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The trajectory.
    pub guided: Guided,
    /// Its text.
    pub text: String,
    /// Its outcome.
    pub outcome: Outcome,
    /// The outcome of the attempt without guidance.
    pub attempt_outcome: Outcome,
    /// True where the attempt's text up to its first reflection, if any, has a correct final answer.
    pub first_attempt_right: bool,
    /// True where the attempt goes on reflecting after its first final answer.
    pub reflects: bool,
    /// True where it reflects and its final answer is another one than the first.
    pub changed: bool,
    /// r.
    pub reward: f64,
    /// A, the same for all tokens.
    pub advantage: f64,
}

impl Scored {
    /// Why the trajectory earns nothing for its answer; none where it is right.
    pub fn why_wrong(&self) -> Option<&'static str> {
        self.outcome.why_wrong(self.guided.attempt.finish)
    }

    /// Why the student's own attempt earns nothing; none where it is right.
    pub fn why_attempt_wrong(&self) -> Option<&'static str> {
        self.attempt_outcome.why_wrong(self.guided.attempt.finish)
    }

    /// Returns true where the attempt reflects, its first answer is wrong and it ends right.
    pub fn is_mended(&self) -> bool {
        self.reflects && !self.first_attempt_right && self.attempt_outcome.is_right()
    }

    /// Returns true where the attempt reflects, its first answer is right and it does not end right.
    pub fn is_spoilt(&self) -> bool {
        self.reflects && self.first_attempt_right && !self.attempt_outcome.is_right()
    }
}

impl Group<Scored> {
    /// Returns the reward of a guided row minus the mean reward of the group's unguided rows; none without any of those.
    pub fn uplift(&self, row: &Scored) -> Option<f64> {
        let others: Vec<f64> =
            self.rows.iter().filter(|row| !row.guided.is_guided()).map(|row| row.reward).collect();
        let mean = others.iter().sum::<f64>() / others.len() as f64;
        (!others.is_empty()).then_some(row.reward - mean)
    }

    /// Returns true where all rewards are equal.
    pub fn has_equal_rewards(&self) -> bool {
        self.rows.windows(2).all(|pair| pair[0].reward == pair[1].reward)
    }

    /// Returns true where all advantages are 0, so that nothing is learnt from the group.
    pub fn is_flat(&self) -> bool {
        self.rows.iter().all(|row| row.advantage == 0.0)
    }
}
