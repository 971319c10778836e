//! Doubles for tests: a tokenizer of ASCII characters, and a model that answers as a function says.

use thinktune_policy::{
    Completion, Finish, Generate, GenerateProgress, Message, ModelError, Prompt, SampleKey, Sampling,
    Tokenizer,
};
use thinktune_tasks::Question;
use thinktune_tasks::benchmarks::{self, Benchmark};
use thinktune_tasks::grading::AnswerKind;

use crate::methods::QuestionPrompt;
use crate::{BenchmarkSet, EvalSettings};

/// Ends a turn.
pub const END: u32 = 1;

/// One token per ASCII character.
#[derive(Debug, Clone, Copy)]
pub struct Chars {
    /// True where conversations go through a template: `<user>...<end><assistant>`.
    pub template: bool,
}

impl Tokenizer for Chars {
    fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        assert!(self.template, "rendered without a template");
        let turn = |message: &Message| format!("<{:?}>{}<end>", message.role, message.content);
        let turns: String = messages.iter().map(turn).collect();
        Ok(self.encode(&format!("{turns}<Assistant>")))
    }

    fn has_chat_template(&self) -> bool {
        self.template
    }

    fn answer_ids(&self, text: &str) -> Vec<u32> {
        [self.encode(text), vec![END]].concat()
    }

    fn document_ids(&self, text: &str) -> Vec<u32> {
        self.answer_ids(&format!("<begin>{text}"))
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        text.chars().map(u32::from).collect()
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().filter(|&&token| token != END).filter_map(|&token| char::from_u32(token)).collect()
    }

    fn decode_raw(&self, tokens: &[u32]) -> String {
        self.decode(tokens)
    }

    fn stop(&self) -> &[u32] {
        &[END]
    }

    fn end_of_turn(&self) -> u32 {
        END
    }
}

/// Answers prompts as told; what the function returns ends by itself unless it is too long.
pub struct Actor<F> {
    /// Its answer to a prompt.
    pub says: F,
    /// Keys and prompts it was asked, in order.
    pub asked: Vec<(SampleKey, String)>,
    /// Calls of `generate` after which it dies.
    pub dies_after: usize,
    /// Calls made.
    pub calls: usize,
}

impl<F: Fn(SampleKey, &str) -> String> Actor<F> {
    pub fn new(says: F) -> Self {
        Self { says, asked: Vec::new(), dies_after: usize::MAX, calls: 0 }
    }
}

impl<F: Fn(SampleKey, &str) -> String> Generate for Actor<F> {
    fn generate(
        &mut self,
        prompts: &[Prompt],
        sampling: &Sampling,
        _: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<Vec<Completion>>, ModelError> {
        self.calls += 1;
        if self.calls > self.dies_after {
            return Err(ModelError::BadInput("killed".into()));
        }
        let tokenizer = Chars { template: true };
        let complete = |prompt: &Prompt, key: SampleKey| {
            let mut tokens = tokenizer.answer_ids(&(self.says)(key, &tokenizer.decode(&prompt.tokens)));
            let finish = if tokens.len() > sampling.max_tokens { Finish::Length } else { Finish::Stop };
            tokens.truncate(sampling.max_tokens);
            Completion { logprobs: vec![-1.0; tokens.len()], tokens, finish }
        };
        let completions =
            prompts.iter().map(|prompt| prompt.keys.iter().map(|&key| complete(prompt, key)).collect());
        let completions = completions.collect();
        for prompt in prompts {
            let text = tokenizer.decode(&prompt.tokens);
            self.asked.extend(prompt.keys.iter().map(|&key| (key, text.clone())));
        }
        Ok(completions)
    }
}

/// A question with room for everything.
pub fn asked(prompt: &str) -> QuestionPrompt {
    QuestionPrompt {
        system: None,
        prompt: prompt.into(),
        answer_tokens: 100,
        budget_tokens: 60,
        room_tokens: 10_000,
    }
}

/// `i+i?` for i below `count`.
pub fn sums(count: u32) -> Vec<Question> {
    let question = |i: u32| Question {
        index: i,
        text: format!("{i}+{i}?"),
        gold: (2 * i).to_string(),
        solution: None,
        kind: AnswerKind::Boxed,
    };
    (0..count).map(question).collect()
}

/// Sums as a benchmark.
pub fn benchmark_set(count: u32) -> BenchmarkSet {
    let benchmark: &'static Benchmark = benchmarks::by_name("word-problems").unwrap();
    BenchmarkSet { benchmark, questions: sums(count), suffix: benchmark.suffix.into() }
}

/// Tokens the model holds.
pub const CONTEXT: usize = 10_000;

pub fn settings(samples: u32) -> EvalSettings {
    EvalSettings {
        samples,
        temperature: 1.0,
        seed: 3,
        answer_tokens: Some(100),
        budget_tokens: Some(60),
        system: None,
        portion: 4,
    }
}
