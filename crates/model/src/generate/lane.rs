//! A lane: rows decoded side by side by one thread, or by all threads together.

use std::sync::Arc;

use super::cache::{Preamble, Segment, prefill};
use super::choose::choose;
use super::queue::{Exchange, Queue};
use crate::ModelError;
use crate::decoder::{Activations, Decoder, Run, Workspace};
use crate::rng::SampleRng;
use crate::surface::{Completion, Finish, Prompt, Sampling};

/// A finished completion and whose it is.
pub(crate) struct Done {
    pub(crate) prompt: usize,
    pub(crate) sample: usize,
    pub(crate) completion: Completion,
}

/// A row being decoded.
pub(super) struct Row {
    prompt: usize,
    sample: usize,
    rng: SampleRng,
    prefix: Arc<Segment>,
    own: Segment,
    /// Tokens before the completion.
    prompt_len: usize,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
}

impl Row {
    /// Appends a drawn token; says why the row ends, if it does.
    fn push(&mut self, token: u32, logprob: f32, sampling: &Sampling, context: usize) -> Option<Finish> {
        self.tokens.push(token);
        self.logprobs.push(logprob);
        if sampling.stop.contains(&token) {
            return Some(Finish::Stop);
        }
        let full = self.tokens.len() >= sampling.max_tokens || self.prompt_len + self.tokens.len() >= context;
        full.then_some(Finish::Length)
    }

    fn done(self, finish: Finish) -> Done {
        let completion = Completion { tokens: self.tokens, logprobs: self.logprobs, finish };
        Done { prompt: self.prompt, sample: self.sample, completion }
    }
}

/// A prompt that has been run: its keys and values, and the logits of its first completion token.
pub(super) struct Prefilled {
    segment: Arc<Segment>,
    logits: Vec<f32>,
}

/// Samples of a prompt that have not all entered yet.
struct Waiting<'a> {
    index: usize,
    prompt: &'a Prompt,
    prefilled: Arc<Prefilled>,
    next: usize,
    end: usize,
}

/// See the module.
pub(crate) struct Lane<'a> {
    decoder: Decoder<'a>,
    preamble: Option<&'a Preamble>,
    sampling: &'a Sampling,
    capacity: usize,
    waiting: Option<Waiting<'a>>,
    rows: Vec<Row>,
    acts: Activations,
    space: Workspace,
    logits: Vec<f32>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        decoder: Decoder<'a>,
        preamble: Option<&'a Preamble>,
        sampling: &'a Sampling,
        capacity: usize,
    ) -> Self {
        Self {
            decoder,
            preamble,
            sampling,
            capacity,
            waiting: None,
            rows: Vec::new(),
            acts: Activations::default(),
            space: Workspace::default(),
            logits: Vec::new(),
        }
    }

    /// Takes samples from `queue` and decodes until there are none, and no lane of `exchange` has rows to give
    /// away. Stops early when `emit` says that nobody listens.
    pub(crate) fn run(
        &mut self,
        queue: &Queue<'a>,
        exchange: &Exchange,
        emit: &mut dyn FnMut(Done) -> bool,
    ) -> Result<(), ModelError> {
        loop {
            while self.rows.len() < self.capacity {
                if self.waiting.is_none() && !self.take(queue) {
                    break;
                }
                if let Some(done) = self.enter()?
                    && !emit(done)
                {
                    return Ok(());
                }
            }
            if self.rows.is_empty() {
                self.rows = exchange.receive();
                if self.rows.is_empty() {
                    return Ok(());
                }
            }
            if self.rows.len() > 1 && exchange.wanted() {
                exchange.give(self.rows.split_off(self.rows.len() / 2));
            }
            for done in self.decode()? {
                if !emit(done) {
                    return Ok(());
                }
            }
        }
    }

    /// Takes the next samples from the queue; false if there are none.
    fn take(&mut self, queue: &Queue<'a>) -> bool {
        let Some(unit) = queue.next() else { return false };
        let prefilled = unit.prefilled(|| self.prefill(unit.prompt));
        self.waiting = Some(Waiting {
            index: unit.index,
            prompt: unit.prompt,
            prefilled,
            next: unit.samples.start,
            end: unit.samples.end,
        });
        true
    }

    fn prefill(&mut self, prompt: &Prompt) -> Prefilled {
        let before = self.preamble.map_or(0, |preamble| preamble.tokens.len());
        let (segment, last) = prefill(&self.decoder, self.preamble, &prompt.tokens[before..]);
        let mut logits = Vec::new();
        self.head(&last, &mut logits);
        Prefilled { segment: Arc::new(segment), logits }
    }

    /// Final norm and LM head. `[R, D] -> [R, V]`
    fn head(&mut self, rows: &[f32], logits: &mut Vec<f32>) {
        let Self { decoder, space, .. } = self;
        decoder.norm(&decoder.weights.final_norm, rows, &mut space.normed);
        decoder.logits(&space.normed, &mut space.rows, logits);
    }

    /// Lets the next waiting sample enter: its first token is drawn from the prompt's
    /// logits. Returns it at once if that token ends it.
    fn enter(&mut self) -> Result<Option<Done>, ModelError> {
        let Some(waiting) = &mut self.waiting else { return Ok(None) };
        let sample = waiting.next;
        let Some(&key) = waiting.prompt.keys[..waiting.end].get(sample) else {
            self.waiting = None;
            return Ok(None);
        };
        waiting.next += 1;
        let spec = self.decoder.spec();
        let rng = SampleRng::new(self.sampling.seed, key);
        let mut row = Row {
            prompt: waiting.index,
            sample,
            rng,
            prefix: Arc::clone(&waiting.prefilled.segment),
            own: Segment::new(spec.layers),
            prompt_len: waiting.prompt.tokens.len(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
        };
        let (token, logprob) = choose(&waiting.prefilled.logits, self.sampling, rng.uniform(0))?;
        let ended = row.push(token, logprob, self.sampling, spec.context);
        if waiting.next == waiting.end {
            self.waiting = None;
        }
        match ended {
            Some(finish) => Ok(Some(row.done(finish))),
            None => {
                self.rows.push(row);
                Ok(None)
            }
        }
    }

    /// One more token for every row; returns the rows that ended.
    fn decode(&mut self) -> Result<Vec<Done>, ModelError> {
        self.forward();
        let context = self.decoder.spec().context;
        let drawn = self.draw()?;
        let mut finished = Vec::new();
        for ((index, row), (token, logprob)) in self.rows.iter_mut().enumerate().zip(drawn) {
            if let Some(finish) = row.push(token, logprob, self.sampling, context) {
                finished.push((index, finish));
            }
        }
        // from the back, so that the indices in front stay right
        let done: Vec<Done> =
            finished.into_iter().rev().map(|(index, finish)| self.rows.remove(index).done(finish)).collect();
        Ok(done)
    }

    /// Draws a token for every row from `self.logits`; returns each with its log-prob.
    fn draw(&self) -> Result<Vec<(u32, f32)>, ModelError> {
        let vocab = self.decoder.spec().vocab_size;
        let mut drawn: Vec<Option<Result<(u32, f32), ModelError>>> = Vec::new();
        drawn.resize_with(self.rows.len(), || None);
        self.decoder.threads.chunks_mut(&mut drawn, 1, |index, drawn| {
            let (row, logits) = (&self.rows[index], &self.logits[index * vocab..][..vocab]);
            let u = row.rng.uniform(row.tokens.len() as u32);
            drawn[0] = Some(choose(logits, self.sampling, u));
        });
        drawn.into_iter().flatten().collect()
    }

    /// Runs every row's last token through the decoder, into `self.logits`.
    fn forward(&mut self) {
        let Self { decoder, preamble, rows, acts, space, .. } = self;
        let spec = decoder.spec();
        let stride = spec.kv_heads * spec.head_dim;
        let last: Vec<u32> = rows.iter().filter_map(|row| row.tokens.last().copied()).collect();
        let positions: Vec<usize> = rows.iter().map(|row| row.prompt_len + row.tokens.len() - 1).collect();
        let mut x = Vec::new();
        decoder.embed(&last, &mut acts.x);
        for layer in 0..spec.layers {
            decoder.project(layer, &positions, acts, space);
            let new = acts.k.chunks_exact(stride).zip(acts.v.chunks_exact(stride));
            for (row, (keys, values)) in rows.iter_mut().zip(new) {
                row.own.layer_mut(layer).extend(keys, values, stride);
            }
            let Activations { q, attention, lse, .. } = acts;
            let shared = preamble.map(|preamble| preamble.segment.layer(layer).span()).unwrap_or_default();
            let runs = rows.iter().map(|row| {
                let own = row.own.layer(layer).span();
                let before = [shared, row.prefix.layer(layer).span()];
                Run { rows: 1, before, own, first: own.len - 1 }
            });
            decoder.attend(q, attention, lse, runs);
            decoder.finish(layer, acts, space, &mut x);
            std::mem::swap(&mut acts.x, &mut x);
        }
        let mut logits = std::mem::take(&mut self.logits);
        let hidden = std::mem::take(&mut self.acts.x);
        self.head(&hidden, &mut logits);
        (self.logits, self.acts.x) = (logits, hidden);
    }
}
