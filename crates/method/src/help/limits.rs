//! Limits that can work: the few-shot examples of a prompt set, counted in tokens, must fit the limits of a run.
//!
//! The teacher writes replies as long as those it is shown, about attempts as long as those it is shown. A limit below its
//! own examples refuses every reply, and a run would learn of it only by what it does not learn.

use thinktune_policy::{ModelError, SampleKey, Stream, TeacherRequest, Tokenizer};
use thinktune_tasks::Question;

use crate::act::questions::Questions;
use crate::help::examples::TeacherPrompts;
use crate::help::prompts::PromptSet;
use crate::rollout::Asked;
use crate::settings::{RlSettings, SettingError};

/// Draws of examples whose requests are counted.
const DRAWS: u32 = 8;

/// Tokenizers of a run.
#[derive(Clone, Copy)]
pub struct Tokenizers<'a> {
    /// The student's.
    pub student: &'a dyn Tokenizer,
    /// The teacher's; none where it is not on this machine, and its limits are not judged.
    pub teacher: Option<&'a dyn Tokenizer>,
}

/// What the examples of a prompt set need, in tokens; 0 where it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// The longest reply, end token included, in the teacher's tokens.
    pub reply: usize,
    /// The request about a typical question and the longest attempt of the examples, in the teacher's tokens.
    pub request: usize,
    /// The longest guidance: both blank lines, reason and phrase, in the student's tokens.
    pub feedback: usize,
    /// The longest attempt with its guidance and end token, in the student's tokens.
    pub response: usize,
}

impl Needs {
    /// Counts the tokens of `prompts`, with `question` as the typical one.
    ///
    /// # Errors
    /// A chat template that cannot be filled.
    pub fn of(
        prompts: &PromptSet,
        question: &Question,
        settings: &RlSettings,
        tokenizers: Tokenizers<'_>,
    ) -> Result<Self, ModelError> {
        let mut needs = Self::default();
        for exchange in &prompts.exchanges {
            let guidance = format!("\n\n{}\n\n{}", exchange.reason.trim(), exchange.phrase.trim());
            let spliced = format!("{}{guidance}", exchange.response.trim());
            needs.feedback = needs.feedback.max(tokenizers.student.encode(&guidance).len());
            needs.response = needs.response.max(tokenizers.student.answer_ids(&spliced).len());
        }
        let Some(teacher) = tokenizers.teacher else { return Ok(needs) };
        let replies = prompts.exchanges.iter().map(|exchange| teacher.answer_ids(&exchange.reply()).len());
        needs.reply = replies.max().unwrap_or(0);
        let attempts = prompts.exchanges.iter().map(|exchange| exchange.response.trim());
        let attempt = attempts.max_by_key(|attempt| teacher.encode(attempt).len()).unwrap_or_default();
        let shown = TeacherPrompts { set: prompts.clone(), ask: settings.ask.clone(), seed: settings.seed };
        for sample in 0..DRAWS {
            let key = SampleKey { stream: Stream::Teacher, step: 0, question: 0, sample };
            let request = TeacherRequest { question: question.text.clone(), response: attempt.into(), key };
            needs.request = needs.request.max(teacher.prompt_ids(&shown.messages(&request))?.len());
        }
        Ok(needs)
    }

    /// Checks that the limits of a run leave room for what the examples show.
    ///
    /// # Errors
    /// The first limit that is too low: its key, its value, and what it needs.
    pub fn check(&self, settings: &RlSettings) -> Result<(), SettingError> {
        let (guidance, set) = (&settings.guidance, &settings.guidance.prompts);
        let limits = [
            (
                "guidance.max_teacher_tokens",
                guidance.max_teacher_tokens,
                self.reply,
                "the longest example reply",
            ),
            (
                "guidance.max_teacher_prompt_tokens",
                guidance.max_teacher_prompt_tokens,
                self.request,
                "a request, with its examples and a typical question",
            ),
            (
                "guidance.max_feedback_tokens",
                guidance.max_feedback_tokens,
                self.feedback,
                "the longest example guidance",
            ),
            (
                "rollout.max_response_tokens",
                settings.rollout.max_response_tokens,
                self.response,
                "the longest example attempt with its guidance",
            ),
        ];
        let too_low = limits.into_iter().find(|(_, value, need, _)| value < need);
        too_low.map_or(Ok(()), |(key, value, need, what)| {
            let expected = format!("at least {need}, the tokens of {what} in the prompt set {set:?}");
            Err(SettingError::new(key, value, expected))
        })
    }

    /// Checks that a request and a reply fit the teacher's context.
    ///
    /// # Errors
    /// A limit of replies that leaves no room for a request.
    pub fn check_context(&self, settings: &RlSettings, context: usize) -> Result<(), SettingError> {
        let replies = settings.guidance.max_teacher_tokens;
        if self.request + replies <= context {
            return Ok(());
        }
        let (request, set) = (self.request, &settings.guidance.prompts);
        let room = context.saturating_sub(request);
        let expected = if room < self.reply.max(1) {
            format!(
                "a teacher with a longer context: its context is {context} tokens, and a request of the prompt set \
                 {set:?} takes {request}"
            )
        } else {
            format!(
                "at most {room}: the teacher's context is {context} tokens, and a request takes {request}"
            )
        };
        Err(SettingError::new("guidance.max_teacher_tokens", replies, expected))
    }
}

/// A typical question: the one whose prompt has the median length.
pub fn typical(questions: &Questions) -> &Question {
    let mut asked: Vec<&Asked> = questions.all().iter().map(|asked| &**asked).collect();
    asked.sort_by_key(|asked| (asked.prompt.len(), asked.question.index));
    &asked[asked.len() / 2].question
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Chars};

    const BOTH: Tokenizers<'static> = Tokenizers { student: &Chars, teacher: Some(&Chars) };

    fn needs(set: &str, tokenizers: Tokenizers<'_>) -> Needs {
        let question = testing::sums(1).remove(0);
        Needs::of(&PromptSet::load(set).unwrap(), &question, &roomy(), tokenizers).unwrap()
    }

    fn roomy() -> RlSettings {
        let mut settings = testing::rl_settings();
        settings.rollout.max_response_tokens = 20_000;
        settings.guidance.max_teacher_tokens = 20_000;
        settings.guidance.max_feedback_tokens = 20_000;
        settings
    }

    #[test]
    fn each_limit_below_its_examples_is_refused() {
        let needs = needs("reasoning", BOTH);
        assert_eq!(needs.check(&roomy()), Ok(()));
        type Change = fn(&mut RlSettings, usize);
        let cases: [(&str, usize, Change); 4] = [
            ("guidance.max_teacher_tokens", needs.reply, |s, n| s.guidance.max_teacher_tokens = n),
            ("guidance.max_teacher_prompt_tokens", needs.request, |s, n| {
                s.guidance.max_teacher_prompt_tokens = n;
            }),
            ("guidance.max_feedback_tokens", needs.feedback, |s, n| s.guidance.max_feedback_tokens = n),
            ("rollout.max_response_tokens", needs.response, |s, n| s.rollout.max_response_tokens = n),
        ];
        for (key, need, set) in cases {
            assert!(need > 100, "{key}: {need}");
            let with = |limit| {
                let mut settings = roomy();
                set(&mut settings, limit);
                needs.check(&settings).map_err(|error| error.to_string())
            };
            assert_eq!(with(need), Ok(()), "{key}");
            let message = with(need - 1).unwrap_err();
            let expected = format!("{key} = {}: expected at least {need}, the tokens of ", need - 1);
            assert!(message.starts_with(&expected), "{message}");
        }
    }

    /// What is counted is what is spliced: an example fits a limit of exactly its own tokens.
    #[test]
    fn needs_are_those_of_the_splice() {
        let (needs, prompts) = (needs("word-problems", BOTH), PromptSet::load("word-problems").unwrap());
        let of = |with_attempt: usize| {
            let lengths = prompts.exchanges.iter().map(|exchange| {
                let [said, reason, phrase] =
                    [&exchange.response, &exchange.reason, &exchange.phrase].map(|text| text.trim().len());
                with_attempt * (said + 1) + 4 + reason + phrase
            });
            lengths.max().unwrap()
        };
        assert_eq!((needs.feedback, needs.response), (of(0), of(1)));
    }

    #[test]
    fn a_teacher_elsewhere_is_not_judged() {
        let needs = needs("reasoning", Tokenizers { student: &Chars, teacher: None });
        assert_eq!((needs.reply, needs.request), (0, 0));
        assert!(needs.feedback > 100 && needs.response > needs.feedback);
    }

    #[test]
    fn a_request_must_fit_the_teachers_context() {
        let (needs, mut settings) = (needs("reasoning", BOTH), roomy());
        settings.guidance.max_teacher_tokens = 1000;
        let with = |context| needs.check_context(&settings, context).map_err(|error| error.to_string());
        assert_eq!(with(needs.request + 1000), Ok(()));
        let message = with(needs.request + 999).unwrap_err();
        assert!(message.starts_with("guidance.max_teacher_tokens = 1000: expected at most 999"), "{message}");
        let message = with(needs.request + 9).unwrap_err();
        assert!(message.contains("a teacher with a longer context"), "{message}");
    }

    #[test]
    fn the_typical_question_has_the_median_length() {
        let mut sums = testing::sums(5);
        for (question, length) in sums.iter_mut().zip([9, 1, 5, 7, 3]) {
            question.text = "x".repeat(length);
        }
        let questions = Questions::new(sums, &testing::rl_settings(), &Chars).unwrap();
        assert_eq!(typical(&questions).text.len(), 5);
    }
}
