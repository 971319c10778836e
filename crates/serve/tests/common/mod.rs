//! A server of a tiny random model in this process, and a client that sees every byte.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use thinktune_model::{Device, Dtype, FrozenModel, ModelSpec, Precision, init_random, save_params};
use thinktune_policy::{BatchEvent, BatchLimits, BatchRequest, Batcher, ModelError, Ticket};
use thinktune_serve::{ServeError, ServerSettings, Stop, serve};
use thinktune_text::ChatTokenizer;

/// A model directory: a random Llama with the word problems' tokenizer, of `context` positions.
pub fn model_dir(context: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    thinktune_tasks::word_problems::write_model_files(dir.path()).unwrap();
    let config = dir.path().join("config.json");
    let mut value: Value = serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    for (key, size) in [
        ("hidden_size", 32),
        ("intermediate_size", 64),
        ("num_hidden_layers", 2),
        ("num_attention_heads", 4),
        ("num_key_value_heads", 2),
        ("head_dim", 8),
        ("max_position_embeddings", context),
    ] {
        value[key] = size.into();
    }
    std::fs::write(&config, value.to_string()).unwrap();
    let mut params = init_random(ModelSpec::from_dir(dir.path()).unwrap(), 3);
    // far enough from uniform that the answers of two prompts differ
    params.data.iter_mut().for_each(|weight| *weight *= 3.0);
    save_params(dir.path(), &params, Dtype::F32).unwrap();
    dir
}

pub fn frozen(dir: &Path) -> FrozenModel {
    FrozenModel::load(dir, Device::Cpu, Precision::F32).unwrap()
}

pub fn tokenizer(dir: &Path) -> ChatTokenizer {
    ChatTokenizer::load(dir, "2025-01-01").unwrap()
}

/// A batcher that pauses before each step.
struct Paused {
    batcher: Box<dyn Batcher>,
    pause: Duration,
}

impl Batcher for Paused {
    fn limits(&self) -> BatchLimits {
        self.batcher.limits()
    }

    fn submit(&mut self, request: BatchRequest) -> Result<Ticket, ModelError> {
        self.batcher.submit(request)
    }

    fn is_idle(&self) -> bool {
        self.batcher.is_idle()
    }

    fn running(&self) -> usize {
        self.batcher.running()
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.batcher.cancel(ticket);
    }

    fn cancel_sample(&mut self, ticket: Ticket, sample: usize) {
        self.batcher.cancel_sample(ticket, sample);
    }

    fn step(&mut self, emit: &mut dyn FnMut(Ticket, BatchEvent)) {
        std::thread::sleep(self.pause);
        self.batcher.step(emit);
    }
}

/// A running server.
pub struct Server {
    pub dir: TempDir,
    pub addr: SocketAddr,
    pub stop: Stop,
    running: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(1024, |_| ())
    }

    pub fn with(context: usize, change: impl FnOnce(&mut ServerSettings)) -> Self {
        Self::with_pause(context, Duration::ZERO, change)
    }

    /// A server whose model pauses before each token.
    pub fn with_pause(context: usize, pause: Duration, change: impl FnOnce(&mut ServerSettings)) -> Self {
        let dir = model_dir(context);
        let mut settings = ServerSettings {
            name: "tiny".into(),
            api_key: None,
            max_body_bytes: 1 << 20,
            max_samples: 256,
            grace: Duration::from_secs(20),
            keep_alive: Duration::from_secs(15),
            seed: 5,
            clock: || 1_700_000_000,
        };
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, stop) = (listener.local_addr().unwrap(), Stop::default());
        let (model, tokenizer, asked) = (frozen(dir.path()), tokenizer(dir.path()), stop.clone());
        let running = std::thread::spawn(move || {
            let mut batcher = Paused { batcher: model.into_batcher(), pause };
            serve(&mut batcher, tokenizer, settings, listener, &asked)
        });
        Self { dir, addr, stop, running: Some(running) }
    }

    /// Asks it to stop and waits.
    pub fn end(&mut self) -> Result<(), ServeError> {
        self.stop.stop();
        self.running.take().map_or(Ok(()), |running| running.join().unwrap())
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, "Content-Type: application/json\r\n", &body.to_string())
    }

    /// A success's body.
    pub fn ok(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{body}: {answer}");
        answer
    }

    pub fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let (status, _, text) = self.exchange(method, path, headers, body);
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Status, head and body.
    pub fn exchange(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = self.open(method, path, headers, body);
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        let (head, rest) = all.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), rest.into())
    }

    pub fn open(&self, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // a server that refuses by the head alone may close before all is sent
        let _ = stream.write_all(body.as_bytes());
        stream
    }

    /// Begins a stream; its events are read one at a time.
    pub fn stream(&self, path: &str, body: &Value) -> Events {
        let mut body = body.clone();
        body["stream"] = true.into();
        let stream = self.open("POST", path, "Content-Type: application/json\r\n", &body.to_string());
        let mut events = Events { reader: BufReader::new(stream) };
        let mut line = String::new();
        events.reader.read_line(&mut line).unwrap();
        assert!(line.contains(" 200 "), "{line}");
        events
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Server-sent events.
pub struct Events {
    reader: BufReader<TcpStream>,
}

impl Events {
    /// The next event; none after `[DONE]`.
    pub fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).expect("an event");
            assert!(read > 0, "the stream ended before [DONE]");
            match line.trim_end().strip_prefix("data: ") {
                Some("[DONE]") => return None,
                Some(event) => return Some(serde_json::from_str(event).unwrap()),
                None => {}
            }
        }
    }

    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// The text of a chat stream's choice 0, and why it ended.
pub fn streamed_text(events: &[Value]) -> (String, String) {
    let deltas = events.iter().filter_map(|event| event["choices"].get(0));
    let text = deltas.clone().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
    let finish = deltas.filter_map(|choice| choice["finish_reason"].as_str()).collect();
    (text, finish)
}

pub fn chat(question: &str) -> Value {
    json!({ "model": "tiny", "messages": [{ "role": "user", "content": question }] })
}
