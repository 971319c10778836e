//! One decoder for the Llama, Mistral, Qwen2 and Qwen3 families: weights, tokenizer, chat template,
//! forward and backward, KV cache, sampling and generation.
//!
//! Tensor letters used throughout: B sequences, T tokens, D model width, H query heads,
//! K key/value heads, d head width, F feed-forward width, V vocabulary.

pub mod chat;
pub mod codec;
pub mod config;
mod decoder;
mod engine;
pub mod error;
mod generate;
pub mod hub;
pub mod language;
pub mod local;
pub mod memory;
pub mod params;
pub mod rng;
pub mod spec;
pub mod surface;
mod train;
pub mod weights;

pub use chat::{Message, Role};
pub use codec::Codec;
pub use error::ModelError;
pub use generate::scheduler;
pub use language::Language;
pub use local::{FrozenModel, LocalModel, init_random};
pub use params::Params;
pub use spec::ModelSpec;
pub use thinktune_kernels::Precision;
pub use weights::{Dtype, copy_config, copy_side_files, load_params, save_params};
