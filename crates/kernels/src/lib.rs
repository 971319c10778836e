//! The hot path: slices in, slices out.
//!
//! Every kernel is *batch-invariant*. The value computed for one row is one fixed chain of
//! floating-point operations over that row and the weights; it does not depend on what else is in the
//! call, on tiling, on the number of threads, or on the instruction set: the AVX-512, AVX2 and
//! portable variants perform the same fused multiply-adds in the same order and give the same bits.
//!
//! Tensor letters: B sequences, T tokens, D model width, H query heads, K key/value heads,
//! d head width, F feed-forward width, V vocabulary. Matrices are row-major.

mod isa;

pub mod adamw;
pub mod attention;
pub mod bf16;
pub mod elementwise;
pub mod gemm;
pub mod head;
pub mod math;
pub mod norm;
pub mod rope;
mod team;
mod threads;

pub use bf16::Precision;
pub use isa::{ISA_VARIABLE, Isa, forced, isa};
pub use team::Team;
pub use threads::Threads;
