//! What the method, the evaluation, the server and the remote teacher see of a model: the traits [`Generate`],
//! [`Score`], [`Train`], [`Policy`] and [`Batcher`], the values that pass through them, random numbers, and the traits
//! [`Tokenizer`] and [`Teacher`]. No kernels, no files.
//!
//! Tensor letters used throughout: B sequences, T tokens, D model width, H query heads,
//! K key/value heads, d head width, F feed-forward width, V vocabulary.

pub mod batch;
pub mod batcher;
pub mod error;
pub mod model_files;
pub mod optimizer;
pub mod rng;
pub mod sampling;
pub mod teacher;
pub mod tokenizer;
pub mod traits;

pub use batch::{TokenBatch, TokenScores};
pub use batcher::{Alternatives, BatchEvent, BatchLimits, BatchRequest, Batcher, Drawn, Ticket};
pub use error::ModelError;
pub use optimizer::{AdamW, UpdateReport};
pub use rng::{SampleKey, SampleRng, Stream};
pub use sampling::{Completion, Finish, GenerateProgress, OutOfRange, Prompt, Sampling};
pub use teacher::{NoReply, Teacher, TeacherError, TeacherReply, TeacherRequest, TeacherSampling};
pub use tokenizer::{Message, Role, Tokenizer};
pub use traits::{Generate, Policy, Score, Train};
