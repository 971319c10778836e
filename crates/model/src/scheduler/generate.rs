//! `generate`: everything is submitted, and the decode loop runs until nothing is left.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, mpsc};

use thinktune_compute::{Backend, ComputeError};
use thinktune_policy::{Completion, GenerateProgress, ModelError, Prompt, Sampling};

use super::prefixes::{PrefixStore, SHORTEST, common_prefix};
use super::queue::{Exchange, Shared, lock};
use super::row::Owner;
use super::{Events, Limits, Model, Prefilled, Scheduler, Submission, check_prompt, prefill_beginning};
use crate::ModelSpec;
use crate::error::of_device;
use crate::memory::Budget;

/// Refuses requests that cannot be run.
pub(crate) fn check(spec: &ModelSpec, prompts: &[Prompt], sampling: &Sampling) -> Result<(), ModelError> {
    for (index, prompt) in prompts.iter().enumerate() {
        check_prompt(spec, index, &prompt.tokens, 1)?;
    }
    sampling.validate()
}

/// A prefilled beginning of all prompts of a call.
pub(crate) type Beginning<B> = (Arc<<B as Backend>::KvSeq>, usize);

/// The prefilled prefix that all prompts share, from an earlier call where that still serves.
/// Every prompt keeps at least one token of its own.
pub(crate) fn shared_beginning<B: Backend>(
    backend: &B,
    model: &Model<'_, B>,
    prefixes: &mut PrefixStore<B>,
    prompts: &[Prompt],
) -> Option<Beginning<B>> {
    let (first, rest) = prompts.split_first()?;
    let mut shared = &first.tokens[..first.tokens.len() - 1];
    for prompt in rest {
        shared = common_prefix(shared, &prompt.tokens[..prompt.tokens.len() - 1]);
    }
    let known = prefixes.find(shared);
    if let Some(known) = known.as_ref().filter(|known| 2 * known.len >= shared.len()) {
        return Some((Arc::clone(&known.seq), known.len));
    }
    if rest.is_empty() || shared.len() < SHORTEST {
        return None;
    }
    let seq = Arc::new(prefill_beginning(backend, model, known, shared));
    prefixes.keep(&shared.into(), &seq);
    Some((seq, shared.len()))
}

/// A finished sample and whose it is.
type Done = (Owner, Result<Completion, ModelError>);

/// Completes all prompts.
pub(crate) fn run<B: Backend>(
    (backend, model, budget): (&B, &Model<'_, B>, Budget),
    prompts: &[Prompt],
    beginning: Option<&Beginning<B>>,
    sampling: &Sampling,
    progress: &mut dyn FnMut(GenerateProgress),
) -> Result<Vec<Vec<Completion>>, ModelError> {
    let mut slots: Vec<Vec<Option<Completion>>> =
        prompts.iter().map(|prompt| vec![None; prompt.keys.len()]).collect();
    let total = slots.iter().map(Vec::len).sum();
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    let handles = backend.decoders(total, model.weights.bytes(backend));
    let spec = &model.weights.spec;
    let most = budget.rows(spec, spec.context.min(longest + sampling.max_tokens), handles.len());
    let rows = total.div_ceil(handles.len()).clamp(1, most);
    let limits = Limits { rows, tokens: usize::MAX, prefill: usize::MAX };

    let queue = Mutex::new(queue(prompts, beginning, sampling, handles.len()));
    let exchange = Exchange::new(handles.len());
    let mut finished = GenerateProgress { finished: 0, total, tokens: 0 };
    let mut take = |(owner, how): Done| {
        let completion = how?;
        finished.finished += 1;
        finished.tokens += completion.tokens.len();
        slots[owner.prompt][owner.sample] = Some(completion);
        progress(finished);
        Ok::<(), ModelError>(())
    };
    if let [handle] = handles.as_slice() {
        let mut failed = None;
        let mut scheduler = Scheduler::new(handle.clone(), limits);
        let ended = decode(&mut scheduler, model, (&queue, &exchange), &mut |done| {
            failed = take(done).err();
            failed.is_none()
        });
        failed.map_or(Ok(()), Err)?;
        ended.map_err(of_device)?;
    } else {
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for handle in handles {
                let (sender, queue, exchange) = (sender.clone(), &queue, &exchange);
                scope.spawn(move || {
                    let _closed = Closing(exchange);
                    // a closed channel means that another thread failed: nobody waits for this one
                    let mut emit = |done| sender.send(Ok(done)).is_ok();
                    let mut scheduler = Scheduler::new(handle, limits);
                    if let Err(error) = decode(&mut scheduler, model, (queue, exchange), &mut emit) {
                        let _ = sender.send(Err(error));
                    }
                });
            }
            drop(sender);
            for done in receiver {
                take(done.map_err(of_device)?)?;
            }
            Ok::<(), ModelError>(())
        })?;
    }
    Ok(slots.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect())
}

/// Steps until neither the queue nor other threads have work left, or `emit` says that nobody listens.
fn decode<B: Backend>(
    scheduler: &mut Scheduler<B>,
    model: &Model<'_, B>,
    (queue, exchange): (&Mutex<VecDeque<Submission<B>>>, &Exchange<B>),
    emit: &mut dyn FnMut(Done) -> bool,
) -> Result<(), ComputeError> {
    let mut emitting = Emitting { emit, heard: true };
    loop {
        scheduler.step(model, &mut || lock(queue).pop_front(), &mut emitting)?;
        if !emitting.heard {
            return Ok(());
        }
        if scheduler.is_idle() && lock(queue).is_empty() {
            scheduler.rows = exchange.receive();
            if scheduler.rows.is_empty() {
                return Ok(());
            }
        }
        if scheduler.rows.len() > 1 && exchange.wanted() {
            let half = scheduler.rows.len() / 2;
            exchange.give(scheduler.rows.split_off(half));
        }
    }
}

/// Passes on samples that are over.
struct Emitting<'a> {
    emit: &'a mut dyn FnMut(Done) -> bool,
    heard: bool,
}

impl Events for Emitting<'_> {
    fn end(&mut self, owner: Owner, how: Result<Completion, ModelError>) {
        self.heard = self.heard && (self.emit)((owner, how));
    }
}

/// All samples of `prompts`, in the order of their prompts; where prompts are too few for `threads`, each is cut among
/// them.
fn queue<B: Backend>(
    prompts: &[Prompt],
    beginning: Option<&Beginning<B>>,
    sampling: &Sampling,
    threads: usize,
) -> VecDeque<Submission<B>> {
    let parts = if prompts.len() >= 2 * threads { 1 } else { threads };
    let sampling = Arc::new(sampling.clone());
    let mut queue = VecDeque::new();
    for (index, prompt) in prompts.iter().enumerate() {
        let samples: Vec<_> = prompt.keys.iter().copied().enumerate().collect();
        let size = samples.len().div_ceil(parts).max(1);
        let units = samples.chunks(size);
        let shared: Arc<Shared<Prefilled<B>>> = Arc::new(Shared::new(units.len()));
        queue.extend(units.map(|samples| Submission {
            prompt_id: index,
            prompt: Arc::clone(&prompt.tokens),
            samples: samples.iter().copied().collect(),
            sampling: Arc::clone(&sampling),
            top: None,
            score_prompt: false,
            shared: Some(Arc::clone(&shared)),
            beginning: beginning.cloned(),
        }));
    }
    queue
}

/// Threads wait for one another's rows: whichever ends, in whatever way, ends the waiting.
struct Closing<'a, B: Backend>(&'a Exchange<B>);

impl<B: Backend> Drop for Closing<'_, B> {
    fn drop(&mut self) {
        self.0.close();
    }
}
