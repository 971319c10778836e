//! One request until it is answered or given up: time limits, retries with growing, jittered waits.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;
use thinktune_policy::rng::SampleRng;
use thinktune_policy::{NoReply, SampleKey, Stream, TeacherReply, TeacherSampling};

use crate::request::{endpoint, read_answer, says_too_long};
use crate::settings::RemoteSettings;

const CONNECT: Duration = Duration::from_secs(10);
/// The wait before the first retry; each further one is twice as long.
const FIRST_WAIT: f64 = 0.5;
const LONGEST_WAIT: f64 = 30.0;
/// Bytes of an answer at most, beside those its tokens may take.
const LARGEST_ANSWER: u64 = 1 << 20;
const LARGEST_TOKEN: u64 = 256;

/// Asks one server.
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
    retries: u32,
    sampling: TeacherSampling,
}

/// Why an attempt gave nothing, and whether another may give more.
struct Failure {
    why: NoReply,
    /// None where asking again is of no use; else how long the server says to wait, at least.
    again: Option<f64>,
}

impl Client {
    pub(crate) fn new(settings: &RemoteSettings, key: Option<String>, sampling: TeacherSampling) -> Self {
        let timeout = Duration::from_secs(settings.timeout_seconds);
        // a redirect could carry the key elsewhere
        let agent = ureq::AgentBuilder::new()
            .timeout(timeout)
            .timeout_connect(CONNECT.min(timeout))
            .redirects(0)
            .max_idle_connections_per_host(settings.concurrency)
            .build();
        let url = format!("{}/{}", settings.url.trim_end_matches('/'), endpoint(settings.api));
        Self { agent, url, key, retries: settings.retries, sampling }
    }

    /// The reply to a request, or why there is none after all retries. `key` keys the jitter of the waits.
    pub(crate) fn ask(&self, body: &Value, key: SampleKey) -> TeacherReply {
        let jitter = SampleRng::new(self.sampling.seed, SampleKey { stream: Stream::Jitter, ..key });
        let text = body.to_string();
        let mut attempt = 0;
        loop {
            let failure = match self.attempt(&text) {
                Ok(reply) => return reply,
                Err(failure) => failure,
            };
            let Some(wait) = failure.again.filter(|_| attempt < self.retries) else {
                return TeacherReply::Missing(failure.why);
            };
            let grown = FIRST_WAIT * f64::from(attempt).exp2() * (0.5 + 0.5 * jitter.uniform(attempt));
            std::thread::sleep(Duration::from_secs_f64(grown.max(wait).min(LONGEST_WAIT)));
            attempt += 1;
        }
    }

    fn attempt(&self, body: &str) -> Result<TeacherReply, Failure> {
        let mut request = self.agent.post(&self.url).set("Content-Type", "application/json");
        if let Some(key) = &self.key {
            request = request.set("Authorization", &format!("Bearer {key}"));
        }
        match request.send_string(body) {
            Ok(response) if response.status() == 200 => self.read(response),
            Ok(response) | Err(ureq::Error::Status(_, response)) => self.refusal(response),
            Err(ureq::Error::Transport(transport)) => Err(of_transport(&transport)),
        }
    }

    fn read(&self, response: ureq::Response) -> Result<TeacherReply, Failure> {
        let bytes = self.bytes(response)?;
        let bad = |why| Failure { why, again: Some(0.0) };
        let answer: Value = serde_json::from_slice(&bytes).map_err(|_| bad(NoReply::BadAnswer))?;
        read_answer(&answer, &self.sampling).map_err(bad)
    }

    fn bytes(&self, response: ureq::Response) -> Result<Vec<u8>, Failure> {
        let most = LARGEST_ANSWER + LARGEST_TOKEN * self.sampling.max_tokens as u64;
        let mut bytes = Vec::new();
        match response.into_reader().take(most + 1).read_to_end(&mut bytes) {
            Ok(length) if length as u64 > most => Err(Failure { why: NoReply::BadAnswer, again: None }),
            Ok(_) => Ok(bytes),
            Err(error) => {
                let why = if timed_out(&error) { NoReply::TimedOut } else { NoReply::Unreachable };
                Err(Failure { why, again: Some(0.0) })
            }
        }
    }

    fn refusal(&self, response: ureq::Response) -> Result<TeacherReply, Failure> {
        let wait = response.header("Retry-After").and_then(|text| text.trim().parse::<f64>().ok());
        let again = Some(wait.filter(|wait| wait.is_finite() && *wait > 0.0).unwrap_or(0.0));
        match response.status() {
            429 => Err(Failure { why: NoReply::Busy, again }),
            408 | 500..=599 => Err(Failure { why: NoReply::ServerError, again }),
            status => {
                let text = self.bytes(response).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                if status == 400 && says_too_long(&text) {
                    return Ok(TeacherReply::PromptTooLong);
                }
                let shown: String = text.chars().take(300).collect();
                tracing::warn!("the teacher's server refuses a request with status {status}: {shown}");
                Err(Failure { why: NoReply::Refused, again: None })
            }
        }
    }
}

fn of_transport(transport: &ureq::Transport) -> Failure {
    let mut source = std::error::Error::source(transport);
    let mut late = false;
    while let Some(error) = source {
        late |= error.downcast_ref::<std::io::Error>().is_some_and(timed_out);
        source = error.source();
    }
    let why = match transport.kind() {
        _ if late => NoReply::TimedOut,
        ureq::ErrorKind::BadStatus | ureq::ErrorKind::BadHeader => NoReply::BadAnswer,
        _ => NoReply::Unreachable,
    };
    Failure { why, again: Some(0.0) }
}

fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock)
}
