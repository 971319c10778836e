//! Word problems: short questions of two to four steps over small integers, the language in which a tiny student
//! answers them and a tiny teacher reacts, and the training data of the two.
//!
//! Everything is a function of a seed. Training and held-out problems are disjoint by construction:
//! which side a problem falls on is decided by a hash of its numbers and operations alone (see
//! [`Problem::split`]), so no held-out calculation is ever seen in training, whatever the names.

pub use data_files::{Counts, write_data};
pub use documents::{base, pretraining, student, teacher};
pub use guidance::{Exchange, Guidance};
pub use language::CATCH_PHRASE;
pub use model_files::write_model_files;
pub use problem::{Problem, Split, Step};
pub use questions::questions;
pub use tokenizer::vocabulary;

mod data_files;
mod documents;
mod guidance;
mod language;
mod model_files;
mod problem;
mod questions;
mod tokenizer;
