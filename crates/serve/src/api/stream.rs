//! Server-sent events: an answer while it grows.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value};

use super::choices::{Choices, Update};
use crate::engine::Job;

/// How an endpoint writes its chunks.
pub(crate) trait Format: Send + 'static {
    /// Before anything of the answers.
    fn first(&self, choices: &Choices) -> Vec<Value>;
    /// What one event adds.
    fn update(&mut self, choices: &Choices, update: Update) -> Vec<Value>;
    /// After all answers, if anything.
    fn last(&self, choices: &Choices) -> Option<Value>;
}

/// What all chunks of an answer share.
pub(crate) struct Envelope {
    pub(crate) head: Map<String, Value>,
    pub(crate) include_usage: bool,
}

impl Envelope {
    /// A chunk; `usage` is left out unless it was asked for.
    pub(crate) fn chunk(&self, choices: Value, usage: Value) -> Value {
        let mut chunk = self.head.clone();
        chunk.insert("choices".into(), choices);
        if self.include_usage {
            chunk.insert("usage".into(), usage);
        }
        Value::Object(chunk)
    }
}

struct Streamed<F> {
    job: Job,
    choices: Choices,
    format: F,
    ready: VecDeque<String>,
    over: bool,
}

/// The response that streams a job. A client that goes away drops it, and the job with it.
pub(crate) fn respond<F: Format>(job: Job, choices: Choices, format: F) -> Response {
    let ready = format.first(&choices).iter().map(event).collect();
    let streamed = Streamed { job, choices, format, ready, over: false };
    let events = stream::unfold(streamed, |mut streamed| async move {
        let event = streamed.next().await?;
        Some((Ok::<_, Infallible>(event), streamed))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(events)).into_response()
}

impl<F: Format> Streamed<F> {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            self.advance().await;
        }
    }

    async fn advance(&mut self) {
        if self.choices.done() {
            self.ready.extend(self.format.last(&self.choices).iter().map(event));
            self.ready.push_back("data: [DONE]\n\n".into());
            self.over = true;
            return;
        }
        let news = self.job.next().await;
        match self.choices.hear(&self.job, news) {
            Ok(Some(update)) => {
                self.ready.extend(self.format.update(&self.choices, update).iter().map(event));
            }
            Ok(None) => {}
            Err(error) => {
                self.ready.push_back(event(&error.body()));
                self.over = true;
            }
        }
    }
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}
