//! Who does the work of a kernel. It never changes the result.

use rayon::prelude::*;

use crate::SpinPool;

/// Which threads a kernel may use.
#[derive(Debug, Clone, Copy)]
pub enum Threads<'t> {
    /// The calling thread (it is one of many doing the like).
    One,
    /// The thread pool: for work worth waking a thread for.
    All,
    /// Threads that are awake: for work cut fine.
    Spin(&'t SpinPool),
}

impl Threads<'_> {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Threads::One => 1,
            Threads::All => rayon::current_num_threads(),
            Threads::Spin(pool) => pool.members(),
        }
    }

    /// Whether it is the calling thread only.
    pub fn is_one(self) -> bool {
        matches!(self, Threads::One)
    }

    /// Calls `work` with every index below `tasks`.
    pub fn for_each(self, tasks: usize, work: impl Fn(usize) + Sync + Send) {
        match self {
            Threads::All if tasks > 1 => (0..tasks).into_par_iter().for_each(work),
            Threads::Spin(pool) if tasks > 1 => pool.run(tasks, &work),
            _ => (0..tasks).for_each(work),
        }
    }

    /// Calls `work` with the index and the elements of each piece of `size` elements (the last may be shorter).
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn chunks_mut<T: Send>(
        self,
        items: &mut [T],
        size: usize,
        work: impl Fn(usize, &mut [T]) + Sync + Send,
    ) {
        match self {
            Threads::All if items.len() > size => {
                items.par_chunks_mut(size).enumerate().for_each(|(index, chunk)| work(index, chunk));
            }
            Threads::Spin(pool) if items.len() > size => {
                let (len, start) = (items.len(), Start(items.as_mut_ptr()));
                pool.run(len.div_ceil(size), &|index| {
                    let from = index * size;
                    // SAFETY: the pieces lie in `items` and do not overlap, and every index comes once.
                    let chunk =
                        unsafe { std::slice::from_raw_parts_mut(start.at(from), size.min(len - from)) };
                    work(index, chunk);
                });
            }
            _ => items.chunks_mut(size).enumerate().for_each(|(index, chunk)| work(index, chunk)),
        }
    }
}

/// First element of what a pool works on.
struct Start<T>(*mut T);

impl<T> Start<T> {
    /// # Safety
    /// `index` must lie inside.
    unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(index) }
    }
}

// SAFETY: it is used for pieces that do not overlap, of elements that may be sent.
unsafe impl<T: Send> Sync for Start<T> {}
