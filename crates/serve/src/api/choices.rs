//! Answers as they grow: what the engine tells of each sample, turned into text and log-probs.

use std::sync::Arc;

use serde_json::{Value, json};
use thinktune_policy::{Alternatives, BatchEvent, Drawn, Finish};
use thinktune_text::ChatTokenizer;

use super::error::ApiError;
use super::sampling::Wanted;
use crate::engine::{Job, News};
use crate::text::Writer;

/// A token with what the model thinks of it.
#[derive(Debug, Clone)]
pub(crate) struct TokenInfo {
    pub(crate) token: u32,
    pub(crate) likely: Alternatives,
}

/// What one event adds to an answer.
pub(crate) struct Update {
    /// Index of the answer.
    pub(crate) choice: usize,
    pub(crate) text: String,
    pub(crate) infos: Vec<TokenInfo>,
    /// Why the answer is over, if it is.
    pub(crate) finish: Option<&'static str>,
}

/// A whole answer.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) infos: Vec<TokenInfo>,
    pub(crate) finish: &'static str,
}

/// One answer under way.
struct Choice {
    writer: Writer,
    /// All tokens drawn, the stop token included.
    tokens: Vec<u32>,
    finish: Option<&'static str>,
}

/// The answers of a request: `n` for each prompt.
pub(crate) struct Choices {
    codec: Arc<ChatTokenizer>,
    n: usize,
    stop: Vec<u32>,
    choices: Vec<Choice>,
    /// Of each prompt, where asked for.
    scores: Vec<Vec<Alternatives>>,
    prompt_tokens: usize,
    extended: bool,
}

impl Choices {
    /// Answers not yet begun. Their text continues that of the prompts where `continued`.
    pub(crate) fn new(
        codec: &Arc<ChatTokenizer>,
        wanted: &Wanted,
        prompts: &[Arc<[u32]>],
        continued: bool,
    ) -> Self {
        let choice = |prompt: &Arc<[u32]>| {
            let before = if continued { &prompt[..] } else { &[] };
            let writer = Writer::new(Arc::clone(codec), Arc::clone(&wanted.stops), before);
            Choice { writer, tokens: Vec::new(), finish: None }
        };
        Self {
            codec: Arc::clone(codec),
            n: wanted.n,
            stop: wanted.sampling.stop.clone(),
            choices: prompts.iter().flat_map(|prompt| (0..wanted.n).map(move |_| choice(prompt))).collect(),
            scores: vec![Vec::new(); prompts.len()],
            prompt_tokens: prompts.iter().map(|prompt| prompt.len()).sum(),
            extended: wanted.extension.is_some(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.choices.len()
    }

    /// Whether all answers are over.
    pub(crate) fn done(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    /// Log-probs of a prompt's tokens but the first.
    pub(crate) fn scores(&self, part: usize) -> &[Alternatives] {
        &self.scores[part]
    }

    /// The index of the prompt of an answer.
    pub(crate) fn part(&self, choice: usize) -> usize {
        choice / self.n
    }

    /// Takes in what the engine tells; none where it changes nothing a client sees.
    pub(crate) fn hear(&mut self, job: &Job, news: Option<News>) -> Result<Option<Update>, ApiError> {
        let (part, event) = match news {
            Some(Ok(news)) => news,
            Some(Err(error)) => return Err(ApiError::of_model(&error)),
            None => return Err(ApiError::stopped()),
        };
        match event {
            BatchEvent::Prompt(scores) => {
                self.scores[part] = scores;
                Ok(None)
            }
            BatchEvent::Token { sample, drawn } => Ok(self.token(job, part, sample, drawn)),
            BatchEvent::End { sample, how } => {
                let finish = how.map_err(|error| ApiError::of_model(&error))?;
                Ok(self.end(part, sample, finish))
            }
        }
    }

    fn token(&mut self, job: &Job, part: usize, sample: usize, drawn: Drawn) -> Option<Update> {
        let index = part * self.n + sample;
        let choice = &mut self.choices[index];
        if choice.finish.is_some() {
            return None;
        }
        choice.tokens.push(drawn.token);
        if self.stop.contains(&drawn.token) {
            // it ends the answer and is no part of it
            return None;
        }
        let text = choice.writer.push(drawn.token);
        if choice.writer.stopped() {
            choice.finish = Some("stop");
            job.end_sample(part, sample);
        }
        let info = |likely| TokenInfo { token: drawn.token, likely };
        let infos: Vec<TokenInfo> = drawn.alternatives.map(info).into_iter().collect();
        let finish = choice.finish;
        let silent = text.is_empty() && infos.is_empty() && finish.is_none();
        (!silent).then_some(Update { choice: index, text, infos, finish })
    }

    fn end(&mut self, part: usize, sample: usize, finish: Finish) -> Option<Update> {
        let index = part * self.n + sample;
        let choice = &mut self.choices[index];
        if choice.finish.is_some() {
            return None;
        }
        let text = choice.writer.finish();
        let cut = finish == Finish::Length && !choice.writer.stopped();
        choice.finish = Some(if cut { "length" } else { "stop" });
        Some(Update { choice: index, text, infos: Vec::new(), finish: choice.finish })
    }

    /// `usage`.
    pub(crate) fn usage(&self) -> Value {
        let completion: usize = self.choices.iter().map(|choice| choice.tokens.len()).sum();
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        })
    }

    /// `"thinktune"` of an answer, where the request had one.
    pub(crate) fn extension(&self, choice: usize) -> Option<Value> {
        let tokens = &self.choices[choice].tokens;
        let said = match tokens.split_last() {
            Some((last, said)) if self.stop.contains(last) => said,
            _ => tokens,
        };
        self.extended.then(|| json!({ "tokens": tokens, "text": self.codec.decode_raw(said) }))
    }

    /// Waits for all answers.
    pub(crate) async fn gather(&mut self, job: &mut Job) -> Result<Vec<Answer>, ApiError> {
        let mut answers: Vec<Answer> = (0..self.len()).map(|_| Answer::default()).collect();
        while !self.done() {
            let news = job.next().await;
            let Some(update) = self.hear(job, news)? else { continue };
            let answer = &mut answers[update.choice];
            answer.text.push_str(&update.text);
            answer.infos.extend(update.infos);
            answer.finish = update.finish.unwrap_or_default();
        }
        Ok(answers)
    }
}

/// A log-prob as JSON: minus infinity is no number there.
pub(crate) fn finite(logprob: f32) -> f32 {
    if logprob.is_nan() { -9999.0 } else { logprob.max(-9999.0) }
}
