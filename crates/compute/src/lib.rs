//! The operations that a decoder needs of a device, as the trait [`Backend`]; [`Reference`], plain loops for all of
//! them; and [`conformance`], the tests that every backend passes.
//!
//! Contract of every operation: row r of a result depends on row r of the inputs and on the weights alone, not on
//! what else is in the call. A sum over rows is one chain in row order that goes on from what is there. Equal inputs
//! give equal bits on one device. Only [`download`](Backend::download), [`score`](Backend::score),
//! [`sample`](Backend::sample), [`likeliest`](Backend::likeliest) and [`sum_squares`](Backend::sum_squares) wait for
//! the device. Only the first use at a larger size allocates.
//!
//! Tensor letters: B sequences, T tokens, D model width, H query heads, K key/value heads, d head width, F feed-forward
//! width, V vocabulary. Matrices are row-major.

pub mod backend;
pub mod conformance;
pub mod precision;
pub mod reference;
pub mod types;

pub use backend::Backend;
pub use precision::Precision;
pub use reference::Reference;
pub use types::{
    AdamWStep, Attended, ComputeError, Draw, Facts, HeadStage, Heads, Likeliest, MatrixShape, OperandUse,
    Part, RopeTable, RowLayout, RowSpan, ScoreGradient, Scores,
};
