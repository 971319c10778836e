//! One attempt and the teacher's reply to it: the request, and what becomes of the attempt.

use thinktune_policy::{TeacherReply, TeacherRequest, Tokenizer};
use thinktune_tasks::Question;
use thinktune_tasks::grading::grade;

use crate::help::feedback::{Feedback, Rejection, parse};
use crate::help::splice::{Limits, splice};
use crate::help::teacher::reply_key;
use crate::rollout::{Attempt, Guided, Help, Token};
use crate::settings::RlSettings;

/// The request about an attempt at a question.
pub fn request(question: &Question, attempt: &Attempt) -> TeacherRequest {
    TeacherRequest {
        question: question.text.clone(),
        response: attempt.text.clone(),
        key: reply_key(attempt.key),
    }
}

/// What a reply must satisfy before it is spliced into an attempt.
#[derive(Clone, Copy)]
pub struct Guide<'a> {
    /// The student's tokenizer.
    pub tokenizer: &'a dyn Tokenizer,
    /// Longest guidance and longest result.
    pub limits: Limits,
    /// True where the teacher's prompts ask for a section before the opinion in which the work is checked.
    pub checks_first: bool,
}

impl Guide<'_> {
    /// The attempt after its reply, if it got one: guided, or as it was.
    pub fn apply(&self, question: &Question, attempt: Attempt, reply: Option<TeacherReply>) -> Guided {
        let (reply, outcome) = match reply {
            None => return Guided::plain(attempt, Help::NotChosen),
            Some(TeacherReply::PromptTooLong) => (String::new(), Err(Rejection::PromptTooLong)),
            Some(TeacherReply::Missing(why)) => (String::new(), Err(Rejection::NoReply(why))),
            Some(TeacherReply::Truncated { text, .. }) => (text, Err(Rejection::Truncated)),
            Some(TeacherReply::Ended { text, .. }) => {
                let outcome = self.guidance(question, &attempt, &text);
                (text, outcome)
            }
        };
        match outcome {
            Ok((feedback, tokens)) => Guided { attempt, tokens, help: Help::Given { reply, feedback } },
            Err(reason) => Guided::plain(attempt, Help::Rejected { reply, reason }),
        }
    }

    /// The parsed reply, and the attempt with it spliced in.
    fn guidance(
        &self,
        question: &Question,
        attempt: &Attempt,
        reply: &str,
    ) -> Result<(Feedback, Vec<Token>), Rejection> {
        let feedback = parse(reply, self.checks_first)?;
        if grade(question.kind, &question.gold, &feedback.phrase).extracted.is_none() {
            return Err(Rejection::NoAnswer);
        }
        let tokens = splice(attempt, &feedback, self.tokenizer, self.limits)?;
        Ok((feedback, tokens))
    }
}

impl From<&RlSettings> for Limits {
    fn from(settings: &RlSettings) -> Self {
        Self {
            feedback_tokens: settings.guidance.max_feedback_tokens,
            response_tokens: settings.rollout.max_response_tokens,
        }
    }
}
