//! `thinktune train --dry-run`: the resolved plan, from whatever of it is on this machine. Never uses the network.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use thinktune_method::act::questions::Questions;
use thinktune_method::progress::Silent;
use thinktune_method::sft::SftPlan;
use thinktune_model::ModelSpec;
use thinktune_model::memory::{MemoryPart, MemoryPhase, MemoryPlan};
use thinktune_text::ChatTokenizer;

use crate::commands::print;
use crate::help_check::HelpCheck;
use crate::model_source::ModelSource;
use crate::plan::{Job, Plan, RlPlan};
use crate::{memory, shapes, work};

/// Prints the plan, with the whole configuration or only what differs from the defaults.
pub fn run(plan: &Plan, all: bool, as_json: bool) -> anyhow::Result<()> {
    let shown = Shown::of(plan, all)?;
    print(&if as_json { shown.to_json(plan).to_string() } else { shown.to_text(plan) })
}

/// Everything a dry run shows beside the configuration.
struct Shown {
    model: ModelFacts,
    prompt: Option<FirstPrompt>,
    stop: Vec<(u32, String)>,
    data: String,
    step: StepFacts,
    memory: Option<(MemoryPlan, Option<String>)>,
    /// Whether settings that have their default are shown.
    all: bool,
}

struct ModelFacts {
    spec: Option<ModelSpec>,
    /// The source of the shape, or the reason why there is none.
    source: String,
}

struct FirstPrompt {
    text: String,
    ids: Vec<u32>,
    bos: usize,
}

struct StepFacts {
    /// Steps of the run and what one consists of.
    lines: Vec<(&'static str, String)>,
    updates: u64,
    tokens_per_step: u64,
}

impl Shown {
    fn of(plan: &Plan, all: bool) -> anyhow::Result<Self> {
        let dir = plan.model.fetch(true).ok();
        let model = ModelFacts::of(plan, dir.as_deref())?;
        let tokenizer = match dir.as_deref().filter(|dir| dir.join("tokenizer.json").exists()) {
            Some(dir) => Some(ChatTokenizer::load(dir, &plan.date)?),
            None => None,
        };
        if let (Some(tokenizer), Some(spec)) = (&tokenizer, &model.spec) {
            tokenizer.check_vocab(spec.vocab_size)?;
        }
        let (prompt, data, step) = match &plan.job {
            Job::Rl(rl) => {
                rl_facts(plan, rl, tokenizer.as_ref(), model.spec.as_ref().map(|spec| spec.context))?
            }
            Job::Sft(settings) => sft_facts(plan, settings, tokenizer.as_ref())?,
        };
        let stop = tokenizer.as_ref().map_or_else(Vec::new, |tokenizer| {
            tokenizer.stop().iter().map(|&id| (id, tokenizer.decode_raw(&[id]))).collect()
        });
        let memory = model.spec.as_ref().map(|spec| memory(plan, spec));
        Ok(Self { model, prompt, stop, data, step, memory, all })
    }

    fn to_text(&self, plan: &Plan) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<14}{value}");
        };
        row("method", plan.method.name());
        row("run folder", &plan.out.display().to_string());
        row("model", &format!("{} ({})", plan.model, self.model.source));
        if let Some(spec) = &self.model.spec {
            row("", &shape(spec));
        }
        row("device", &plan.device.to_string());
        row("data", &self.data);
        for (name, value) in &self.step.lines {
            row(name, value);
        }
        row("updates", &format!("{} in all", grouped(self.step.updates)));
        match &self.prompt {
            Some(prompt) => {
                row(
                    "stop tokens",
                    &self.stop.iter().map(|(id, t)| format!("{id} {t}")).collect::<Vec<_>>().join(", "),
                );
                row("first prompt", &format!("{} tokens, BOS count {}", prompt.ids.len(), prompt.bos));
                let _ = writeln!(text, "{}\n{:?}", indented(&prompt.text), prompt.ids);
            }
            None => row("first prompt", "not shown: the model's tokenizer.json is not on this machine"),
        }
        if let Some(memory) = &self.memory {
            text.push_str(&memory_text(memory));
        }
        for notice in &plan.notices {
            let _ = writeln!(text, "note: {notice}");
        }
        text.push_str(if self.all {
            "\nconfiguration\n"
        } else {
            "\nconfiguration, where it differs from the defaults\n"
        });
        text.push_str(&indented(&self.config(plan)));
        text
    }

    /// The resolved configuration, or what of it differs from the defaults.
    fn config(&self, plan: &Plan) -> String {
        if self.all { plan.config.to_toml() } else { plan.config.changed_to_toml() }
    }

    fn to_json(&self, plan: &Plan) -> Value {
        let stop: Vec<Value> =
            self.stop.iter().map(|(id, token)| json!({ "id": id, "token": token })).collect();
        json!({
            "method": plan.method.name(),
            "out": plan.out,
            "model": plan.model.to_string(),
            "device": plan.device.to_string(),
            "parameters": self.model.spec.as_ref().map(ModelSpec::parameters),
            "data": self.data,
            "first_prompt": self.prompt.as_ref().map(|p| json!({ "text": p.text, "ids": p.ids, "bos_count": p.bos })),
            "stop": stop,
            "tokens_per_step": self.step.tokens_per_step,
            "updates": self.step.updates,
            "memory": self.memory.as_ref().map(|(memory, fault)| memory_json(memory, fault.as_deref())),
            "config": self.config(plan).parse::<toml::Table>().unwrap_or_default(),
        })
    }
}

impl ModelFacts {
    fn of(plan: &Plan, dir: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(dir) = dir {
            return Ok(Self { spec: Some(ModelSpec::from_dir(dir)?), source: dir.display().to_string() });
        }
        let known = match &plan.model {
            ModelSource::Hub(name) => shapes::by_name(&name.name),
            ModelSource::Folder(_) => None,
        };
        let source = if known.is_some() {
            "not on this machine; shape known by name"
        } else {
            "not on this machine, and a dry run downloads nothing: no shape, no memory plan"
        };
        Ok(Self { spec: known, source: source.into() })
    }
}

fn rl_facts(
    plan: &Plan,
    rl: &RlPlan,
    tokenizer: Option<&ChatTokenizer>,
    context: Option<usize>,
) -> anyhow::Result<(Option<FirstPrompt>, String, StepFacts)> {
    let settings = &rl.settings;
    let questions = work::questions(&plan.data, plan.seed)?;
    let data = format!("{} questions", grouped(questions.len() as u64));
    let prompt = match tokenizer {
        Some(tokenizer) => {
            let questions = Questions::new(questions, settings, tokenizer)?;
            if let Some(help) = &rl.help {
                let teacher = help.teacher.place().and_then(|place| place.fetch(true).ok());
                let check = HelpCheck { plan, settings, help, questions: &questions };
                check.run(tokenizer, context, teacher.as_deref())?;
            }
            questions.of_step(1).first().map(|asked| FirstPrompt::new(&asked.prompt, tokenizer))
        }
        None => None,
    };
    let rollout = &settings.rollout;
    let responses = (rollout.questions_per_step * rollout.group_size) as u64;
    let sampled = responses * rollout.max_response_tokens as u64;
    let trained = responses * (rollout.max_prompt_tokens + rollout.max_response_tokens) as u64;
    let per_step = rollout.questions_per_step / settings.mini_batch_questions;
    let guidance = match &rl.help {
        Some(help) => {
            let gamma = &settings.guidance.gamma;
            let teacher = &help.teacher;
            format!("gamma {:?} {} to {}, teacher: {teacher}", gamma.shape, gamma.start, gamma.end)
                .to_lowercase()
        }
        None => "none".into(),
    };
    let lines = vec![
        ("steps", settings.run.steps.to_string()),
        (
            "each step",
            format!(
                "{} questions x {} attempts, {per_step} updates",
                rollout.questions_per_step, rollout.group_size
            ),
        ),
        ("tokens", format!("at most {} sampled, {} trained per step", grouped(sampled), grouped(trained))),
        ("guidance", guidance),
    ];
    let updates = u64::from(settings.run.steps) * per_step as u64;
    Ok((prompt, data, StepFacts { lines, updates, tokens_per_step: trained }))
}

fn sft_facts(
    plan: &Plan,
    settings: &thinktune_method::settings::SftSettings,
    tokenizer: Option<&ChatTokenizer>,
) -> anyhow::Result<(Option<FirstPrompt>, String, StepFacts)> {
    let Some(tokenizer) = tokenizer else {
        anyhow::bail!(
            "{}: no tokenizer.json on this machine; an sft plan counts tokens and needs it",
            plan.model
        );
    };
    let sequences = work::sequences(&plan.data, plan.seed, tokenizer)?;
    let data = format!("{} examples", grouped(sequences.len() as u64));
    let first = sequences.first().map(|sequence| FirstPrompt::new(&sequence.tokens, tokenizer));
    let tokens: u64 = sequences.iter().map(|sequence| sequence.tokens.len() as u64).sum();
    let mean = tokens / sequences.len() as u64;
    let updates = SftPlan::new(sequences, settings, &mut Silent)?.steps();
    let tokens_per_step = mean * settings.examples.batch_size as u64;
    let lines = vec![
        ("steps", updates.to_string()),
        ("each step", format!("{} examples, 1 update", settings.examples.batch_size)),
        ("tokens", format!("about {} per step", grouped(tokens_per_step))),
    ];
    Ok((first, data, StepFacts { lines, updates: updates.into(), tokens_per_step }))
}

fn memory_json(memory: &MemoryPlan, fault: Option<&str>) -> Value {
    let parts = |parts: &[MemoryPart]| {
        let part = |part: &MemoryPart| json!({ "part": part.name, "bytes": part.bytes });
        parts.iter().map(part).collect::<Vec<_>>()
    };
    let phase = |phase: &MemoryPhase| json!({ "phase": phase.name, "parts": parts(&phase.parts), "total_bytes": phase.total });
    json!({
        "held": parts(&memory.held),
        "phases": memory.phases.iter().map(phase).collect::<Vec<_>>(),
        "peak_bytes": memory.peak(),
        "usable_bytes": memory.usable(),
        "micro_batch_tokens": memory.micro_batch_tokens,
        "recompute": memory.recompute,
        "rows": memory.rows,
        "does_not_fit": fault,
    })
}

impl FirstPrompt {
    fn new(ids: &[u32], tokenizer: &ChatTokenizer) -> Self {
        let bos = tokenizer.bos().map_or(0, |bos| ids.iter().filter(|&&id| id == bos).count());
        Self { text: tokenizer.decode_raw(ids), ids: ids.to_vec(), bos }
    }
}

/// The memory plan, and why it does not fit where it does not.
fn memory(plan: &Plan, spec: &ModelSpec) -> (MemoryPlan, Option<String>) {
    let dir = plan.other_teacher().and_then(|place| place.fetch(true).ok());
    let teacher = dir.and_then(|dir| ModelSpec::from_dir(&dir).ok());
    match memory::settle(plan, spec, teacher.as_ref()) {
        Ok(memory) => (memory, None),
        Err(error) => {
            let message = error.to_string();
            (*error.plan, Some(message))
        }
    }
}

fn memory_text((memory, fault): &(MemoryPlan, Option<String>)) -> String {
    let mut text = String::from("memory, held from the first update on\n");
    let mut row = |name: &str, bytes: u64| {
        let _ = writeln!(text, "  {name:<58}{:>12}", size(bytes));
    };
    for part in &memory.held {
        row(&part.name, part.bytes);
    }
    for phase in &memory.phases {
        for part in &phase.parts {
            row(&format!("{}: {}", phase.name, part.name), part.bytes);
        }
    }
    for phase in &memory.phases {
        row(&format!("all that is held in phase {}", phase.name), phase.total);
    }
    row("peak", memory.peak());
    row("that can be used", memory.usable());
    if let Some(fault) = fault {
        let _ = writeln!(text, "  does not fit: {fault}");
    }
    text
}

fn shape(spec: &ModelSpec) -> String {
    format!(
        "{:?}, {} parameters, {} layers, width {}, heads {}/{}, vocabulary {}, context {}",
        spec.family,
        grouped(spec.parameters() as u64),
        spec.layers,
        spec.width,
        spec.heads,
        spec.kv_heads,
        spec.vocab_size,
        spec.context
    )
}

fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 { format!("{mib:.1} MiB") } else { format!("{:.2} GiB", mib / 1024.0) }
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect::<String>().trim_end().to_string()
}
