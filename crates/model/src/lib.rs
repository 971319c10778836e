//! One decoder for the Llama, Mistral, Qwen2 and Qwen3 families: weights,
//! forward and backward, KV cache, sampling and generation.
//!
//! Tensor letters used throughout: B sequences, T tokens, D model width, H query heads,
//! K key/value heads, d head width, F feed-forward width, V vocabulary.

pub mod checkpoint;
mod decoder;
mod engine;
mod error;
mod families;
mod frozen;
pub mod memory;
mod on_device;
pub mod open;
mod rows;
mod scheduler;
pub mod spec;
mod student;
mod trainer;

pub use checkpoint::{Dtype, Params, copy_config, copy_side_files, init_random, load_params, save_params};
pub use open::{Device, FrozenModel, LocalModel};
pub use spec::ModelSpec;
pub use thinktune_compute::Precision;
