//! A lane: rows decoded side by side by one thread, or by all threads together.

use std::sync::Arc;

use super::cache::{Preamble, Segment, prefill};
use super::choose::choose;
use crate::ModelError;
use crate::decoder::{Activations, Decoder, Run};
use crate::rng::SampleRng;
use crate::surface::{Completion, Finish, Prompt, Sampling};

/// A finished completion and whose it is.
pub(crate) struct Done {
    pub(crate) prompt: usize,
    pub(crate) sample: usize,
    pub(crate) completion: Completion,
}

/// A row being decoded.
struct Row {
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

/// A prompt whose samples have not all entered yet.
struct Waiting<'a> {
    index: usize,
    prompt: &'a Prompt,
    segment: Arc<Segment>,
    logits: Vec<f32>,
    next_sample: usize,
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
    logits: Vec<f32>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        decoder: Decoder<'a>,
        preamble: Option<&'a Preamble>,
        sampling: &'a Sampling,
        capacity: usize,
    ) -> Self {
        let (rows, acts, logits) = (Vec::new(), Activations::default(), Vec::new());
        Self { decoder, preamble, sampling, capacity, waiting: None, rows, acts, logits }
    }

    /// Takes prompts from `queue` and decodes until it is empty. Stops early when `emit` says that
    /// nobody listens.
    pub(crate) fn run(
        &mut self,
        queue: impl Fn() -> Option<(usize, &'a Prompt)>,
        emit: &mut dyn FnMut(Done) -> bool,
    ) -> Result<(), ModelError> {
        loop {
            while self.rows.len() < self.capacity {
                if self.waiting.is_none() {
                    let Some((index, prompt)) = queue() else { break };
                    self.waiting = Some(self.prefill(index, prompt));
                }
                if let Some(done) = self.enter()?
                    && !emit(done)
                {
                    return Ok(());
                }
            }
            if self.rows.is_empty() {
                return Ok(());
            }
            for done in self.decode()? {
                if !emit(done) {
                    return Ok(());
                }
            }
        }
    }

    fn prefill(&mut self, index: usize, prompt: &'a Prompt) -> Waiting<'a> {
        let before = self.preamble.map_or(0, |preamble| preamble.tokens.len());
        let (segment, last) = prefill(&self.decoder, self.preamble, &prompt.tokens[before..]);
        let (mut normed, mut logits) = (Vec::new(), Vec::new());
        self.decoder.final_norm(&last, &mut normed);
        self.decoder.logits(&normed, &mut logits);
        Waiting { index, prompt, segment: Arc::new(segment), logits, next_sample: 0 }
    }

    /// Lets the next sample of the waiting prompt enter: its first token is drawn from the prompt's
    /// logits. Returns it at once if that token ends it.
    fn enter(&mut self) -> Result<Option<Done>, ModelError> {
        let Some(waiting) = &mut self.waiting else { return Ok(None) };
        let sample = waiting.next_sample;
        let Some(&key) = waiting.prompt.keys.get(sample) else {
            self.waiting = None;
            return Ok(None);
        };
        waiting.next_sample += 1;
        let spec = self.decoder.spec();
        let rng = SampleRng::new(self.sampling.seed, key);
        let mut row = Row {
            prompt: waiting.index,
            sample,
            rng,
            prefix: Arc::clone(&waiting.segment),
            own: Segment::new(spec.layers),
            prompt_len: waiting.prompt.tokens.len(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
        };
        let (token, logprob) = choose(&waiting.logits, self.sampling, rng.uniform(0))?;
        let ended = row.push(token, logprob, self.sampling, spec.context);
        if waiting.next_sample == waiting.prompt.keys.len() {
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
        let vocab = self.decoder.spec().vocab_size;
        let context = self.decoder.spec().context;
        let mut finished = Vec::new();
        for (index, row) in self.rows.iter_mut().enumerate() {
            let u = row.rng.uniform(row.tokens.len() as u32);
            let logits = &self.logits[index * vocab..(index + 1) * vocab];
            let (token, logprob) = choose(logits, self.sampling, u)?;
            if let Some(finish) = row.push(token, logprob, self.sampling, context) {
                finished.push((index, finish));
            }
        }
        // from the back, so that the indices in front stay right
        let done: Vec<Done> =
            finished.into_iter().rev().map(|(index, finish)| self.rows.remove(index).done(finish)).collect();
        Ok(done)
    }

    /// Runs every row's last token through the decoder, into `self.logits`.
    fn forward(&mut self) {
        let Self { decoder, preamble, rows, acts, logits, .. } = self;
        let spec = decoder.spec();
        let stride = spec.kv_heads * spec.head_dim;
        let last: Vec<u32> = rows.iter().filter_map(|row| row.tokens.last().copied()).collect();
        let positions: Vec<usize> = rows.iter().map(|row| row.prompt_len + row.tokens.len() - 1).collect();
        let mut x = Vec::new();
        decoder.embed(&last, &mut acts.x);
        for layer in 0..spec.layers {
            decoder.project(layer, &positions, acts);
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
            decoder.finish(layer, acts, &mut x);
            std::mem::swap(&mut acts.x, &mut x);
        }
        let mut normed = Vec::new();
        decoder.final_norm(&acts.x, &mut normed);
        decoder.logits(&normed, logits);
    }
}
