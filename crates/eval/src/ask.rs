//! Many conversations side by side: in each round, whatever each of them wants next is generated together.

use std::collections::BTreeMap;
use std::sync::Arc;

use thinktune_model::surface::{
    Completion, Finish, Generate, GenerateProgress, Prompt, SampleKey, Sampling, stream,
};
use thinktune_model::{Language, Message, ModelError, Role};

use crate::EvalError;
use crate::methods::{Asked, Method, Next, Round};

/// How answers are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Keys all random numbers.
    pub seed: u64,
    /// Divides the logits; 0 is greedy.
    pub temperature: f32,
    /// Tokens the model can hold.
    pub context: usize,
}

/// One sample of one question, in conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Index of the question; keys the random numbers.
    pub question: u32,
    /// Index of the sample; keys the random numbers.
    pub sample: u32,
    /// The question.
    pub asked: Asked,
    /// What was said so far.
    pub said: Vec<Round>,
    /// Whether there was no room left for what the method wanted next.
    pub crowded: bool,
    /// Everything up to the end of the last round, its end token left out.
    tokens: Vec<u32>,
}

impl Conversation {
    /// A conversation that has not begun.
    pub fn new(question: u32, sample: u32, asked: Asked) -> Self {
        Self { question, sample, asked, said: Vec::new(), crowded: false, tokens: Vec::new() }
    }
}

/// What a conversation wants generated.
struct Request {
    conversation: usize,
    tokens: Vec<u32>,
    forced: String,
    forced_tokens: usize,
    limit: usize,
}

/// Leads all conversations to their end.
///
/// # Errors
/// The model fails, or its chat template refuses a conversation.
pub fn converse(
    model: &mut dyn Generate,
    language: &dyn Language,
    method: &dyn Method,
    drawing: &Drawing,
    conversations: &mut [Conversation],
    progress: &mut dyn FnMut(GenerateProgress),
) -> Result<(), EvalError> {
    for round in 0.. {
        let mut requests = Vec::new();
        for (index, conversation) in conversations.iter_mut().enumerate() {
            if conversation.crowded {
                continue;
            }
            let Some(request) = request(index, conversation, method, language)? else { continue };
            if request.tokens.len() < drawing.context {
                requests.push(request);
            } else {
                conversation.crowded = true;
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        for group in by_size(requests) {
            answer(model, language, drawing, round, group, conversations, progress)?;
        }
    }
    Ok(())
}

fn request(
    index: usize,
    conversation: &mut Conversation,
    method: &dyn Method,
    language: &dyn Language,
) -> Result<Option<Request>, EvalError> {
    Ok(match method.next(&conversation.asked, &conversation.said) {
        Next::Done => None,
        Next::Turn { messages, limit } => Some(Request {
            conversation: index,
            tokens: prompt(language, &messages)?,
            forced: String::new(),
            forced_tokens: 0,
            limit,
        }),
        Next::Continue { text, limit } => {
            let forced = language.encode(&text);
            let mut tokens = conversation.tokens.clone();
            tokens.extend(&forced);
            Some(Request { conversation: index, tokens, forced: text, forced_tokens: forced.len(), limit })
        }
    })
}

/// Requests whose limits are alike, so that few tokens are drawn beyond a request's own limit: those are cut off
/// again, and since a token's random number follows from its position, what stays is what would have been drawn
/// alone.
fn by_size(requests: Vec<Request>) -> Vec<Vec<Request>> {
    let mut groups: BTreeMap<usize, Vec<Request>> = BTreeMap::new();
    for request in requests {
        groups.entry(request.limit.next_power_of_two()).or_default().push(request);
    }
    groups.into_values().collect()
}

fn answer(
    model: &mut dyn Generate,
    language: &dyn Language,
    drawing: &Drawing,
    round: u32,
    requests: Vec<Request>,
    conversations: &mut [Conversation],
    progress: &mut dyn FnMut(GenerateProgress),
) -> Result<(), EvalError> {
    let longest = requests.iter().map(|request| request.limit).max().unwrap_or(1).max(1);
    let sampling = Sampling {
        temperature: drawing.temperature,
        ..Sampling::plain(drawing.seed, longest, language.stop().to_vec())
    };
    let (prompts, places) = prompts(&requests, conversations, round);
    let completions = model.generate(&prompts, &sampling, progress)?;
    for (mut request, (prompt, sample)) in requests.into_iter().zip(places) {
        let Completion { tokens, finish, .. } = &completions[prompt][sample];
        let conversation = &mut conversations[request.conversation];
        let said = said(language, &mut request, tokens, *finish);
        conversation.tokens = request.tokens;
        conversation.said.push(said);
    }
    Ok(())
}

/// Consecutive requests with the same prompt share it: samples of a question, in the first round.
fn prompts(
    requests: &[Request],
    conversations: &[Conversation],
    round: u32,
) -> (Vec<Prompt>, Vec<(usize, usize)>) {
    let mut prompts: Vec<Prompt> = Vec::new();
    let mut places = Vec::with_capacity(requests.len());
    for request in requests {
        let Conversation { question, sample, .. } = conversations[request.conversation];
        let key = SampleKey { stream: stream::BENCHMARK, step: round, question, sample };
        match prompts.last_mut() {
            Some(prompt) if *prompt.tokens == *request.tokens => prompt.keys.push(key),
            _ => prompts.push(Prompt { tokens: Arc::from(request.tokens.as_slice()), keys: vec![key] }),
        }
        let last = prompts.len() - 1;
        places.push((last, prompts[last].keys.len() - 1));
    }
    (prompts, places)
}

/// What was said, held to the request's own limit; `request.tokens` grows by it.
fn said(language: &dyn Language, request: &mut Request, drawn: &[u32], finish: Finish) -> Round {
    let within = &drawn[..drawn.len().min(request.limit)];
    let ended = finish == Finish::Stop && within.len() == drawn.len();
    let spoken = &within[..within.len() - usize::from(ended)];
    let text = language.decode(spoken);
    let (text, ran_on) = if language.has_chat_template() { (text, false) } else { cut_at_next_turn(text) };
    match ran_on {
        true => request.tokens.extend(language.encode(&text)),
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
pub fn prompt(language: &dyn Language, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
    if language.has_chat_template() {
        return language.prompt_ids(messages);
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
    let mut ids = language.document_ids(&text);
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
