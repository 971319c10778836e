//! Who gives the feedback.

use std::sync::Arc;

use thinktune_policy::{Completion, Finish, Generate, GenerateProgress, Prompt, SampleKey, Sampling, Stream};

use crate::error::MethodError;
use crate::help::prompts::PromptSet;
use crate::language::Tokenizer;
use crate::settings::RlSettings;

/// An attempt the teacher is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The question.
    pub question: String,
    /// The student's response.
    pub response: String,
    /// Keys the random numbers of the reply.
    pub key: SampleKey,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A reply that ended by itself; special tokens, if any, are shown in it.
    Ended {
        /// The reply without its end token.
        text: String,
        /// Tokens drawn.
        tokens: usize,
    },
    /// A reply cut off by the token limit.
    Truncated {
        /// What there is of it.
        text: String,
        /// Tokens drawn.
        tokens: usize,
    },
    /// The request did not fit into the teacher's prompt; nothing was asked.
    PromptTooLong,
    /// A teacher elsewhere gave no reply that can be used.
    Missing(NoReply),
}

/// Why a teacher elsewhere gave no reply. It costs guidance, not the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoReply {
    /// There was no connection, or it broke.
    Unreachable,
    /// The reply did not come in time.
    TimedOut,
    /// The server was too busy.
    Busy,
    /// The server failed.
    ServerError,
    /// The server refused the request.
    Refused,
    /// What came was no reply.
    BadAnswer,
}

impl Reply {
    /// Tokens drawn for it.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Ended { tokens, .. } | Self::Truncated { tokens, .. } => *tokens,
            Self::PromptTooLong | Self::Missing(_) => 0,
        }
    }
}

/// Something that reacts to attempts. It is frozen: nothing here can train it.
pub trait Teacher {
    /// One reply per request, in order. A reply depends on its request alone.
    fn replies(
        &mut self,
        requests: &[Request],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Reply>, MethodError>;
}

/// A model in this process.
pub struct LocalTeacher<'a> {
    model: &'a mut dyn Generate,
    language: &'a dyn Tokenizer,
    prompts: PromptSet,
    sampling: Sampling,
    max_prompt_tokens: usize,
}

impl<'a> LocalTeacher<'a> {
    /// A teacher that is shown `prompts` and samples as `settings` say.
    pub fn new(
        model: &'a mut dyn Generate,
        language: &'a dyn Tokenizer,
        prompts: PromptSet,
        settings: &RlSettings,
    ) -> Self {
        let guidance = &settings.guidance;
        let mut sampling =
            Sampling::plain(settings.seed, guidance.max_teacher_tokens, language.stop().to_vec());
        sampling.temperature = guidance.teacher_temperature;
        Self { model, language, prompts, sampling, max_prompt_tokens: guidance.max_teacher_prompt_tokens }
    }

    fn prompt(&self, request: &Request) -> Result<Option<Prompt>, MethodError> {
        let messages = self.prompts.messages(&request.question, &request.response);
        let tokens: Arc<[u32]> = self.language.prompt_ids(&messages)?.into();
        let fits = tokens.len() <= self.max_prompt_tokens;
        Ok(fits.then(|| Prompt { tokens, keys: vec![request.key] }))
    }

    fn reply(&self, completion: &Completion) -> Reply {
        let tokens = completion.tokens.len();
        match (completion.finish, completion.tokens.split_last()) {
            (Finish::Stop, Some((_end, said))) => {
                Reply::Ended { text: self.language.decode_raw(said), tokens }
            }
            _ => Reply::Truncated { text: self.language.decode_raw(&completion.tokens), tokens },
        }
    }
}

impl Teacher for LocalTeacher<'_> {
    fn replies(
        &mut self,
        requests: &[Request],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Reply>, MethodError> {
        let prompts = requests.iter().map(|request| self.prompt(request)).collect::<Result<Vec<_>, _>>()?;
        let fitting: Vec<Prompt> = prompts.iter().flatten().cloned().collect();
        if fitting.is_empty() {
            return Ok(vec![Reply::PromptTooLong; requests.len()]);
        }
        let completions = self.model.generate(&fitting, &self.sampling, progress)?;
        let mut completions = completions.iter().flatten();
        let reply = |prompt: &Option<Prompt>| match prompt.as_ref().and_then(|_| completions.next()) {
            Some(completion) => self.reply(completion),
            None => Reply::PromptTooLong,
        };
        Ok(prompts.iter().map(reply).collect())
    }
}

/// The key of a reply: that of the attempt, in the teacher's stream.
pub fn reply_key(attempt: SampleKey) -> SampleKey {
    SampleKey { stream: Stream::Teacher, ..attempt }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Bigram, Chars};

    fn request(response: &str) -> Request {
        let key = reply_key(testing::attempt("x").key);
        Request { question: "1+1=?".into(), response: response.into(), key }
    }

    fn replies(model: &mut Bigram, settings: &RlSettings, requests: &[Request]) -> Vec<Reply> {
        let prompts = PromptSet::load("reasoning").unwrap();
        LocalTeacher::new(model, &Chars, prompts, settings).replies(requests, &mut |_| ()).unwrap()
    }

    #[test]
    fn the_teacher_draws_from_a_stream_of_its_own() {
        let attempt = SampleKey { stream: Stream::Attempt, step: 3, question: 5, sample: 7 };
        let expected = SampleKey { stream: Stream::Teacher, step: 3, question: 5, sample: 7 };
        assert_eq!(reply_key(attempt), expected);
    }

    #[test]
    fn a_reply_ends_or_is_truncated_and_a_long_request_is_not_asked() {
        let mut model = Bigram::writing(&["hm"], 30.0);
        let mut settings = testing::rl_settings();
        let all = replies(&mut model, &settings, &[request("2")]);
        assert_eq!(all, [Reply::Ended { text: "hm".into(), tokens: 3 }]);

        settings.guidance.max_teacher_tokens = 2;
        let all = replies(&mut model, &settings, &[request("2")]);
        assert_eq!(all, [Reply::Truncated { text: "hm".into(), tokens: 2 }]);

        let messages = PromptSet::load("reasoning").unwrap().messages("1+1=?", "2");
        settings.guidance.max_teacher_prompt_tokens = Chars.prompt_ids(&messages).unwrap().len();
        let all = replies(&mut model, &settings, &[request("22"), request("2")]);
        assert_eq!(all[0], Reply::PromptTooLong);
        assert_eq!(all[1], Reply::Truncated { text: "hm".into(), tokens: 2 });
    }
}
