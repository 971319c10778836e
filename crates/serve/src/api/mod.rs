//! What is asked and answered, in OpenAI's terms.

pub(crate) mod error;

pub(crate) mod fields;

pub(crate) mod sampling;

pub(crate) mod completions;

pub(crate) mod chat;

pub(crate) mod choices;

pub(crate) mod stream;
