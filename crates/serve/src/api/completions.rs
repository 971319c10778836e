//! `POST /v1/completions`: texts or token ids to continue, and to score.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::choices::{ChoiceUpdate, Choices, FinishedChoice, TokenInfo, finite};
use super::error::ApiError;
use super::fields::Fields;
use super::params::{GenerationParams, MAX_ALTERNATIVES};
use super::stream::{self, ChunkFormat, Envelope};
use crate::state::{AppState, LengthRequest};

/// Most prompts of a request.
const MAX_PROMPTS: usize = 1024;
/// Tokens drawn where a request does not say how many, as OpenAI has it.
const DEFAULT_TOKENS: usize = 16;

/// The parts of a request that its response is made from.
struct CompletionContext {
    state: Arc<AppState>,
    prompts: Vec<Arc<[u32]>>,
    /// Prompts given as text.
    texts: Vec<Option<String>>,
    echo: bool,
    logprobs: bool,
}

/// Answers a request.
pub(crate) async fn answer(state: Arc<AppState>, body: &[u8]) -> Result<Response, ApiError> {
    let fields = Fields::parse(body)?;
    state.check_model(&fields)?;
    let mut params = GenerationParams::read(&fields, state.tokenizer.stop(), state.settings.seed)?;
    let top = fields.count("logprobs", 0..=MAX_ALTERNATIVES)?;
    let echo = fields.get("echo")?.unwrap_or(false);
    let score = echo && top.is_some();
    let (prompts, texts) = read_prompts(&state, &fields)?;
    let longest = prompts.iter().map(|prompt| prompt.len()).max().unwrap_or(0);
    let lowest = if echo { 0 } else { 1 };
    params.sampling.max_tokens = state.max_tokens(&LengthRequest {
        field: "prompt",
        prompt_tokens: longest,
        max_prompt_tokens: params.max_prompt_tokens(),
        max_tokens: fields.count("max_tokens", lowest..=usize::MAX)?,
        default: DEFAULT_TOKENS,
    })?;
    let mut submission = state.submit(&prompts, &params, top, score)?;
    let mut choices = Choices::new(&state.tokenizer, &params, &prompts, true);
    let head = state.head(format!("cmpl-{:016x}", submission.id()), "text_completion");
    let keep_alive = state.settings.keep_alive;
    let context = CompletionContext { state, prompts, texts, echo, logprobs: top.is_some() };
    if params.stream {
        let written = vec![None; choices.len()];
        let envelope = Envelope { head, include_usage: params.include_usage };
        let chunks = CompletionChunks { context, envelope, written };
        return Ok(stream::respond(submission, choices, chunks, keep_alive));
    }
    let answers = choices.finish(&mut submission).await?;
    let mut body = head;
    let listed =
        answers.into_iter().enumerate().map(|(index, answer)| context.choice(&choices, index, answer));
    body.insert("choices".into(), listed.collect());
    body.insert("usage".into(), choices.usage());
    Ok(Json(body).into_response())
}

impl CompletionContext {
    fn choice(&self, choices: &Choices, index: usize, answer: FinishedChoice) -> Value {
        let prompt = choices.prompt_of(index);
        let (mut text, mut logprobs) = (String::new(), Logprobs::default());
        if self.echo {
            text.push_str(&self.prompt_text(prompt));
            self.echo(&mut logprobs, choices, prompt);
        }
        text.push_str(&answer.text);
        logprobs.extend(&self.state, answer.infos);
        let mut choice = json!({
            "index": index,
            "text": text,
            "logprobs": self.logprobs.then(|| logprobs.to_json()),
            "finish_reason": answer.finish,
        });
        if let Some(extension) = choices.extension(index) {
            choice["thinktune"] = extension;
        }
        choice
    }

    fn prompt_text(&self, prompt: usize) -> String {
        let as_ids = || self.state.tokenizer.decode(&self.prompts[prompt]);
        self.texts[prompt].clone().unwrap_or_else(as_ids)
    }

    /// Adds the prompt's tokens, the first without a log-prob because nothing precedes it.
    fn echo(&self, logprobs: &mut Logprobs, choices: &Choices, prompt: usize) {
        let mut ids = self.prompts[prompt].iter().copied();
        if let Some(first) = ids.next() {
            logprobs.push(&self.state, first, None);
        }
        for (token, likely) in ids.zip(choices.scores(prompt)) {
            logprobs.push(&self.state, token, Some(&TokenInfo { token, likely: likely.clone() }));
        }
    }
}

/// The field `logprobs` of an answer, or of a piece of one.
#[derive(Default, Clone)]
struct Logprobs {
    tokens: Vec<String>,
    logprobs: Vec<Option<f32>>,
    top: Vec<Option<Map<String, Value>>>,
    offsets: Vec<usize>,
    /// Characters so far.
    length: usize,
}

impl Logprobs {
    fn extend(&mut self, state: &AppState, infos: Vec<TokenInfo>) {
        for info in infos {
            self.push(state, info.token, Some(&info));
        }
    }

    fn push(&mut self, state: &AppState, token: u32, info: Option<&TokenInfo>) {
        let text = state.token_texts.of(token);
        self.offsets.push(self.length);
        self.length += text.chars().count();
        self.logprobs.push(info.map(|info| finite(info.likely.logprob)));
        self.top.push(info.map(|info| {
            let mut top = Map::new();
            let own = (token, info.likely.logprob);
            for (id, logprob) in info.likely.top.iter().copied().chain([own]) {
                // several ids may have the same text; the likeliest goes first
                top.entry(state.token_texts.of(id)).or_insert_with(|| finite(logprob).into());
            }
            top
        }));
        self.tokens.push(text);
    }

    fn to_json(&self) -> Value {
        let Self { tokens, logprobs, top, offsets, .. } = self;
        json!({ "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets })
    }
}

/// Chunks of a streamed completion.
struct CompletionChunks {
    context: CompletionContext,
    envelope: Envelope,
    /// Characters of each answer so far, once it has begun.
    written: Vec<Option<usize>>,
}

impl ChunkFormat for CompletionChunks {
    fn first(&self, _: &Choices) -> Vec<Value> {
        Vec::new()
    }

    fn update(&mut self, choices: &Choices, update: ChoiceUpdate) -> Vec<Value> {
        let ChoiceUpdate { choice, text, infos, finish } = update;
        let begins = self.written[choice].is_none();
        let mut logprobs = Logprobs { length: self.written[choice].unwrap_or(0), ..Logprobs::default() };
        let mut shown = String::new();
        if begins && self.context.echo {
            let prompt = choices.prompt_of(choice);
            shown = self.context.prompt_text(prompt);
            self.context.echo(&mut logprobs, choices, prompt);
        }
        shown.push_str(&text);
        logprobs.extend(&self.context.state, infos);
        self.written[choice] = Some(logprobs.length);
        let mut entry = json!({
            "index": choice,
            "text": shown,
            "logprobs": self.context.logprobs.then(|| logprobs.to_json()),
            "finish_reason": finish,
        });
        if let Some(extension) = finish.and_then(|_| choices.extension(choice)) {
            entry["thinktune"] = extension;
        }
        vec![self.envelope.chunk(json!([entry]), Value::Null)]
    }

    fn last(&self, choices: &Choices) -> Option<Value> {
        self.envelope.include_usage.then(|| self.envelope.chunk(json!([]), choices.usage()))
    }
}

type Prompts = (Vec<Arc<[u32]>>, Vec<Option<String>>);

/// Reads a text, texts, ids, or lists of ids. A text gets the model's BOS in front unless it spells it out.
fn read_prompts(state: &AppState, fields: &Fields) -> Result<Prompts, ApiError> {
    let expected = || {
        ApiError::field(
            "prompt",
            "prompt: expected a text, token ids, or a list of either, none of them empty",
        )
    };
    let value = fields.raw("prompt").ok_or_else(expected)?;
    let several = match value {
        Value::String(_) => false,
        Value::Array(list) if list.first().is_some_and(|first| first.is_u64()) => false,
        Value::Array(list) if !list.is_empty() => true,
        _ => return Err(expected()),
    };
    let list = match value {
        Value::Array(list) if several => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    if list.len() > MAX_PROMPTS {
        let message = format!("{} prompts: expected at most {MAX_PROMPTS}", list.len());
        return Err(ApiError::field("prompt", message));
    }
    let (mut prompts, mut texts) = (Vec::new(), Vec::new());
    for one in list {
        let (ids, text) = match one {
            Value::String(text) => {
                let ids = state.tokenizer.encode(text);
                let bos = state.tokenizer.bos().filter(|bos| ids.first() != Some(bos));
                (bos.into_iter().chain(ids).collect(), Some(text.clone()))
            }
            Value::Array(ids) => {
                let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
                (ids.iter().map(id).collect::<Option<Vec<u32>>>().ok_or_else(expected)?, None)
            }
            _ => return Err(expected()),
        };
        state.check_ids(&ids)?;
        if ids.is_empty() {
            return Err(expected());
        }
        prompts.push(ids.into());
        texts.push(text);
    }
    Ok((prompts, texts))
}
