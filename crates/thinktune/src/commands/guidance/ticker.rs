//! Lines of progress.

use std::time::{Duration, Instant};

/// Progress as lines on stderr.
pub struct Ticker {
    what: String,
    total: usize,
    first: Option<usize>,
    began: Instant,
    quiet: bool,
}

impl Ticker {
    /// For so many of something.
    pub fn new(what: &str, total: usize, quiet: bool) -> Self {
        Self { what: what.into(), total, first: None, began: Instant::now(), quiet }
    }

    /// Tells how far it is, and how long it has taken.
    pub fn tick(&mut self, done: usize) {
        let seconds = self.began.elapsed().as_secs_f64();
        self.first.get_or_insert(done);
        if !self.quiet {
            let elapsed = indicatif::HumanDuration(Duration::from_secs_f64(seconds));
            eprintln!("guidance  {}: {done}/{} after {elapsed}", self.what, self.total);
        }
    }
}
