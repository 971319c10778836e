//! Many conversations side by side: in each round, whatever each of them wants next is generated together.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use thinktune_policy::{
    Completion, Finish, GenerateProgress, Message, ModelError, Prompt, Role, SampleKey, Sampling, Stream,
    Tokenizer,
};

use crate::methods::{Method, Next, QuestionPrompt, Round};
use crate::{EvalError, Subject};

/// Sampling of answers.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerSampling {
    /// Stream of the random numbers.
    pub stream: Stream,
    /// Keys all random numbers.
    pub seed: u64,
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
}

/// One sample of one question, in conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Index of the question; keys the random numbers.
    pub question: u32,
    /// Index of the sample; keys the random numbers.
    pub sample: u32,
    /// The question.
    pub asked: QuestionPrompt,
    /// Rounds so far.
    pub said: Vec<Round>,
    /// True where the context had no room for what the method wanted next.
    pub out_of_room: bool,
    /// Everything up to the end of the last round, its end token left out.
    tokens: Vec<u32>,
}

impl Conversation {
    /// A conversation that has not begun.
    pub fn new(question: u32, sample: u32, asked: QuestionPrompt) -> Self {
        Self { question, sample, asked, said: Vec::new(), out_of_room: false, tokens: Vec::new() }
    }
}

/// Next round of a conversation, to be generated.
struct RoundRequest {
    conversation: usize,
    tokens: Vec<u32>,
    forced: String,
    forced_tokens: usize,
    limit: usize,
}

/// Conversations with one model by one method.
pub struct Conversations<'a, 'm> {
    /// The model, its tokenizer and its context.
    pub subject: &'a mut Subject<'m>,
    /// The way of prompting.
    pub method: &'a dyn Method,
    /// Sampling of answers.
    pub sampling: AnswerSampling,
    /// Told how far generation has come.
    pub progress: &'a mut dyn FnMut(GenerateProgress),
}

impl Conversations<'_, '_> {
    /// Continues all conversations until each has its answer.
    ///
    /// # Errors
    /// The model fails, or its chat template refuses a conversation.
    pub fn finish(&mut self, conversations: &mut [Conversation]) -> Result<(), EvalError> {
        for round in 0.. {
            let mut requests = Vec::new();
            for (index, conversation) in conversations.iter_mut().enumerate() {
                if conversation.out_of_room {
                    continue;
                }
                let Some(request) = self.request(index, conversation)? else { continue };
                if request.tokens.len() < self.subject.context {
                    requests.push(request);
                } else {
                    conversation.out_of_room = true;
                }
            }
            if requests.is_empty() {
                break;
            }
            for group in by_size(requests) {
                self.answer(round, group, conversations)?;
            }
        }
        Ok(())
    }

    fn request(&self, index: usize, conversation: &Conversation) -> Result<Option<RoundRequest>, EvalError> {
        Ok(match self.method.next(&conversation.asked, &conversation.said) {
            Next::Done => None,
            Next::Turn { messages, limit } => Some(RoundRequest {
                conversation: index,
                tokens: prompt(self.subject.tokenizer, &messages)?,
                forced: String::new(),
                forced_tokens: 0,
                limit,
            }),
            Next::Continue { text, limit } => {
                let forced = self.subject.tokenizer.encode(&text);
                let mut tokens = conversation.tokens.clone();
                tokens.extend(&forced);
                let (forced_tokens, limit) = (forced.len(), limit.saturating_sub(forced.len()).max(1));
                Some(RoundRequest { conversation: index, tokens, forced: text, forced_tokens, limit })
            }
        })
    }

    fn answer(
        &mut self,
        round: u32,
        requests: Vec<RoundRequest>,
        conversations: &mut [Conversation],
    ) -> Result<(), EvalError> {
        let longest = requests.iter().map(|request| request.limit).max().unwrap_or(1).max(1);
        let AnswerSampling { stream, seed, temperature } = self.sampling;
        let stop = self.subject.tokenizer.stop().to_vec();
        let sampling = Sampling { temperature, ..Sampling::plain(seed, longest, stop) };
        let (prompts, places) = prompts(&requests, conversations, stream, round);
        let completions = self.subject.model.generate(&prompts, &sampling, self.progress)?;
        for (mut request, (prompt, sample)) in requests.into_iter().zip(places) {
            let Completion { tokens, finish, .. } = &completions[prompt][sample];
            let conversation = &mut conversations[request.conversation];
            let said = said(self.subject.tokenizer, &mut request, tokens, *finish);
            conversation.tokens = request.tokens;
            conversation.said.push(said);
        }
        Ok(())
    }
}

/// Requests whose limits are alike, so that few tokens are drawn beyond a request's own limit: those are cut off
/// again, and since a token's random number follows from its position, what stays is what would have been drawn
/// alone.
fn by_size(requests: Vec<RoundRequest>) -> Vec<Vec<RoundRequest>> {
    let mut groups: BTreeMap<usize, Vec<RoundRequest>> = BTreeMap::new();
    for request in requests {
        groups.entry(request.limit.next_power_of_two()).or_default().push(request);
    }
    groups.into_values().collect()
}

/// Prompts of the requests: consecutive requests with the same prompt share it: samples of a question, in the first round.
fn prompts(
    requests: &[RoundRequest],
    conversations: &[Conversation],
    stream: Stream,
    round: u32,
) -> (Vec<Prompt>, Vec<(usize, usize)>) {
    let mut prompts: Vec<Prompt> = Vec::new();
    let mut places = Vec::with_capacity(requests.len());
    for request in requests {
        let Conversation { question, sample, .. } = conversations[request.conversation];
        let key = SampleKey { stream, step: round, question, sample };
        match prompts.last_mut() {
            Some(prompt) if *prompt.tokens == *request.tokens => prompt.keys.push(key),
            _ => prompts.push(Prompt { tokens: Arc::from(request.tokens.as_slice()), keys: vec![key] }),
        }
        let last = prompts.len() - 1;
        places.push((last, prompts[last].keys.len() - 1));
    }
    (prompts, places)
}

/// Round made of the drawn tokens, held to the request's own limit; `request.tokens` grows by it.
fn said(tokenizer: &dyn Tokenizer, request: &mut RoundRequest, drawn: &[u32], finish: Finish) -> Round {
    let within = &drawn[..drawn.len().min(request.limit)];
    let stopped = finish == Finish::Stop && within.len() == drawn.len();
    // a text without a chat template has no turns: whatever ends the document ends the answer
    let ended = stopped && (!tokenizer.has_chat_template() || tokenizer.ended(within));
    let spoken = &within[..within.len() - usize::from(stopped)];
    let text = tokenizer.decode(spoken);
    let (text, ran_on) = if tokenizer.has_chat_template() { (text, false) } else { cut_at_next_turn(text) };
    match ran_on {
        true => request.tokens.extend(tokenizer.encode(&text)),
        false => request.tokens.extend(spoken),
    }
    Round {
        forced: std::mem::take(&mut request.forced),
        forced_tokens: request.forced_tokens,
        text,
        tokens: within.len(),
        ended: ended || ran_on,
    }
}

/// A conversation in the model's chat template, or, where it has none, as plain text in which questions and answers
/// take turns.
///
/// # Errors
/// The template refuses the conversation.
pub fn prompt(tokenizer: &dyn Tokenizer, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
    if tokenizer.has_chat_template() {
        return tokenizer.prompt_ids(messages);
    }
    let mut text = String::new();
    for message in messages {
        text.push_str(match message.role {
            Role::System => "",
            Role::User => QUESTION,
            Role::Assistant => ANSWER,
        });
        text.push_str(message.content.trim());
        text.push_str("\n\n");
    }
    text.push_str(ANSWER.trim_end());
    let mut ids = tokenizer.document_ids(&text);
    ids.pop();
    Ok(ids)
}

const QUESTION: &str = "Question: ";
const NEXT_QUESTION: &str = "\nQuestion:";
const ANSWER: &str = "Answer: ";

/// A model without turns goes on with a question of its own; the answer ends there.
fn cut_at_next_turn(text: String) -> (String, bool) {
    match text.find(NEXT_QUESTION) {
        Some(end) => (text[..end].into(), true),
        None => (text, false),
    }
}
