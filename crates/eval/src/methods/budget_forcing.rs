//! Budget forcing (s1: Muennighoff et al. 2025, arXiv 2501.19393): the model thinks for as many tokens as the budget
//! has. An early end is taken back and "Wait" put in its place; once the budget is used, the final answer is elicited.
//!
//! "Wait" begins a paragraph and counts towards the budget. The answer is elicited by an opened box, so that every
//! response has one.

use super::{Method, Next, QuestionPrompt, Round, conversation};

const WAIT: &str = "\n\nWait";
const ELICIT: &str = "\n\nFinal answer: \\boxed{";
/// Longest elicited answer, in tokens, [`ELICIT`] included.
const ELICITED_TOKENS: usize = 96;
/// Tokens by which the last [`WAIT`] may exceed the budget.
const MARGIN: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct BudgetForcing;

impl Method for BudgetForcing {
    fn name(&self) -> &'static str {
        "s1"
    }

    fn title(&self) -> &'static str {
        "s1 budget"
    }

    fn next(&self, asked: &QuestionPrompt, said: &[Round]) -> Next {
        let Some(last) = said.last() else {
            return Next::Turn { messages: conversation(asked, said, &[]), limit: budget(asked) };
        };
        if last.forced == ELICIT {
            return Next::Done;
        }
        let used: usize = said.iter().map(|round| round.forced_tokens + thought_tokens(round)).sum();
        let left = budget(asked).saturating_sub(used);
        if last.ended && left > 0 {
            return Next::Continue { text: WAIT.into(), limit: left };
        }
        Next::Continue { text: ELICIT.into(), limit: ELICITED_TOKENS }
    }

    /// An elicited answer has a length of its own, so that it is whole wherever it was stopped.
    fn is_whole(&self, said: &[Round]) -> bool {
        said.last().is_some_and(|round| round.ended || round.forced == ELICIT)
    }
}

/// The budget, as far as the context has room for it and for the final answer.
fn budget(asked: &QuestionPrompt) -> usize {
    asked.budget_tokens.min(asked.room_tokens.saturating_sub(ELICITED_TOKENS + MARGIN)).max(1)
}

/// Tokens that stay: an end that is taken back is not one.
fn thought_tokens(round: &Round) -> usize {
    round.tokens - usize::from(round.ended && round.tokens > 0)
}
