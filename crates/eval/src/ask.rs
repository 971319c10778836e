//! Many conversations side by side: in each round, whatever each of them wants next is generated together.

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
    let ended = finish == Finish::Stop && within.len() == drawn.len();
    let spoken = &within[..within.len() - usize::from(ended)];
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

#[cfg(test)]
mod tests {
    use thinktune_policy::Generate;

    use super::*;
    use crate::methods::{BudgetForcing, SelfCorrect, SelfVerify, ZeroShot};
    use crate::testing::{Actor, Chars, asked};

    const CHAT: Chars = Chars { template: true };
    const PLAIN: Chars = Chars { template: false };

    fn finish(
        model: &mut dyn Generate,
        tokenizer: &Chars,
        method: &dyn Method,
        context: usize,
        conversations: &mut [Conversation],
    ) {
        let subject = &mut Subject { model, tokenizer, context };
        let sampling = AnswerSampling { stream: Stream::Benchmark, seed: 1, temperature: 1.0 };
        Conversations { subject, method, sampling, progress: &mut |_| () }.finish(conversations).unwrap();
    }

    /// One conversation, and the prompts it led to.
    fn lead(
        method: &dyn Method,
        asked: QuestionPrompt,
        tokenizer: Chars,
        context: usize,
        says: impl Fn(SampleKey, &str) -> String,
    ) -> (Conversation, Vec<String>) {
        let mut actor = Actor::new(says);
        let mut conversations = [Conversation::new(5, 2, asked)];
        finish(&mut actor, &tokenizer, method, context, &mut conversations);
        let rounds: Vec<u32> = actor.asked.iter().map(|(key, _)| key.step).collect();
        assert_eq!(rounds, (0..rounds.len() as u32).collect::<Vec<_>>(), "each round has numbers of its own");
        assert!(actor.asked.iter().all(|(key, _)| (key.question, key.sample) == (5, 2)));
        let [conversation] = conversations;
        (conversation, actor.asked.into_iter().map(|(_, prompt)| prompt).collect())
    }

    fn by_round(words: &'static [&'static str]) -> impl Fn(SampleKey, &str) -> String {
        move |key, _| words.get(key.step as usize).unwrap_or(&"?").to_string()
    }

    #[test]
    fn zero_shot_is_one_turn() {
        let (said, prompts) = lead(&ZeroShot, asked("1+1?"), CHAT, 9999, by_round(&["2"]));
        assert_eq!(prompts, ["<User>1+1?<end><Assistant>"]);
        assert_eq!((said.said.len(), said.said[0].text.as_str(), said.said[0].tokens), (1, "2", 2));
    }

    #[test]
    fn self_verify_asks_again_with_the_answer_in_sight() {
        let (said, prompts) = lead(&SelfVerify, asked("1+1?"), CHAT, 9999, by_round(&["3", "2"]));
        assert_eq!(prompts[0], "<User>1+1?<end><Assistant>");
        assert_eq!(
            prompts[1],
            "<User>1+1?<end><Assistant>3<end><User>Verify your answer: go through it again step by step and check \
             that each step is right. Then state your final answer in \\boxed{}.<end><Assistant>"
        );
        assert_eq!((prompts.len(), SelfVerify.response_from(&said.said)), (2, 1));
    }

    #[test]
    fn self_correct_is_answer_critique_and_improved_answer() {
        let (said, prompts) = lead(&SelfCorrect, asked("1+1?"), CHAT, 9999, by_round(&["3", "bad", "2"]));
        assert_eq!(prompts.len(), 3);
        assert_eq!(
            prompts[2],
            "<User>1+1?<end><Assistant>3<end><User>Review your answer critically and point out every mistake or \
             weakness you find in it.<end><Assistant>bad<end><User>Improve your answer in the light of this critique, \
             and state your final answer in \\boxed{}.<end><Assistant>"
        );
        assert_eq!(said.said.last().unwrap().text, "2");
        assert_eq!(SelfCorrect.response_from(&said.said), 2);
    }

    #[test]
    fn budget_forcing_puts_wait_for_the_end_until_the_budget_is_used() {
        let words = by_round(&["twenty tokens here..", "twenty more of them.", "2}."]);
        let budget = QuestionPrompt { budget_tokens: 40, ..asked("1+1?") };
        let (said, prompts) = lead(&BudgetForcing, budget, CHAT, 9999, words);
        let start = "<User>1+1?<end><Assistant>twenty tokens here..";
        assert_eq!(prompts[1], format!("{start}\n\nWait"), "no end token before it");
        // 20 + 6 for the forced words, so 14 of the next 20 are within the budget
        assert_eq!(prompts[2], format!("{start}\n\nWaittwenty more of\n\nFinal answer: \\boxed{{"));
        assert_eq!(prompts.len(), 3);
        assert_eq!(BudgetForcing.response_from(&said.said), 0, "all of it is the response");
        let drawn: Vec<usize> = said.said.iter().map(|round| round.tokens).collect();
        assert_eq!(drawn, [21, 14, 4]);
        assert!(!said.said[1].ended && said.said[2].ended);
    }

    #[test]
    fn budget_forcing_elicits_at_once_where_the_budget_was_used_in_one_go_and_ends_where_nothing_is_said() {
        let long = |key: SampleKey, _: &str| if key.step == 0 { "x".repeat(500) } else { "2}".into() };
        let (said, prompts) = lead(&BudgetForcing, asked("q"), CHAT, 9999, long);
        assert_eq!((prompts.len(), said.said[0].tokens), (2, 60));
        let (said, prompts) = lead(&BudgetForcing, asked("q"), CHAT, 9999, |_, _| String::new());
        assert_eq!(prompts.len(), 12, "60 tokens of six forced ones each, then the answer");
        assert_eq!(said.said.iter().map(|round| round.tokens).sum::<usize>(), 12);
    }

    #[test]
    fn budget_forcing_leaves_room_for_the_answer() {
        let budget = QuestionPrompt { budget_tokens: 5000, room_tokens: 200, ..asked("q") };
        let (said, _) = lead(&BudgetForcing, budget, CHAT, 240, |_, _| "word ".repeat(30));
        assert!(!said.out_of_room);
        assert!(said.said.last().unwrap().forced.contains("Final answer"), "{:?}", said.said);
    }

    #[test]
    fn a_turn_that_does_not_fit_is_not_asked() {
        let (said, prompts) = lead(&SelfVerify, asked("1+1?"), CHAT, 60, by_round(&["3", "2"]));
        assert_eq!((prompts.len(), said.out_of_room, said.said.len()), (1, true, 1));
        let (said, prompts) = lead(&ZeroShot, asked("1+1?"), CHAT, 10, by_round(&["3"]));
        assert_eq!((prompts.len(), said.out_of_room, said.said.len()), (0, true, 0));
    }

    #[test]
    fn without_a_template_questions_and_answers_take_turns() {
        let says = by_round(&["3\n\nQuestion: what else?\n\nAnswer: 9", "2"]);
        let (said, prompts) = lead(&SelfVerify, asked("1+1?"), PLAIN, 9999, says);
        assert_eq!(prompts[0], "<begin>Question: 1+1?\n\nAnswer:");
        assert!(
            prompts[1].starts_with("<begin>Question: 1+1?\n\nAnswer: 3\n\nQuestion: Verify"),
            "{}",
            prompts[1]
        );
        assert!(prompts[1].ends_with("\\boxed{}.\n\nAnswer:"));
        assert_eq!(
            (said.said[0].text.as_str(), said.said[0].ended),
            ("3\n", true),
            "its own question is cut off"
        );
        let says = by_round(&["3\nQuestion: x", "2}"]);
        let (_, prompts) = lead(&BudgetForcing, asked("q"), PLAIN, 9999, says);
        assert_eq!(prompts[1], "<begin>Question: q\n\nAnswer:3\n\nWait", "what was cut off is not continued");
    }

    /// Answers of many lengths, side by side and alone.
    #[test]
    fn a_conversation_does_not_depend_on_its_neighbours() {
        let says = |key: SampleKey, prompt: &str| {
            let length = (key.question * 7 + key.sample * 13 + key.step * 5) as usize % 50 + prompt.len() % 3;
            "abcdefghij".repeat(9)[..length].to_string()
        };
        let all: Vec<Conversation> = (0..6)
            .flat_map(|question| (0..3).map(move |sample| (question, sample)))
            .map(|(question, sample)| Conversation::new(question, sample, asked(&question.to_string())))
            .collect();
        for method in crate::methods::ALL {
            let converse = |conversations: &mut [Conversation]| {
                let mut actor = Actor::new(says);
                finish(&mut actor, &CHAT, method, 9999, conversations);
            };
            let mut together = all.clone();
            converse(&mut together);
            for (alone, together) in all.iter().zip(&together) {
                let mut alone = [alone.clone()];
                converse(&mut alone);
                assert_eq!(alone[0].said, together.said, "{}", method.name());
            }
        }
    }

    #[test]
    fn samples_of_a_question_share_its_prompt() {
        let requests: Vec<RoundRequest> = [0, 1, 2]
            .map(|conversation| RoundRequest {
                conversation,
                tokens: vec![if conversation < 2 { 7 } else { 8 }],
                forced: String::new(),
                forced_tokens: 0,
                limit: 9,
            })
            .into();
        let of = |question, sample| Conversation::new(question, sample, asked("q"));
        let (prompts, places) = prompts(&requests, &[of(0, 0), of(0, 1), of(1, 0)], Stream::Benchmark, 4);
        assert_eq!(prompts.iter().map(|prompt| prompt.keys.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(places, [(0, 0), (0, 1), (1, 0)]);
        assert_eq!(prompts[0].keys[1].step, 4);
    }
}
