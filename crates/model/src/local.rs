//! `LocalModel`: a model in this process that learns; `FrozenModel`: one that is only read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thinktune_kernels::Precision;
use thinktune_policy::rng::{SampleRng, normal};
use thinktune_policy::{
    AdamW, Completion, Generate, GenerateProgress, ModelError, Prompt, SampleKey, Sampling, Score, Stream,
    TokenBatch, TokenScores, Train, UpdateReport,
};

use crate::decoder::Weights;
use crate::engine::Engine;
use crate::memory::{MachineMemory, Recompute};
use crate::train::{Forwarded, Keep, Trainer};
use crate::{Dtype, ModelSpec, Params};

/// A model in this process whose weights stay as they are: a teacher, a KL reference, a model to evaluate. It
/// holds its matrices once, in the precision it computes in; copies share them.
pub struct FrozenModel {
    engine: Engine,
}

impl FrozenModel {
    /// Loads `config.json` and the safetensors of a directory in Hugging Face layout.
    ///
    /// # Errors
    /// What [`load_params`](crate::load_params) reports.
    pub fn load(dir: &Path, precision: Precision) -> Result<Self, ModelError> {
        Ok(Self::of(Arc::new(crate::weights::load_weights(dir, precision)?)))
    }

    fn of(weights: Arc<Weights>) -> Self {
        Self { engine: Engine::new(weights) }
    }

    /// Another model of the same weights, which are in memory once.
    #[must_use]
    pub fn share(&self) -> Self {
        Self::of(Arc::clone(&self.engine.weights))
    }

    pub(crate) fn into_engine(self) -> Engine {
        self.engine
    }

    /// Shape and constants.
    pub fn spec(&self) -> &ModelSpec {
        self.engine.spec()
    }

    /// Bytes of its matrices.
    pub fn weight_bytes(&self) -> usize {
        self.engine.weights.bytes()
    }

    /// Logits of every position. `[T] -> [T, V]`
    ///
    /// # Errors
    /// An id outside the vocabulary, or a sequence longer than the context.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.engine.logits(tokens)
    }
}

impl Generate for FrozenModel {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.engine.generate(prompts, sampling, progress)
    }
}

impl Score for FrozenModel {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.engine.score(batch)
    }
}

/// A model in this process that learns: parameters in f32, and, once it is trained, gradients and optimizer
/// state; beside them what a [`FrozenModel`] has, brought up to date after every update.
pub struct LocalModel {
    params: Arc<Params>,
    source: Option<PathBuf>,
    precision: Precision,
    /// None until it is first needed.
    engine: Option<Engine>,
    /// Whether the engine's weights are those of `params`.
    current: bool,
    trainer: Trainer,
    recompute: Recompute,
    memory: MachineMemory,
}

impl LocalModel {
    /// A model of these weights that computes in f32.
    pub fn new(params: Params) -> Self {
        Self {
            params: Arc::new(params),
            source: None,
            precision: Precision::F32,
            engine: None,
            current: false,
            trainer: Trainer::default(),
            recompute: Recompute::Auto,
            memory: MachineMemory::detect(),
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

    /// Computes matrix products in this precision; parameters, gradients and moments stay f32.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        (self.precision, self.engine, self.current) = (precision, None, false);
        self
    }

    /// Whether layers are recomputed in the backward pass instead of kept.
    #[must_use]
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        self.recompute = recompute;
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

    /// A model of the weights as they are now, which stay when this one is trained. As long as this one is not,
    /// both read the same memory.
    pub fn frozen(&mut self) -> FrozenModel {
        FrozenModel::of(Arc::clone(&self.engine().weights))
    }

    /// Shape and constants.
    pub fn spec(&self) -> &ModelSpec {
        &self.params.spec
    }

    /// The weights.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What matrix products are computed in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The gradients gathered since the last update, in the layout of the parameters; empty before
    /// the first `backward`.
    pub fn gradients(&self) -> Vec<f32> {
        self.trainer.gradients(&self.params)
    }

    /// Logits of every position. `[T] -> [T, V]`
    ///
    /// # Errors
    /// An id outside the vocabulary, or a sequence longer than the context.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.engine().logits(tokens)
    }

    /// The engine, with the weights as they are now.
    fn engine(&mut self) -> &mut Engine {
        let Self { engine, params, precision, current, .. } = self;
        let pack = || Arc::new(Weights::new(params, *precision));
        let engine = engine.get_or_insert_with(|| {
            *current = true;
            Engine::new(pack())
        });
        if !*current {
            match Arc::get_mut(&mut engine.weights) {
                Some(weights) => weights.refill(params),
                // a frozen model keeps the old ones
                None => engine.weights = pack(),
            }
            engine.weights_changed();
            *current = true;
        }
        engine
    }
}

impl Generate for LocalModel {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.engine().generate(prompts, sampling, progress)
    }
}

impl Score for LocalModel {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.engine().score(batch)
    }
}

impl Train for LocalModel {
    fn token_budget(&self) -> usize {
        self.memory.token_budget(self.spec(), self.precision, self.recompute)
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.engine().prepare(batch)?;
        let recompute =
            self.memory.recomputes(self.spec(), self.precision, self.recompute, batch.tokens.len());
        let keep = if recompute { Keep::Inputs } else { Keep::Everything };
        let Self { engine: Some(engine), trainer, .. } = self else { unreachable!("`engine` made it") };
        let forwarded = Forwarded::run(&engine.decoder(), batch, keep, trainer.spare());
        trainer.score(&engine.decoder(), batch, forwarded)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        self.engine();
        let Self { engine: Some(engine), trainer, params, .. } = self else {
            unreachable!("`engine` made it")
        };
        trainer.backward(&engine.decoder(), params, d_logprobs)
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        let report = self.trainer.update(&mut self.params, settings)?;
        self.current = false;
        Ok(report)
    }

    fn save_state(&self, dir: &Path) -> Result<(), ModelError> {
        self.export(dir, Dtype::F32)?;
        self.trainer.save(&self.params, dir)
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
        self.trainer = trainer;
        self.current = false;
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
            let key = SampleKey { stream: Stream::Init, step: 0, question: index as u32, sample: 0 };
            let rng = SampleRng::new(seed, key);
            for (i, value) in values.iter_mut().enumerate() {
                *value = 0.02 * normal(&rng, i as u32);
            }
        }
    }
    params
}
