//! The method's losses against PyTorch, through the training stage itself: loss, d loss / d log-prob, gradients,
//! ten updates. The numbers come from `crates/model/tests/fixtures/generate_families.py`, which states the formulas
//! once more, for autograd.

#[path = "../../model/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Case, FAMILIES, LossCase, Reference, assert_close, gradient_distance, key, model_dir, tensors};
use thinktune_method::help::feedback::{Feedback, Opinion};
use thinktune_method::progress::Silent;
use thinktune_method::reward::outcome::Outcome;
use thinktune_method::rollout::{Asked, Attempt, Group, Guided, Help, Scored, Token};
use thinktune_method::settings::*;
use thinktune_method::train::{stats::TrainStats, train};
use thinktune_model::{Device, LocalModel, Precision};
use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{AdamW, Finish, ModelError, Score, TokenBatch, TokenScores, Train, UpdateReport};
use thinktune_runlog::event::Author;
use thinktune_tasks::{AnswerKind, Question};

#[test]
fn losses_and_their_derivatives_agree() {
    for family in FAMILIES {
        let reference = Reference::of(family);
        for (name, case) in &reference.cases {
            let mut student = Scripted::new(&reference, &case.logprobs);
            let settings = settings(&reference, &case.settings, 1.0);
            let stats = train_on(&reference, case, &case.settings, &settings, &mut student);
            let error = (stats.loss - case.loss).abs();
            println!("measured {family} {name} loss: {error:.2e} (tolerance 1e-6)");
            assert!(error < 1e-6, "{family} {name}: loss {}, PyTorch {}", stats.loss, case.loss);
            let what = format!("{family} {name} derivatives by log-prob");
            assert_close(&what, &student.derivatives, &case.d_logprobs, 1e-6);

            let count = |branch: &str| case.taken[branch];
            assert_eq!(stats.clipped_tokens, count("clipped"), "{family} {name}");
            assert_eq!(stats.ratio_tokens, count("clipped") + count("ratio"), "{family} {name}");
            assert_eq!(
                stats.shaped_tokens,
                count("aas") + count("below") + count("above"),
                "{family} {name}"
            );
            assert_eq!(stats.masked_tokens, count("masked"), "{family} {name}");
            let guards = name == "grpo" || ["below", "above", "masked", "aas"].iter().all(|b| count(b) > 0);
            assert!(guards, "{family} {name}: the case should take every branch: {:?}", case.taken);
        }
    }
}

#[test]
fn every_setting_of_the_objective_agrees() {
    for family in FAMILIES {
        let reference = Reference::of(family);
        let case = &reference.cases["aas"];
        for (name, variant) in &reference.variants {
            let mut settings = settings(&reference, &case.settings, 1.0);
            let loss = &mut settings.loss;
            loss.beta = variant.beta;
            match &name[..] {
                "token_mean" => loss.aggregation = Aggregation::TokenMean,
                "dr_grpo" => loss.aggregation = Aggregation::DrGrpo,
                "guidance_scope" => loss.scope = Scope::Guidance,
                "low_confidence_clip" => loss.low_confidence = LowConfidence::Clip,
                other => panic!("unknown setting {other}"),
            }
            let mut student = Scripted::new(&reference, &case.logprobs);
            let stats = train_on(&reference, case, &case.settings, &settings, &mut student);
            assert!(
                (stats.loss - variant.loss).abs() < 1e-6,
                "{family} {name}: {} {}",
                stats.loss,
                variant.loss
            );
            let what = format!("{family} {name} derivatives by log-prob");
            assert_close(&what, &student.derivatives, &variant.d_logprobs, 1e-6);
        }
    }
}

#[test]
fn the_training_stage_gives_the_gradients_of_autograd_however_it_is_cut() {
    for family in FAMILIES {
        let reference = Reference::of(family);
        for (name, case) in &reference.cases {
            let want = tensors(family, &format!("grad.{name}."));
            for budget in [4096, 45, 1] {
                let mut student = Watched::load(family, budget);
                let settings = settings(&reference, &case.settings, 1e-3);
                train_on(&reference, case, &case.settings, &settings, &mut student);
                let mut norm = 0.0f64;
                for (tensor, range) in student.model.params().expect("weights").layout.tensors() {
                    let what =
                        format!("{family} {name}, {budget} tokens at a time, gradient of {}", tensor.name);
                    let distance =
                        gradient_distance(&what, &student.gradients[range.clone()], &want[&tensor.name]);
                    assert!(distance.norm <= 1e-3 && distance.element <= 1e-3, "{what}: {distance:?}");
                    norm = norm.max(distance.norm);
                }
                println!("measured {family} {name} gradients, {budget} tokens at a time: {norm:.2e}");
            }
        }
    }
}

#[test]
fn ten_updates_on_guided_trajectories_agree() {
    for family in FAMILIES {
        let reference = Reference::of(family);
        let run = &reference.adamw.aas;
        let case = &reference.cases["grpo"];
        let mut student = Watched::load(family, 60);
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        let settings = settings(&reference, &run.settings, run.lr);
        for _ in 0..run.run.losses.len() {
            let stats = train_on(&reference, case, &run.settings, &settings, &mut student);
            losses.push(stats.loss as f32);
            norms.push(stats.grad_norm as f32);
        }
        let want: Vec<f32> = run.run.losses.iter().map(|l| *l as f32).collect();
        assert_close(&format!("{family} losses of ten updates"), &losses, &want, 1e-4);
        let relative: Vec<f32> = norms.iter().zip(&run.run.grad_norms).map(|(n, w)| n / *w as f32).collect();
        assert_close(&format!("{family} gradient norms, relative"), &relative, &[1.0; 10], 1e-3);
    }
}

/// One step on the reference sequences as groups of one: `case` gives the log-probs of the old policy and of the
/// reference, `rows` each sequence's advantage and whether it is guided.
fn train_on(
    reference: &Reference,
    case: &Case,
    rows: &LossCase,
    settings: &RlSettings,
    student: &mut dyn Train,
) -> TrainStats {
    let groups = groups(reference, case, rows);
    let mut frozen = Scripted::new(reference, &case.ref_logprobs);
    train(student, Some(&mut frozen), &groups, 1, settings, &mut Silent).expect("train")
}

fn groups(reference: &Reference, case: &Case, loss: &LossCase) -> Vec<Group<Scored>> {
    let mut old = case.old_logprobs.iter();
    let rows = reference.sequences.iter().zip(&loss.advantages).zip(&loss.guided);
    rows.enumerate()
        .map(|(index, ((sequence, advantage), guided))| {
            let (prompt, response) = sequence.tokens.split_at(sequence.prompt);
            let tokens = response.iter().enumerate().map(|(i, id)| Token {
                id: *id,
                author: if *guided && i > response.len() / 2 { Author::Teacher } else { Author::Student },
                old_logprob: old.next().copied(),
            });
            let question = Question {
                index: index as u32,
                text: String::new(),
                gold: String::new(),
                solution: None,
                kind: AnswerKind::Boxed,
            };
            let asked = Asked { question, prompt: prompt.into() };
            Group { asked: Arc::new(asked), rows: vec![scored(tokens.collect(), *advantage, *guided)] }
        })
        .collect()
}

fn scored(tokens: Vec<Token>, advantage: f64, guided: bool) -> Scored {
    let attempt = Attempt {
        key: key(0, 0),
        tokens: Vec::new(),
        logprobs: Vec::new(),
        finish: Finish::Stop,
        text: String::new(),
    };
    let feedback = Feedback { opinion: Opinion::Correct, reason: String::new(), phrase: String::new() };
    let help = if guided { Help::Given { reply: String::new(), feedback } } else { Help::NotChosen };
    let outcome = Outcome::of(thinktune_tasks::AnswerKind::Boxed, "", true, "1");
    Scored {
        guided: Guided { attempt, tokens, help },
        text: String::new(),
        attempt_outcome: outcome.clone(),
        outcome,
        first_attempt_right: false,
        reflects: false,
        changed: false,
        reward: 0.0,
        advantage,
    }
}

fn settings(reference: &Reference, loss: &LossCase, lr: f32) -> RlSettings {
    let (adamw, questions) = (&reference.adamw, reference.sequences.len());
    RlSettings {
        seed: 0,
        ask: Ask::default(),
        rollout: RolloutSettings {
            questions_per_step: questions,
            group_size: 1,
            temperature: loss.temperature,
            max_prompt_tokens: 64,
            max_response_tokens: 64,
        },
        guidance: GuidanceSettings {
            gamma: GammaSchedule { shape: GammaShape::Constant, start: 0.5, end: 0.5, steps: None },
            last_step: None,
            min_gamma: 0.0,
            prompts: "reasoning".into(),
            max_teacher_prompt_tokens: 64,
            max_teacher_tokens: 64,
            max_feedback_tokens: 64,
            teacher_temperature: 1.0,
            teacher_top_p: 1.0,
            max_unguided_steps: 20,
        },
        reward: RewardSettings { scale: RewardScale::Std, phrase: None, phrase_bonus: 0.0 },
        loss: LossSettings {
            eps_low: loss.eps_low,
            eps_high: loss.eps_high,
            beta: loss.beta,
            c_at_max_advantage: loss.c1,
            c_at_min_advantage: loss.c2,
            advantage_range: [loss.a_min, loss.a_max],
            // The reference has no cap: its c of -0.09 is there to reach every other branch.
            max_weight: f64::INFINITY,
            low_confidence_below: loss.tau,
            low_confidence: LowConfidence::Mask,
            scope: Scope::Trajectory,
            aggregation: Aggregation::SequenceMean,
        },
        optimizer: OptimizerSettings {
            lr: f64::from(lr),
            schedule: LrSchedule::Constant,
            warmup_steps: 0,
            weight_decay: f64::from(adamw.weight_decay),
            betas: [f64::from(adamw.beta1), f64::from(adamw.beta2)],
            grad_clip: f64::from(adamw.max_grad_norm),
        },
        mini_batch_questions: questions,
        run: RunSettings {
            steps: 10,
            checkpoint_every: 10,
            eval_every: None,
            log_logprobs: false,
            check_logprobs: false,
        },
    }
}

/// Gives the log-probs it was told for each sequence, and keeps the derivatives it is given.
struct Scripted {
    rows: Vec<(Vec<u32>, Vec<f32>)>,
    derivatives: Vec<f32>,
}

impl Scripted {
    /// `logprobs` of the response tokens, sequence after sequence.
    fn new(reference: &Reference, logprobs: &[f32]) -> Self {
        let mut rest = logprobs;
        let row = |sequence: &common::Sequence| {
            let (row, after) = rest.split_at(sequence.tokens.len() - sequence.prompt);
            rest = after;
            (sequence.tokens.clone(), row.to_vec())
        };
        Self { rows: reference.sequences.iter().map(row).collect(), derivatives: Vec::new() }
    }
}

impl Score for Scripted {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        let mut scores = TokenScores::default();
        let tokens = |sequence: usize| &batch.tokens[batch.offsets[sequence]..batch.offsets[sequence + 1]];
        for (sequence, prefix) in batch.prefixes.iter().enumerate() {
            let Some(prompt) = prefix.map(tokens) else { continue };
            let whole = [prompt, tokens(sequence)].concat();
            let row = self.rows.iter().find(|(known, _)| *known == whole).expect("a reference sequence");
            scores.logprobs.extend(&row.1);
        }
        scores.entropies = vec![0.0; scores.logprobs.len()];
        assert_eq!(scores.logprobs.len(), batch.targets.len(), "every response token is a target");
        Ok(scores)
    }
}

impl Train for Scripted {
    fn token_budget(&self) -> usize {
        usize::MAX
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.score(batch)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        self.derivatives.extend(d_logprobs);
        Ok(())
    }

    fn update(&mut self, _: &AdamW) -> Result<UpdateReport, ModelError> {
        Ok(UpdateReport::default())
    }

    fn save_state(&self, _: &Path) -> Result<Vec<WrittenFile>, ModelError> {
        unreachable!("training saves nothing")
    }

    fn load_state(&mut self, _: &Path) -> Result<(), ModelError> {
        unreachable!("training loads nothing")
    }
}

/// A local model with a token budget of our choice, whose gradient is kept when an update spends it.
struct Watched {
    model: LocalModel,
    budget: usize,
    gradients: Vec<f32>,
}

impl Watched {
    fn load(family: &str, budget: usize) -> Self {
        let model = LocalModel::load(&model_dir(family), Device::Cpu, Precision::F32).expect("model");
        Self { model, budget, gradients: Vec::new() }
    }
}

impl Score for Watched {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.model.score(batch)
    }
}

impl Train for Watched {
    fn token_budget(&self) -> usize {
        self.budget
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.model.forward(batch)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        self.model.backward(d_logprobs)
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        self.gradients = self.model.gradients().expect("gradients");
        self.model.update(settings)
    }

    fn save_state(&self, dir: &Path) -> Result<Vec<WrittenFile>, ModelError> {
        self.model.save_state(dir)
    }

    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError> {
        self.model.load_state(dir)
    }
}
