//! Continuous batching: the one decode loop.
//!
//! A [`Scheduler`] prefills prompts, lets their samples enter while there is room, and draws one token for every row
//! per [`step`](Scheduler::step). `generate` submits everything and steps until nothing is left ([`generate`]); a server
//! submits while it runs ([`batch`]). What prompts begin with in common is prefilled once, each prompt once for all its
//! samples. Operations are batch-invariant and random numbers are keyed by sample and position, so a completion
//! depends on none of this.

pub(crate) mod batch;
pub(crate) mod generate;
pub(crate) mod prefixes;
mod queue;
mod row;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use thinktune_compute::{Backend, ComputeError, Likeliest, RowLayout, RowSpan};
use thinktune_policy::{Alternatives, Completion, Drawn, Finish, ModelError, SampleKey, Sampling};

use crate::decoder::{Context, Decoder, Keep, Rope, Trail, Weights, Workspace};
use crate::scheduler::prefixes::{Prefix, PrefixStore};
use crate::scheduler::queue::Shared;
use crate::scheduler::row::{Owner, Row, reserved};

/// The model that a scheduler runs, and where it finds and keeps beginnings of prompts.
pub(crate) struct Model<'a, B: Backend> {
    pub(crate) weights: &'a Weights<B>,
    pub(crate) rope: &'a Rope<B>,
    /// None where prompts are not kept.
    pub(crate) prefixes: Option<&'a Mutex<&'a mut PrefixStore<B>>>,
}

/// A prompt and the samples of it that a scheduler is given.
pub(crate) struct Submission<B: Backend> {
    /// Whose it is, in the owner's terms.
    pub(crate) prompt_id: usize,
    pub(crate) prompt: Arc<[u32]>,
    /// Index and key of each sample.
    pub(crate) samples: VecDeque<(usize, SampleKey)>,
    pub(crate) sampling: Arc<Sampling>,
    /// Likeliest tokens wanted beside each that is drawn.
    pub(crate) top: Option<usize>,
    /// Whether the prompt's own tokens are scored.
    pub(crate) score_prompt: bool,
    /// Where schedulers that were given other samples of the prompt share its prefill.
    pub(crate) shared: Option<Arc<Shared<Prefilled<B>>>>,
    /// A prefilled beginning of a prompt that is shared.
    pub(crate) beginning: Option<(Arc<B::KvSeq>, usize)>,
}

/// A prompt that has been run: its keys and values, and the logits of its first completion token.
pub(crate) struct Prefilled<B: Backend> {
    seq: B::KvSeq,
    logits: B::Buffer,
}

/// Listener of a scheduler.
pub(crate) trait Events {
    /// The scores of a prompt's tokens but the first; come before any of its samples' tokens.
    fn prompt(&mut self, _prompt: usize, _scores: Vec<Alternatives>) {}
    /// A token was drawn.
    fn token(&mut self, _owner: Owner, _drawn: Drawn) {}
    /// A sample is over. An error is this sample's alone.
    fn end(&mut self, owner: Owner, how: Result<Completion, ModelError>);
}

/// Limits of the rows that run side by side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    /// Tokens that all rows may come to hold, prompts included.
    pub(crate) tokens: usize,
    /// Prompt tokens run between two tokens of the running rows: more of them get a new request started sooner, fewer
    /// let the others wait less.
    pub(crate) prefill: usize,
}

/// A prompt being run, a piece at a time.
struct Filling<B: Backend> {
    work: Submission<B>,
    seq: B::KvSeq,
    done: usize,
    scores: Vec<Alternatives>,
}

/// A prompt that has been run and whose samples have not all entered.
struct Entering<B: Backend> {
    work: Submission<B>,
    prefilled: Arc<Prefilled<B>>,
}

/// Rows decoded side by side on one handle of a device. See the module.
pub(crate) struct Scheduler<B: Backend> {
    backend: B,
    limits: Limits,
    pending: VecDeque<Submission<B>>,
    filling: Option<Filling<B>>,
    entering: Option<Entering<B>>,
    pub(crate) rows: Vec<Row<B>>,
    trail: Trail<B>,
    space: Workspace<B>,
    logits: B::Buffer,
}

impl<B: Backend> Scheduler<B> {
    pub(crate) fn new(backend: B, limits: Limits) -> Self {
        Self {
            backend,
            limits,
            pending: VecDeque::new(),
            filling: None,
            entering: None,
            rows: Vec::new(),
            trail: Trail::new(Keep::Nothing),
            space: Workspace::default(),
            logits: B::Buffer::default(),
        }
    }

    /// Takes a prompt; its samples enter as soon as there is room.
    pub(crate) fn submit(&mut self, work: Submission<B>) {
        self.pending.push_back(work);
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_filling() && self.rows.is_empty()
    }

    /// Whether a prompt waits, is being run, or has samples that have not entered.
    pub(crate) fn is_filling(&self) -> bool {
        !self.pending.is_empty() || self.filling.is_some() || self.entering.is_some()
    }

    /// Samples that run or wait.
    pub(crate) fn load(&self) -> usize {
        let waiting = self.pending.iter().map(|work| work.samples.len()).sum::<usize>();
        let filling = self.filling.as_ref().map_or(0, |filling| filling.work.samples.len());
        let entering = self.entering.as_ref().map_or(0, |entering| entering.work.samples.len());
        self.rows.len() + waiting + filling + entering
    }

    /// Forgets a prompt: its rows leave at once.
    pub(crate) fn cancel(&mut self, prompt: usize) {
        self.pending.retain(|work| work.prompt_id != prompt);
        self.filling.take_if(|filling| filling.work.prompt_id == prompt);
        self.entering.take_if(|entering| entering.work.prompt_id == prompt);
        self.rows.retain(|row| row.owner.prompt != prompt);
    }

    /// Ends one running sample; no event follows.
    pub(crate) fn cancel_sample(&mut self, owner: Owner) {
        self.rows.retain(|row| row.owner != owner);
    }

    /// Drops everything; returns whose samples are lost.
    pub(crate) fn abandon(&mut self) -> Vec<Owner> {
        let mut lost: Vec<Owner> = self.rows.drain(..).map(|row| row.owner).collect();
        let filling = self.filling.take().map(|filling| filling.work);
        let entering = self.entering.take().map(|entering| entering.work);
        for work in filling.into_iter().chain(entering).chain(self.pending.drain(..)) {
            lost.extend(
                work.samples.iter().map(|(sample, _)| Owner { prompt: work.prompt_id, sample: *sample }),
            );
        }
        lost
    }

    /// Runs a piece of what waits (from `more` where nothing of its own does) and draws one token for every row.
    ///
    /// # Errors
    /// A fault of the device: every sample is lost.
    pub(crate) fn step(
        &mut self,
        model: &Model<'_, B>,
        more: &mut dyn FnMut() -> Option<Submission<B>>,
        events: &mut dyn Events,
    ) -> Result<(), ComputeError> {
        let mut budget = self.limits.prefill;
        loop {
            self.enter(model, events)?;
            let full = self.rows.len() >= self.limits.rows;
            if self.entering.is_some()
                || full
                || budget == 0
                || !self.fill(model, more, &mut budget, events)?
            {
                break;
            }
        }
        self.decode(model, events)
    }

    /// Lets samples of the prompt that was run last enter while there is room.
    fn enter(&mut self, model: &Model<'_, B>, events: &mut dyn Events) -> Result<(), ComputeError> {
        let context = model.weights.spec.context;
        while let Some(entering) = &mut self.entering {
            let Entering { work, prefilled } = entering;
            if work.samples.is_empty() {
                self.entering = None;
                break;
            }
            let tokens = reserved(work.prompt.len(), &work.sampling, context);
            let taken: usize = self.rows.iter().map(|row| row.reserved(context)).sum();
            let room =
                self.rows.len() < self.limits.rows && taken.saturating_add(tokens) <= self.limits.tokens;
            if !room && !self.rows.is_empty() {
                break;
            }
            let Some((sample, key)) = work.samples.pop_front() else { break };
            let owner = Owner { prompt: work.prompt_id, sample };
            let seq = self.backend.kv_fork(&prefilled.seq, work.prompt.len());
            let mut row = Row::new(owner, key, (&work.sampling, work.top), seq, work.prompt.len());
            let drawn = self.backend.sample(&prefilled.logits, &[row.draw()])?.pop().flatten();
            let likeliest = match (work.top, drawn) {
                (Some(top), Some((token, _))) => {
                    let vocab = model.weights.spec.vocab_size;
                    self.backend.likeliest(&prefilled.logits, vocab, &[(0, token, top)])?.pop()
                }
                _ => None,
            };
            match settle(&mut row, drawn, likeliest, context, events) {
                None => self.rows.push(row),
                Some(how) => events.end(owner, how.map(|finish| row.end(finish))),
            }
        }
        Ok(())
    }

    /// Runs a piece of the prompt in front; false where none waits. One that is through goes on to enter.
    fn fill(
        &mut self,
        model: &Model<'_, B>,
        more: &mut dyn FnMut() -> Option<Submission<B>>,
        budget: &mut usize,
        events: &mut dyn Events,
    ) -> Result<bool, ComputeError> {
        let filling = match self.filling.take() {
            Some(filling) => filling,
            None => match self.pending.pop_front().or_else(&mut *more) {
                Some(work) => {
                    if let Some(shared) = work.shared.clone() {
                        let prefilled = shared.get(|| self.prefill(model, &work))?;
                        self.entering = Some(Entering { work, prefilled });
                        return Ok(true);
                    }
                    self.begin(model, work)
                }
                None => return Ok(false),
            },
        };
        match self.fill_piece(model, filling, budget)? {
            (filling, None) => self.filling = Some(filling),
            (Filling { work, seq, scores, .. }, Some(logits)) => {
                let prefilled = Arc::new(Prefilled { seq, logits });
                if let Some(prefixes) = model.prefixes {
                    let kept = self.backend.kv_fork(&prefilled.seq, work.prompt.len());
                    queue::lock(prefixes).keep(&work.prompt, &Arc::new(kept));
                }
                if work.score_prompt {
                    events.prompt(work.prompt_id, scores);
                }
                if work.sampling.max_tokens == 0 {
                    for (sample, _) in &work.samples {
                        let owner = Owner { prompt: work.prompt_id, sample: *sample };
                        events.end(owner, Ok(empty_completion()));
                    }
                } else {
                    self.entering = Some(Entering { work, prefilled });
                }
            }
        }
        Ok(true)
    }

    /// Where a prompt begins to be run: behind its longest known beginning.
    fn begin(&mut self, model: &Model<'_, B>, work: Submission<B>) -> Filling<B> {
        // a prompt that is scored needs the outputs of all its tokens; any other keeps a token to run
        let own = &work.prompt[..work.prompt.len().saturating_sub(1)];
        let known = match model.prefixes.filter(|_| !work.score_prompt) {
            Some(prefixes) => queue::lock(prefixes).find(own),
            None => None,
        };
        let known = known.as_ref().map(|Prefix { seq, len }| (&**seq, *len));
        let (seq, done) = begin_seq(&self.backend, model.weights, known);
        Filling { work, seq, done, scores: Vec::new() }
    }

    /// Runs a whole prompt.
    fn prefill(&mut self, model: &Model<'_, B>, work: &Submission<B>) -> Result<Prefilled<B>, ComputeError> {
        let known = work.beginning.as_ref().map(|(seq, len)| (&**seq, *len));
        let (mut seq, done) = begin_seq(&self.backend, model.weights, known);
        let rows = work.prompt.len() - done;
        self.extend(model, &mut seq, done, &work.prompt[done..]);
        let logits = self.last_logits(model, rows);
        Ok(Prefilled { seq, logits })
    }

    /// Runs the next piece of a prompt; the logits of its last token once it is through.
    fn fill_piece(
        &mut self,
        model: &Model<'_, B>,
        mut filling: Filling<B>,
        budget: &mut usize,
    ) -> Result<(Filling<B>, Option<B::Buffer>), ComputeError> {
        let (prompt, from) = (Arc::clone(&filling.work.prompt), filling.done);
        let to = prompt.len().min(from.saturating_add(*budget));
        *budget -= to - from;
        self.extend(model, &mut filling.seq, from, &prompt[from..to]);
        filling.done = to;
        if filling.work.score_prompt {
            let next = &prompt[from + 1..prompt.len().min(to + 1)];
            filling.scores.extend(self.score(model, next, filling.work.top)?);
        }
        let logits = (to == prompt.len()).then(|| self.last_logits(model, to - from));
        Ok((filling, logits))
    }

    /// Runs `tokens` behind the `done` positions that `seq` holds.
    fn extend(&mut self, model: &Model<'_, B>, seq: &mut B::KvSeq, done: usize, tokens: &[u32]) {
        let plan = self.backend.plan(RowLayout {
            positions: (done..done + tokens.len()).collect(),
            spans: vec![RowSpan { rows: 0..tokens.len(), prefix: None }],
        });
        let decoder = decoder(&self.backend, model);
        decoder.forward(tokens, &plan, Context::Cached(&mut [seq]), &mut self.trail, &mut self.space);
    }

    /// Logits of the last of the `rows` rows that were run. `[V]`
    fn last_logits(&mut self, model: &Model<'_, B>, rows: usize) -> B::Buffer {
        let (mut last, mut logits) = (B::Buffer::default(), B::Buffer::default());
        let width = model.weights.spec.width;
        self.backend.gather(self.trail.output(), width, &[rows - 1], &mut last);
        decoder(&self.backend, model).logits_of_rows(&last, &mut self.space, &mut logits);
        logits
    }

    /// What the rows that were run say of the tokens that follow them.
    fn score(
        &mut self,
        model: &Model<'_, B>,
        next: &[u32],
        top: Option<usize>,
    ) -> Result<Vec<Alternatives>, ComputeError> {
        if next.is_empty() {
            return Ok(Vec::new());
        }
        let (spec, mut rows) = (&model.weights.spec, B::Buffer::default());
        self.backend.copy(self.trail.output(), 0..next.len() * spec.width, &mut rows);
        decoder(&self.backend, model).logits_of_rows(&rows, &mut self.space, &mut self.logits);
        let wanted: Vec<_> =
            next.iter().enumerate().map(|(row, &token)| (row, token, top.unwrap_or(0))).collect();
        let found = self.backend.likeliest(&self.logits, spec.vocab_size, &wanted)?;
        Ok(found.into_iter().map(alternatives).collect())
    }

    /// One more token for every row.
    fn decode(&mut self, model: &Model<'_, B>, events: &mut dyn Events) -> Result<(), ComputeError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let (context, vocab) = (model.weights.spec.context, model.weights.spec.vocab_size);
        self.forward(model);
        let draws: Vec<_> = self.rows.iter().map(Row::draw).collect();
        let drawn = self.backend.sample(&self.logits, &draws)?;
        let mut likeliest: Vec<Option<Likeliest>> = vec![None; drawn.len()];
        let wanted: Vec<_> = self
            .rows
            .iter()
            .zip(&drawn)
            .enumerate()
            .filter_map(|(index, (row, drawn))| Some((index, drawn.as_ref()?.0, row.top?)))
            .collect();
        if !wanted.is_empty() {
            let found = self.backend.likeliest(&self.logits, vocab, &wanted)?;
            for ((index, ..), found) in wanted.iter().zip(found) {
                likeliest[*index] = Some(found);
            }
        }
        let mut over = Vec::new();
        for (index, (row, (drawn, likeliest))) in
            self.rows.iter_mut().zip(drawn.into_iter().zip(likeliest)).enumerate()
        {
            if let Some(how) = settle(row, drawn, likeliest, context, events) {
                over.push((index, how));
            }
        }
        // from the back, so that the indices in front stay right
        for (index, how) in over.into_iter().rev() {
            let row = self.rows.remove(index);
            events.end(row.owner, how.map(|finish| row.end(finish)));
        }
        Ok(())
    }

    /// Runs every row's last token through the decoder, into `self.logits`.
    fn forward(&mut self, model: &Model<'_, B>) {
        let tokens: Vec<u32> = self.rows.iter().filter_map(Row::last).collect();
        let plan = self.backend.plan(RowLayout {
            positions: self.rows.iter().map(Row::position).collect(),
            spans: (0..tokens.len()).map(|row| RowSpan { rows: row..row + 1, prefix: None }).collect(),
        });
        let mut seqs: Vec<&mut B::KvSeq> = self.rows.iter_mut().map(|row| &mut row.seq).collect();
        let decoder = decoder(&self.backend, model);
        let context = Context::Cached(&mut seqs);
        decoder.forward(&tokens, &plan, context, &mut self.trail, &mut self.space);
        decoder.logits_of_rows(self.trail.output(), &mut self.space, &mut self.logits);
    }
}

fn decoder<'a, B: Backend>(backend: &'a B, model: &'a Model<'_, B>) -> Decoder<'a, B> {
    Decoder { backend, weights: model.weights, rope: model.rope }
}

/// A sequence to go on from: behind the known positions of another, else empty; and the positions that it holds.
fn begin_seq<B: Backend>(
    backend: &B,
    weights: &Weights<B>,
    known: Option<(&B::KvSeq, usize)>,
) -> (B::KvSeq, usize) {
    match known {
        Some((seq, len)) => (backend.kv_fork(seq, len), len),
        None => (backend.kv(weights.spec.layers, weights.spec.kv_heads * weights.spec.head_dim), 0),
    }
}

/// Appends the token drawn for a row and tells of it; how the row ends, if it does.
fn settle<B: Backend>(
    row: &mut Row<B>,
    drawn: Option<(u32, f32)>,
    likeliest: Option<Likeliest>,
    context: usize,
    events: &mut dyn Events,
) -> Option<Result<Finish, ModelError>> {
    let Some((token, logprob)) = drawn else {
        return Some(Err(ModelError::NonFinite {
            what: "logits",
            detail: "while sampling; the weights hold NaN or infinite values, or overflow".into(),
        }));
    };
    let drawn = Drawn { token, logprob, alternatives: likeliest.map(alternatives) };
    let finish = row.push(&drawn, context);
    events.token(row.owner, drawn);
    finish.map(Ok)
}

fn alternatives(found: Likeliest) -> Alternatives {
    Alternatives { logprob: found.logprob, top: found.top }
}

fn empty_completion() -> Completion {
    Completion { tokens: Vec::new(), logprobs: Vec::new(), finish: Finish::Length }
}

/// Refuses a prompt that cannot be run, or leaves no room for `room` tokens.
pub(crate) fn check_prompt(
    spec: &crate::ModelSpec,
    index: usize,
    tokens: &[u32],
    room: usize,
) -> Result<(), ModelError> {
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

/// Prefills `tokens` behind a known beginning, for prompts that share them.
pub(crate) fn prefill_beginning<B: Backend>(
    backend: &B,
    model: &Model<'_, B>,
    known: Option<Prefix<B>>,
    tokens: &[u32],
) -> B::KvSeq {
    let limits = Limits { rows: 1, tokens: usize::MAX, prefill: usize::MAX };
    let mut scheduler = Scheduler::new(backend.clone(), limits);
    let known = known.as_ref().map(|Prefix { seq, len }| (&**seq, *len));
    let (mut seq, done) = begin_seq(backend, model.weights, known);
    scheduler.extend(model, &mut seq, done, &tokens[done..]);
    seq
}
