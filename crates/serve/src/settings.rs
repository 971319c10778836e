//! Settings of a server.

use std::time::Duration;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Name of the model in requests and answers.
    pub name: String,
    /// API key that every request must carry, if there is one.
    pub api_key: Option<String>,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Samples running or waiting; a request that would exceed it is answered 429.
    pub max_samples: usize,
    /// Time that requests in flight have to end once the server is asked to stop.
    pub grace: Duration,
    /// Silence after which a stream sends a comment, so that clients and proxies keep the connection.
    pub keep_alive: Duration,
    /// Keys the random numbers of requests that name no seed.
    pub seed: u64,
    /// Seconds since 1970, for the `created` of answers.
    pub clock: fn() -> u64,
}
