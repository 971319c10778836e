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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Chars};
    use std::collections::BTreeMap;

    const LIMITS: Limits = Limits { feedback_tokens: 80, response_tokens: 120 };

    /// Invented replies of the kinds that small models give, each with its fate.
    const REPLIES: [(&str, &str); 14] = [
        ("<opinion>incorrect</opinion>\n<reason>No.</reason>\n<phrase>\\boxed{2}</phrase>", "accepted"),
        ("<opinion>Incorrect</opinion><reason>No.</reason><phrase>\\boxed{2}</phrase>", "accepted"),
        (
            "<opinion>\nCORRECT\n</opinion>\n\n<reason>Yes.</reason>\n\n<phrase>\\boxed{3}</phrase>\n",
            "accepted",
        ),
        (
            "<check>1+1=2</check><opinion>incorrect</opinion><reason>r</reason><phrase>\\boxed{2}</phrase>",
            "accepted",
        ),
        // the last example word for word
        (
            "<opinion>correct</opinion><reason>The librarian nods.</reason><phrase>\\boxed{24}</phrase>",
            "accepted",
        ),
        ("The response is correct. \\boxed{2}", "bad_format_missing_tag"),
        ("opinion: incorrect\nreason: no\nphrase: \\boxed{2}", "bad_format_missing_tag"),
        (
            "<opinion>incorrect</opinion>\nNo.\n<reason>No.</reason><phrase>\\boxed{2}</phrase>",
            "bad_format_text_outside_tags",
        ),
        (
            "<opinion>correct</opinion><reason>Yes.</reason><phrase>\\boxed{3}</phrase>\nIs that all?",
            "bad_format_text_outside_tags",
        ),
        (
            "<opinion>I think it is correct.</opinion><reason>Yes.</reason><phrase>\\boxed{3}</phrase>",
            "bad_format_unknown_opinion",
        ),
        (
            "<opinion>correct</opinion><reason>Yes.<phrase>\\boxed{3}</phrase></reason>",
            "bad_format_stray_tag",
        ),
        ("<opinion>correct</opinion><reason></reason><phrase>\\boxed{3}</phrase>", "bad_format_empty"),
        ("<opinion>correct</opinion><reason>Yes.</reason><phrase>My answer stays.</phrase>", "no_answer"),
        (
            "<opinion>incorrect</opinion><reason>I went wrong, and I went wrong, and I went wrong, and I went wrong, and I went wrong.</reason><phrase>\\boxed{2}</phrase>",
            "feedback_too_long",
        ),
    ];

    fn guided(reply: TeacherReply) -> Guided {
        let guide = Guide { tokenizer: &Chars, limits: LIMITS, checks_first: true };
        let question = testing::sums(2).remove(1);
        guide.apply(&question, testing::attempt("so \\boxed{3}<end>"), Some(reply))
    }

    fn fate(guided: &Guided) -> String {
        match &guided.help {
            Help::Given { .. } => "accepted".into(),
            Help::Rejected { reason, .. } => reason.to_string(),
            Help::NotChosen => "not asked".into(),
        }
    }

    #[test]
    fn small_teachers_replies_are_accepted_or_counted_by_reason() {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (text, expected) in REPLIES {
            let guided = guided(TeacherReply::Ended { text: text.into(), tokens: text.len() });
            assert_eq!(fate(&guided), expected, "{text:?}");
            assert_eq!(guided.is_guided(), expected == "accepted");
            assert!(!Chars.decode(&guided.ids()).contains("1+1=2"), "a check is never spliced in");
            *counts.entry(fate(&guided)).or_default() += 1;
        }
        assert_eq!((counts["accepted"], counts["bad_format_missing_tag"], counts["no_answer"]), (5, 2, 1));
        let cut =
            guided(TeacherReply::Truncated { text: "<opinion>correct</opinion><reason>".into(), tokens: 9 });
        assert_eq!((fate(&cut).as_str(), cut.tokens.len()), ("truncated", "so \\boxed{3}".len() + 1));
        assert_eq!(fate(&guided(TeacherReply::PromptTooLong)), "prompt_too_long");
    }
}
