//! Ways of prompting: what is said to the model, turn by turn, until its answer stands.
//!
//! A method is asked what comes next, given what the model has said so far; it does not know how many such
//! conversations run side by side.

mod budget_forcing;
mod self_correct;
mod self_verify;
mod zero_shot;

use thinktune_policy::Message;

pub use budget_forcing::BudgetForcing;
pub use self_correct::SelfCorrect;
pub use self_verify::SelfVerify;
pub use zero_shot::ZeroShot;

/// A question as a method sees it.
#[derive(Debug, Clone)]
pub struct QuestionPrompt {
    /// System message, if any.
    pub system: Option<String>,
    /// The question, with how to answer it.
    pub prompt: String,
    /// Longest answer, in tokens.
    pub answer_tokens: usize,
    /// Budget of methods that force one, in tokens.
    pub budget_tokens: usize,
    /// Tokens of the model's context after the first prompt.
    pub room_tokens: usize,
}

/// Answer of the model in one round.
#[derive(Debug, Clone, PartialEq)]
pub struct Round {
    /// Text it continued, beyond the round before; empty at the beginning of a turn.
    pub forced: String,
    /// Tokens of that text.
    pub forced_tokens: usize,
    /// Its text.
    pub text: String,
    /// Tokens drawn, the end token included.
    pub tokens: usize,
    /// True where it ended by itself.
    pub ended: bool,
}

/// Next action of a method.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// An answer to a conversation.
    Turn {
        /// The conversation, which ends in the user's words.
        messages: Vec<Message>,
        /// Longest answer, in tokens.
        limit: usize,
    },
    /// More of the answer just given: its end is taken back and `text` put there instead.
    Continue {
        /// Put where the answer had ended.
        text: String,
        /// Longest continuation, in tokens, `text` included.
        limit: usize,
    },
    /// Nothing: the answer stands.
    Done,
}

/// A way of prompting.
pub trait Method: std::fmt::Debug + Sync {
    /// As on the command line.
    fn name(&self) -> &'static str;

    /// As in tables, and in the paper's where it is there.
    fn title(&self) -> &'static str;

    /// Returns what comes next after `said`.
    fn next(&self, asked: &QuestionPrompt, said: &[Round]) -> Next;

    /// Returns true where the answer came to its end: its last round ended by itself.
    fn is_whole(&self, said: &[Round]) -> bool {
        said.last().is_some_and(|round| round.ended)
    }

    /// The round the graded response begins with: its last turn.
    fn response_from(&self, said: &[Round]) -> usize {
        said.iter().rposition(|round| round.forced_tokens == 0).unwrap_or(0)
    }
}

/// All methods, in the order of the paper's table.
pub const ALL: [&dyn Method; 4] = [&ZeroShot, &SelfVerify, &SelfCorrect, &BudgetForcing];

/// The method of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Method> {
    ALL.into_iter().find(|method| method.name() == name)
}

/// The question, then what the model said and what it was told, in turns.
fn conversation(asked: &QuestionPrompt, said: &[Round], told: &[&str]) -> Vec<Message> {
    let mut messages: Vec<Message> = asked.system.iter().map(Message::system).collect();
    messages.push(Message::user(asked.prompt.as_str()));
    for (round, told) in said.iter().zip(told) {
        messages.push(Message::assistant(round.text.trim()));
        messages.push(Message::user(*told));
    }
    messages
}
