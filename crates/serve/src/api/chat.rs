//! `POST /v1/chat/completions`: conversations, put through the model's chat template.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use thinktune_policy::{Message, ModelError, Role};

use super::choices::{ChoiceUpdate, Choices, FinishedChoice, TokenInfo, finite};
use super::error::ApiError;
use super::fields::Fields;
use super::params::{GenerationParams, MAX_ALTERNATIVES};
use super::stream::{self, ChunkFormat, Envelope};
use crate::state::{AppState, LengthRequest};

/// Answers a request.
pub(crate) async fn answer(state: Arc<AppState>, body: &[u8]) -> Result<Response, ApiError> {
    let fields = Fields::parse(body)?;
    state.check_model(&fields)?;
    let mut params = GenerationParams::read(&fields, state.tokenizer.stop(), state.settings.seed)?;
    let logprobs: bool = fields.get("logprobs")?.unwrap_or(false);
    let top = fields.count("top_logprobs", 0..=MAX_ALTERNATIVES)?;
    if top.is_some() && !logprobs {
        return Err(ApiError::field("top_logprobs", "top_logprobs: expected \"logprobs\": true beside it"));
    }
    let top = logprobs.then(|| top.unwrap_or(0));
    let prompt: Arc<[u32]> = prompt(&state, &fields)?.into();
    let max_tokens = match fields.count("max_completion_tokens", 1..=usize::MAX)? {
        Some(count) => Some(count),
        None => fields.count("max_tokens", 1..=usize::MAX)?,
    };
    params.sampling.max_tokens = state.max_tokens(&LengthRequest {
        field: "messages",
        prompt_tokens: prompt.len(),
        max_prompt_tokens: params.max_prompt_tokens(),
        max_tokens,
        default: usize::MAX,
    })?;
    let prompts = [prompt];
    let mut submission = state.submit(&prompts, &params, top, false)?;
    let mut choices = Choices::new(&state.tokenizer, &params, &prompts, false);
    let id = format!("chatcmpl-{:016x}", submission.id());
    if params.stream {
        let head = state.head(id, "chat.completion.chunk");
        let (include_usage, keep_alive) = (params.include_usage, state.settings.keep_alive);
        let chunks = ChatChunks { state, envelope: Envelope { head, include_usage }, logprobs };
        return Ok(stream::respond(submission, choices, chunks, keep_alive));
    }
    let answers = choices.finish(&mut submission).await?;
    let mut body = state.head(id, "chat.completion");
    let listed = answers.into_iter().enumerate();
    let listed = listed.map(|(index, answer)| choice(&state, &choices, index, answer, logprobs));
    body.insert("choices".into(), listed.collect());
    body.insert("usage".into(), choices.usage());
    Ok(Json(body).into_response())
}

fn choice(
    state: &AppState,
    choices: &Choices,
    index: usize,
    answer: FinishedChoice,
    logprobs: bool,
) -> Value {
    let mut choice = json!({
        "index": index,
        "message": { "role": "assistant", "content": answer.text, "refusal": null },
        "logprobs": logprobs.then(|| logprobs_of(state, &answer.infos)),
        "finish_reason": answer.finish,
    });
    if let Some(extension) = choices.extension(index) {
        choice["thinktune"] = extension;
    }
    choice
}

fn logprobs_of(state: &AppState, infos: &[TokenInfo]) -> Value {
    let one = |id: u32, logprob: f32| {
        let text = state.token_texts.of(id);
        // a token that is a part of a character has bytes that its text does not show
        let bytes = (!text.contains('\u{fffd}')).then(|| text.as_bytes().to_vec());
        json!({ "token": text, "logprob": finite(logprob), "bytes": bytes })
    };
    let entry = |info: &TokenInfo| {
        let mut entry = one(info.token, info.likely.logprob);
        entry["top_logprobs"] = info.likely.top.iter().map(|&(id, logprob)| one(id, logprob)).collect();
        entry
    };
    json!({ "content": infos.iter().map(entry).collect::<Vec<_>>(), "refusal": null })
}

/// Chunks of a streamed chat completion.
struct ChatChunks {
    state: Arc<AppState>,
    envelope: Envelope,
    logprobs: bool,
}

impl ChatChunks {
    fn delta(&self, index: usize, delta: Value, logprobs: Value, finish: Option<&str>) -> Value {
        json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish })
    }
}

impl ChunkFormat for ChatChunks {
    fn first(&self, choices: &Choices) -> Vec<Value> {
        let role = json!({ "role": "assistant", "content": "" });
        let of_choice = |index| self.delta(index, role.clone(), Value::Null, None);
        (0..choices.len()).map(|index| self.envelope.chunk(json!([of_choice(index)]), Value::Null)).collect()
    }

    fn update(&mut self, choices: &Choices, update: ChoiceUpdate) -> Vec<Value> {
        let ChoiceUpdate { choice, text, infos, finish } = update;
        let mut chunks = Vec::new();
        if !text.is_empty() || !infos.is_empty() {
            let logprobs = if self.logprobs { logprobs_of(&self.state, &infos) } else { Value::Null };
            let delta = self.delta(choice, json!({ "content": text }), logprobs, None);
            chunks.push(self.envelope.chunk(json!([delta]), Value::Null));
        }
        if finish.is_some() {
            let mut last = self.delta(choice, json!({}), Value::Null, finish);
            if let Some(extension) = choices.extension(choice) {
                last["thinktune"] = extension;
            }
            chunks.push(self.envelope.chunk(json!([last]), Value::Null));
        }
        chunks
    }

    fn last(&self, choices: &Choices) -> Option<Value> {
        self.envelope.include_usage.then(|| self.envelope.chunk(json!([]), choices.usage()))
    }
}

/// The prompt of a conversation.
fn prompt(state: &AppState, fields: &Fields) -> Result<Vec<u32>, ApiError> {
    let bad = |message: String| ApiError::field("messages", message);
    let Some(Value::Array(list)) = fields.raw("messages").filter(|value| value != &&json!([])) else {
        return Err(bad("messages: expected a list of at least one {\"role\": .., \"content\": ..}".into()));
    };
    let message = |(index, value): (usize, &Value)| {
        read_message(value).map_err(|what| bad(format!("messages[{index}]: {what}")))
    };
    let messages = list.iter().enumerate().map(message).collect::<Result<Vec<_>, _>>()?;
    state.tokenizer.prompt_ids(&messages).map_err(|error| match error {
        ModelError::BadInput(_) => bad(error.to_string()),
        _ if !state.tokenizer.has_chat_template() => {
            let message = "this model has no chat template; use /v1/completions";
            ApiError::new(StatusCode::BAD_REQUEST, message).code("no_chat_template")
        }
        _ => ApiError::of_model(&error),
    })
}

fn read_message(value: &Value) -> Result<Message, String> {
    let role = match value.get("role").and_then(Value::as_str) {
        Some("system" | "developer") => Role::System,
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some(other) => return Err(format!("role {other:?}: expected system, user or assistant")),
        None => return Err("expected a role".into()),
    };
    let part =
        |part: &Value| match part.get("text").and_then(Value::as_str) {
            Some(text) if part["type"] == "text" => Ok(text.to_owned()),
            _ => Err("content: expected parts {\"type\": \"text\", \"text\": ..}; others are not supported"
                .to_owned()),
        };
    let content = match value.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(part).collect::<Result<String, _>>()?,
        _ => return Err("content: expected a text".into()),
    };
    Ok(Message { role, content })
}
