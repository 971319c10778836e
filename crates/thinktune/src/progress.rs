//! What a person sees of a run: a progress bar on stderr, one line per step where stderr is no terminal.
//! Also keeps the wall clock of each phase, and gives each checkpoint the files that make it a model folder.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use thinktune_method::observer::{Observer, Phase, PhaseTokens};
use thinktune_model::{Dtype, copy_config, copy_side_files};
use thinktune_policy::{GenerateProgress, ModelError};
use thinktune_runlog::Checkpoint;
use thinktune_runlog::event::{EvalMetrics, PhaseTiming, SftMetrics, StepMetrics, StepTimings};

use crate::fault_point::FaultPoint;
use crate::interrupt;
use crate::plan::{Job, Plan};

/// Watches a run for the user.
pub struct Progress {
    bar: ProgressBar,
    label: String,
    lines: bool,
    model_dir: PathBuf,
    clock: Clock,
    /// Epochs of a run whose number of steps is only known once it has begun.
    epochs: Option<u32>,
    /// What the last finished step said.
    summary: String,
    last_line: Instant,
    /// The step under way.
    step: u64,
    fault: FaultPoint,
}

impl Progress {
    /// A bar for a plan's steps; `model_dir` has the tokenizer and config of the student.
    pub fn new(label: &str, plan: &Plan, model_dir: &Path, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (steps, epochs) = match &plan.job {
            Job::Rl(rl) => (u64::from(rl.settings.run.steps), None),
            Job::Sft(settings) => (0, Some(settings.examples.epochs)),
        };
        let bar = if quiet || !terminal { ProgressBar::hidden() } else { ProgressBar::new(steps) };
        bar.set_length(steps);
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
            model_dir: model_dir.into(),
            clock: Clock::new(),
            epochs,
            summary: String::new(),
            last_line: Instant::now() - LINE_EVERY,
            step: 0,
            fault: FaultPoint::from_env(),
        }
    }

    fn step_done(&mut self, step: u64, summary: String) {
        self.bar.set_position(step);
        self.bar.set_message(summary.clone());
        let total = self.bar.length().unwrap_or(step);
        if self.lines && (self.last_line.elapsed() >= LINE_EVERY || step == total) {
            eprintln!("{} step {step}/{total}  {summary}", self.label);
            self.last_line = Instant::now();
        }
        self.summary = summary;
    }

    fn during(&self, what: &str) {
        self.bar.set_message(format!("{}  [{what}]", self.summary));
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Where stderr is no terminal, at most one line in so much time.
const LINE_EVERY: Duration = Duration::from_secs(2);

impl Observer for Progress {
    fn phase(&mut self, step: u32, phase: Phase) {
        self.step = step.into();
        self.clock.begin(phase);
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
            self.fault.at("sampling", self.step);
        }
        self.during(&format!("sampling {finished}/{total}, {tokens} tokens"));
    }

    fn training(&mut self, done: usize, total: usize) {
        if done > 0 {
            self.fault.at("training", self.step);
        }
        self.during(&format!("training {done}/{total}"));
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let StepMetrics { reward_mean, accuracy, reflection_rate, guided, wrong_to_right, .. } = *metrics;
        let mut summary = format!(
            "reward {reward_mean:.3}  accuracy {:.1} %  reflects {:.1} %",
            100.0 * accuracy,
            100.0 * reflection_rate
        );
        if guided > 0 {
            summary.push_str(&format!("  guided {guided} ({wrong_to_right} wrong->right)"));
        }
        if metrics.phrase_rate.is_finite() {
            summary.push_str(&format!("  phrase {:.1} %", 100.0 * metrics.phrase_rate));
        }
        self.step_done(metrics.step, summary);
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

    fn sft_step(&mut self, metrics: &SftMetrics) {
        if let Some(epochs) = self.epochs.take() {
            let steps_per_epoch = (metrics.step as f64 / metrics.epoch).round();
            self.bar.set_length(steps_per_epoch as u64 * u64::from(epochs));
        }
        let summary =
            format!("loss {:.4}  grad norm {:.3}  lr {:.2e}", metrics.loss, metrics.grad_norm, metrics.lr);
        self.step_done(metrics.step, summary);
    }

    fn timings(&mut self, step: u32, tokens: PhaseTokens) -> Option<StepTimings> {
        Some(self.clock.end_step(step, tokens))
    }

    fn checkpoint_files(&mut self, dir: &Path) -> Result<(), ModelError> {
        copy_config(&self.model_dir, dir, Dtype::F32)?;
        copy_side_files(&self.model_dir, dir)?;
        self.fault.at("checkpoint", self.step);
        Ok(())
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        tracing::info!(step = checkpoint.step, dir = %checkpoint.dir.display(), "checkpoint written");
    }

    fn notice(&mut self, text: &str) {
        let text = format!("note: {text}");
        if self.bar.is_hidden() { eprintln!("{text}") } else { self.bar.println(text) }
    }

    fn interrupted(&mut self) -> bool {
        interrupt::requested()
    }
}

/// Wall clock per phase.
#[derive(Debug)]
struct Clock {
    step_began: Instant,
    current: Option<(Phase, Instant)>,
    seconds: [f64; 6],
}

impl Clock {
    fn new() -> Self {
        Self { step_began: Instant::now(), current: None, seconds: [0.0; 6] }
    }

    fn begin(&mut self, phase: Phase) {
        self.close();
        self.current = Some((phase, Instant::now()));
    }

    fn close(&mut self) {
        if let Some((phase, began)) = self.current.take() {
            self.seconds[phase as usize] += began.elapsed().as_secs_f64();
        }
    }

    /// The step's timings; the next one begins now.
    fn end_step(&mut self, step: u32, tokens: PhaseTokens) -> StepTimings {
        self.close();
        let of = |phase: Phase, tokens: u64| PhaseTiming::new(self.seconds[phase as usize], tokens);
        let timings = StepTimings {
            step: step.into(),
            act: of(Phase::Act, tokens.act),
            help: of(Phase::Help, tokens.help),
            reward: of(Phase::Reward, 0),
            train: of(Phase::Train, tokens.train),
            write: of(Phase::Write, 0),
            evaluate: of(Phase::Evaluate, tokens.evaluate),
            total_seconds: self.step_began.elapsed().as_secs_f64(),
        };
        *self = Self::new();
        timings
    }
}
