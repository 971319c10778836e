//! A batch that requests join and leave while it runs: what a server decodes with.
//!
//! [`Generate`](thinktune_policy::Generate) takes all prompts at once and returns when all are done; a [`Scheduler`]
//! takes requests at any time, each with its own sampling, and gives tokens as they are drawn. Both run the same
//! rows, so a request's tokens are, bit for bit, what `generate` gives for it alone, whoever its neighbours are.

use std::collections::VecDeque;
use std::sync::Arc;

use rayon::prelude::*;
use thinktune_kernels::{Team, Threads};
use thinktune_policy::{
    Alternatives, BatchEvent, BatchLimits, BatchRequest, Batcher, Finish, ModelError, Sampling, Ticket,
};

use super::batch::{Batch, Ended, NewRow, Row, head};
use super::cache::{Segment, extend};
use super::choose::alternatives;
use super::prompts::PromptCache;
use super::{SMALL_MODEL_BYTES, check_prompt};
use crate::decoder::{Decoder, Workspace};
use crate::engine::Engine;
use crate::{FrozenModel, ModelSpec};

/// Prompt tokens run between two tokens of the running rows: more of them get a new request started sooner, fewer
/// let the others wait less.
const PREFILL_TOKENS: usize = 256;

/// Rows decoded side by side at most.
const MOST_ROWS: usize = 256;

/// A model's running batch. See the module.
pub struct Scheduler {
    engine: Engine,
    next: usize,
    pending: VecDeque<(Ticket, BatchRequest)>,
    filling: Option<Filling>,
    entering: Option<Entering>,
    /// One where all threads share every product, else one per thread.
    batches: Vec<Batch>,
    /// Tokens that each running row may come to hold, by row: (ticket, sample, tokens).
    reserved: Vec<(Ticket, usize, usize)>,
    limits: Limits,
    cache: PromptCache,
    space: Workspace,
}

/// What fits the memory.
#[derive(Debug, Clone, Copy)]
struct Limits {
    rows: usize,
    /// Tokens of all rows, prompts included.
    tokens: usize,
}

/// A prompt being run, a piece at a time.
struct Filling {
    ticket: Ticket,
    request: BatchRequest,
    segment: Segment,
    done: usize,
    scores: Vec<Alternatives>,
}

/// A prompt that has been run and whose samples have not all entered.
struct Entering {
    ticket: Ticket,
    request: BatchRequest,
    sampling: Arc<Sampling>,
    segment: Arc<Segment>,
    /// Of the first token of a completion.
    logits: Vec<f32>,
    next: usize,
}

impl Scheduler {
    /// A batch with nobody in it.
    pub fn new(model: FrozenModel) -> Self {
        let engine = model.into_engine();
        let spec = engine.spec();
        // an eighth of the memory for running rows, a thirty-second for prompts that may come again
        let tokens = engine.memory.kv_tokens(spec, 8).max(spec.context);
        let small = engine.weights.bytes() < SMALL_MODEL_BYTES;
        let batches = if small { rayon::current_num_threads() } else { 1 };
        Self {
            next: 0,
            pending: VecDeque::new(),
            filling: None,
            entering: None,
            batches: (0..batches).map(|_| Batch::default()).collect(),
            reserved: Vec::new(),
            limits: Limits { rows: MOST_ROWS, tokens },
            cache: PromptCache::new(engine.memory.kv_tokens(spec, 32), spec.kv_heads * spec.head_dim),
            space: Workspace::default(),
            engine,
        }
    }

    /// Shape and constants of the model.
    pub fn spec(&self) -> &ModelSpec {
        self.engine.spec()
    }

    /// Lets samples of the prompt that was run last enter while there is room.
    fn enter(&mut self, emit: &mut dyn FnMut(Ticket, BatchEvent)) {
        let spec = self.engine.spec();
        let (layers, context) = (spec.layers, spec.context);
        while let Some(entering) = &mut self.entering {
            let Some(&key) = entering.request.keys.get(entering.next) else {
                self.entering = None;
                return;
            };
            let prompt_len = entering.request.prompt.len();
            let tokens = (prompt_len + entering.sampling.max_tokens).min(context);
            let taken: usize = self.reserved.iter().map(|(_, _, tokens)| tokens).sum();
            let room = self.reserved.len() < self.limits.rows && taken + tokens <= self.limits.tokens;
            if !room && !self.reserved.is_empty() {
                return;
            }
            let (ticket, sample) = (entering.ticket, entering.next);
            entering.next += 1;
            let new = NewRow {
                prompt: ticket.0,
                sample,
                key,
                sampling: &entering.sampling,
                top: entering.request.top,
                prefix: &entering.segment,
                prompt_len,
            };
            let mut row = Row::new(new, layers);
            let how = match row.draw(&entering.logits) {
                Ok(drawn) => {
                    let finish = row.push(&drawn, context);
                    emit(ticket, BatchEvent::Token { sample, drawn });
                    finish.map(Ok)
                }
                Err(error) => Some(Err(error)),
            };
            match how {
                Some(how) => emit(ticket, BatchEvent::End { sample, how }),
                None => {
                    self.reserved.push((ticket, sample, tokens));
                    let emptiest = self.batches.iter_mut().min_by_key(|batch| batch.rows.len());
                    emptiest.expect("there is a batch").rows.push(row);
                }
            }
        }
    }

    /// Runs a piece of the prompt in front; false where none waits. One that is through goes on to enter.
    fn fill(&mut self, budget: &mut usize, emit: &mut dyn FnMut(Ticket, BatchEvent)) -> bool {
        let mut filling = match self.filling.take() {
            Some(filling) => filling,
            None => match self.pending.pop_front() {
                Some((ticket, request)) => {
                    Filling::begin(ticket, request, &mut self.cache, self.engine.spec())
                }
                None => return false,
            },
        };
        let decoder = self.engine.decoder();
        let (prompt, from) = (Arc::clone(&filling.request.prompt), filling.done);
        let to = prompt.len().min(from + *budget);
        *budget -= to - from;
        let output = extend(&decoder, None, &mut filling.segment, from, &prompt[from..to]);
        filling.done = to;
        if filling.request.score_prompt {
            let next = &prompt[from + 1..prompt.len().min(to + 1)];
            filling.scores.extend(score(&decoder, &output, next, filling.request.top, &mut self.space));
        }
        if to < prompt.len() {
            self.filling = Some(filling);
            return true;
        }
        let last = &output[output.len() - decoder.spec().width..];
        let mut logits = Vec::new();
        head(&decoder, last, &mut self.space, &mut logits);
        let Filling { ticket, request, segment, scores, .. } = filling;
        let segment = Arc::new(segment);
        self.cache.keep(&request.prompt, &segment);
        if request.score_prompt {
            emit(ticket, BatchEvent::Prompt(scores));
        }
        if request.sampling.max_tokens == 0 {
            let how = || Ok(Finish::Length);
            (0..request.keys.len()).for_each(|sample| emit(ticket, BatchEvent::End { sample, how: how() }));
            return true;
        }
        let sampling = Arc::new(request.sampling.clone());
        self.entering = Some(Entering { ticket, request, sampling, segment, logits, next: 0 });
        true
    }

    /// One token for every row.
    fn decode(&mut self, emit: &mut dyn FnMut(Ticket, BatchEvent)) {
        balance(&mut self.batches);
        let decoder = self.engine.decoder();
        let alone = self.batches.len() == 1;
        let run = |batch: &mut Batch, threads: Threads| {
            let mut tokens = Vec::with_capacity(batch.rows.len());
            let mut watch = |row: &Row, drawn| tokens.push((Ticket(row.prompt), row.sample, drawn));
            let ended = batch.decode(&Decoder { threads, ..decoder }, None, &mut watch);
            (tokens, ended)
        };
        let busy = self.batches.iter_mut().filter(|batch| !batch.rows.is_empty());
        let mut busy: Vec<&mut Batch> = busy.collect();
        let made: Vec<_> = match busy.as_mut_slice() {
            [] => return,
            [one] if alone => {
                vec![Team::with(decoder.threads.count(), |team| run(one, Threads::Team(team)))]
            }
            more => more.par_iter_mut().map(|batch| run(batch, Threads::One)).collect(),
        };
        for (tokens, ended) in made {
            for (ticket, sample, drawn) in tokens {
                emit(ticket, BatchEvent::Token { sample, drawn });
            }
            for Ended { prompt, sample, completion } in ended {
                let ticket = Ticket(prompt);
                self.release(ticket, sample);
                emit(ticket, BatchEvent::End { sample, how: completion.map(|completion| completion.finish) });
            }
        }
    }

    fn release(&mut self, ticket: Ticket, sample: usize) {
        self.reserved.retain(|(other, index, _)| (*other, *index) != (ticket, sample));
    }
}

impl Batcher for Scheduler {
    fn limits(&self) -> BatchLimits {
        BatchLimits { vocab_size: self.spec().vocab_size, context: self.spec().context }
    }

    fn submit(&mut self, request: BatchRequest) -> Result<Ticket, ModelError> {
        check(self.spec(), &request)?;
        let longest = request.prompt.len() + request.sampling.max_tokens;
        self.engine.reserve(longest.min(self.spec().context));
        let ticket = Ticket(self.next);
        self.next += 1;
        self.pending.push_back((ticket, request));
        Ok(ticket)
    }

    fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && self.filling.is_none()
            && self.entering.is_none()
            && self.reserved.is_empty()
    }

    fn running(&self) -> usize {
        self.reserved.len()
    }

    fn cancel(&mut self, ticket: Ticket) {
        self.pending.retain(|(other, _)| *other != ticket);
        self.filling.take_if(|filling| filling.ticket == ticket);
        self.entering.take_if(|entering| entering.ticket == ticket);
        self.reserved.retain(|(other, ..)| *other != ticket);
        for batch in &mut self.batches {
            batch.rows.retain(|row| row.prompt != ticket.0);
        }
    }

    fn cancel_sample(&mut self, ticket: Ticket, sample: usize) {
        self.release(ticket, sample);
        for batch in &mut self.batches {
            batch.rows.retain(|row| (row.prompt, row.sample) != (ticket.0, sample));
        }
    }

    fn step(&mut self, emit: &mut dyn FnMut(Ticket, BatchEvent)) {
        let mut budget = PREFILL_TOKENS;
        loop {
            self.enter(emit);
            if self.entering.is_some() || budget == 0 || !self.fill(&mut budget, emit) {
                break;
            }
        }
        self.decode(emit);
    }
}

impl Filling {
    fn begin(ticket: Ticket, request: BatchRequest, cache: &mut PromptCache, spec: &ModelSpec) -> Self {
        // a prompt that is scored needs the outputs of all its tokens
        let known = if request.score_prompt { None } else { cache.beginning(&request.prompt) };
        let (segment, done) = known.unwrap_or_else(|| (Segment::new(spec.layers), 0));
        Self { ticket, request, segment, done, scores: Vec::new() }
    }
}

/// What the rows of `output` say of the tokens that follow them. `[T, D]`, up to T tokens
fn score(
    decoder: &Decoder,
    output: &[f32],
    next: &[u32],
    top: Option<usize>,
    space: &mut Workspace,
) -> Vec<Alternatives> {
    let (width, vocab) = (decoder.spec().width, decoder.spec().vocab_size);
    if next.is_empty() {
        return Vec::new();
    }
    let mut logits = Vec::new();
    head(decoder, &output[..next.len() * width], space, &mut logits);
    let rows = logits.par_chunks_exact(vocab).zip(next);
    rows.map(|(row, &token)| alternatives(row, token, top.unwrap_or(0))).collect()
}

/// Moves rows from the longest batch to the shortest until they differ by one at most.
fn balance(batches: &mut [Batch]) {
    loop {
        let sizes = || batches.iter().map(|batch| batch.rows.len()).enumerate();
        let (Some(longest), Some(shortest)) = (sizes().max_by_key(|s| s.1), sizes().min_by_key(|s| s.1))
        else {
            return;
        };
        if longest.1 - shortest.1 < 2 {
            return;
        }
        if let Some(row) = batches[longest.0].rows.pop() {
            batches[shortest.0].rows.push(row);
        }
    }
}

fn check(spec: &ModelSpec, request: &BatchRequest) -> Result<(), ModelError> {
    let BatchRequest { prompt, sampling, .. } = request;
    let scored_only = sampling.max_tokens == 0 && request.score_prompt;
    check_prompt(spec, 0, prompt, if scored_only { 0 } else { 1 })?;
    if scored_only { Ok(()) } else { sampling.validate() }
}
