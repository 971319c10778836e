//! An answer as the evaluation folder keeps it.

use serde::{Deserialize, Serialize};
use thinktune_tasks::grading::{grade, is_correct_leniently};
use thinktune_tasks::{Question, Reflection, Verdict, WhyWrong};

use crate::ask::Conversation;
use crate::methods::Method;

/// One graded answer: one line of `answers/BENCHMARK.METHOD.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// Index of the question in its data set.
    pub question: u32,
    /// Index of the sample within its question.
    pub sample: u32,
    /// The reference answer.
    pub gold: String,
    /// The grader's verdict on `response`.
    pub verdict: Verdict,
    /// The final answer the grader read; null where none was found.
    pub extracted: Option<String>,
    /// Why it is not correct, where the grader says.
    pub reason: Option<String>,
    /// True where the answer was cut off by the token limit or the model's context.
    pub truncated: bool,
    /// Why the answer is not right: `not_ended`, `no_answer`, `wrong_answer` or `unparseable`; null where it is right.
    #[serde(default)]
    pub why_wrong: Option<WhyWrong>,
    /// True where the answer is not right, and would be if any end did and, without a box, the last number counted.
    #[serde(default)]
    pub correct_any_end: bool,
    /// What became of the first final answer, where the response goes on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflection: Option<Reflection>,
    /// Tokens drawn, in all rounds together.
    pub tokens: u64,
    /// Rounds of generation.
    pub rounds: u32,
    /// Turns before the response, where a method has several turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
    /// The response, forced words included.
    pub response: String,
}

impl AnswerRecord {
    /// Grades a conversation that has come to its end.
    pub fn of(conversation: &Conversation, question: &Question, method: &dyn Method) -> Self {
        let said = &conversation.said;
        let (before, graded) = said.split_at(method.response_from(said).min(said.len()));
        let response: String = graded.iter().flat_map(|round| [&*round.forced, &*round.text]).collect();
        let grading = grade(question.kind, &question.gold, &response);
        let ended = !conversation.out_of_room && method.is_whole(said);
        let why_wrong = WhyWrong::of(ended, &grading);
        Self {
            why_wrong,
            correct_any_end: why_wrong.is_some()
                && is_correct_leniently(question.kind, &question.gold, &response),
            reflection: Reflection::of(question, &response, grading.extracted.as_deref()),
            question: question.index,
            sample: conversation.sample,
            gold: question.gold.clone(),
            verdict: grading.verdict,
            extracted: grading.extracted,
            reason: grading.reason,
            truncated: !ended,
            tokens: said.iter().map(|round| round.tokens as u64).sum(),
            rounds: said.len() as u32,
            earlier: before.iter().map(|round| round.text.clone()).collect(),
            response,
        }
    }

    /// Returns true where the answer is right: it ended by itself, and its final answer is correct. Accuracy counts this, and the
    /// reward of training.
    pub fn is_right(&self) -> bool {
        !self.truncated && self.verdict == Verdict::Correct
    }

    /// Returns true where the final answer is another one than the first.
    pub fn is_changed(&self) -> bool {
        self.reflection.is_some_and(|reflection| reflection.changed)
    }

    /// Returns true where the first final answer is wrong and the answer is right.
    pub fn is_mended(&self) -> bool {
        self.reflection.is_some_and(|reflection| !reflection.first_right) && self.is_right()
    }

    /// Returns true where the first final answer is correct and the answer is not right.
    pub fn is_spoilt(&self) -> bool {
        self.reflection.is_some_and(|reflection| reflection.first_right) && !self.is_right()
    }
}

/// Duration of a portion of answers: one line of `timings.jsonl`, which two equal evaluations do not share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The benchmark.
    pub benchmark: String,
    /// The method.
    pub method: String,
    /// Tokens drawn.
    pub tokens: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}
