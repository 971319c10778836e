//! The network's thread: routes, limits, an orderly end.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State as Shared};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thinktune_policy::{BatchRequest, Batcher};
use thinktune_text::ChatTokenizer;
use tokio::sync::{Semaphore, watch};

use crate::api::error::{ApiError, TOO_LONG};
use crate::api::fields::Fields;
use crate::api::sampling::Wanted;
use crate::api::{chat, completions};
use crate::engine::{self, Engine, Job};
use crate::settings::Settings;
use crate::text::Pieces;

/// A body must have come within this time.
const BODY_TIME: Duration = Duration::from_secs(60);

/// What keeps a server from running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener or the threads of the network fail.
    #[error("the server cannot run: {0}")]
    Io(#[from] std::io::Error),
}

/// Asks a server to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }
}

impl Stop {
    /// No new connections from now on; requests in flight have the settings' `grace` to end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    async fn requested(&self) {
        let mut watched = self.0.subscribe();
        // the sender lives in `self`, so this ends only when it is set
        let _ = watched.wait_for(|stop| *stop).await;
    }
}

/// Serves until asked to stop. The model runs on the calling thread, which is best one of the kernels' pool.
///
/// # Errors
/// The listener cannot be used.
pub fn serve(
    batcher: &mut dyn Batcher,
    codec: ChatTokenizer,
    settings: Settings,
    listener: TcpListener,
    stop: &Stop,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let (engine, commands) = engine::Engine::new();
    let codec = Arc::new(codec);
    let state = Arc::new(State {
        pieces: Pieces::new(Arc::clone(&codec)),
        codec,
        engine,
        slots: Arc::new(Semaphore::new(settings.max_samples)),
        context: batcher.limits().context,
        vocab: batcher.limits().vocab_size,
        unseeded: AtomicU32::new(0),
        key: settings.api_key.as_deref().map(digest),
        settings,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // ends the network's side however the engine ends
    let ending = Ending(stop.clone());
    let network = {
        let stop = stop.clone();
        std::thread::Builder::new().name("network".into()).spawn(move || {
            let done = runtime.block_on(network(state, listener, stop));
            runtime.shutdown_background();
            done
        })?
    };
    engine::run(batcher, &commands);
    drop(commands);
    drop(ending);
    match network.join() {
        Ok(done) => Ok(done?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct Ending(Stop);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn network(state: Arc<State>, listener: TcpListener, stop: Stop) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let grace = state.settings.grace;
    let asked = stop.clone();
    let serving = axum::serve(listener, router(state)).with_graceful_shutdown(async move {
        asked.requested().await;
    });
    tokio::select! {
        done = serving.into_future() => done,
        () = async { stop.requested().await; tokio::time::sleep(grace).await } => {
            tracing::warn!("requests still in flight after {} s were cut off", grace.as_secs());
            Ok(())
        }
    }
}

fn router(state: Arc<State>) -> Router {
    let nowhere = |method: Method, uri: axum::http::Uri| async move {
        let message = format!("there is no {method} {}", uri.path());
        ApiError::new(StatusCode::NOT_FOUND, message).code("unknown_url")
    };
    let wrong_method = |method: Method, uri: axum::http::Uri| async move {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for {}", uri.path()))
    };
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/completions", post(complete))
        .route("/v1/chat/completions", post(converse))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), authenticate))
        .route("/health", get(|| async { StatusCode::OK }))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nowhere)
        .with_state(state)
}

/// What all requests share.
pub(crate) struct State {
    pub(crate) codec: Arc<ChatTokenizer>,
    pub(crate) pieces: Pieces,
    pub(crate) settings: Settings,
    engine: Engine,
    /// One for each sample that may run or wait.
    slots: Arc<Semaphore>,
    context: usize,
    vocab: usize,
    /// Requests that named no seed.
    unseeded: AtomicU32,
    /// Of the API key.
    key: Option<[u8; 32]>,
}

impl State {
    /// Refuses another model's name.
    pub(crate) fn check_model(&self, fields: &Fields) -> Result<(), ApiError> {
        match fields.get::<String>("model")? {
            Some(name) => self.named(&name),
            None => Err(ApiError::field("model", format!("model: expected {:?}", self.settings.name))),
        }
    }

    fn named(&self, name: &str) -> Result<(), ApiError> {
        if name == self.settings.name {
            return Ok(());
        }
        let message = format!("the model {name:?} is not here; {:?} is", self.settings.name);
        let error = ApiError::new(StatusCode::NOT_FOUND, message).code("model_not_found");
        Err(ApiError { param: Some("model".into()), ..error })
    }

    /// Refuses ids that the model does not have.
    pub(crate) fn check_ids(&self, ids: &[u32]) -> Result<(), ApiError> {
        match ids.iter().find(|&&id| id as usize >= self.vocab) {
            Some(id) => {
                let message = format!("token id {id}: the model has ids below {}", self.vocab);
                Err(ApiError::field("prompt", message))
            }
            None => Ok(()),
        }
    }

    /// How many tokens may follow a prompt of so many: those asked for, or as many as fit up to `default`.
    pub(crate) fn room(
        &self,
        param: &str,
        prompt: usize,
        wanted: &Wanted,
        asked_for: Option<usize>,
        default: usize,
    ) -> Result<usize, ApiError> {
        let too_long = |what: String| Err(ApiError::field(param, what).code(TOO_LONG));
        let limit = wanted.extension.as_ref().and_then(|extension| extension.max_prompt_tokens);
        if let Some(limit) = limit.filter(|limit| prompt > *limit) {
            return too_long(format!("the prompt has {prompt} tokens; max_prompt_tokens is {limit}"));
        }
        let room = self.context.saturating_sub(prompt);
        match asked_for {
            Some(count) if count <= room => Ok(count),
            None if room > 0 => Ok(default.min(room)),
            _ => too_long(format!(
                "this model's maximum context length is {} tokens; the prompt has {prompt}, and {} are to follow",
                self.context,
                asked_for.unwrap_or(1)
            )),
        }
    }

    /// Hands prompts to the engine, if there is room to wait.
    pub(crate) fn admit(
        &self,
        prompts: &[Arc<[u32]>],
        wanted: &Wanted,
        top: Option<usize>,
        score_prompt: bool,
    ) -> Result<Job, ApiError> {
        let samples = prompts.len() * wanted.n;
        if samples > self.settings.max_samples {
            let most = self.settings.max_samples;
            let message = format!("{samples} answers asked for at once: expected at most {most}");
            return Err(ApiError::field("n", message));
        }
        let Ok(permit) = Arc::clone(&self.slots).try_acquire_many_owned(samples as u32) else {
            let message = "the server is busy: too many requests are waiting; try again later";
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, message).code("queue_full"));
        };
        let request = std::cell::OnceCell::new();
        let number = || *request.get_or_init(|| self.unseeded.fetch_add(1, Ordering::Relaxed));
        let mut sampling = wanted.sampling.clone();
        sampling.max_tokens = wanted.max_tokens.unwrap_or_default();
        // a text that is only echoed is a text whose prompt is run and not shown
        let score_prompt = score_prompt || sampling.max_tokens == 0;
        let part = |(index, prompt): (usize, &Arc<[u32]>)| BatchRequest {
            prompt: Arc::clone(prompt),
            keys: wanted.keys(index, number),
            sampling: sampling.clone(),
            top,
            score_prompt,
        };
        Ok(self.engine.submit(prompts.iter().enumerate().map(part).collect(), permit))
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

    fn described(&self) -> Value {
        json!({
            "id": self.settings.name,
            "object": "model",
            "created": (self.settings.clock)(),
            "owned_by": "thinktune",
            "max_model_len": self.context,
        })
    }
}

async fn models(Shared(state): Shared<Arc<State>>) -> Response {
    Json(json!({ "object": "list", "data": [state.described()] })).into_response()
}

async fn model(Shared(state): Shared<Arc<State>>, Path(name): Path<String>) -> Result<Response, ApiError> {
    state.named(&name)?;
    Ok(Json(state.described()).into_response())
}

async fn complete(Shared(state): Shared<Arc<State>>, request: Request) -> Result<Response, ApiError> {
    let body = read(&state, request).await?;
    completions::answer(state, &body).await
}

async fn converse(Shared(state): Shared<Arc<State>>, request: Request) -> Result<Response, ApiError> {
    let body = read(&state, request).await?;
    chat::answer(state, &body).await
}

/// The body of a request, which must say that it is JSON: a web page cannot send that elsewhere without asking.
async fn read(state: &State, request: Request) -> Result<Vec<u8>, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !kind.is_some_and(|kind| kind.trim().to_ascii_lowercase().starts_with("application/json")) {
        let message = "expected the header Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let limit = state.settings.max_body_bytes;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let too_large = || {
        let message = format!("the body is larger than {limit} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    if declared.is_some_and(|declared| declared > limit) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not come")),
    }
}

/// Demands the API key, if there is one.
async fn authenticate(
    Shared(state): Shared<Arc<State>>,
    request: axum::http::Request<Body>,
    next: Next,
) -> Response {
    let Some(expected) = &state.key else { return next.run(request).await };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).map(digest);
    // digests are of one length and compared in constant time: neither the key nor its length shows
    if given.is_some_and(|given| given.ct_eq(expected).into()) {
        return next.run(request).await;
    }
    let message = "wrong API key, or none: expected the header Authorization: Bearer KEY";
    ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key").into_response()
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
