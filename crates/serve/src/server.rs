//! The network's threads: routes, limits, an orderly end.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use thinktune_policy::Batcher;
use thinktune_text::ChatTokenizer;
use tokio::sync::watch;

use crate::api::error::ApiError;
use crate::api::{chat, completions};
use crate::engine::{self, EngineClient};
use crate::settings::ServerSettings;
use crate::state::AppState;

/// Longest time that a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Error that keeps a server from running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Failure of the listener or of the network's threads.
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
    tokenizer: ChatTokenizer,
    settings: ServerSettings,
    listener: TcpListener,
    stop: &Stop,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let (engine, commands) = EngineClient::new();
    let state = Arc::new(AppState::new(tokenizer, engine, batcher.limits(), settings));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // stops the network's threads however the engine ends, by a panic too
    let stop_on_drop = StopOnDrop(stop.clone());
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
    drop(stop_on_drop);
    match network.join() {
        Ok(done) => Ok(done?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn network(state: Arc<AppState>, listener: TcpListener, stop: Stop) -> std::io::Result<()> {
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

fn router(state: Arc<AppState>) -> Router {
    let unknown_route = |method: Method, uri: Uri| async move {
        let message = format!("there is no {method} {}", uri.path());
        ApiError::new(StatusCode::NOT_FOUND, message).code("unknown_url")
    };
    let wrong_method = |method: Method, uri: Uri| async move {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not for {}", uri.path()))
    };
    Router::new()
        .route("/v1/models", get(list_models))
        .route("/v1/models/{*name}", get(show_model))
        .route("/v1/completions", post(create_completion))
        .route("/v1/chat/completions", post(create_chat_completion))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), authenticate))
        .route("/health", get(|| async { StatusCode::OK }))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_route)
        .with_state(state)
}

async fn list_models(State(state): State<Arc<AppState>>) -> Response {
    Json(json!({ "object": "list", "data": [state.model_entry()] })).into_response()
}

async fn show_model(
    State(state): State<Arc<AppState>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    state.check_name(&name)?;
    Ok(Json(state.model_entry()).into_response())
}

async fn create_completion(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(&state, request).await?;
    completions::answer(state, &body).await
}

async fn create_chat_completion(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(&state, request).await?;
    chat::answer(state, &body).await
}

/// The body of a request. Its content type must be JSON, because a web page cannot send that type to another site
/// without asking the browser for leave.
async fn read_body(state: &AppState, request: Request) -> Result<Vec<u8>, ApiError> {
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
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(body)) => Ok(body.into()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the body did not come")),
    }
}

/// Demands the API key, if there is one.
async fn authenticate(
    State(state): State<Arc<AppState>>,
    request: axum::http::Request<Body>,
    next: Next,
) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if state.authorizes(given) {
        return next.run(request).await;
    }
    let message = "wrong API key, or none: expected the header Authorization: Bearer KEY";
    ApiError::new(StatusCode::UNAUTHORIZED, message).code("invalid_api_key").into_response()
}
