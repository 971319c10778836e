//! The memory of a run, phase by phase, settled before its model is loaded.

use std::fmt;

use thinktune_compute::Precision;

use super::{
    Budget, MIN_TOKENS, MOST_ROWS, MachineMemory, Recompute, activation_bytes_per_token, gradient_bytes,
    kv_bytes_per_token, laid_out_bytes, logit_bytes, pass_bytes, transposed_bytes,
};
use crate::ModelSpec;

/// Bytes of the program, the tokenizer and the questions; measured with vocabularies of 152,000 entries.
const PROGRAM: u64 = 200 << 20;

/// Bytes that are left to the system.
const SYSTEM: u64 = 256 << 20;

/// Bytes beside the model while a file of it is written or read.
const STREAM: u64 = 32 << 20;

/// A training run, as far as its memory goes.
#[derive(Debug, Clone)]
pub struct TrainingJob<'a> {
    /// The student's shape.
    pub spec: &'a ModelSpec,
    /// The precision of all models.
    pub precision: Precision,
    /// Models that are only read.
    pub frozen: Vec<FrozenShape<'a>>,
    /// Tokens of the longest sequence that is trained on.
    pub longest: usize,
    /// Tokens of one optimizer update, at most.
    pub per_update: usize,
    /// What is sampled, by whom.
    pub sampled: Vec<Sampled<'a>>,
    /// Decoders that sample side by side, at most.
    pub decoders: usize,
}

/// A model that is only read.
#[derive(Debug, Clone, Copy)]
pub struct FrozenShape<'a> {
    /// What it is, for people.
    pub name: &'static str,
    /// Its shape.
    pub spec: &'a ModelSpec,
    /// Whether its weights are the initial student's: they take memory of their own from the first update on.
    pub initial: bool,
}

/// Samples drawn in one phase of a step.
#[derive(Debug, Clone, Copy)]
pub struct Sampled<'a> {
    /// The phase, for people.
    pub phase: &'static str,
    /// The shape of the model that is sampled.
    pub spec: &'a ModelSpec,
    /// Longest prompt, in tokens.
    pub prompt: usize,
    /// Longest completion, in tokens.
    pub completion: usize,
    /// Samples, at most.
    pub samples: usize,
}

/// Memory for a purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPart {
    /// The purpose.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
}

/// A phase of a run, with what it takes beside what is held throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPhase {
    /// The phase.
    pub name: &'static str,
    /// What it takes.
    pub parts: Vec<MemoryPart>,
    /// Bytes of everything that is held in it.
    pub total: u64,
}

/// What a run holds in each of its phases, and the budget of each model that makes it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Held from the first update to the end.
    pub held: Vec<MemoryPart>,
    /// The phases, in the order of a step; loading first, saving last.
    pub phases: Vec<MemoryPhase>,
    /// Budget of every model of the run: they take turns.
    pub budget: Budget,
    /// Tokens of a training micro-batch.
    pub micro_batch_tokens: usize,
    /// Whether layers are recomputed in the backward pass.
    pub recompute: bool,
    /// Rows that are sampled side by side in the widest phase.
    pub rows: usize,
    /// Bytes that the process may use.
    pub machine: u64,
}

/// A run that needs more memory than there is, however it is cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct DoesNotFit {
    /// The smallest plan.
    pub plan: Box<MemoryPlan>,
    /// The smallest plan in bf16, where the run is in f32.
    pub in_bf16: Option<u64>,
}

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let (peak, machine) = (self.plan.peak(), self.plan.usable());
        write!(
            f,
            "the run needs {:.2} GiB of memory at its peak, and {:.2} GiB can be used: already with micro-batches of \
             {} tokens, layers recomputed in the backward pass, and {} rows sampled side by side",
            gib(peak),
            gib(machine),
            self.plan.micro_batch_tokens,
            self.plan.rows,
        )?;
        match self.in_bf16 {
            Some(bytes) if bytes <= machine => {
                write!(f, "; in bf16 it needs {:.2} GiB: set model.precision = \"bf16\"", gib(bytes))
            }
            Some(bytes) => write!(f, "; in bf16 it needs {:.2} GiB: take a smaller model", gib(bytes)),
            None => write!(f, "; take a smaller model or shorter sequences"),
        }
    }
}

impl MemoryPlan {
    /// The fastest way to run `job` in the machine's memory: long micro-batches and many rows where there is room, else
    /// fewer rows, shorter micro-batches, and layers that are recomputed, in this order.
    ///
    /// # Errors
    /// A job that does not fit however it is cut.
    pub fn settle(job: &TrainingJob<'_>, machine: MachineMemory) -> Result<Self, DoesNotFit> {
        let widest = job.budgets(machine);
        let fitting = widest.iter().map(|budget| job.plan(*budget, machine)).find(|plan| plan.fits());
        if let Some(plan) = fitting {
            return Ok(plan);
        }
        let smallest = |job: &TrainingJob<'_>| {
            let plans = job.budgets(machine).into_iter().map(|budget| job.plan(budget, machine));
            plans.min_by_key(MemoryPlan::peak)
        };
        let in_bf16 = match job.precision {
            Precision::Bf16 => None,
            Precision::F32 => smallest(&TrainingJob { precision: Precision::Bf16, ..job.clone() }),
        };
        let plan = smallest(job)
            .unwrap_or_else(|| job.plan(Budget::alone(machine, job.spec, job.precision), machine));
        Err(DoesNotFit { plan: Box::new(plan), in_bf16: in_bf16.map(|plan| plan.peak()) })
    }

    /// Bytes held at most.
    pub fn peak(&self) -> u64 {
        self.phases.iter().map(|phase| phase.total).max().unwrap_or(0)
    }

    /// Bytes that may be planned with: those of the machine, less what the system keeps.
    pub fn usable(&self) -> u64 {
        self.machine.saturating_sub(SYSTEM)
    }

    fn fits(&self) -> bool {
        self.peak() <= self.usable()
    }
}

impl TrainingJob<'_> {
    /// Budgets to try, the most comfortable first.
    fn budgets(&self, machine: MachineMemory) -> Vec<Budget> {
        let tokens = |tokens: usize, recompute: bool| {
            tokens as u64 * activation_bytes_per_token(self.spec, self.precision, recompute)
        };
        let comfortable = Budget::alone(machine, self.spec, self.precision);
        let row = self.sampled.iter().map(|sampled| sampled.row_bytes()).max().unwrap_or(0);
        let rows = |rows: usize| (row * (rows * self.decoders) as u64).min(comfortable.kv.max(row));
        let long = self.per_update.min(super::MAX_TOKENS).max(self.longest);
        // the longest sequence must fit, however long a micro-batch is
        let short = MIN_TOKENS.max(self.longest);
        let middle = (long / 2).max(short);
        let activations = [
            tokens(long, false).min(comfortable.activations.max(tokens(short, false))),
            tokens(middle, false),
            tokens(short, false),
            tokens(short, true),
        ];
        let mut budgets = Vec::new();
        for activations in activations {
            for side_by_side in [MOST_ROWS, 32, 16, 8, 4, 1] {
                let kv = rows(side_by_side);
                budgets.push(Budget { activations, kv, prefixes: comfortable.prefixes.min(2 * row) });
            }
        }
        budgets
    }

    /// What the run holds with that budget.
    fn plan(&self, budget: Budget, machine: MachineMemory) -> MemoryPlan {
        let (spec, precision) = (self.spec, self.precision);
        let tokens = budget.micro_batch_tokens(spec, precision, Recompute::Auto);
        let tokens = tokens.min(self.per_update).max(self.longest);
        let recompute = budget.recomputes(spec, precision, Recompute::Auto, tokens);
        let activations = tokens as u64 * activation_bytes_per_token(spec, precision, recompute);
        let logits = logit_bytes(spec, precision, tokens);
        let held = self.held(budget);
        let held_bytes: u64 = held.iter().map(|part| part.bytes).sum();
        // what training needs is kept from step to step
        let kept = activations + logits;
        let phase = |name, parts: Vec<MemoryPart>, base: u64| {
            let total = base + parts.iter().map(|part| part.bytes).sum::<u64>();
            MemoryPhase { name, parts, total }
        };
        let mut phases = vec![phase("load", self.load_parts(), PROGRAM)];
        let mut rows = 0;
        for sampled in &self.sampled {
            let side_by_side = budget.rows(sampled.spec, sampled.tokens(), self.decoders) * self.decoders;
            let side_by_side = side_by_side.min(sampled.samples);
            rows = rows.max(side_by_side);
            phases.push(phase(sampled.phase, sampled.parts(side_by_side, precision), held_bytes + kept));
        }
        let layers = if recompute { "recomputed" } else { "kept" };
        let parts = vec![
            part(format!("activations of {tokens} tokens, layers {layers}"), activations),
            part("logits".to_owned(), logits),
        ];
        phases.push(phase("train", parts, held_bytes));
        phases.push(phase("save", vec![part("a piece of a file".to_owned(), STREAM)], held_bytes + kept));
        let machine = machine.total;
        MemoryPlan { held, phases, budget, micro_batch_tokens: tokens, recompute, rows, machine }
    }

    /// What is held from the first update on.
    fn held(&self, budget: Budget) -> Vec<MemoryPart> {
        let (spec, precision) = (self.spec, self.precision);
        let (parameters, name) = (4 * spec.parameters() as u64, precision.name());
        let mut parts = vec![
            part("program, tokenizer, data".to_owned(), PROGRAM),
            part("parameters (f32)".to_owned(), parameters),
            part("gradients (f32)".to_owned(), gradient_bytes(spec)),
            part("AdamW moments (2 x f32)".to_owned(), 2 * parameters),
            part(format!("matrices, laid out forward ({name})"), laid_out_bytes(spec, precision)),
            part(format!("matrices, laid out backward ({name})"), transposed_bytes(spec, precision)),
        ];
        for (index, frozen) in self.frozen.iter().enumerate() {
            // teacher and reference that are both the initial student share its weights
            let shared = frozen.initial && self.frozen[..index].iter().any(|other| other.initial);
            if !shared {
                parts.push(part(format!("{} ({name})", frozen.name), laid_out_bytes(frozen.spec, precision)));
            }
        }
        if !self.sampled.is_empty() {
            parts.push(part("beginnings of prompts".to_owned(), budget.prefixes));
        }
        parts
    }

    /// What is held while the models are loaded, one after the other.
    fn load_parts(&self) -> Vec<MemoryPart> {
        let (precision, parameters) = (self.precision, 4 * self.spec.parameters() as u64);
        let mut parts = vec![
            part("parameters (f32), twice where a run is resumed".to_owned(), 2 * parameters),
            part("a piece of a file".to_owned(), STREAM),
        ];
        for frozen in self.frozen.iter().filter(|frozen| !frozen.initial) {
            parts.push(part(
                format!("{} ({})", frozen.name, precision.name()),
                laid_out_bytes(frozen.spec, precision),
            ));
        }
        parts
    }
}

impl Sampled<'_> {
    fn tokens(&self) -> usize {
        (self.prompt + self.completion).min(self.spec.context)
    }

    fn row_bytes(&self) -> u64 {
        self.tokens() as u64 * kv_bytes_per_token(self.spec)
    }

    fn parts(&self, rows: usize, precision: Precision) -> Vec<MemoryPart> {
        let work = pass_bytes(self.spec, precision, self.prompt.max(rows), rows);
        vec![
            part(
                format!("keys and values of {rows} rows x {} tokens", self.tokens()),
                rows as u64 * self.row_bytes(),
            ),
            part("a prompt, the rows' logits".to_owned(), work),
        ]
    }
}

fn part(name: String, bytes: u64) -> MemoryPart {
    MemoryPart { name, bytes }
}
