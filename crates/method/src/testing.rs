//! Doubles for tests: a language of ASCII characters, and a bigram model that really samples and learns.

use std::fs;
use std::path::Path;

use thinktune_policy::{
    AdamW, Completion, Finish, Generate, GenerateProgress, Message, ModelError, Prompt, Role, SampleKey,
    Sampling, Score, Stream, TokenBatch, TokenScores, Train, UpdateReport, rng,
};
use thinktune_runlog::event::{SftMetrics, StepMetrics};
use thinktune_runlog::{Provenance, RunFolder, RunIdentity};
use thinktune_tasks::{AnswerKind, Question, Verdict};

use crate::error::MethodError;
use crate::help::feedback::{self, Feedback, Opinion};
use crate::help::splice::{Limits, splice};
use crate::help::teacher::{Reply, Request, Teacher};
use crate::language::Tokenizer;
use crate::observer::Observer;
use crate::reward::outcome::Outcome;
use crate::rollout::{Attempt, Guided, Help, Scored};
use crate::settings::*;

/// Ends a turn.
pub const END: u32 = 1;
/// Begins a text.
pub const BOS: u32 = 2;
/// A special token that is no stop token; written `<odd>` in text.
pub const ODD: u32 = 6;
/// V of the characters.
pub const VOCAB: usize = 128;

/// One token per ASCII character; control characters are the special tokens. The texts `<end>` and `<odd>`
/// are read as special tokens, as real tokenizers do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chars;

impl Tokenizer for Chars {
    fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        let mut ids = vec![BOS];
        for message in messages {
            ids.push(match message.role {
                Role::System => 3,
                Role::User => 4,
                Role::Assistant => 5,
            });
            ids.extend(self.answer_ids(&message.content));
        }
        ids.push(5);
        Ok(ids)
    }

    fn answer_ids(&self, text: &str) -> Vec<u32> {
        let mut ids = self.encode(text);
        ids.push(END);
        ids
    }

    fn document_ids(&self, text: &str) -> Vec<u32> {
        [vec![BOS], self.answer_ids(text)].concat()
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let text = text.replace("<end>", "\u{1}").replace("<odd>", "\u{6}");
        text.chars().map(|c| if c.is_ascii() { c as u32 } else { u32::from(b'?') }).collect()
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().filter(|&&token| token > 8).map(|&token| token as u8 as char).collect()
    }

    fn decode_raw(&self, tokens: &[u32]) -> String {
        let raw = |&token: &u32| match token {
            END => "<end>".into(),
            ODD => "<odd>".into(),
            _ => (token as u8 as char).to_string(),
        };
        tokens.iter().map(raw).collect()
    }

    fn stop(&self) -> &[u32] {
        &[END]
    }
}

/// log pi(next | previous) = log softmax of a row of a table. `[V, V]`
#[derive(Debug, Clone)]
pub struct Bigram {
    pub weights: Vec<f32>,
    moments: [Vec<f32>; 2],
    pub gradients: Vec<f64>,
    updates: u64,
    pub budget: usize,
    kept: Option<TokenBatch>,
    /// Micro-batches forwarded.
    pub forwards: usize,
    /// Whether the trainer's log-probs are NaN.
    pub poisoned: bool,
}

impl Default for Bigram {
    fn default() -> Self {
        let zeros = || vec![0.0; VOCAB * VOCAB];
        Self {
            weights: zeros(),
            moments: [zeros(), zeros()],
            gradients: vec![0.0; VOCAB * VOCAB],
            updates: 0,
            budget: 1000,
            kept: None,
            forwards: 0,
            poisoned: false,
        }
    }
}

impl Bigram {
    /// A uniform model that takes micro-batches of at most that many tokens.
    pub fn with_budget(budget: usize) -> Self {
        Self { budget, ..Self::default() }
    }

    /// A model that writes `text` after an assistant marker, now and then something else.
    pub fn writing(texts: &[&str], strength: f32) -> Self {
        let mut model = Self::default();
        for text in texts {
            let ids = [vec![5], Chars.answer_ids(text)].concat();
            for pair in ids.windows(2) {
                model.weights[pair[0] as usize * VOCAB + pair[1] as usize] = strength;
            }
        }
        model
    }

    /// log pi(next | previous) at temperature 1.
    pub fn logprob(&self, previous: u32, next: u32) -> f32 {
        self.distribution(previous, 1.0)[next as usize].ln() as f32
    }

    fn distribution(&self, previous: u32, temperature: f32) -> Vec<f64> {
        let row = &self.weights[previous as usize * VOCAB..][..VOCAB];
        let scaled: Vec<f64> = row.iter().map(|&w| f64::from(w / temperature)).collect();
        let most = scaled.iter().copied().fold(f64::MIN, f64::max);
        let total: f64 = scaled.iter().map(|w| (w - most).exp()).sum();
        scaled.iter().map(|w| (w - most).exp() / total).collect()
    }

    fn scores(&self, batch: &TokenBatch) -> TokenScores {
        let mut scores = TokenScores::default();
        for &target in &batch.targets {
            let p = self.distribution(previous(batch, target), batch.temperature);
            scores.logprobs.push(p[batch.tokens[target] as usize].ln() as f32);
            scores.entropies.push(-p.iter().map(|p| p * p.max(1e-300).ln()).sum::<f64>() as f32);
        }
        scores
    }
}

/// The token before a target.
fn previous(batch: &TokenBatch, target: usize) -> u32 {
    batch.tokens[batch.predecessor(target).expect("a target has a token before it")]
}

impl Generate for Bigram {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        progress(GenerateProgress { finished: 0, total: prompts.len(), tokens: 0 });
        let complete = |prompt: &Prompt, key| {
            let mut previous = *prompt.tokens.last().expect("a prompt");
            let mut made = Completion { tokens: vec![], logprobs: vec![], finish: Finish::Length };
            while made.tokens.len() < sampling.max_tokens && made.finish == Finish::Length {
                let p = self.distribution(previous, sampling.temperature);
                let mut mass = rng::uniform(sampling.seed, key, made.tokens.len() as u32);
                let passed = p.iter().position(|p| {
                    mass -= p;
                    mass < 0.0
                });
                let token = passed.unwrap_or(VOCAB - 1) as u32;
                made.tokens.push(token);
                made.logprobs.push(p[token as usize].ln() as f32);
                if sampling.stop.contains(&token) {
                    made.finish = Finish::Stop;
                }
                previous = token;
            }
            made
        };
        Ok(prompts.iter().map(|p| p.keys.iter().map(|&key| complete(p, key)).collect()).collect())
    }
}

impl Score for Bigram {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        Ok(self.scores(batch))
    }
}

impl Train for Bigram {
    fn token_budget(&self) -> usize {
        self.budget
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.forwards += 1;
        self.kept = Some(batch.clone());
        let mut scores = self.scores(batch);
        if self.poisoned {
            scores.logprobs.fill(f32::NAN);
        }
        Ok(scores)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        let batch = self.kept.take().expect("a forward before the backward");
        assert_eq!(d_logprobs.len(), batch.targets.len());
        for (&target, &d) in batch.targets.iter().zip(d_logprobs) {
            let previous = previous(&batch, target);
            let p = self.distribution(previous, batch.temperature);
            let row = &mut self.gradients[previous as usize * VOCAB..][..VOCAB];
            for (id, (gradient, p)) in row.iter_mut().zip(&p).enumerate() {
                let hit = if id as u32 == batch.tokens[target] { 1.0 } else { 0.0 };
                *gradient += f64::from(d) * (hit - p) / f64::from(batch.temperature);
            }
        }
        Ok(())
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        let grad_norm = self.gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
        self.updates += 1;
        let scale = (f64::from(settings.max_grad_norm) / grad_norm.max(1e-30)).min(1.0);
        let correct = |beta: f32| 1.0 - beta.powi(self.updates as i32);
        let [first, second] = &mut self.moments;
        for (i, gradient) in self.gradients.iter_mut().enumerate() {
            let g = (*gradient * scale) as f32;
            *gradient = 0.0;
            first[i] = settings.beta1 * first[i] + (1.0 - settings.beta1) * g;
            second[i] = settings.beta2 * second[i] + (1.0 - settings.beta2) * g * g;
            let root = (second[i] / correct(settings.beta2)).sqrt() + settings.eps;
            self.weights[i] -= settings.lr * first[i] / correct(settings.beta1) / root;
        }
        Ok(UpdateReport { grad_norm, updates: self.updates })
    }

    fn save_state(&self, dir: &Path) -> Result<(), ModelError> {
        let all = [&self.weights, &self.moments[0], &self.moments[1]].into_iter().flatten();
        let mut bytes: Vec<u8> = all.flat_map(|w| w.to_le_bytes()).collect();
        bytes.extend(self.updates.to_le_bytes());
        let path = dir.join("bigram.bin");
        fs::write(&path, bytes).map_err(|e| ModelError::io(path, e))
    }

    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError> {
        let path = dir.join("bigram.bin");
        let bytes = fs::read(&path).map_err(|e| ModelError::io(path, e))?;
        let (floats, updates) = bytes.split_at(bytes.len() - 8);
        let all: Vec<f32> =
            floats.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect();
        let part = |i: usize| all[i * VOCAB * VOCAB..][..VOCAB * VOCAB].to_vec();
        (self.weights, self.moments) = (part(0), [part(1), part(2)]);
        self.updates = u64::from_le_bytes(updates.try_into().expect("8 bytes"));
        Ok(())
    }
}

/// `count` sums: question i asks for i + i.
pub fn sums(count: u32) -> Vec<Question> {
    let question = |index| Question {
        index,
        text: format!("{index}+{index}=?"),
        gold: (2 * index).to_string(),
        solution: Some(format!("\\boxed{{{}}}", 2 * index)),
        kind: AnswerKind::Boxed,
    };
    (0..count).map(question).collect()
}

/// AdamW as in the paper, at a rate that suits a table.
pub fn optimizer() -> OptimizerSettings {
    OptimizerSettings {
        lr: 0.05,
        schedule: LrSchedule::Constant,
        warmup_steps: 0,
        weight_decay: 0.0,
        betas: [0.9, 0.999],
        grad_clip: 1.0,
    }
}

/// The defaults of METHOD.md, section 4.
pub fn loss() -> LossSettings {
    LossSettings {
        eps_low: 0.2,
        eps_high: 0.2,
        beta: 0.0,
        c_at_max_advantage: 1e-4,
        c_at_min_advantage: -1e-4,
        advantage_range: [-4.0, 4.0],
        low_confidence_below: 0.01,
        low_confidence: LowConfidence::Mask,
        scope: Scope::Trajectory,
        aggregation: Aggregation::SequenceMean,
    }
}

/// A small ThinkTuning run.
pub fn rl_settings() -> RlSettings {
    RlSettings {
        seed: 7,
        ask: Ask::default(),
        rollout: RolloutSettings {
            questions_per_step: 4,
            group_size: 4,
            temperature: 1.0,
            max_prompt_tokens: 64,
            max_response_tokens: 60,
        },
        guidance: GuidanceSettings {
            gamma: GammaSchedule { shape: GammaShape::Constant, start: 0.5, end: 0.5, steps: None },
            last_step: None,
            min_gamma: 0.0,
            prompts: "reasoning".into(),
            max_teacher_prompt_tokens: 20_000,
            max_teacher_tokens: 200,
            max_feedback_tokens: 50,
            teacher_temperature: 1.0,
            max_unguided_steps: 20,
        },
        reward: RewardSettings { phrase: None, phrase_bonus: 0.0 },
        loss: loss(),
        optimizer: optimizer(),
        mini_batch_questions: 2,
        run: RunSettings {
            steps: 6,
            checkpoint_every: 2,
            eval_every: None,
            log_logprobs: true,
            check_logprobs: true,
        },
    }
}

/// An attempt with a log-prob of -1 at every token.
pub fn attempt(text: &str) -> Attempt {
    let tokens = Chars.encode(text);
    Attempt {
        key: SampleKey { stream: Stream::Attempt, step: 1, question: 0, sample: 0 },
        logprobs: vec![-1.0; tokens.len()],
        finish: if tokens.last() == Some(&END) { Finish::Stop } else { Finish::Length },
        text: Chars.decode(&tokens),
        tokens,
    }
}

/// An attempt guided with reason and phrase, with that advantage.
pub fn scored_guided(text: &str, reason: &str, phrase: &str, advantage: f64) -> Scored {
    let attempt = attempt(text);
    let feedback = Feedback { opinion: Opinion::Correct, reason: reason.into(), phrase: phrase.into() };
    let limits = Limits { feedback_tokens: 1000, response_tokens: 1000 };
    let tokens = splice(&attempt, &feedback, &Chars, limits).expect("feedback that fits");
    let guided = Guided { attempt, tokens, help: Help::Given { reply: String::new(), feedback } };
    Scored { advantage, ..unscored(guided) }
}

fn unscored(guided: Guided) -> Scored {
    let text = Chars.decode(&guided.ids());
    let outcome = Outcome::of(thinktune_tasks::AnswerKind::Boxed, &text, true, "0");
    Scored {
        attempt_outcome: outcome.clone(),
        outcome,
        first_attempt_right: false,
        reward: 0.0,
        advantage: 0.0,
        text,
        guided,
    }
}

/// Opens a run folder in `dir`.
pub fn run_folder(dir: &Path) -> RunFolder {
    let provenance = Provenance::now("test", "", Default::default());
    let identity = RunIdentity { config: "", free_keys: &[], provenance: &provenance };
    RunFolder::open(dir, &identity).expect("a run folder").folder
}

/// Every file of a run folder that two equal runs share, by name. Checkpoints an interruption added are left
/// out: the last one holds all that counts.
pub fn folder_bytes(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let latest = fs::read_to_string(dir.join("latest")).expect("a checkpoint");
    for part in ["metrics.jsonl", "rollouts", &format!("checkpoints/{}", latest.trim())] {
        collect(&dir.join(part), part, &mut files);
    }
    files
}

fn collect(path: &Path, name: &str, files: &mut Vec<(String, Vec<u8>)>) {
    if let Ok(entries) = fs::read_dir(path) {
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for inner in names {
            collect(&path.join(&inner), &format!("{name}/{inner}"), files);
        }
    } else {
        files.push((name.into(), fs::read(path).expect("a file")));
    }
}

/// Interrupts once that many steps are done.
#[derive(Debug)]
pub struct Stopper {
    steps: u32,
    done: u32,
}

impl Stopper {
    /// After `steps` steps.
    pub fn after(steps: u32) -> Self {
        Self { steps, done: 0 }
    }
}

impl Observer for Stopper {
    fn step(&mut self, _: &StepMetrics) {
        self.done += 1;
    }

    fn sft_step(&mut self, _: &SftMetrics) {
        self.done += 1;
    }

    fn interrupted(&mut self) -> bool {
        self.done >= self.steps
    }
}

/// Dies while a step is being finished: logged, not yet in a checkpoint.
#[derive(Debug)]
pub struct Killer(Stopper);

impl Killer {
    /// After `steps` steps.
    pub fn after(steps: u32) -> Self {
        Self(Stopper::after(steps))
    }
}

impl Observer for Killer {
    fn step(&mut self, metrics: &StepMetrics) {
        self.0.step(metrics);
        assert!(!self.0.interrupted(), "killed");
    }
}

/// Knows the answers to [`sums`]; one reply in three is not in the demanded format.
#[derive(Debug, Clone, Copy)]
pub struct ScriptedTeacher;

impl Teacher for ScriptedTeacher {
    fn replies(
        &mut self,
        requests: &[Request],
        _: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Reply>, MethodError> {
        let reply = |request: &Request| {
            let (number, _) = request.question.split_once('+').expect("a sum");
            let gold = 2 * number.parse::<u32>().expect("a number");
            let right = thinktune_tasks::grade_boxed(&request.response, &gold.to_string()).verdict
                == Verdict::Correct;
            let feedback = Feedback {
                opinion: if right { Opinion::Correct } else { Opinion::Incorrect },
                reason: "Hm.".into(),
                phrase: format!("\\boxed{{{gold}}}"),
            };
            let text = if request.key.sample % 3 == 2 { "Fine!".into() } else { feedback::format(&feedback) };
            Reply::Ended { tokens: text.len() + 1, text }
        };
        Ok(requests.iter().map(reply).collect())
    }
}
