//! Progress with the time left, on stderr: a bar on a terminal, now and then a line elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use thinktune_eval::EvalProgress;
use thinktune_policy::GenerateProgress;

use crate::fault_point::FaultPoint;

/// Least time between two lines where stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Display of an evaluation.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    began: Instant,
    last_line: Instant,
    total: usize,
    /// Answers there are, those of earlier starts included.
    done: usize,
    /// Answers asked for since this start.
    fresh: usize,
    what: String,
    fault_point: FaultPoint,
}

impl Progress {
    /// For so many answers in all.
    pub fn new(total: usize, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if quiet || !terminal { ProgressBar::hidden() } else { ProgressBar::new(total as u64) };
        if let Ok(style) = ProgressStyle::with_template("eval {bar:24} {pos}/{len} {elapsed}  {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        let now = Instant::now();
        Self {
            bar,
            lines: !quiet && !terminal,
            began: now,
            last_line: now,
            total,
            done: 0,
            fresh: 0,
            what: String::new(),
            fault_point: FaultPoint::from_env(),
        }
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// From the answers of this start alone: those found on disk took no time.
    fn left(&self) -> String {
        if self.fresh == 0 {
            return "left ?".into();
        }
        let each = self.began.elapsed().as_secs_f64() / self.fresh as f64;
        let seconds = each * self.total.saturating_sub(self.done) as f64;
        format!("left {}", HumanDuration(Duration::from_secs(seconds as u64)))
    }

    fn line(&mut self, at_once: bool) {
        if self.lines && (at_once || self.last_line.elapsed() >= LINE_EVERY) {
            eprintln!("eval {}/{}  {}  {}", self.done, self.total, self.what, self.left());
            self.last_line = Instant::now();
        }
    }
}

impl EvalProgress for Progress {
    fn begin(&mut self, benchmark: &str, method: &str, done: usize, _: usize) {
        self.what = format!("{benchmark}, {method}");
        self.done += done;
        self.bar.set_position(self.done as u64);
        self.bar.set_message(format!("{}  {}", self.left(), self.what));
    }

    fn generating(&mut self, progress: GenerateProgress) {
        let GenerateProgress { finished, total, tokens } = progress;
        let at = format!("{}  {}  [{finished}/{total}, {tokens} tokens]", self.left(), self.what);
        self.bar.set_message(at);
    }

    fn answered(&mut self, answers: usize) {
        self.done += answers;
        self.fresh += answers;
        self.bar.set_position(self.done as u64);
        self.line(self.done == self.total);
        self.fault_point.reach("answered", self.done as u64);
    }

    fn seconds(&mut self) -> Option<f64> {
        Some(self.began.elapsed().as_secs_f64())
    }
}
