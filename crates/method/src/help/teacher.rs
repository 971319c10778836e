//! A teacher in this process.

use std::sync::Arc;

use thinktune_policy::{
    Completion, Finish, Generate, GenerateProgress, ModelError, Prompt, SampleKey, Sampling, Stream, Teacher,
    TeacherError, TeacherReply, TeacherRequest, TeacherSampling, Tokenizer,
};

use crate::help::examples::TeacherPrompts;
use crate::settings::RlSettings;

/// A model in this process.
pub struct LocalTeacher<'a> {
    model: &'a mut dyn Generate,
    tokenizer: &'a dyn Tokenizer,
    prompts: TeacherPrompts,
    sampling: Sampling,
    max_prompt_tokens: usize,
}

impl<'a> LocalTeacher<'a> {
    /// A teacher that is shown `prompts` and samples as `sampling` says.
    pub fn new(
        model: &'a mut dyn Generate,
        tokenizer: &'a dyn Tokenizer,
        prompts: TeacherPrompts,
        sampling: TeacherSampling,
    ) -> Self {
        let TeacherSampling { seed, temperature, top_p, max_tokens, max_prompt_tokens } = sampling;
        let plain = Sampling::plain(seed, max_tokens, tokenizer.stop().to_vec());
        let sampling = Sampling { temperature, top_p, ..plain };
        Self { model, tokenizer, prompts, sampling, max_prompt_tokens }
    }

    fn prompt(&self, request: &TeacherRequest) -> Result<Option<Prompt>, ModelError> {
        let mut tokens = self.tokenizer.prompt_ids(&self.prompts.messages(request))?;
        tokens.extend(self.tokenizer.encode(self.prompts.prefill()));
        let tokens: Arc<[u32]> = tokens.into();
        let fits = tokens.len() <= self.max_prompt_tokens;
        Ok(fits.then(|| Prompt { tokens, keys: vec![request.key] }))
    }

    fn reply(&self, completion: &Completion) -> TeacherReply {
        let tokens = completion.tokens.len();
        let text = |said| format!("{}{}", self.prompts.prefill(), self.tokenizer.decode_raw(said));
        match (completion.finish, completion.tokens.split_last()) {
            (Finish::Stop, Some((_end, said))) => TeacherReply::Ended { text: text(said), tokens },
            _ => TeacherReply::Truncated { text: text(&completion.tokens), tokens },
        }
    }
}

impl Teacher for LocalTeacher<'_> {
    fn replies(
        &mut self,
        requests: &[TeacherRequest],
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<TeacherReply>, TeacherError> {
        let prompts = requests.iter().map(|request| self.prompt(request)).collect::<Result<Vec<_>, _>>()?;
        let fitting: Vec<Prompt> = prompts.iter().flatten().cloned().collect();
        if fitting.is_empty() {
            return Ok(vec![TeacherReply::PromptTooLong; requests.len()]);
        }
        let completions = self.model.generate(&fitting, &self.sampling, progress)?;
        let mut completions = completions.iter().flatten();
        let reply = |prompt: &Option<Prompt>| match prompt.as_ref().and_then(|_| completions.next()) {
            Some(completion) => self.reply(completion),
            None => TeacherReply::PromptTooLong,
        };
        Ok(prompts.iter().map(reply).collect())
    }

    fn checks_first(&self) -> bool {
        self.prompts.set.check
    }
}

/// Sampling of replies, as the settings have it.
pub fn sampling_of(settings: &RlSettings) -> TeacherSampling {
    let guidance = &settings.guidance;
    TeacherSampling {
        seed: settings.seed,
        temperature: guidance.teacher_temperature,
        top_p: guidance.teacher_top_p,
        max_tokens: guidance.max_teacher_tokens,
        max_prompt_tokens: guidance.max_teacher_prompt_tokens,
    }
}

/// The key of a reply: that of the attempt, in the teacher's stream.
pub fn reply_key(attempt: SampleKey) -> SampleKey {
    SampleKey { stream: Stream::Teacher, ..attempt }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::prompts::PromptSet;
    use crate::settings::Ask;
    use crate::testing::{self, Bigram, Chars};

    fn prompts() -> TeacherPrompts {
        TeacherPrompts { set: PromptSet::load("reasoning").unwrap(), ask: Ask::default(), seed: 0 }
    }

    fn request(response: &str) -> TeacherRequest {
        let key = reply_key(testing::attempt("x").key);
        TeacherRequest { question: "1+1=?".into(), response: response.into(), key }
    }

    fn replies(model: &mut Bigram, settings: &RlSettings, requests: &[TeacherRequest]) -> Vec<TeacherReply> {
        let mut teacher = LocalTeacher::new(model, &Chars, prompts(), sampling_of(settings));
        teacher.replies(requests, &mut |_| ()).unwrap()
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
        assert_eq!(all, [TeacherReply::Ended { text: "hm".into(), tokens: 3 }]);

        settings.guidance.max_teacher_tokens = 2;
        let all = replies(&mut model, &settings, &[request("2")]);
        assert_eq!(all, [TeacherReply::Truncated { text: "hm".into(), tokens: 2 }]);

        let messages = prompts().messages(&request("2"));
        settings.guidance.max_teacher_prompt_tokens = Chars.prompt_ids(&messages).unwrap().len();
        let all = replies(&mut model, &settings, &[request("22"), request("2")]);
        assert_eq!(all[0], TeacherReply::PromptTooLong);
        assert_eq!(all[1], TeacherReply::Truncated { text: "hm".into(), tokens: 2 });
    }

    #[test]
    fn a_reply_is_continued_from_its_beginning() {
        let mut model = Bigram::writing(&["hm"], 30.0);
        let settings = testing::rl_settings();
        let mut shown = prompts();
        shown.set.prefill = "<opinion>".into();
        let room = Chars.prompt_ids(&shown.messages(&request("2"))).unwrap().len();
        let mut ask = |max_prompt_tokens| {
            let sampling = TeacherSampling { max_prompt_tokens, max_tokens: 4, ..sampling_of(&settings) };
            let mut teacher = LocalTeacher::new(&mut model, &Chars, shown.clone(), sampling);
            teacher.replies(&[request("2")], &mut |_| ()).unwrap().remove(0)
        };
        let reply = ask(room + "<opinion>".len());
        let (TeacherReply::Ended { text, tokens } | TeacherReply::Truncated { text, tokens }) = &reply else {
            panic!("{reply:?}");
        };
        assert!(text.starts_with("<opinion>") && *tokens <= 4, "{reply:?}");
        assert_eq!(ask(room), TeacherReply::PromptTooLong, "the beginning counts");
    }
}
