//! Answers under way: the engine's events of each sample, turned into text and log-probs.

use std::sync::Arc;

use serde_json::{Value, json};
use thinktune_policy::{Alternatives, BatchEvent, Drawn, Finish};
use thinktune_text::ChatTokenizer;

use super::error::ApiError;
use super::params::GenerationParams;
use crate::engine::{EngineEvent, Submission};
use crate::text::IncrementalDecoder;

/// A token with the model's log-probs in its place.
#[derive(Debug, Clone)]
pub(crate) struct TokenInfo {
    pub(crate) token: u32,
    pub(crate) likely: Alternatives,
}

/// Text and log-probs that one event adds to an answer.
pub(crate) struct ChoiceUpdate {
    /// Index of the answer.
    pub(crate) choice: usize,
    pub(crate) text: String,
    pub(crate) infos: Vec<TokenInfo>,
    /// Reason of the end, once the answer is complete.
    pub(crate) finish: Option<&'static str>,
}

/// A complete answer.
#[derive(Default)]
pub(crate) struct FinishedChoice {
    pub(crate) text: String,
    pub(crate) infos: Vec<TokenInfo>,
    pub(crate) finish: &'static str,
}

/// One answer under way.
struct Choice {
    decoder: IncrementalDecoder,
    /// All tokens drawn, the stop token included.
    tokens: Vec<u32>,
    finish: Option<&'static str>,
}

/// The answers of a request: `n` for each prompt.
pub(crate) struct Choices {
    tokenizer: Arc<ChatTokenizer>,
    n: usize,
    /// Stop tokens.
    stop: Vec<u32>,
    choices: Vec<Choice>,
    /// Log-probs of each prompt, where asked for.
    scores: Vec<Vec<Alternatives>>,
    prompt_tokens: usize,
    /// The request has the field `thinktune`.
    extended: bool,
}

impl Choices {
    /// Answers not yet begun. Their text continues that of the prompts where `continued`.
    pub(crate) fn new(
        tokenizer: &Arc<ChatTokenizer>,
        params: &GenerationParams,
        prompts: &[Arc<[u32]>],
        continued: bool,
    ) -> Self {
        let choice = |prompt: &Arc<[u32]>| {
            let before = if continued { &prompt[..] } else { &[] };
            let decoder = IncrementalDecoder::new(Arc::clone(tokenizer), Arc::clone(&params.stops), before);
            Choice { decoder, tokens: Vec::new(), finish: None }
        };
        Self {
            tokenizer: Arc::clone(tokenizer),
            n: params.n,
            stop: params.sampling.stop.clone(),
            choices: prompts.iter().flat_map(|prompt| (0..params.n).map(move |_| choice(prompt))).collect(),
            scores: vec![Vec::new(); prompts.len()],
            prompt_tokens: prompts.iter().map(|prompt| prompt.len()).sum(),
            extended: params.extension.is_some(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.choices.len()
    }

    /// True once all answers are complete.
    pub(crate) fn done(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    /// Log-probs of a prompt's tokens but the first.
    pub(crate) fn scores(&self, prompt: usize) -> &[Alternatives] {
        &self.scores[prompt]
    }

    /// The index of the prompt of an answer.
    pub(crate) fn prompt_of(&self, choice: usize) -> usize {
        choice / self.n
    }

    /// Takes in an event of the engine; none where it changes nothing that a client sees.
    pub(crate) fn on_event(
        &mut self,
        submission: &Submission,
        event: Option<EngineEvent>,
    ) -> Result<Option<ChoiceUpdate>, ApiError> {
        let (prompt, event) = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) => return Err(ApiError::of_model(&error)),
            None => return Err(ApiError::stopped()),
        };
        match event {
            BatchEvent::Prompt(scores) => {
                self.scores[prompt] = scores;
                Ok(None)
            }
            BatchEvent::Token { sample, drawn } => Ok(self.on_token(submission, prompt, sample, drawn)),
            BatchEvent::End { sample, how } => {
                let finish = how.map_err(|error| ApiError::of_model(&error))?;
                Ok(self.on_end(prompt, sample, finish))
            }
        }
    }

    fn on_token(
        &mut self,
        submission: &Submission,
        prompt: usize,
        sample: usize,
        drawn: Drawn,
    ) -> Option<ChoiceUpdate> {
        let index = prompt * self.n + sample;
        let choice = &mut self.choices[index];
        if choice.finish.is_some() {
            return None;
        }
        choice.tokens.push(drawn.token);
        if self.stop.contains(&drawn.token) {
            // a stop token ends the answer and is no part of its text
            return None;
        }
        let text = choice.decoder.push(drawn.token);
        if choice.decoder.stopped() {
            choice.finish = Some("stop");
            submission.end_sample(prompt, sample);
        }
        let info = |likely| TokenInfo { token: drawn.token, likely };
        let infos: Vec<TokenInfo> = drawn.alternatives.map(info).into_iter().collect();
        let finish = choice.finish;
        let silent = text.is_empty() && infos.is_empty() && finish.is_none();
        (!silent).then_some(ChoiceUpdate { choice: index, text, infos, finish })
    }

    fn on_end(&mut self, prompt: usize, sample: usize, finish: Finish) -> Option<ChoiceUpdate> {
        let index = prompt * self.n + sample;
        let choice = &mut self.choices[index];
        if choice.finish.is_some() {
            return None;
        }
        let text = choice.decoder.finish();
        let cut = finish == Finish::Length && !choice.decoder.stopped();
        choice.finish = Some(if cut { "length" } else { "stop" });
        Some(ChoiceUpdate { choice: index, text, infos: Vec::new(), finish: choice.finish })
    }

    /// The field `usage`: counts of tokens.
    pub(crate) fn usage(&self) -> Value {
        let completion: usize = self.choices.iter().map(|choice| choice.tokens.len()).sum();
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        })
    }

    /// The field `thinktune` of an answer, where the request has one.
    pub(crate) fn extension(&self, choice: usize) -> Option<Value> {
        let tokens = &self.choices[choice].tokens;
        let shown = match tokens.split_last() {
            Some((last, shown)) if self.stop.contains(last) => shown,
            _ => tokens,
        };
        self.extended.then(|| json!({ "tokens": tokens, "text": self.tokenizer.decode_raw(shown) }))
    }

    /// Waits for all answers.
    pub(crate) async fn finish(
        &mut self,
        submission: &mut Submission,
    ) -> Result<Vec<FinishedChoice>, ApiError> {
        let mut answers: Vec<FinishedChoice> = (0..self.len()).map(|_| FinishedChoice::default()).collect();
        while !self.done() {
            let event = submission.next().await;
            let Some(update) = self.on_event(submission, event)? else { continue };
            let answer = &mut answers[update.choice];
            answer.text.push_str(&update.text);
            answer.infos.extend(update.infos);
            answer.finish = update.finish.unwrap_or_default();
        }
        Ok(answers)
    }
}

/// A log-prob as JSON, which has no minus infinity.
pub(crate) fn finite(logprob: f32) -> f32 {
    if logprob.is_nan() { -9999.0 } else { logprob.max(-9999.0) }
}
