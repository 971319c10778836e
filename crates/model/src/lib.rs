//! One decoder for the Llama, Mistral, Qwen2 and Qwen3 families: weights,
//! forward and backward, KV cache, sampling and generation.
//!
//! Tensor letters used throughout: B sequences, T tokens, D model width, H query heads,
//! K key/value heads, d head width, F feed-forward width, V vocabulary.

pub mod config;
mod decoder;
mod engine;
mod generate;
pub mod local;
pub mod memory;
pub mod open;
pub mod params;
pub mod spec;
mod train;
pub mod weights;

pub use generate::scheduler;
pub use local::{FrozenModel, LocalModel, init_random};
pub use open::Device;
pub use params::Params;
pub use spec::ModelSpec;
pub use thinktune_kernels::Precision;
pub use weights::{Dtype, copy_config, copy_side_files, load_params, save_params};
