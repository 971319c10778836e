//! GRPO steps: the method's own `act` and `train` over a timed model, with rewards from the seed.

use std::time::{Duration, Instant};

use serde_json::json;
use thinktune_method::act::act;
use thinktune_method::progress::Silent;
use thinktune_method::reward::advantage::advantages;
use thinktune_method::reward::outcome::Outcome;
use thinktune_method::rollout::{Attempt, Group, Guided, Help, Scored};
use thinktune_method::settings::{Ask, Checked, RewardScale, RlSettings, Values};
use thinktune_method::train::train;
use thinktune_model::ModelSpec;
use thinktune_policy::{Message, ModelError, SampleKey, Stream, Tokenizer, rng};

use super::flops::{self, Stretch};
use super::report::{Report, Row};
use super::subject::{Source, Subject};
use super::timed::{Clocks, Timed};
use crate::args::BenchArgs;
use crate::config::Method;
use crate::plan::rl::resolve_rl;

/// Rows decoded side by side at most, as the engine does.
const ROWS: usize = 64;

/// A step as it went.
struct Measured {
    clocks: Clocks,
    /// Wall clock of the step.
    seconds: f64,
    prompts: Vec<usize>,
}

/// Makes the steps; the report is of the one of median length.
///
/// # Errors
/// Questions that cannot be used, and what the method reports.
pub fn run(subject: Subject, args: &BenchArgs) -> anyhow::Result<Report> {
    let settings = settings(args, subject.model.spec().context)?;
    let questions = subject.questions(args, &settings)?;
    let name = subject.name;
    let mut model = Timed::new(subject.model);
    let steps: Vec<Measured> = (1..=args.steps)
        .map(|number| step(&mut model, &questions, number, &settings))
        .collect::<anyhow::Result<_>>()?;
    let mut order: Vec<&Measured> = steps.iter().collect();
    order.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let median = order[(order.len() - 1) / 2];

    let spec = model.model().spec();
    let (questions_per_step, samples) = (args.questions as usize, args.samples as usize);
    let tokens = questions_per_step * samples * args.new_tokens;
    let title = format!(
        "GRPO step: {questions_per_step} questions x {samples} samples x {} tokens, {}",
        args.new_tokens,
        questions.name()
    );
    let mut report = Report::new("step", title, args.precision.into(), Some((&name, spec)));
    report.fact("seconds_per_step", median.seconds);
    report.fact("steps_seconds", steps.iter().map(|step| step.seconds).collect::<Vec<_>>());
    report.fact("completion_tokens_per_step", tokens);
    report.fact("completion_tokens_per_second", tokens as f64 / median.seconds);
    report.fact(
        "settings",
        json!({ "questions": args.questions, "samples": args.samples, "new_tokens": args.new_tokens,
                "seed": args.seed, "prompt_tokens": median.prompts }),
    );
    report.rows("phases", phases(spec, median, args));
    Ok(report)
}

fn settings(args: &BenchArgs, context: usize) -> anyhow::Result<Checked<RlSettings>> {
    let mut values = Values::default();
    values.fill("rollout.questions_per_step", &(args.questions as usize));
    values.fill("rollout.group_size", &(args.samples as usize));
    values.fill("rollout.max_prompt_tokens", &context.saturating_sub(args.new_tokens));
    values.fill("rollout.max_response_tokens", &args.new_tokens);
    values.fill("run.steps", &args.steps);
    Ok(resolve_rl(&mut values, Method::Grpo, args.seed, Ask::default())?.settings)
}

fn step(
    model: &mut Timed,
    questions: &Source,
    number: u32,
    settings: &RlSettings,
) -> anyhow::Result<Measured> {
    let asked = questions.of_step(number);
    let start = Instant::now();
    let attempts = act(model, &Endless, &asked, number, settings, &mut Silent)?;
    let groups: Vec<Group<Scored>> = attempts.iter().map(|group| rewarded(group, settings.seed)).collect();
    train(model, None, &groups, number, settings, &mut Silent)?;
    let whole = start.elapsed();
    let clocks = model.take();
    let seconds = (whole - clocks.aside).as_secs_f64();
    Ok(Measured { clocks, seconds, prompts: asked.iter().map(|asked| asked.prompt.len()).collect() })
}

/// Gives every attempt a reward in [0, 1). Nobody is chosen for guidance here, so the numbers of that stream are free.
fn rewarded(group: &Group<Attempt>, seed: u64) -> Group<Scored> {
    let reward =
        |attempt: &Attempt| rng::uniform(seed, SampleKey { stream: Stream::Choice, ..attempt.key }, 0);
    let rewards: Vec<f64> = group.rows.iter().map(reward).collect();
    let outcome = Outcome::of(thinktune_tasks::AnswerKind::Boxed, "", false, "");
    let scored = |((attempt, reward), advantage): ((&Attempt, &f64), f64)| Scored {
        guided: Guided::plain(attempt.clone(), Help::NotChosen),
        text: String::new(),
        outcome: outcome.clone(),
        attempt_outcome: outcome.clone(),
        first_attempt_right: false,
        reflects: false,
        changed: false,
        reward: *reward,
        advantage,
    };
    group.with(
        group.rows.iter().zip(&rewards).zip(advantages(&rewards, RewardScale::Std)).map(scored).collect(),
    )
}

/// Where the time of a step went.
fn phases(spec: &ModelSpec, step: &Measured, args: &BenchArgs) -> Vec<Row> {
    let (samples, new) = (args.samples as usize, args.new_tokens);
    let sum = |stretch: &dyn Fn(usize) -> Stretch| -> f64 {
        step.prompts.iter().map(|&prompt| flops::forward(spec, stretch(prompt))).sum()
    };
    let prefill = sum(&|prompt| Stretch { from: 0, tokens: prompt, predicting: 1 });
    // The first token comes from the prompt's logits, and nothing follows the last.
    let decode =
        samples as f64 * sum(&|prompt| Stretch { from: prompt, tokens: new - 1, predicting: new - 1 });
    let forward = sum(&|prompt| Stretch { from: 0, tokens: prompt, predicting: 0 })
        + samples as f64 * sum(&|prompt| Stretch { from: prompt, tokens: new, predicting: new });
    let prompts: usize = step.prompts.iter().sum();
    let rows = step.prompts.len() * samples;
    let passes = rows.div_ceil(ROWS) * (new - 1);
    let Clocks {
        pack, prefill: at_prompts, decode: at_decode, forward: at_forward, backward, update, ..
    } = step.clocks;
    let rest = Duration::from_secs_f64(step.seconds).saturating_sub(step.clocks.work());
    vec![
        Row::new("pack", "packing weights", pack),
        Row::new("prefill", "prefill", at_prompts).tokens(prompts).flop(prefill),
        Row::new("decode", "decode", at_decode)
            .tokens(rows * (new - 1))
            .flop(decode)
            .bytes(passes as f64 * flops::decode_bytes(spec, args.precision.into())),
        Row::new("train_forward", "train: forward", at_forward).tokens(prompts + rows * new).flop(forward),
        Row::new("train_backward", "train: backward", backward)
            .tokens(prompts + rows * new)
            .flop(2.0 * forward),
        Row::new("update", "train: update", update),
        Row::new("rest", "everything else", rest),
    ]
}

/// A language in which nothing ends a completion, and nobody asks what it says.
struct Endless;

impl Tokenizer for Endless {
    fn prompt_ids(&self, _: &[Message]) -> Result<Vec<u32>, ModelError> {
        Ok(Vec::new())
    }

    fn answer_ids(&self, _: &str) -> Vec<u32> {
        Vec::new()
    }

    fn document_ids(&self, _: &str) -> Vec<u32> {
        Vec::new()
    }

    fn encode(&self, _: &str) -> Vec<u32> {
        Vec::new()
    }

    fn decode(&self, _: &[u32]) -> String {
        String::new()
    }

    fn decode_raw(&self, _: &[u32]) -> String {
        String::new()
    }

    fn stop(&self) -> &[u32] {
        &[]
    }

    fn end_of_turn(&self) -> u32 {
        u32::MAX
    }
}
