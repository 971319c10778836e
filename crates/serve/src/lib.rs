//! A model behind HTTP, as OpenAI's clients and evaluation harnesses expect it: `/v1/models`, `/v1/completions`,
//! `/v1/chat/completions`, whole or streamed.
//!
//! One thread runs the model: requests join and leave its batch between two tokens
//! ([`Batcher`](thinktune_policy::Batcher)), and each gets, bit for bit, what it would have got alone. Two
//! run the network. A sample's random numbers are keyed by the request's `seed` and its index; a request
//! without a seed gets numbers of its own, keyed by the server's seed and a counter.
//!
//! # Beyond OpenAI
//! - `top_k` and `min_p` in requests, as other servers have them.
//! - A request may carry `"thinktune": {"key": [stream, step, question, sample], "seed": ..,
//!   "max_prompt_tokens": ..}`: its first sample draws the random numbers of that key, a longer prompt is refused, and
//!   each choice comes back with `"thinktune": {"tokens": [..], "text": ".."}`: the ids drawn, and their text with
//!   special tokens shown, without the stop token. So a teacher asked over the network answers as one in process.
//! - Log-probs are the model's own, before temperature and truncation.

mod settings;

mod server;

mod state;

mod engine;

mod api;

mod text;

pub use server::{ServeError, Stop, serve};
pub use settings::ServerSettings;
