//! What lanes share: the samples still to be drawn, prompts run once for all of their samples, and rows that
//! a busy lane gives to an idle one.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use thinktune_policy::Prompt;

use super::batch::Row;
use super::lane::Prefilled;

/// Samples waiting for a lane, in the order of their prompts.
pub(crate) struct Queue<'a> {
    prompts: &'a [Prompt],
    units: Vec<(usize, Range<usize>)>,
    next: AtomicUsize,
    slots: Vec<Mutex<Slot>>,
}

/// A prompt's run, kept until the last unit of the prompt has been taken.
struct Slot {
    units_left: usize,
    prefilled: Option<Arc<Prefilled>>,
}

/// Some samples of one prompt.
pub(super) struct Unit<'q, 'a> {
    pub(super) index: usize,
    pub(super) prompt: &'a Prompt,
    pub(super) samples: Range<usize>,
    slot: &'q Mutex<Slot>,
}

impl<'a> Queue<'a> {
    /// All samples of `prompts`; where prompts are too few for `lanes`, each is cut among them.
    pub(crate) fn new(prompts: &'a [Prompt], lanes: usize) -> Self {
        let parts = if prompts.len() >= 2 * lanes { 1 } else { lanes };
        let mut units = Vec::new();
        let mut slots = Vec::with_capacity(prompts.len());
        for (index, prompt) in prompts.iter().enumerate() {
            let samples = prompt.keys.len();
            let size = samples.div_ceil(parts).max(1);
            let before = units.len();
            units.extend((0..samples).step_by(size).map(|from| (index, from..samples.min(from + size))));
            slots.push(Mutex::new(Slot { units_left: units.len() - before, prefilled: None }));
        }
        Self { prompts, units, next: AtomicUsize::new(0), slots }
    }

    /// The next samples; none when all are taken.
    pub(super) fn next(&self) -> Option<Unit<'_, 'a>> {
        let (index, samples) = self.units.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        let (prompt, slot) = (&self.prompts[*index], &self.slots[*index]);
        Some(Unit { index: *index, prompt, samples: samples.clone(), slot })
    }
}

impl Unit<'_, '_> {
    /// The prompt's run: what another lane has made, or what `run` makes.
    pub(super) fn prefilled(&self, run: impl FnOnce() -> Prefilled) -> Arc<Prefilled> {
        let mut slot = lock(self.slot);
        slot.units_left -= 1;
        let prefilled = slot.prefilled.take().unwrap_or_else(|| Arc::new(run()));
        if slot.units_left > 0 {
            slot.prefilled = Some(Arc::clone(&prefilled));
        }
        prefilled
    }
}

/// Where lanes without work wait for rows of others.
pub(crate) struct Exchange {
    lanes: usize,
    idle: AtomicUsize,
    rows: Mutex<Given>,
    changed: Condvar,
}

#[derive(Default)]
struct Given {
    rows: Vec<Vec<Row>>,
    /// Lanes that have ended, by an error or because all were idle.
    over: bool,
}

impl Exchange {
    pub(crate) fn new(lanes: usize) -> Self {
        Self { lanes, idle: AtomicUsize::new(0), rows: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether a lane waits for rows.
    pub(super) fn wanted(&self) -> bool {
        self.idle.load(Ordering::Relaxed) > 0 && lock(&self.rows).rows.is_empty()
    }

    /// Gives rows to an idle lane.
    pub(super) fn give(&self, rows: Vec<Row>) {
        lock(&self.rows).rows.push(rows);
        self.changed.notify_one();
    }

    /// Waits for rows of another lane; none when all lanes are idle.
    pub(super) fn receive(&self) -> Vec<Row> {
        let mut given = lock(&self.rows);
        let idle = self.idle.fetch_add(1, Ordering::Relaxed) + 1;
        if idle == self.lanes && given.rows.is_empty() {
            given.over = true;
            self.changed.notify_all();
        }
        while given.rows.is_empty() && !given.over {
            given = self.changed.wait(given).unwrap_or_else(PoisonError::into_inner);
        }
        self.idle.fetch_sub(1, Ordering::Relaxed);
        given.rows.pop().unwrap_or_default()
    }

    /// Lets nobody wait any longer: a lane has ended before its time.
    pub(crate) fn close(&self) {
        lock(&self.rows).over = true;
        self.changed.notify_all();
    }
}

/// What a lane that panicked left behind is whole: no lock is held across a change in two steps.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
