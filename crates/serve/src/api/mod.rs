//! Requests and answers in OpenAI's terms.

pub(crate) mod error;

pub(crate) mod fields;

pub(crate) mod params;

pub(crate) mod completions;

pub(crate) mod chat;

pub(crate) mod choices;

pub(crate) mod stream;
