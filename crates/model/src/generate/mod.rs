//! Sampling: continuous batching over a KV cache with shared prefixes.
//!
//! What all prompts begin with is prefilled once; each prompt is prefilled once for all its samples; a
//! finished row leaves and a waiting one enters. Since kernels are batch-invariant and random numbers
//! are keyed by sample and position, a completion depends on none of this.

mod batch;
mod cache;
mod choose;
mod lane;
mod prompts;
mod queue;
pub mod scheduler;

use std::sync::mpsc;

use thinktune_kernels::{Team, Threads};
use thinktune_policy::{Completion, GenerateProgress, ModelError, Prompt, Sampling};

pub(crate) use cache::{LayerCache, Preamble, shared_preamble};

use crate::ModelSpec;
use crate::decoder::Decoder;
use crate::memory::MachineMemory;
use lane::{Done, Lane};
use queue::{Exchange, Queue};

/// A model whose weights take fewer bytes than this stays in cache, so that each thread better decodes
/// rows of its own than shares the work of every product.
const SMALL_MODEL_BYTES: usize = 24 << 20;

/// Rows that a lane of a larger model must have to be worth its own pass over the weights.
const LANE_ROWS: usize = 16;

/// Refuses requests that cannot be run.
pub(crate) fn check(spec: &ModelSpec, prompts: &[Prompt], sampling: &Sampling) -> Result<(), ModelError> {
    for (index, prompt) in prompts.iter().enumerate() {
        check_prompt(spec, index, &prompt.tokens, 1)?;
    }
    sampling.validate()
}

/// Refuses a prompt that cannot be run, or leaves no room for `room` tokens.
fn check_prompt(spec: &ModelSpec, index: usize, tokens: &[u32], room: usize) -> Result<(), ModelError> {
    let length = tokens.len();
    if length == 0 {
        return Err(ModelError::BadInput(format!("prompt {index} is empty; at least one token is needed")));
    }
    if length + room > spec.context {
        return Err(ModelError::BadInput(format!(
            "prompt {index} has {length} tokens and leaves no room in the model's context of {}",
            spec.context
        )));
    }
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= spec.vocab_size) {
        return Err(ModelError::BadInput(format!(
            "prompt {index} holds token id {token}, outside the model's vocabulary of {} ids",
            spec.vocab_size
        )));
    }
    Ok(())
}

/// Completes all prompts.
pub(crate) fn run(
    decoder: &Decoder,
    prompts: &[Prompt],
    preamble: Option<&Preamble>,
    sampling: &Sampling,
    memory: MachineMemory,
    progress: &mut dyn FnMut(GenerateProgress),
) -> Result<Vec<Vec<Completion>>, ModelError> {
    let mut slots: Vec<Vec<Option<Completion>>> =
        prompts.iter().map(|prompt| vec![None; prompt.keys.len()]).collect();
    let total = slots.iter().map(Vec::len).sum();
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    let rows = memory.decode_rows(decoder.spec(), longest + sampling.max_tokens);
    let lanes = count_lanes(decoder, total);
    let capacity = total.div_ceil(lanes).clamp(1, rows);

    let (queue, exchange) = (Queue::new(prompts, lanes), Exchange::new(lanes));
    let mut finished = GenerateProgress { finished: 0, total, tokens: 0 };
    let mut take = |Done { prompt, sample, completion }| {
        finished.finished += 1;
        finished.tokens += completion.tokens.len();
        slots[prompt][sample] = Some(completion);
        progress(finished);
    };
    if lanes == 1 {
        Team::with(decoder.threads.count(), |team| {
            let decoder = Decoder { threads: Threads::Team(team), ..*decoder };
            Lane::new(decoder, preamble, sampling, capacity).run(&queue, &exchange, &mut |done| {
                take(done);
                true
            })
        })?;
    } else {
        let (sender, receiver) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                let (sender, queue, exchange) = (sender.clone(), &queue, &exchange);
                let decoder = Decoder { threads: Threads::One, ..*decoder };
                scope.spawn(move || {
                    let _closed = Closing(exchange);
                    // a closed channel means that another lane failed: nobody waits for this one
                    let mut emit = |done| sender.send(Ok(done)).is_ok();
                    let mut lane = Lane::new(decoder, preamble, sampling, capacity);
                    if let Err(error) = lane.run(queue, exchange, &mut emit) {
                        let _ = sender.send(Err(error));
                    }
                });
            }
            drop(sender);
            for done in receiver {
                take(done?);
            }
            Ok::<(), ModelError>(())
        })?;
    }
    Ok(slots.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect())
}

/// Lanes wait for one another's rows: whichever ends, in whatever way, ends the waiting.
struct Closing<'a>(&'a Exchange);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A thread of its own for each lane costs no waiting between kernels; sharing every product costs the weights
/// to be read once instead of once per lane. The second is worth more where lanes would have few rows.
fn count_lanes(decoder: &Decoder, rows: usize) -> usize {
    let threads = decoder.threads.count();
    let small = decoder.weights.bytes() < SMALL_MODEL_BYTES;
    let wanted = if small { 1 } else { LANE_ROWS };
    if rows >= wanted * threads {
        threads
    } else if small {
        rows.max(1)
    } else {
        1
    }
}
