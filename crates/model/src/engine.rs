//! What a model that is only read can do: generate and score. A model that learns has one too.

use std::sync::Arc;

use thinktune_compute::Backend;
use thinktune_policy::{Completion, GenerateProgress, ModelError, Prompt, Sampling, TokenBatch, TokenScores};

use crate::ModelSpec;
use crate::decoder::head::HeadSpace;
use crate::decoder::{Context, Decoder, Keep, Rope, Trail, Weights, Workspace};
use crate::error::of_device;
use crate::memory::{Budget, MachineMemory, Recompute};
use crate::rows;
use crate::scheduler::prefixes::PrefixStore;
use crate::scheduler::{Model, generate};
use crate::trainer;

/// Weights on a device, with what lasts from call to call as long as they stay.
pub(crate) struct Engine<B: Backend> {
    pub(crate) backend: B,
    pub(crate) weights: Arc<Weights<B>>,
    pub(crate) rope: Rope<B>,
    /// Prefilled beginnings of prompts.
    pub(crate) prefixes: PrefixStore<B>,
    pub(crate) budget: Budget,
}

impl<B: Backend> Engine<B> {
    pub(crate) fn new(backend: B, weights: Arc<Weights<B>>) -> Self {
        let spec = &weights.spec;
        let budget = Budget::alone(MachineMemory::detect(), spec, weights.precision);
        let (rope, prefixes) = (Rope::new(spec), prefix_store(budget, spec));
        Self { backend, weights, rope, prefixes, budget }
    }

    /// Keeps within `budget` from now on.
    pub(crate) fn set_budget(&mut self, budget: Budget) {
        (self.budget, self.prefixes) = (budget, prefix_store(budget, &self.weights.spec));
    }

    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.weights.spec
    }

    pub(crate) fn decoder(&self) -> Decoder<'_, B> {
        Decoder { backend: &self.backend, weights: &self.weights, rope: &self.rope }
    }

    /// Forgets what depends on the old weights.
    pub(crate) fn weights_changed(&mut self) {
        self.prefixes.clear();
    }

    /// Makes the rope table long enough for `positions`.
    pub(crate) fn reserve(&mut self, positions: usize) -> Result<(), ModelError> {
        self.rope.reserve(&self.backend, positions).map_err(of_device)
    }

    /// Checks a batch and makes the rope table long enough for it.
    pub(crate) fn prepare(&mut self, batch: &TokenBatch) -> Result<(), ModelError> {
        rows::check(self.spec(), batch)?;
        self.reserve(rows::longest(batch))
    }

    /// See [`Generate::generate`](thinktune_policy::Generate::generate).
    pub(crate) fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        progress: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        generate::check(self.spec(), prompts, sampling)?;
        let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
        self.reserve(self.spec().context.min(longest + sampling.max_tokens))?;
        let Self { backend, weights, rope, prefixes, budget } = self;
        let model = Model { weights: &*weights, rope: &*rope, prefixes: None };
        let beginning = generate::shared_beginning(backend, &model, prefixes, prompts);
        generate::run((backend, &model, *budget), prompts, beginning.as_ref(), sampling, progress)
    }

    /// See [`Score::score`](thinktune_policy::Score::score).
    pub(crate) fn score(&mut self, batch: &TokenBatch) -> Result<TokenScores, ModelError> {
        self.prepare(batch)?;
        let budget = self.budget.micro_batch_tokens(self.spec(), self.weights.precision, Recompute::Auto);
        let decoder = self.decoder();
        let (mut head, mut space) = (HeadSpace::default(), Workspace::default());
        let mut trail = Trail::new(Keep::Nothing);
        let mut scores = TokenScores::default();
        for piece in rows::split(batch, budget) {
            let plan = self.backend.plan(rows::row_layout(&piece));
            decoder.forward(&piece.tokens, &plan, Context::Packed, &mut trail, &mut space);
            let predictions = rows::predictions(&piece);
            let spaces = (&mut head, &mut space);
            let part = trainer::score(&decoder, trail.output(), (&predictions, &piece), false, spaces)?;
            scores.logprobs.extend(part.logprobs);
            scores.entropies.extend(part.entropies);
        }
        Ok(scores)
    }

    /// Logits of every position. `[T] -> [T, V]`
    pub(crate) fn logits(&mut self, tokens: &[u32]) -> Result<Vec<f32>, ModelError> {
        let mut batch = TokenBatch::new(1.0);
        batch.push(tokens, []);
        self.prepare(&batch)?;
        let decoder = self.decoder();
        let (mut trail, mut space) = (Trail::new(Keep::Nothing), Workspace::default());
        let plan = self.backend.plan(rows::row_layout(&batch));
        decoder.forward(tokens, &plan, Context::Packed, &mut trail, &mut space);
        let mut logits = B::Buffer::default();
        decoder.logits_of_rows(trail.output(), &mut space, &mut logits);
        let mut out = vec![0.0; self.backend.len(&logits)];
        self.backend.download(&logits, 0..out.len(), &mut out).map_err(of_device)?;
        Ok(out)
    }
}

fn prefix_store<B: Backend>(budget: Budget, spec: &ModelSpec) -> PrefixStore<B> {
    PrefixStore::new(Budget::tokens(budget.prefixes, spec))
}
