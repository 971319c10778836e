//! A model under evaluation.

use thinktune_policy::{Generate, Tokenizer};

/// A model under evaluation, with its tokenizer.
pub struct Subject<'a> {
    /// The model.
    pub model: &'a mut dyn Generate,
    /// Its tokenizer and chat template.
    pub tokenizer: &'a dyn Tokenizer,
    /// Tokens the model can hold.
    pub context: usize,
}
