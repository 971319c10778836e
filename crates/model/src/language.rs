//! What the method and the evaluation need of a tokenizer and chat template, so that tests can script one.

use crate::{Codec, Message, ModelError};

/// Text to tokens and back, in one model's vocabulary.
pub trait Language {
    /// A conversation, ready for the assistant's answer.
    fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError>;
    /// Whether conversations can be rendered; where not, `prompt_ids` fails.
    fn has_chat_template(&self) -> bool {
        true
    }
    /// An assistant's answer with its end token.
    fn answer_ids(&self, text: &str) -> Vec<u32>;
    /// A plain document with its beginning (if the model has one) and end tokens.
    fn document_ids(&self, text: &str) -> Vec<u32>;
    /// Text alone, no special tokens added.
    fn encode(&self, text: &str) -> Vec<u32>;
    /// Tokens as text, special tokens left out.
    fn decode(&self, tokens: &[u32]) -> String;
    /// Tokens as text, special tokens shown.
    fn decode_raw(&self, tokens: &[u32]) -> String;
    /// Tokens that end a response.
    fn stop(&self) -> &[u32];
}

impl Language for Codec {
    fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        Codec::prompt_ids(self, messages)
    }

    fn has_chat_template(&self) -> bool {
        Codec::has_chat_template(self)
    }

    fn answer_ids(&self, text: &str) -> Vec<u32> {
        Codec::answer_ids(self, text)
    }

    fn document_ids(&self, text: &str) -> Vec<u32> {
        Codec::document_ids(self, text)
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        Codec::encode(self, text)
    }

    fn decode(&self, tokens: &[u32]) -> String {
        Codec::decode(self, tokens)
    }

    fn decode_raw(&self, tokens: &[u32]) -> String {
        Codec::decode_raw(self, tokens)
    }

    fn stop(&self) -> &[u32] {
        Codec::stop(self)
    }
}
