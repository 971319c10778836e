//! [`Cpu`]: a handle, and how its threads share work.

use std::sync::Arc;

use crate::{SpinPool, Threads};

/// Rows per parallel task of row-wise kernels.
pub(super) const ROWS: usize = 32;

/// Values per parallel task of elementwise kernels.
pub(super) const PIECE: usize = 1 << 14;

/// A handle to the CPU and to the threads that work for it.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    pub(super) workers: Workers,
}

/// Threads of a handle.
#[derive(Debug, Clone, Default)]
pub(super) enum Workers {
    /// The thread pool that the caller runs in.
    #[default]
    Pool,
    /// The calling thread.
    Caller,
    /// Threads that are awake.
    Spin(Arc<SpinPool>),
}

impl Cpu {
    /// A handle that works with the thread pool of its caller.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn threads(&self) -> Threads<'_> {
        match &self.workers {
            Workers::Pool => Threads::All,
            Workers::Caller => Threads::One,
            Workers::Spin(pool) => Threads::Spin(pool),
        }
    }

    /// Calls `work` with the index of the first row and the rows, `[ROWS, width]`, of each piece of `x`.
    pub(super) fn by_rows(
        &self,
        x: &mut [f32],
        width: usize,
        work: impl Fn(usize, &mut [f32]) + Sync + Send,
    ) {
        self.threads().chunks_mut(x, ROWS * width.max(1), |index, x| work(index * ROWS, x));
    }

    /// Calls `work` with the index of the first value and the values of each piece of `x`.
    pub(super) fn pieces(&self, x: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync + Send) {
        self.threads().chunks_mut(x, PIECE, |index, x| work(index * PIECE, x));
    }
}
