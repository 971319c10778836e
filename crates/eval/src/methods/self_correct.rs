//! Self-correction in three turns: an answer, a critique of it, an improved answer. The last is graded.

use super::{Method, Next, QuestionPrompt, Round, conversation};

const CRITICISE: &str =
    "Review your answer critically and point out every mistake or weakness you find in it.";
const IMPROVE: &str =
    "Improve your answer in the light of this critique, and state your final answer in \\boxed{}.";

/// See the module.
#[derive(Debug)]
pub struct SelfCorrect;

impl Method for SelfCorrect {
    fn name(&self) -> &'static str {
        "self-correct"
    }

    fn title(&self) -> &'static str {
        "self-correct"
    }

    fn next(&self, asked: &QuestionPrompt, said: &[Round]) -> Next {
        match said.len() {
            0..3 => Next::Turn {
                messages: conversation(asked, said, &[CRITICISE, IMPROVE]),
                limit: asked.answer_tokens,
            },
            _ => Next::Done,
        }
    }
}
