//! `guidance.teacher = { url = "..", model = "..", .. }`.

use thinktune_settings::{Section, SettingError, choices, dotted, section, within};

choices! {
    /// Endpoint that is asked.
    #[derive(Default)]
    Api {
        /// `/chat/completions`: the server applies its chat template.
        #[default]
        Chat = "chat",
        /// `/completions`: the prompt is made here, with the tokenizer and template of `tokenizer`.
        Completions = "completions",
    }
}

section! {
    /// A teacher behind a server that speaks OpenAI's protocol (vLLM, SGLang, llama.cpp, mistral.rs, thinktune serve).
    /// Replies are kept in the run folder, so that a resumed run asks nothing twice. A reply that does not come is
    /// counted among the rejected ones by its reason (teacher_unreachable, teacher_timed_out, teacher_busy, ...); see
    /// guidance.max_unguided_steps.
    RemoteSettings = "guidance.teacher" {
        /// Base of the API. Must be given.
        url: required(String => "http://localhost:8000/v1"),
        /// The model's name there. Must be given.
        model: required(String => "name"),
        /// "chat" (the server applies its chat template) or "completions" (the prompt is sent as token ids).
        api: value(Api = Api::Chat),
        /// Folder or org/name of the teacher's tokenizer and template, for api = "completions".
        tokenizer: optional(String => "org/name"),
        /// Name of the environment variable that holds the API key.
        key_env: optional(String => "TEACHER_KEY"),
        /// Requests at a time.
        concurrency: value(usize = 8_usize, within(1.0, 256.0)),
        /// Time for one reply.
        timeout_seconds: value(u64 = 120_u64, within(1.0, 86_400.0)),
        /// Repetitions of a failed request at most, after growing waits.
        retries: value(u32 = 4_u32, within(0.0, 20.0)),
        /// false leaves out the field "thinktune", which names the random numbers to draw, for servers that refuse
        /// fields they do not know.
        extension: value(bool = true),
    }
}

impl RemoteSettings {
    /// Judges the settings.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn check(&self) -> Result<(), SettingError> {
        let ensure = |ok: bool, name: &str, value: String, expected| match ok {
            true => Ok(()),
            false => Err(SettingError::new(dotted(Self::NAME, name), value, expected)),
        };
        let host = self.url.strip_prefix("http://").or_else(|| self.url.strip_prefix("https://"));
        let plain = host.is_some_and(|host| {
            !host.is_empty()
                && !host.starts_with('/')
                && !host.contains(|c: char| c == '@' || c.is_whitespace())
        });
        // a password in the address would end up in the run folder
        let expected = "http://host:port/v1 or https://.., without a password";
        ensure(plain, "url", format!("{:?}", self.url), expected)?;
        ensure(!self.model.is_empty(), "model", "\"\"".into(), "the model's name on the server")?;
        let of_api = self.tokenizer.is_some() == (self.api == Api::Completions);
        let tokenizer = format!("{:?}", self.tokenizer);
        ensure(
            of_api,
            "tokenizer",
            tokenizer,
            "a folder or org/name with api = \"completions\", nothing else",
        )?;
        self.check_ranges()
    }

    /// The API key, if a variable is named.
    ///
    /// # Errors
    /// The variable is not set.
    pub fn key(&self) -> Result<Option<String>, SettingError> {
        let Some(variable) = &self.key_env else { return Ok(None) };
        let key = std::env::var(variable).ok().filter(|key| !key.trim().is_empty());
        key.map(|key| Some(key.trim().to_owned())).ok_or_else(|| {
            let expected = "an environment variable that holds the key; it is not set";
            SettingError::new(dotted(Self::NAME, "key_env"), format!("{variable:?}"), expected)
        })
    }
}
