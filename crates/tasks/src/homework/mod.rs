//! The miniature: short word problems of two to four steps over small integers, the language in which
//! a tiny student answers them and a tiny teacher reacts, and every file needed to make the two
//! models: tokenizer, chat template, `config.json`, training data.
//!
//! Everything is a function of a seed. Training and held-out problems are disjoint by construction:
//! which side a problem falls on is decided by a hash of its numbers and operations alone (see
//! [`Problem::split`]), so no held-out calculation is ever seen in training, whatever the names.

pub use documents::{base, pretraining, student, teacher};
pub use guidance::{Exchange, Guidance};
pub use language::{Behaviour, CATCH_PHRASE};
pub use problem::{Problem, Split, Step};
pub use questions::questions;
pub use tokenizer::vocabulary;
pub use write::{Counts, write_data, write_model_files};

mod dice;
mod documents;
mod guidance;
mod language;
mod problem;
mod questions;
mod tokenizer;
mod write;
