//! Messages of a conversation, and what the method and the evaluation need of a tokenizer and its chat template.

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Text to tokens and back, in one model's vocabulary.
pub trait Tokenizer {
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
    /// The token that ends the model's turn in a conversation: one of `stop`.
    fn end_of_turn(&self) -> u32;

    /// Returns true where a response ended properly: its last token is the end of the turn, and no token before it
    /// ends a response. Another stop token, such as one that ends a document, is no proper end, and neither is a
    /// token after the end.
    fn ended(&self, response: &[u32]) -> bool {
        let end =
            response.iter().position(|token| self.stop().contains(token) || *token == self.end_of_turn());
        end.is_some_and(|end| end + 1 == response.len() && response[end] == self.end_of_turn())
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand before the conversation.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A system message.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// A user's turn.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// The model's turn.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}
