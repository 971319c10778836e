//! State shared by all requests: the model's limits, the queue's room, the settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thinktune_policy::{BatchLimits, BatchRequest};
use thinktune_text::ChatTokenizer;
use tokio::sync::Semaphore;

use crate::api::error::{ApiError, TOO_LONG};
use crate::api::fields::Fields;
use crate::api::params::GenerationParams;
use crate::engine::{EngineClient, Submission};
use crate::settings::ServerSettings;
use crate::text::TokenTexts;

/// State shared by all requests.
pub(crate) struct AppState {
    pub(crate) tokenizer: Arc<ChatTokenizer>,
    pub(crate) token_texts: TokenTexts,
    pub(crate) settings: ServerSettings,
    engine: EngineClient,
    /// One permit for each sample that may run or wait.
    slots: Arc<Semaphore>,
    limits: BatchLimits,
    /// Number of requests that named no seed.
    unseeded: AtomicU32,
    /// Digest of the API key.
    api_key: Option<[u8; 32]>,
}

/// Length of a request's prompt and of the completion asked for.
pub(crate) struct LengthRequest<'a> {
    /// Field that an error names.
    pub(crate) field: &'a str,
    /// Tokens of the longest prompt.
    pub(crate) prompt_tokens: usize,
    /// Longest prompt that the request itself allows.
    pub(crate) max_prompt_tokens: Option<usize>,
    /// Completion asked for.
    pub(crate) max_tokens: Option<usize>,
    /// Completion where the request does not say.
    pub(crate) default: usize,
}

impl AppState {
    pub(crate) fn new(
        tokenizer: ChatTokenizer,
        engine: EngineClient,
        limits: BatchLimits,
        settings: ServerSettings,
    ) -> Self {
        let tokenizer = Arc::new(tokenizer);
        Self {
            token_texts: TokenTexts::new(Arc::clone(&tokenizer)),
            tokenizer,
            engine,
            slots: Arc::new(Semaphore::new(settings.max_samples)),
            limits,
            unseeded: AtomicU32::new(0),
            api_key: settings.api_key.as_deref().map(digest),
            settings,
        }
    }

    /// Compares the value of an `Authorization` header with the API key, if there is one.
    pub(crate) fn authorizes(&self, header: Option<&str>) -> bool {
        let Some(expected) = &self.api_key else { return true };
        let given = header.and_then(|value| value.strip_prefix("Bearer ")).map(digest);
        // digests are of one length and compared in constant time: neither the key nor its length shows
        given.is_some_and(|given| given.ct_eq(expected).into())
    }

    /// Refuses a request that names another model, or none.
    pub(crate) fn check_model(&self, fields: &Fields) -> Result<(), ApiError> {
        match fields.get::<String>("model")? {
            Some(name) => self.check_name(&name),
            None => Err(ApiError::field("model", format!("model: expected {:?}", self.settings.name))),
        }
    }

    /// Refuses another model's name.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), ApiError> {
        if name == self.settings.name {
            return Ok(());
        }
        let message = format!("the model {name:?} is not here; {:?} is", self.settings.name);
        let error = ApiError::new(StatusCode::NOT_FOUND, message).code("model_not_found");
        Err(ApiError { param: Some("model".into()), ..error })
    }

    /// Refuses ids outside the vocabulary.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<(), ApiError> {
        let vocab = self.limits.vocab_size;
        match ids.iter().find(|&&id| id as usize >= vocab) {
            Some(id) => {
                let message = format!("token id {id}: the model has ids below {vocab}");
                Err(ApiError::field("prompt", message))
            }
            None => Ok(()),
        }
    }

    /// Longest completion, in tokens: the one asked for, else as much as fits up to the default.
    pub(crate) fn max_tokens(&self, length: &LengthRequest<'_>) -> Result<usize, ApiError> {
        let too_long = |message: String| Err(ApiError::field(length.field, message).code(TOO_LONG));
        let prompt = length.prompt_tokens;
        if let Some(limit) = length.max_prompt_tokens.filter(|limit| prompt > *limit) {
            return too_long(format!("the prompt has {prompt} tokens; max_prompt_tokens is {limit}"));
        }
        let rest = self.limits.context.saturating_sub(prompt);
        match length.max_tokens {
            Some(count) if count <= rest => Ok(count),
            None if rest > 0 => Ok(length.default.min(rest)),
            _ => too_long(format!(
                "this model's maximum context length is {} tokens; the prompt has {prompt}, and {} are to follow",
                self.limits.context,
                length.max_tokens.unwrap_or(1)
            )),
        }
    }

    /// Submits prompts to the engine, if the queue has room for their samples.
    pub(crate) fn submit(
        &self,
        prompts: &[Arc<[u32]>],
        params: &GenerationParams,
        top: Option<usize>,
        score_prompt: bool,
    ) -> Result<Submission, ApiError> {
        let samples = prompts.len() * params.n;
        let most = self.settings.max_samples;
        if samples > most {
            let message = format!("{samples} answers asked for at once: expected at most {most}");
            return Err(ApiError::field("n", message));
        }
        let Ok(permit) = Arc::clone(&self.slots).try_acquire_many_owned(samples as u32) else {
            let message = "the server is busy: too many requests are waiting; try again later";
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message).code("queue_full"));
        };
        let request = std::cell::OnceCell::new();
        let number = || *request.get_or_init(|| self.unseeded.fetch_add(1, Ordering::Relaxed));
        // a completion of no tokens shows the prompt alone, so the prompt is scored
        let score_prompt = score_prompt || params.sampling.max_tokens == 0;
        let request = |(index, prompt): (usize, &Arc<[u32]>)| BatchRequest {
            prompt: Arc::clone(prompt),
            keys: params.keys(index, number),
            sampling: params.sampling.clone(),
            top,
            score_prompt,
        };
        Ok(self.engine.submit(prompts.iter().enumerate().map(request).collect(), permit))
    }

    /// The fields that all answers begin with.
    pub(crate) fn head(&self, id: String, object: &str) -> Map<String, Value> {
        let created = (self.settings.clock)();
        let fields = [
            ("id", id.into()),
            ("object", object.into()),
            ("created", created.into()),
            ("model", self.settings.name.as_str().into()),
        ];
        fields.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
    }

    /// The entry of the model in `/v1/models`.
    pub(crate) fn model_entry(&self) -> Value {
        json!({
            "id": self.settings.name,
            "object": "model",
            "created": (self.settings.clock)(),
            "owned_by": "thinktune",
            "max_model_len": self.limits.context,
        })
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
