//! A lane: rows decoded side by side by one thread, or by all threads together.

use std::sync::Arc;

use thinktune_policy::{Completion, ModelError, Prompt, Sampling};

use super::batch::{Batch, Ended, NewRow, Row, head};
use super::cache::{Preamble, Segment, prefill};
use super::queue::{Exchange, Queue};
use crate::decoder::Decoder;

/// A finished completion and whose it is.
pub(crate) struct Done {
    pub(crate) prompt: usize,
    pub(crate) sample: usize,
    pub(crate) completion: Completion,
}

impl Done {
    fn of(ended: Ended) -> Result<Self, ModelError> {
        Ok(Self { prompt: ended.prompt, sample: ended.sample, completion: ended.completion? })
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
    sampling: Arc<Sampling>,
    capacity: usize,
    waiting: Option<Waiting<'a>>,
    batch: Batch,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        decoder: Decoder<'a>,
        preamble: Option<&'a Preamble>,
        sampling: &Sampling,
        capacity: usize,
    ) -> Self {
        let sampling = Arc::new(sampling.clone());
        Self { decoder, preamble, sampling, capacity, waiting: None, batch: Batch::default() }
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
            while self.batch.rows.len() < self.capacity {
                if self.waiting.is_none() && !self.take(queue) {
                    break;
                }
                if let Some(done) = self.enter()?
                    && !emit(done)
                {
                    return Ok(());
                }
            }
            if self.batch.rows.is_empty() {
                self.batch.rows = exchange.receive();
                if self.batch.rows.is_empty() {
                    return Ok(());
                }
            }
            if self.batch.rows.len() > 1 && exchange.wanted() {
                exchange.give(self.batch.rows.split_off(self.batch.rows.len() / 2));
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
        head(&self.decoder, &last, &mut self.batch.space, &mut logits);
        Prefilled { segment: Arc::new(segment), logits }
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
        let new = NewRow {
            prompt: waiting.index,
            sample,
            key,
            sampling: &self.sampling,
            top: None,
            prefix: &waiting.prefilled.segment,
            prompt_len: waiting.prompt.tokens.len(),
        };
        let mut row = Row::new(new, spec.layers);
        let drawn = row.draw(&waiting.prefilled.logits)?;
        let ended = row.push(&drawn, spec.context);
        if waiting.next == waiting.end {
            self.waiting = None;
        }
        match ended {
            Some(finish) => Ok(Some(Done::of(row.end(finish))?)),
            None => {
                self.batch.rows.push(row);
                Ok(None)
            }
        }
    }

    /// One more token for every row; returns the rows that ended.
    fn decode(&mut self) -> Result<Vec<Done>, ModelError> {
        let ended = self.batch.decode(&self.decoder, self.preamble, &mut |_, _| ());
        ended.into_iter().map(Done::of).collect()
    }
}
