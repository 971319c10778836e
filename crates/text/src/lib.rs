//! Text to tokens and back for one model folder: tokenizer, chat template, special tokens; and the hub that model
//! folders and data sets are downloaded from.

pub mod chat;
pub mod hub;
pub mod tokenizer;

pub use chat::ChatTemplate;
pub use chat::date::{Date, DateError};
pub use thinktune_policy::ModelError;
pub use tokenizer::ChatTokenizer;
