//! What schedulers on threads of their own share: the samples still to be drawn, prompts run once for all of their
//! samples, and rows that a busy thread gives to an idle one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use thinktune_compute::Backend;

use super::row::Row;

/// A value made by the first that asks and kept until as many as were announced have asked.
pub(crate) struct Shared<T> {
    slot: Mutex<Slot<T>>,
}

struct Slot<T> {
    left: usize,
    made: Option<Arc<T>>,
}

impl<T> Shared<T> {
    /// For `users` users.
    pub(crate) fn new(users: usize) -> Self {
        Self { slot: Mutex::new(Slot { left: users, made: None }) }
    }

    /// What another user has made, or what `make` makes.
    ///
    /// # Errors
    /// What `make` reports.
    pub(crate) fn get<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut slot = lock(&self.slot);
        slot.left = slot.left.saturating_sub(1);
        let value = match slot.made.take() {
            Some(value) => value,
            None => Arc::new(make()?),
        };
        if slot.left > 0 {
            slot.made = Some(Arc::clone(&value));
        }
        Ok(value)
    }
}

/// Where threads without work wait for rows of others.
pub(crate) struct Exchange<B: Backend> {
    threads: usize,
    idle: AtomicUsize,
    rows: Mutex<Given<B>>,
    changed: Condvar,
}

struct Given<B: Backend> {
    rows: Vec<Vec<Row<B>>>,
    /// Threads have ended, by an error or because all were idle.
    over: bool,
}

impl<B: Backend> Exchange<B> {
    pub(crate) fn new(threads: usize) -> Self {
        let rows = Mutex::new(Given { rows: Vec::new(), over: false });
        Self { threads, idle: AtomicUsize::new(0), rows, changed: Condvar::new() }
    }

    /// Whether a thread waits for rows.
    pub(crate) fn wanted(&self) -> bool {
        self.idle.load(Ordering::Relaxed) > 0 && lock(&self.rows).rows.is_empty()
    }

    /// Gives rows to an idle thread.
    pub(crate) fn give(&self, rows: Vec<Row<B>>) {
        lock(&self.rows).rows.push(rows);
        self.changed.notify_one();
    }

    /// Waits for rows of another thread; none when all are idle.
    pub(crate) fn receive(&self) -> Vec<Row<B>> {
        let mut given = lock(&self.rows);
        let idle = self.idle.fetch_add(1, Ordering::Relaxed) + 1;
        if idle == self.threads && given.rows.is_empty() {
            given.over = true;
            self.changed.notify_all();
        }
        while given.rows.is_empty() && !given.over {
            given = self.changed.wait(given).unwrap_or_else(PoisonError::into_inner);
        }
        self.idle.fetch_sub(1, Ordering::Relaxed);
        given.rows.pop().unwrap_or_default()
    }

    /// Lets nobody wait any longer: a thread has ended before its time.
    pub(crate) fn close(&self) {
        lock(&self.rows).over = true;
        self.changed.notify_all();
    }
}

/// What a thread that panicked left behind is whole: no lock is held across a change in two steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
