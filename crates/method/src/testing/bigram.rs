//! A model of pairs of tokens, which really samples and learns.

use std::fs;
use std::path::Path;

use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{
    AdamW, Completion, Finish, Generate, GenerateProgress, ModelError, Prompt, Sampling, Score, TokenBatch,
    TokenScores, Tokenizer, Train, UpdateReport, rng,
};

use super::{Chars, VOCAB};

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

    fn save_state(&self, dir: &Path) -> Result<Vec<WrittenFile>, ModelError> {
        let all = [&self.weights, &self.moments[0], &self.moments[1]].into_iter().flatten();
        let mut bytes: Vec<u8> = all.flat_map(|w| w.to_le_bytes()).collect();
        bytes.extend(self.updates.to_le_bytes());
        let path = dir.join("bigram.bin");
        fs::write(&path, bytes).map_err(|e| ModelError::io(path, e))?;
        Ok(Vec::new())
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

/// Whether two students have the same weights, to the bit.
pub fn same_bits(a: &Bigram, b: &Bigram) -> bool {
    a.weights.iter().zip(&b.weights).all(|(a, b)| a.to_bits() == b.to_bits())
}
