//! A teacher behind a server that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, mistral.rs, `thinktune serve`.
//!
//! A server that is down, slow or lying costs guidance, not the run: what it owes is counted by reason
//! ([`NoReply`](thinktune_policy::NoReply)), and the run's own watch over missing guidance ends it where
//! that goes on. Replies are kept on disk by their whole request, so a run that is resumed asks nothing twice and goes
//! on exactly; failures are not kept, so that a server brought back is asked again.

mod settings;

mod teacher;

mod request;

mod client;

mod cache;

pub use settings::{Api, RemoteSettings};
pub use teacher::{Prompts, RemoteTeacher};
