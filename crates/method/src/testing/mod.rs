//! Doubles for tests: a tokenizer of ASCII characters, a bigram model that really samples and learns, a teacher that
//! knows the answers, and settings of a small run.

mod bigram;
mod folder;
mod hooks;

use thinktune_policy::{
    Finish, GenerateProgress, Message, ModelError, Role, SampleKey, Stream, Teacher, TeacherError,
    TeacherReply, TeacherRequest, Tokenizer,
};
use thinktune_tasks::{AnswerKind, Question, Verdict};

use crate::help::feedback::{self, Feedback, Opinion};
use crate::help::splice::{Limits, splice};
use crate::reward::outcome::Outcome;
use crate::rollout::{Attempt, Guided, Help, Scored};
use crate::settings::*;

pub use bigram::{Bigram, same_bits};
pub use folder::{folder_bytes, run_folder};
pub use hooks::{Killer, Stopper, Watcher, student, train, train_with, with_hooks};

/// Ends a turn.
pub const END: u32 = 1;
/// Begins a text.
pub const BOS: u32 = 2;
/// A special token that is no stop token; written `<odd>` in text.
pub const ODD: u32 = 6;
/// Ends a document, not a turn; written `<eot>` in text.
pub const END_OF_TEXT: u32 = 7;
/// V of the characters.
pub const VOCAB: usize = 128;

/// One token per ASCII character; control characters are the special tokens. The texts `<end>` and `<odd>`
/// are read as special tokens, as real tokenizers do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chars;

impl Tokenizer for Chars {
    fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        let mut ids = vec![BOS];
        for message in messages {
            ids.push(match message.role {
                Role::System => 3,
                Role::User => 4,
                Role::Assistant => 5,
            });
            ids.extend(self.answer_ids(&message.content));
        }
        ids.push(5);
        Ok(ids)
    }

    fn answer_ids(&self, text: &str) -> Vec<u32> {
        let mut ids = self.encode(text);
        ids.push(END);
        ids
    }

    fn document_ids(&self, text: &str) -> Vec<u32> {
        [vec![BOS], self.answer_ids(text)].concat()
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        let text = text.replace("<end>", "\u{1}").replace("<odd>", "\u{6}").replace("<eot>", "\u{7}");
        text.chars().map(|c| if c.is_ascii() { c as u32 } else { u32::from(b'?') }).collect()
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().filter(|&&token| token > 8).map(|&token| token as u8 as char).collect()
    }

    fn decode_raw(&self, tokens: &[u32]) -> String {
        let raw = |&token: &u32| match token {
            END => "<end>".into(),
            ODD => "<odd>".into(),
            END_OF_TEXT => "<eot>".into(),
            _ => (token as u8 as char).to_string(),
        };
        tokens.iter().map(raw).collect()
    }

    fn stop(&self) -> &[u32] {
        &[END, END_OF_TEXT]
    }

    fn end_of_turn(&self) -> u32 {
        END
    }
}

/// `count` sums: question i asks for i + i.
pub fn sums(count: u32) -> Vec<Question> {
    let question = |index| Question {
        index,
        text: format!("{index}+{index}=?"),
        gold: (2 * index).to_string(),
        solution: Some(format!("\\boxed{{{}}}", 2 * index)),
        kind: AnswerKind::Boxed,
    };
    (0..count).map(question).collect()
}

/// AdamW as in the paper, at a rate that suits a table.
pub fn optimizer() -> OptimizerSettings {
    OptimizerSettings {
        lr: 0.05,
        schedule: LrSchedule::Constant,
        warmup_steps: 0,
        weight_decay: 0.0,
        betas: [0.9, 0.999],
        grad_clip: 1.0,
    }
}

/// The defaults of METHOD.md, section 4.
pub fn loss() -> LossSettings {
    LossSettings {
        eps_low: 0.2,
        eps_high: 0.2,
        beta: 0.0,
        c_at_max_advantage: 1e-4,
        c_at_min_advantage: -1e-4,
        advantage_range: [-4.0, 4.0],
        max_weight: 2.0,
        low_confidence_below: 0.01,
        low_confidence: LowConfidence::Mask,
        scope: Scope::Trajectory,
        aggregation: Aggregation::SequenceMean,
    }
}

/// A small ThinkTuning run.
pub fn rl_settings() -> RlSettings {
    RlSettings {
        seed: 7,
        ask: Ask::default(),
        rollout: RolloutSettings {
            questions_per_step: 4,
            group_size: 4,
            temperature: 1.0,
            max_prompt_tokens: 64,
            max_response_tokens: 60,
        },
        guidance: GuidanceSettings {
            gamma: GammaSchedule { shape: GammaShape::Constant, start: 0.5, end: 0.5, steps: None },
            last_step: None,
            min_gamma: 0.0,
            prompts: "reasoning".into(),
            max_teacher_prompt_tokens: 20_000,
            max_teacher_tokens: 200,
            max_feedback_tokens: 50,
            teacher_temperature: 1.0,
            teacher_top_p: 1.0,
            max_unguided_steps: 20,
        },
        reward: RewardSettings { scale: RewardScale::Std, phrase: None, phrase_bonus: 0.0 },
        loss: loss(),
        optimizer: optimizer(),
        mini_batch_questions: 2,
        run: RunSettings {
            steps: 6,
            checkpoint_every: 2,
            eval_every: None,
            log_logprobs: true,
            check_logprobs: true,
        },
    }
}

/// An attempt with a log-prob of -1 at every token.
pub fn attempt(text: &str) -> Attempt {
    let tokens = Chars.encode(text);
    Attempt {
        key: SampleKey { stream: Stream::Attempt, step: 1, question: 0, sample: 0 },
        logprobs: vec![-1.0; tokens.len()],
        finish: if tokens.last() == Some(&END) { Finish::Stop } else { Finish::Length },
        text: Chars.decode(&tokens),
        tokens,
    }
}

/// An attempt guided with reason and phrase, with that advantage.
pub fn scored_guided(text: &str, reason: &str, phrase: &str, advantage: f64) -> Scored {
    let attempt = attempt(text);
    let feedback = Feedback { opinion: Opinion::Correct, reason: reason.into(), phrase: phrase.into() };
    let limits = Limits { feedback_tokens: 1000, response_tokens: 1000 };
    let tokens = splice(&attempt, &feedback, &Chars, limits).expect("feedback that fits");
    let guided = Guided { attempt, tokens, help: Help::Given { reply: String::new(), feedback } };
    Scored { advantage, ..unscored(guided) }
}

fn unscored(guided: Guided) -> Scored {
    let text = Chars.decode(&guided.ids());
    let outcome = Outcome::of(thinktune_tasks::AnswerKind::Boxed, &text, true, "0");
    Scored {
        attempt_outcome: outcome.clone(),
        outcome,
        first_attempt_right: false,
        reflects: false,
        changed: false,
        reward: 0.0,
        advantage: 0.0,
        text,
        guided,
    }
}

/// Knows the answers to [`sums`]; one reply in three is not in the demanded format.
#[derive(Debug, Clone, Copy)]
pub struct ScriptedTeacher;

impl Teacher for ScriptedTeacher {
    fn replies(
        &mut self,
        requests: &[TeacherRequest],
        _: &mut dyn FnMut(GenerateProgress),
    ) -> Result<Vec<TeacherReply>, TeacherError> {
        let reply = |request: &TeacherRequest| {
            let (number, _) = request.question.split_once('+').expect("a sum");
            let gold = 2 * number.parse::<u32>().expect("a number");
            let right = thinktune_tasks::grade_boxed(&request.response, &gold.to_string()).verdict
                == Verdict::Correct;
            let feedback = Feedback {
                opinion: if right { Opinion::Correct } else { Opinion::Incorrect },
                reason: "Hm.".into(),
                phrase: format!("\\boxed{{{gold}}}"),
            };
            let text = if request.key.sample % 3 == 2 { "Fine!".into() } else { feedback::format(&feedback) };
            TeacherReply::Ended { tokens: text.len() + 1, text }
        };
        Ok(requests.iter().map(reply).collect())
    }
}
