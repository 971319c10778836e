//! Zero-shot chain of thought: the question, with the request to reason step by step.

use super::{Method, Next, QuestionPrompt, Round, conversation};

/// See the module.
#[derive(Debug)]
pub struct ZeroShot;

impl Method for ZeroShot {
    fn name(&self) -> &'static str {
        "zero-shot"
    }

    fn title(&self) -> &'static str {
        "zero-shot CoT"
    }

    fn next(&self, asked: &QuestionPrompt, said: &[Round]) -> Next {
        match said {
            [] => Next::Turn { messages: conversation(asked, said, &[]), limit: asked.answer_tokens },
            _ => Next::Done,
        }
    }
}
