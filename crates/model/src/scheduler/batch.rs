//! A batch that requests join and leave while it runs: what a server decodes with.

use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use thinktune_compute::{Backend, ComputeError};
use thinktune_policy::{
    Alternatives, BatchEvent, BatchLimits, BatchRequest, Batcher, Completion, Drawn, ModelError, Ticket,
};

use super::row::Owner;
use super::{Events, Limits, Model, Scheduler, Submission, check_prompt};
use crate::ModelSpec;
use crate::engine::Engine;
use crate::error::of_device;
use crate::memory::Budget;

/// Prompt tokens run between two tokens of the running rows.
const PREFILL_TOKENS: usize = 256;

/// Rows decoded side by side at most.
const MOST_ROWS: usize = 256;

/// A model's running batch: one scheduler, or one per thread where each better decodes rows of its own.
pub(crate) struct RunningBatch<B: Backend> {
    engine: Engine<B>,
    next: usize,
    schedulers: Vec<Scheduler<B>>,
}

impl<B: Backend> RunningBatch<B> {
    /// A batch with nothing in it.
    pub(crate) fn new(engine: Engine<B>) -> Self {
        let spec = engine.spec();
        let (backend, bytes) = (&engine.backend, engine.weights.bytes(&engine.backend));
        // rows come and go: where two rows would share every product, more do as well
        let apart = backend.decoders(2, bytes).len() > 1;
        let handles = backend.decoders(if apart { MOST_ROWS } else { 1 }, bytes);
        let parts = handles.len();
        // half of the budget for running rows: prompts that wait for room hold keys and values too
        let tokens = Budget::tokens(engine.budget.kv / 2, spec).max(spec.context) / parts;
        let limits = Limits { rows: MOST_ROWS / parts, tokens, prefill: PREFILL_TOKENS };
        let schedulers = handles.into_iter().map(|handle| Scheduler::new(handle, limits)).collect();
        Self { engine, next: 0, schedulers }
    }

    /// Moves rows from the scheduler that has most to the one that has fewest until they differ by one at most.
    fn balance(&mut self) {
        loop {
            let sizes = || self.schedulers.iter().map(|scheduler| scheduler.rows.len()).enumerate();
            let most = sizes().max_by_key(|size| size.1);
            let fewest = sizes().min_by_key(|size| size.1);
            let (Some(most), Some(fewest)) = (most, fewest) else { return };
            if most.1 - fewest.1 < 2 {
                return;
            }
            if let Some(row) = self.schedulers[most.0].rows.pop() {
                self.schedulers[fewest.0].rows.push(row);
            }
        }
    }
}

impl<B: Backend> Batcher for RunningBatch<B> {
    fn limits(&self) -> BatchLimits {
        let spec = self.engine.spec();
        BatchLimits { vocab_size: spec.vocab_size, context: spec.context }
    }

    fn submit(&mut self, request: BatchRequest) -> Result<Ticket, ModelError> {
        check(self.engine.spec(), &request)?;
        let longest = request.prompt.len() + request.sampling.max_tokens;
        self.engine.reserve(longest.min(self.engine.spec().context))?;
        let ticket = Ticket(self.next);
        self.next += 1;
        let work = Submission {
            prompt_id: ticket.0,
            prompt: request.prompt,
            samples: request.keys.into_iter().enumerate().collect(),
            sampling: Arc::new(request.sampling),
            top: request.top,
            score_prompt: request.score_prompt,
            shared: None,
            beginning: None,
        };
        if let Some(idlest) = self.schedulers.iter_mut().min_by_key(|scheduler| scheduler.load()) {
            idlest.submit(work);
        }
        Ok(ticket)
    }

    fn is_idle(&self) -> bool {
        self.schedulers.iter().all(Scheduler::is_idle)
    }

    fn running(&self) -> usize {
        self.schedulers.iter().map(|scheduler| scheduler.rows.len()).sum()
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.schedulers.iter_mut().for_each(|scheduler| scheduler.cancel(ticket.0));
    }

    fn cancel_sample(&mut self, ticket: Ticket, sample: usize) {
        let owner = Owner { prompt: ticket.0, sample };
        self.schedulers.iter_mut().for_each(|scheduler| scheduler.cancel_sample(owner));
    }

    fn step(&mut self, emit: &mut dyn FnMut(Ticket, BatchEvent)) {
        self.balance();
        let Engine { weights, rope, prefixes, .. } = &mut self.engine;
        let prefixes = Mutex::new(prefixes);
        let model = Model { weights: &*weights, rope: &*rope, prefixes: Some(&prefixes) };
        let step = |scheduler: &mut Scheduler<B>| -> Gathered {
            let mut gathered = Gathered::default();
            let failed = scheduler.step(&model, &mut || None, &mut gathered).err();
            if let Some(error) = failed {
                gathered.lose(scheduler, &error);
            }
            gathered
        };
        let busy = self.schedulers.iter_mut().filter(|scheduler| !scheduler.is_idle());
        let mut busy: Vec<_> = busy.collect();
        let gathered: Vec<Gathered> = match busy.as_mut_slice() {
            [one] => vec![step(one)],
            more => more.par_iter_mut().map(|scheduler| step(scheduler)).collect(),
        };
        for (ticket, event) in gathered.into_iter().flat_map(|gathered| gathered.events) {
            emit(ticket, event);
        }
    }
}

/// Events of one step.
#[derive(Default)]
struct Gathered {
    events: Vec<(Ticket, BatchEvent)>,
}

impl Gathered {
    /// Ends every sample with the fault of the device.
    fn lose<B: Backend>(&mut self, scheduler: &mut Scheduler<B>, error: &ComputeError) {
        for owner in scheduler.abandon() {
            self.end(owner, Err(of_device(error.clone())));
        }
    }
}

impl Events for Gathered {
    fn prompt(&mut self, prompt: usize, scores: Vec<Alternatives>) {
        self.events.push((Ticket(prompt), BatchEvent::Prompt(scores)));
    }

    fn token(&mut self, owner: Owner, drawn: Drawn) {
        self.events.push((Ticket(owner.prompt), BatchEvent::Token { sample: owner.sample, drawn }));
    }

    fn end(&mut self, owner: Owner, how: Result<Completion, ModelError>) {
        let how = how.map(|completion| completion.finish);
        self.events.push((Ticket(owner.prompt), BatchEvent::End { sample: owner.sample, how }));
    }
}

fn check(spec: &ModelSpec, request: &BatchRequest) -> Result<(), ModelError> {
    let BatchRequest { prompt, sampling, .. } = request;
    let scored_only = sampling.max_tokens == 0 && request.score_prompt;
    check_prompt(spec, 0, prompt, if scored_only { 0 } else { 1 })?;
    if scored_only { Ok(()) } else { sampling.validate() }
}
