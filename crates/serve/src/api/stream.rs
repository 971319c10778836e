//! Server-sent events: an answer sent while it is drawn.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value};

use super::choices::{ChoiceUpdate, Choices};
use crate::engine::Submission;

/// Format of an endpoint's chunks.
pub(crate) trait ChunkFormat: Send + 'static {
    /// Chunks that go before all answers.
    fn first(&self, choices: &Choices) -> Vec<Value>;
    /// Chunks of one update.
    fn update(&mut self, choices: &Choices, update: ChoiceUpdate) -> Vec<Value>;
    /// Chunk that goes after all answers, if there is one.
    fn last(&self, choices: &Choices) -> Option<Value>;
}

/// Fields that all chunks of an answer share.
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

/// The response that streams a submission, with a comment after each `keep_alive` of silence. A client that
/// disconnects drops the response, and the submission with it.
pub(crate) fn respond<F: ChunkFormat>(
    submission: Submission,
    choices: Choices,
    format: F,
    keep_alive: Duration,
) -> Response {
    let ready = format.first(&choices).iter().map(event).collect();
    let chunks = ChunkStream { submission, choices, format, ready, over: false };
    let events = stream::unfold(chunks, |mut chunks| async move {
        let event = chunks.next().await?;
        Some((Ok::<_, Infallible>(event), chunks))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(keep_alive)).into_response()
}

struct ChunkStream<F> {
    submission: Submission,
    choices: Choices,
    format: F,
    /// Events to send before the engine is asked for more.
    ready: VecDeque<Event>,
    over: bool,
}

impl<F: ChunkFormat> ChunkStream<F> {
    async fn next(&mut self) -> Option<Event> {
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
            self.ready.push_back(Event::default().data("[DONE]"));
            self.over = true;
            return;
        }
        let engine_event = self.submission.next().await;
        match self.choices.on_event(&self.submission, engine_event) {
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

fn event(value: &Value) -> Event {
    Event::default().data(value.to_string())
}
