//! A model on a device whose weights stay as they are.

use std::sync::Arc;

use thinktune_compute::Backend;
use thinktune_policy::{
    Batcher, Completion, Generate, GenerateProgress, ModelError, Prompt, Sampling, Score, TokenBatch,
    TokenScores,
};

use crate::ModelSpec;
use crate::decoder::Weights;
use crate::engine::Engine;
use crate::memory::Budget;
use crate::on_device::ReadOnly;
use crate::scheduler::batch::RunningBatch;

/// A model that is only read.
pub(crate) struct Frozen<B: Backend> {
    engine: Engine<B>,
}

impl<B: Backend> Frozen<B> {
    pub(crate) fn new(backend: B, weights: Arc<Weights<B>>) -> Self {
        Self { engine: Engine::new(backend, weights) }
    }
}

impl<B: Backend> ReadOnly for Frozen<B> {
    fn share(&self) -> Box<dyn ReadOnly> {
        let mut twin = Self::new(self.engine.backend.clone(), Arc::clone(&self.engine.weights));
        twin.set_budget(self.engine.budget);
        Box::new(twin)
    }

    fn set_budget(&mut self, budget: Budget) {
        self.engine.set_budget(budget);
    }

    fn into_batcher(self: Box<Self>) -> Box<dyn Batcher> {
        Box::new(RunningBatch::new(self.engine))
    }

    fn spec(&self) -> &ModelSpec {
        self.engine.spec()
    }

    fn weight_bytes(&self) -> u64 {
        self.engine.weights.bytes(&self.engine.backend)
    }

    fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        self.engine.logits(tokens)
    }
}

impl<B: Backend> Generate for Frozen<B> {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.engine.generate(prompts, sampling, progress)
    }
}

impl<B: Backend> Score for Frozen<B> {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.engine.score(batch)
    }
}
