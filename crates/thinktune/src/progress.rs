//! Display of a run: a progress bar on stderr, one line per step where stderr is no terminal.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use thinktune_method::progress::{self, Checkpoint, Phase};
use thinktune_policy::GenerateProgress;
use thinktune_runlog::event::EvalMetrics;

use crate::fault_point::FaultPoint;

/// Display of a run.
pub struct Progress {
    bar: ProgressBar,
    label: String,
    lines: bool,
    /// Summary of the last finished step.
    summary: String,
    last_line: Instant,
    /// The step under way.
    step: u64,
    fault_point: FaultPoint,
}

impl Progress {
    /// A bar, whose length is set once the run begins.
    pub fn new(label: &str, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if quiet || !terminal { ProgressBar::hidden() } else { ProgressBar::new(0) };
        let style =
            ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {elapsed} (left {eta})  {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_string());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            bar,
            label: label.into(),
            lines: !quiet && !terminal,
            summary: String::new(),
            last_line: Instant::now() - LINE_EVERY,
            step: 0,
            fault_point: FaultPoint::from_env(),
        }
    }

    fn during(&self, what: &str) {
        self.bar.set_message(format!("{}  [{what}]", self.summary));
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Least time between two lines where stderr is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

impl progress::Progress for Progress {
    fn begin(&mut self, done: u32, steps: u32) {
        self.bar.set_length(steps.into());
        self.bar.set_position(done.into());
    }

    fn phase(&mut self, step: u32, phase: Phase) {
        self.step = step.into();
        let what = match phase {
            Phase::Act => "acting",
            Phase::Help => "asking the teacher",
            Phase::Reward => "grading",
            Phase::Train => "training",
            Phase::Write => "writing",
            Phase::Evaluate => "evaluating",
        };
        self.during(what);
    }

    fn sampling(&mut self, progress: GenerateProgress) {
        let GenerateProgress { finished, total, tokens } = progress;
        if finished > 0 {
            self.fault_point.reach("sampling", self.step);
        }
        self.during(&format!("sampling {finished}/{total}, {tokens} tokens"));
    }

    fn training(&mut self, done: usize, total: usize) {
        if done > 0 {
            self.fault_point.reach("training", self.step);
        }
        self.during(&format!("training {done}/{total}"));
    }

    fn step(&mut self, step: u32, steps: u32, summary: &str) {
        self.bar.set_position(step.into());
        self.bar.set_message(summary.to_owned());
        if self.lines && (self.last_line.elapsed() >= LINE_EVERY || step == steps) {
            eprintln!("{} step {step}/{steps}  {summary}", self.label);
            self.last_line = Instant::now();
        }
        self.summary = summary.to_owned();
    }

    fn evaluated(&mut self, metrics: &EvalMetrics) {
        let EvalMetrics { set, step, accuracy, accuracy_stderr, truncated, .. } = metrics;
        let error = if accuracy_stderr.is_finite() { *accuracy_stderr } else { 0.0 };
        let text = format!(
            "{} held-out {set} after step {step}: accuracy {:.1} ± {:.1} %, truncated {:.1} %",
            self.label,
            100.0 * accuracy,
            100.0 * error,
            100.0 * truncated
        );
        if self.lines {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        tracing::info!(step = checkpoint.step, dir = %checkpoint.dir.display(), "checkpoint written");
    }

    fn notice(&mut self, text: &str) {
        let text = format!("note: {text}");
        if self.bar.is_hidden() { eprintln!("{text}") } else { self.bar.println(text) }
    }
}
