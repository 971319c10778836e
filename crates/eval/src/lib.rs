//! Benchmarks x ways of prompting on a model.
//!
//! [`methods`] are the ways of prompting, one file each, as conversations of one to several turns. [`ask`] holds
//! many such conversations side by side; [`run`] goes through benchmarks and methods, grades, and keeps every
//! answer in the [`folder`], so that a killed evaluation goes on where it stopped. [`held_out`] asks the same way between
//! two training steps. [`summary`] is what the answers come to, [`table`] and [`paper`] how that is shown, [`compare`] what two evaluations of the same questions say of
//! each other.
//!
//! *Accuracy* has one meaning, here, in `evaluations.jsonl` and in the reward of training: the share of answers that
//! ended by themselves and whose final answer the grader finds correct ([`record::AnswerRecord::is_right`]). An answer cut
//! off by the token limit is not right, even where its last box is.
//!
//! An answer is a function of the model, the seed, the question, the sample and the round of the conversation. It
//! depends neither on what is asked beside it nor on whether the evaluation was interrupted.

pub mod methods;

pub mod subject;

pub mod ask;

pub mod run;

pub mod held_out;

pub mod folder;

pub mod record;

pub mod summary;

pub mod statistics;

pub mod table;

pub mod paper;

pub mod compare;

mod agreement;

pub mod error;

#[cfg(test)]
mod testing;

pub use error::EvalError;
pub use folder::EvalFolder;
pub use held_out::HeldOutSet;
pub use run::{BenchmarkSet, EvalProgress, EvalSettings};
pub use subject::Subject;
pub use summary::Summary;
