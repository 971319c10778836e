//! Threads for work cut so fine that waking one up would take longer than the work: decoding goes through some
//! sixty products a token. Between jobs the members watch for the next one for a while before they sleep, and
//! nobody waits for a member that has not noticed a job: it finds nothing left to do.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// How often a member looks for a job before it gives way to others, and how often it does that before it sleeps.
const LOOKS: usize = if cfg!(miri) { 2 } else { 2000 };
const YIELDS: usize = if cfg!(miri) { 2 } else { 100 };

/// A call of `work` for every index below `tasks`.
#[derive(Clone, Copy)]
struct Job {
    work: *const (dyn Fn(usize) + Sync),
    tasks: usize,
}

/// Threads that watch for jobs. The thread that runs a job is a member; the others end with the pool.
pub struct SpinPool {
    shared: Arc<Shared>,
    others: Vec<JoinHandle<()>>,
    /// Held while a job runs: a pool does one at a time.
    running: Mutex<()>,
}

struct Shared {
    job: UnsafeCell<Option<Job>>,
    /// Number of the last job.
    number: AtomicUsize,
    /// Whether the job may be entered.
    open: AtomicBool,
    /// Members inside the job, the caller aside.
    inside: AtomicUsize,
    /// Next task.
    next: AtomicUsize,
    panicked: AtomicBool,
    over: AtomicBool,
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    called: Condvar,
}

// SAFETY: `job` is written by the one caller (who holds `running`) while the job is closed and nobody is inside, and
// read by members only inside; all else is atomic or locked.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is followed only while its caller waits in `run`.
unsafe impl Send for Shared {}

impl std::fmt::Debug for SpinPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpinPool").field("members", &self.members()).finish_non_exhaustive()
    }
}

impl SpinPool {
    /// A pool of `members` threads, the calling one included. A thread that the system refuses is done without.
    pub fn new(members: usize) -> Self {
        let shared = Arc::new(Shared {
            job: UnsafeCell::new(None),
            number: AtomicUsize::new(0),
            open: AtomicBool::new(false),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            over: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            lock: Mutex::new(()),
            called: Condvar::new(),
        });
        let others = (1..members).filter_map(|index| {
            let shared = Arc::clone(&shared);
            let builder = std::thread::Builder::new().name(format!("spin-{index}"));
            builder.spawn(move || shared.serve()).ok()
        });
        Self { others: others.collect(), shared, running: Mutex::new(()) }
    }

    /// Number of threads.
    pub fn members(&self) -> usize {
        self.others.len() + 1
    }

    /// Calls `work` with every index below `tasks`, each once. Where a job runs already, the calling thread does all.
    pub(crate) fn run(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        let _running = match self.running.try_lock() {
            Ok(running) => running,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return (0..tasks).for_each(work),
        };
        self.shared.run(tasks, work);
    }
}

impl Drop for SpinPool {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        drop(self.shared.lock.lock());
        self.shared.called.notify_all();
        for other in self.others.drain(..) {
            let _ = other.join();
        }
    }
}

impl Shared {
    fn run(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        self.panicked.store(false, Ordering::SeqCst);
        // SAFETY: the job is closed and nobody is inside (`Close` has seen to that), so nobody reads it. The lifetime is
        // taken off the pointer: nobody follows it once this function has returned or unwound.
        unsafe {
            let work = std::mem::transmute::<&(dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(work);
            *self.job.get() = Some(Job { work, tasks });
        }
        self.next.store(0, Ordering::SeqCst);
        self.open.store(true, Ordering::SeqCst);
        let closing = Close(self);
        self.number.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock());
            self.called.notify_all();
        }
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                break;
            }
            work(task);
        }
        drop(closing);
        assert!(!self.panicked.load(Ordering::SeqCst), "a member of the pool panicked");
    }

    /// A member's life.
    fn serve(&self) {
        let mut seen = 0;
        while !self.over.load(Ordering::SeqCst) {
            if !self.called_again(seen) {
                self.sleep(seen);
            }
            seen = self.number.load(Ordering::SeqCst);
            self.inside.fetch_add(1, Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) {
                // SAFETY: an open job with somebody inside stays until that one has left.
                let job = unsafe { *self.job.get() };
                if let Some(job) = job
                    && catch_unwind(AssertUnwindSafe(|| self.help(job))).is_err()
                {
                    self.panicked.store(true, Ordering::SeqCst);
                }
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn help(&self, job: Job) {
        // SAFETY: as in `serve`: the caller is still in `run`, which holds what this points to.
        let work = unsafe { &*job.work };
        loop {
            let task = self.next.fetch_add(1, Ordering::Relaxed);
            if task >= job.tasks {
                return;
            }
            work(task);
        }
    }

    /// Watches for a job after the one `seen`; false if there was none for a while.
    fn called_again(&self, seen: usize) -> bool {
        for look in 0..LOOKS + YIELDS {
            if self.number.load(Ordering::SeqCst) != seen || self.over.load(Ordering::SeqCst) {
                return true;
            }
            if look < LOOKS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        false
    }

    fn sleep(&self, seen: usize) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while self.number.load(Ordering::SeqCst) == seen && !self.over.load(Ordering::SeqCst) {
            guard = self.called.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Closes the job and waits until nobody is inside, also when a task of the caller's panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::SeqCst);
        let mut looks = 0usize;
        while self.0.inside.load(Ordering::SeqCst) != 0 {
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Threads;

    #[test]
    fn every_task_is_done_once() {
        for members in [1, 2, 3] {
            let pool = SpinPool::new(members);
            assert_eq!(pool.members(), members);
            for tasks in if cfg!(miri) { [0, 1, 2, 7] } else { [0, 1, 39, 1000] } {
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                Threads::Spin(&pool).for_each(tasks, |task| {
                    done[task].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn members_that_have_gone_to_sleep_come_back() {
        let pool = SpinPool::new(3);
        for pause in if cfg!(miri) { [0, 0, 1] } else { [0, 1, 20] } {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            let mut items = vec![0; 101];
            Threads::Spin(&pool).chunks_mut(&mut items, 10, |index, chunk| chunk.fill(index));
            assert!(items.iter().enumerate().all(|(i, &item)| item == i / 10));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_ends_nothing_else() {
        let pool = SpinPool::new(3);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            Threads::Spin(&pool).for_each(100, |task| assert!(task != 57, "task 57"));
        }));
        assert!(caught.is_err());
        let done = AtomicUsize::new(0);
        Threads::Spin(&pool).for_each(100, |_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 100);
    }

    #[test]
    fn job_within_a_job_runs_on_its_thread() {
        let (pool, done) = (SpinPool::new(2), AtomicUsize::new(0));
        Threads::Spin(&pool).for_each(4, |_| {
            Threads::Spin(&pool).for_each(3, |_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(done.into_inner(), 12);
    }
}
