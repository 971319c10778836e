//! What the method needs of a tokenizer and chat template.

pub use thinktune_policy::Tokenizer;
