//! `LocalModel`: a model running in this process. Implements the whole surface.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thinktune_kernels::gemm::Threads;

use crate::decoder::{Decoder, PackedWeights, RopeTable};
use crate::generate::{self, Preamble};
use crate::memory::{MachineMemory, Recompute};
use crate::rng::{SampleRng, normal};
use crate::surface::{
    AdamW, Completion, Generate, GenerateProgress, Prompt, SampleKey, Sampling, Score, TokenBatch,
    TokenScores, Train, UpdateReport, stream,
};
use crate::train::{Forwarded, Keep, Trainer};
use crate::{Dtype, ModelError, ModelSpec, Params};

/// A model in this process: weights, and, once it is trained, gradients and optimizer state.
///
/// Weights are shared between copies until one of them is updated, so a frozen teacher, a KL reference
/// and the initial student are one set of weights.
pub struct LocalModel {
    params: Arc<Params>,
    source: Option<PathBuf>,
    packed: Option<Arc<PackedWeights>>,
    rope: RopeTable,
    preamble: Option<Preamble>,
    trainer: Option<Trainer>,
    recompute: Recompute,
    memory: MachineMemory,
}

impl LocalModel {
    /// A model of these weights.
    pub fn new(params: Params) -> Self {
        Self::shared(Arc::new(params))
    }

    fn shared(params: Arc<Params>) -> Self {
        let rope = RopeTable::new(&params.spec);
        let memory = MachineMemory::detect();
        Self {
            params,
            source: None,
            packed: None,
            rope,
            preamble: None,
            trainer: None,
            recompute: Recompute::Auto,
            memory,
        }
    }

    /// Loads `config.json` and the safetensors of a directory in Hugging Face layout.
    ///
    /// # Errors
    /// What [`load_params`](crate::load_params) reports.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        Ok(Self::new(crate::load_params(dir)?).with_source(dir))
    }

    /// The directory whose configuration and tokenizer go along when this model is saved.
    #[must_use]
    pub fn with_source(mut self, dir: &Path) -> Self {
        self.source = Some(dir.to_owned());
        self
    }

    /// Writes the weights, and the configuration and tokenizer of the directory it came from, so that
    /// transformers opens the result.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn export(&self, dir: &Path, dtype: Dtype) -> Result<(), ModelError> {
        crate::save_params(dir, &self.params, dtype)?;
        match &self.source {
            Some(source) => {
                crate::copy_config(source, dir, dtype)?;
                crate::copy_side_files(source, dir)
            }
            None => self.spec().write_config(dir, dtype, None, &[]),
        }
    }

    /// Another model of the same weights, which stays as it is when this one is trained.
    pub fn frozen_copy(&self) -> Self {
        let mut copy = Self::shared(Arc::clone(&self.params));
        copy.packed = self.packed.clone();
        copy.source = self.source.clone();
        copy.recompute = self.recompute;
        copy.memory = self.memory;
        copy
    }

    /// Whether layers are recomputed in the backward pass instead of kept.
    #[must_use]
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        self.recompute = recompute;
        self
    }

    /// Shape and constants.
    pub fn spec(&self) -> &ModelSpec {
        &self.params.spec
    }

    /// The weights.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The gradients gathered since the last update, in the layout of the parameters; empty before
    /// the first `backward`.
    pub fn gradients(&self) -> Vec<f32> {
        self.trainer.as_ref().map(|trainer| trainer.gradients(&self.params)).unwrap_or_default()
    }

    /// Logits of every position. `[T] -> [T, V]`
    ///
    /// # Errors
    /// An id outside the vocabulary, or a sequence longer than the context.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut batch = TokenBatch::new(1.0);
        batch.push(tokens, []);
        self.prepare(&batch)?;
        let decoder = self.decoder();
        let forwarded = Forwarded::run(&decoder, &batch, Keep::Nothing);
        let (mut normed, mut logits) = (Vec::new(), Vec::new());
        decoder.final_norm(&forwarded.output, &mut normed);
        decoder.logits(&normed, &mut logits);
        Ok(logits)
    }

    /// Checks a batch and makes the packed weights and the rope table ready for it.
    fn prepare(&mut self, batch: &TokenBatch) -> Result<(), ModelError> {
        check_batch(self.spec(), batch)?;
        let longest = (0..batch.sequences()).map(|sequence| length_with_prefix(batch, sequence)).max();
        self.ready(longest.unwrap_or(0));
        Ok(())
    }

    fn ready(&mut self, positions: usize) {
        self.rope.reserve(positions);
        if self.packed.is_none() {
            self.packed = Some(Arc::new(PackedWeights::new(&self.params)));
        }
    }

    fn decoder(&self) -> Decoder<'_> {
        let Some(packed) = &self.packed else { unreachable!("`ready` packs the weights first") };
        Decoder { params: &self.params, packed, rope: &self.rope, threads: Threads::All }
    }

    fn trainer(&mut self) -> &mut Trainer {
        self.trainer.get_or_insert_default()
    }

    /// Forgets what depends on the old weights.
    fn weights_changed(&mut self) {
        self.packed = None;
        self.preamble = None;
    }
}

/// Refuses what would index outside the vocabulary or the rope table.
fn check_batch(spec: &ModelSpec, batch: &TokenBatch) -> Result<(), ModelError> {
    if let Some(token) = batch.tokens.iter().find(|&&token| token as usize >= spec.vocab_size) {
        return Err(ModelError::BadInput(format!(
            "token id {token} is outside the model's vocabulary of {} ids",
            spec.vocab_size
        )));
    }
    let past_end = batch.targets.last().is_some_and(|&target| target >= batch.tokens.len());
    if past_end || batch.targets.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(ModelError::BadInput("targets must be ascending positions of the batch".into()));
    }
    for sequence in 0..batch.sequences() {
        let misplaced = |&prefix: &usize| prefix >= sequence || batch.prefixes[prefix].is_some();
        if let Some(prefix) = batch.prefixes[sequence].filter(misplaced) {
            return Err(ModelError::BadInput(format!(
                "sequence {sequence} continues sequence {prefix}: expected an earlier one that continues none"
            )));
        }
        let length = length_with_prefix(batch, sequence);
        if length > spec.context {
            return Err(ModelError::BadInput(format!(
                "sequence {sequence} has {length} tokens; the model's context is {}",
                spec.context
            )));
        }
    }
    if let Some(&target) = batch.targets.iter().find(|&&target| batch.predecessor(target).is_none()) {
        return Err(ModelError::BadInput(format!(
            "the first token of sequence {} cannot be scored: nothing precedes it",
            batch.sequence_of(target)
        )));
    }
    if !(batch.temperature > 0.0 && batch.temperature.is_finite()) {
        return Err(ModelError::BadInput(format!(
            "log-probs at temperature {}: expected a positive number",
            batch.temperature
        )));
    }
    Ok(())
}

/// Tokens of a sequence and of the prefix it continues.
fn length_with_prefix(batch: &TokenBatch, sequence: usize) -> usize {
    let length = |sequence: usize| batch.offsets[sequence + 1] - batch.offsets[sequence];
    length(sequence) + batch.prefixes[sequence].map_or(0, length)
}

impl Generate for LocalModel {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        generate::check(self.spec(), prompts, sampling)?;
        let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
        self.ready(self.spec().context.min(longest + sampling.max_tokens));
        let previous = self.preamble.take();
        let preamble = generate::shared_preamble(&self.decoder(), prompts, previous);
        let done =
            generate::run(&self.decoder(), prompts, preamble.as_ref(), sampling, self.memory, progress);
        self.preamble = preamble;
        done
    }
}

impl Score for LocalModel {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.prepare(batch)?;
        let budget = self.token_budget();
        let decoder = self.decoder();
        let mut scores = TokenScores::default();
        for piece in split(batch, budget) {
            let forwarded = Forwarded::run(&decoder, &piece, Keep::Nothing);
            let (part, _) = forwarded.score(&decoder, &piece)?;
            scores.logprobs.extend(part.logprobs);
            scores.entropies.extend(part.entropies);
        }
        Ok(scores)
    }
}

/// Cuts a batch between sequences into pieces of at most `budget` tokens (or one sequence). A prefix goes
/// into every piece that continues it.
fn split(batch: &TokenBatch, budget: usize) -> Vec<TokenBatch> {
    let rows = |sequence: usize| batch.offsets[sequence]..batch.offsets[sequence + 1];
    let mut pieces = Vec::new();
    let mut piece = TokenBatch::new(batch.temperature);
    // where the prefix last used stands in the piece at hand
    let mut placed: Option<(usize, usize)> = None;
    for sequence in 0..batch.sequences() {
        let at = rows(sequence);
        if !piece.tokens.is_empty() && piece.tokens.len() + at.len() > budget {
            pieces.push(std::mem::replace(&mut piece, TokenBatch::new(batch.temperature)));
            placed = None;
        }
        let from = batch.targets.partition_point(|&target| target < at.start);
        let to = batch.targets.partition_point(|&target| target < at.end);
        let score = batch.targets[from..to].iter().map(|target| target - at.start);
        let tokens = &batch.tokens[at.clone()];
        match batch.prefixes[sequence] {
            None => placed = Some((sequence, piece.push(tokens, score))),
            Some(prefix) => {
                let place = match placed {
                    Some((found, place)) if found == prefix => place,
                    _ => piece.push(&batch.tokens[rows(prefix)], []),
                };
                placed = Some((prefix, place));
                piece.push_after(place, tokens, score);
            }
        }
    }
    pieces.push(piece);
    pieces
}

impl Train for LocalModel {
    fn token_budget(&self) -> usize {
        self.memory.token_budget(self.spec(), self.recompute)
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.prepare(batch)?;
        let recompute = self.memory.recomputes(self.spec(), self.recompute, batch.tokens.len());
        let keep = if recompute { Keep::Inputs } else { Keep::Everything };
        let forwarded = Forwarded::run(&self.decoder(), batch, keep);
        let (scores, normalisers) = forwarded.score(&self.decoder(), batch)?;
        self.trainer().keep(batch.clone(), forwarded, normalisers);
        Ok(scores)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        let Some(mut trainer) = self.trainer.take() else {
            return Err(ModelError::BadInput("`backward` without a `forward` before it".into()));
        };
        let done = trainer.backward(&self.decoder(), d_logprobs);
        self.trainer = Some(trainer);
        done
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        let mut trainer = self.trainer.take().unwrap_or_default();
        let report = trainer.update(&mut self.params, settings);
        self.trainer = Some(trainer);
        if report.is_ok() {
            self.weights_changed();
        }
        report
    }

    fn save_state(&self, dir: &Path) -> Result<(), ModelError> {
        self.export(dir, Dtype::F32)?;
        match &self.trainer {
            Some(trainer) => trainer.save(&self.params, dir),
            None => Trainer::default().save(&self.params, dir),
        }
    }

    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError> {
        let params = crate::load_params(dir)?;
        if params.spec != *self.spec() {
            return Err(ModelError::bad_file(
                dir,
                format!("holds a model of another shape: {:?}, {:?} expected", params.spec, self.spec()),
            ));
        }
        let mut trainer = Trainer::default();
        trainer.load(&params, dir)?;
        self.params = Arc::new(params);
        self.trainer = Some(trainer);
        self.weights_changed();
        Ok(())
    }
}

/// Random weights: matrices normal(0, 0.02), norms 1, biases 0.
pub fn init_random(spec: ModelSpec, seed: u64) -> Params {
    let mut params = Params::zeros(spec);
    for (index, (tensor, range)) in params.layout.tensors().iter().enumerate() {
        let values = &mut params.data[range.clone()];
        if tensor.name.ends_with("norm.weight") {
            values.fill(1.0);
        } else if tensor.decays() {
            let key = SampleKey { stream: stream::INIT, step: 0, question: index as u32, sample: 0 };
            let rng = SampleRng::new(seed, key);
            for (i, value) in values.iter_mut().enumerate() {
                *value = 0.02 * normal(&rng, i as u32);
            }
        }
    }
    params
}
