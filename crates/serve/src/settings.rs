//! How a server is set up.

use std::time::Duration;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model's name in requests and answers.
    pub name: String,
    /// Demanded of every request, if there is one.
    pub api_key: Option<String>,
    /// Largest request body.
    pub max_body_bytes: usize,
    /// Samples running or waiting; a request that would exceed it is answered 429.
    pub max_samples: usize,
    /// Time that requests in flight have to end once the server is asked to stop.
    pub grace: Duration,
    /// Keys the random numbers of requests that name no seed.
    pub seed: u64,
    /// Seconds since 1970, for the `created` of answers.
    pub clock: fn() -> u64,
}
