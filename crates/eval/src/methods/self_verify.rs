//! Self-verification: after answering, the model is asked to verify its answer and then to state the final one.
//! The second answer is graded.

use super::{Method, Next, QuestionPrompt, Round, conversation};

const VERIFY: &str = "Verify your answer: go through it again step by step and check that each step is right. \
                      Then state your final answer in \\boxed{}.";

/// See the module.
#[derive(Debug)]
pub struct SelfVerify;

impl Method for SelfVerify {
    fn name(&self) -> &'static str {
        "self-verify"
    }

    fn title(&self) -> &'static str {
        "self-verify"
    }

    fn next(&self, asked: &QuestionPrompt, said: &[Round]) -> Next {
        match said.len() {
            0 | 1 => {
                Next::Turn { messages: conversation(asked, said, &[VERIFY]), limit: asked.answer_tokens }
            }
            _ => Next::Done,
        }
    }
}
