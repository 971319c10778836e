//! The CPU: [`Cpu`] implements [`Backend`](thinktune_compute::Backend) over kernels that take slices.
//!
//! Every kernel is *batch-invariant*. The value computed for one row is one fixed chain of
//! floating-point operations over that row and the weights; it does not depend on what else is in the
//! call, on tiling, on the number of threads, or on the instruction set: the AVX-512, AVX2 and
//! portable variants perform the same fused multiply-adds in the same order and give the same bits.
//!
//! Tensor letters: B sequences, T tokens, D model width, H query heads, K key/value heads,
//! d head width, F feed-forward width, V vocabulary. Matrices are row-major.

mod backend;
mod isa;

pub mod adamw;
pub mod attention;
pub mod elementwise;
pub mod gemm;
pub mod head;
pub mod math;
pub mod norm;
pub mod rope;
mod spin_pool;
mod threads;

pub use backend::Cpu;
pub use isa::{ISA_VARIABLE, Isa, UnknownIsa, forced, isa};
pub use spin_pool::SpinPool;
pub use thinktune_compute::Precision;
pub use threads::Threads;
