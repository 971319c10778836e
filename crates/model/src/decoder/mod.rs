//! The decoder: embedding, L layers of attention and SwiGLU, RMSNorm, LM head. One graph written out by
//! hand, forward and backward; families differ by [`ModelSpec`](crate::ModelSpec) alone.
//!
//! Prefill, decoding and training run the same [`layer`] code over packed rows of tokens; they differ
//! in where a row finds its keys and values.

pub(crate) mod backward;
pub(crate) mod head;
pub(crate) mod layer;
pub(crate) mod rope;
pub(crate) mod weights;

pub(crate) use layer::{Activations, Decoder, Run, Workspace};
pub(crate) use rope::RopeTable;
pub(crate) use weights::{Transposes, Weights};
