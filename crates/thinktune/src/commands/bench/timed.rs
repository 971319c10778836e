//! A model with a stopwatch: what the method asks of it, timed call by call.

use std::path::Path;
use std::time::{Duration, Instant};

use thinktune_model::LocalModel;
use thinktune_policy::model_files::WrittenFile;
use thinktune_policy::{
    AdamW, Completion, Generate, GenerateProgress, ModelError, Prompt, Sampling, Score, TokenBatch,
    TokenScores, Train, UpdateReport,
};

/// Time since the last [`Timed::take`], by what it was spent on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clocks {
    /// Packing new weights for the kernels.
    pub pack: Duration,
    /// Running the prompts.
    pub prefill: Duration,
    /// The rest of sampling.
    pub decode: Duration,
    /// Forward passes of training.
    pub forward: Duration,
    /// Backward passes.
    pub backward: Duration,
    /// Optimizer updates.
    pub update: Duration,
    /// Measuring `prefill`, which a second, separate run of the prompts does: no part of the work.
    pub aside: Duration,
}

impl Clocks {
    /// Everything but `aside`.
    pub fn work(&self) -> Duration {
        self.pack + self.prefill + self.decode + self.forward + self.backward + self.update
    }
}

/// See the module.
pub struct Timed {
    model: LocalModel,
    clocks: Clocks,
}

/// Adds the time `work` takes to `clock`.
pub fn clocked<T>(clock: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    *clock += start.elapsed();
    done
}

impl Timed {
    /// All clocks at 0.
    pub fn new(model: LocalModel) -> Self {
        Self { model, clocks: Clocks::default() }
    }

    /// The model.
    pub fn model(&self) -> &LocalModel {
        &self.model
    }

    /// Reads the clocks and sets them to 0.
    pub fn take(&mut self) -> Clocks {
        std::mem::take(&mut self.clocks)
    }
}

impl Generate for Timed {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        let Self { model, clocks } = self;
        // A batch of nothing makes the model ready and does no more.
        clocked(&mut clocks.pack, || model.score(&TokenBatch::new(1.0)))?;
        let mut whole = Duration::ZERO;
        let done = clocked(&mut whole, || model.generate(prompts, sampling, progress))?;
        // Completions of one token come from the prompts' own logits: all that is run is the prompts.
        let first = Sampling { max_tokens: 1, ..sampling.clone() };
        let mut prompts_alone = Duration::ZERO;
        clocked(&mut prompts_alone, || model.frozen()?.generate(prompts, &first, &mut |_| {}))?;
        let prefill = prompts_alone.min(whole);
        clocks.prefill += prefill;
        clocks.decode += whole - prefill;
        clocks.aside += prompts_alone;
        Ok(done)
    }
}

impl Score for Timed {
    fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.model.score(batch)
    }
}

impl Train for Timed {
    fn token_budget(&self) -> usize {
        self.model.token_budget()
    }

    fn forward(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        let Self { model, clocks } = self;
        clocked(&mut clocks.pack, || model.score(&TokenBatch::new(1.0)))?;
        clocked(&mut clocks.forward, || model.forward(batch))
    }

    fn backward(&mut self, d_logprobs: &[f32]) -> Result<(), ModelError> {
        clocked(&mut self.clocks.backward, || self.model.backward(d_logprobs))
    }

    fn update(&mut self, settings: &AdamW) -> Result<UpdateReport, ModelError> {
        clocked(&mut self.clocks.update, || self.model.update(settings))
    }

    fn save_state(&self, dir: &Path) -> Result<Vec<WrittenFile>, ModelError> {
        self.model.save_state(dir)
    }

    fn load_state(&mut self, dir: &Path) -> Result<(), ModelError> {
        self.model.load_state(dir)
    }
}
