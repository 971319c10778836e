//! A model on a device that learns.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thinktune_compute::{Backend, Precision};
use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{
    AdamW, Completion, Generate, GenerateProgress, ModelError, Prompt, Sampling, Score, TokenBatch,
    TokenScores, Train, UpdateReport,
};

use crate::decoder::{Keep, Weights};
use crate::engine::Engine;
use crate::error::of_device;
use crate::frozen::Frozen;
use crate::memory::{Budget, MachineMemory, Recompute};
use crate::on_device::{Learning, ReadOnly};
use crate::trainer::Trainer;
use crate::{Dtype, ModelSpec, Params};

/// A trainer, and an engine whose weights follow the trainer's parameters.
pub(crate) struct Student<B: Backend> {
    trainer: Trainer<B>,
    precision: Precision,
    /// None until it is first needed.
    engine: Option<Engine<B>>,
    source: Option<PathBuf>,
    recompute: Recompute,
    machine: MachineMemory,
    /// None where the model has the machine to itself.
    budget: Option<Budget>,
}

impl<B: Backend> Student<B> {
    /// # Errors
    /// No memory on the device.
    pub(crate) fn new(backend: B, params: Params, precision: Precision) -> Result<Self, ModelError> {
        Ok(Self {
            trainer: Trainer::new(backend, params)?,
            precision,
            engine: None,
            source: None,
            recompute: Recompute::Auto,
            machine: MachineMemory::detect(),
            budget: None,
        })
    }

    /// The engine with the parameters as they are now, and the trainer.
    fn parts(&mut self) -> Result<(&mut Engine<B>, &mut Trainer<B>), ModelError> {
        let Self { trainer, engine, precision, budget, .. } = self;
        let engine = match engine {
            Some(engine) => engine,
            None => {
                let weights = lay_out(trainer, *precision)?;
                let engine = engine.insert(Engine::new(trainer.backend.clone(), weights));
                if let Some(budget) = *budget {
                    engine.set_budget(budget);
                }
                engine
            }
        };
        if engine.weights.version != trainer.version {
            match Arc::get_mut(&mut engine.weights) {
                Some(weights) => weights
                    .refill(&trainer.backend, &trainer.layout, &trainer.params, trainer.version)
                    .map_err(of_device)?,
                // a frozen model keeps the old ones
                None => engine.weights = lay_out(trainer, *precision)?,
            }
            engine.weights_changed();
        }
        Ok((engine, trainer))
    }

    fn budget(&self) -> Budget {
        let alone = || Budget::alone(self.machine, &self.trainer.spec, self.precision);
        self.budget.unwrap_or_else(alone)
    }

    fn engine(&mut self) -> Result<&mut Engine<B>, ModelError> {
        Ok(self.parts()?.0)
    }
}

/// The trainer's parameters as weights.
fn lay_out<B: Backend>(trainer: &Trainer<B>, precision: Precision) -> Result<Arc<Weights<B>>, ModelError> {
    let params = (&trainer.spec, &trainer.layout, &trainer.params);
    let weights = Weights::new(&trainer.backend, params, precision, trainer.version);
    weights.map(Arc::new).map_err(of_device)
}

impl<B: Backend> Learning for Student<B> {
    fn set_source(&mut self, dir: &Path) {
        self.source = Some(dir.to_owned());
    }

    fn set_precision(&mut self, precision: Precision) {
        (self.precision, self.engine) = (precision, None);
        // what is laid out in the old precision is not read again
        self.trainer.version += 1;
    }

    fn set_recompute(&mut self, recompute: Recompute) {
        self.recompute = recompute;
    }

    fn set_budget(&mut self, budget: Budget) {
        self.budget = Some(budget);
        if let Some(engine) = &mut self.engine {
            engine.set_budget(budget);
        }
    }

    fn save_weights(&self, dir: &Path, dtype: Dtype) -> Result<WrittenFile, ModelError> {
        let read = |at: Range<usize>, out: &mut [f32]| self.trainer.read(at, out);
        crate::checkpoint::save_tensors(dir, &self.trainer.layout, dtype, &read)
    }

    fn export(&self, dir: &Path, dtype: Dtype) -> Result<WrittenFile, ModelError> {
        let weights = self.save_weights(dir, dtype)?;
        match &self.source {
            Some(source) => {
                crate::copy_config(source, dir, dtype)?;
                crate::copy_side_files(source, dir)?;
            }
            None => self.spec().write_config(dir, dtype, None, &[])?,
        }
        Ok(weights)
    }

    fn frozen(&mut self) -> Result<Box<dyn ReadOnly>, ModelError> {
        let engine = self.engine()?;
        let mut frozen = Frozen::new(engine.backend.clone(), Arc::clone(&engine.weights));
        frozen.set_budget(engine.budget);
        Ok(Box::new(frozen))
    }

    fn spec(&self) -> &ModelSpec {
        &self.trainer.spec
    }

    fn params(&self) -> Result<Params, ModelError> {
        self.trainer.download()
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn gradients(&self) -> Result<Vec<f32>, ModelError> {
        self.trainer.gradients()
    }

    fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.engine()?.logits(tokens)
    }
}

impl<B: Backend> Generate for Student<B> {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.engine()?.generate(prompts, sampling, progress)
    }
}

impl<B: Backend> Score for Student<B> {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.engine()?.score(batch)
    }
}

impl<B: Backend> Train for Student<B> {
    fn token_budget(&self) -> usize {
        self.budget().micro_batch_tokens(self.spec(), self.precision, self.recompute)
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        let (budget, precision, recompute) = (self.budget(), self.precision, self.recompute);
        let (engine, trainer) = self.parts()?;
        engine.prepare(batch)?;
        let recomputes = budget.recomputes(&trainer.spec, precision, recompute, batch.tokens.len());
        let keep = if recomputes { Keep::Inputs } else { Keep::Everything };
        trainer.forward(&engine.decoder(), batch, keep)
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        let precision = self.precision;
        let (engine, trainer) = self.parts()?;
        trainer.backward(&engine.decoder(), precision, d_logprobs)
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        self.trainer.update(settings)
    }

    fn save_state(&self, dir: &Path) -> Result<Vec<WrittenFile>, ModelError> {
        Ok(vec![self.export(dir, Dtype::F32)?, self.trainer.save(dir)?])
    }

    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError> {
        let params = crate::load_params(dir)?;
        if params.spec != *self.spec() {
            return Err(ModelError::bad_file(
                dir,
                format!("holds a model of another shape: {:?}, {:?} expected", params.spec, self.spec()),
            ));
        }
        self.trainer.load(dir)?;
        self.trainer.replace(params)
    }
}
