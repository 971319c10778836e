//! A guided trajectory: attempt without its end token + blank line + reason + blank line + phrase + end token.

use thinktune_policy::Tokenizer;
use thinktune_runlog::event::Author;

use crate::help::feedback::{Feedback, FormatFault, Rejection};
use crate::rollout::{Attempt, Token};

/// Longest guidance and longest result, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the guidance: both blank lines, reason and phrase.
    pub feedback_tokens: usize,
    /// Of the whole trajectory.
    pub response_tokens: usize,
}

/// Splices the feedback into an attempt that ended by itself. The attempt's tokens stay exactly as they were
/// sampled; its end token closes the trajectory and counts as the teacher's, who chose to end there.
///
/// # Errors
/// The guidance, encoded by the student, holds a special token, or something would be too long.
pub fn splice(
    attempt: &Attempt,
    feedback: &Feedback,
    tokenizer: &dyn Tokenizer,
    limits: Limits,
) -> Result<Vec<Token>, Rejection> {
    let (end, said) = attempt.tokens.split_last().expect("an eligible attempt has its end token");
    let guidance = tokenizer.encode(&format!("\n\n{}\n\n{}", feedback.reason, feedback.phrase));
    if tokenizer.decode(&guidance) != tokenizer.decode_raw(&guidance) {
        return Err(Rejection::BadFormat(FormatFault::SpecialToken));
    }
    if guidance.len() > limits.feedback_tokens {
        return Err(Rejection::FeedbackTooLong);
    }
    if said.len() + guidance.len() + 1 > limits.response_tokens {
        return Err(Rejection::ResponseTooLong);
    }
    let student = said.iter().zip(&attempt.logprobs).map(|(&id, &logprob)| Token {
        id,
        author: Author::Student,
        old_logprob: Some(logprob),
    });
    let teacher =
        guidance.iter().chain([end]).map(|&id| Token { id, author: Author::Teacher, old_logprob: None });
    Ok(student.chain(teacher).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::feedback::Opinion;
    use crate::testing::{self, Chars, END};

    const WIDE: Limits = Limits { feedback_tokens: 100, response_tokens: 100 };

    fn feedback(reason: &str, phrase: &str) -> Feedback {
        Feedback { opinion: Opinion::Correct, reason: reason.into(), phrase: phrase.into() }
    }

    fn spliced(reason: &str, phrase: &str, limits: Limits) -> Result<Vec<Token>, Rejection> {
        splice(&testing::attempt("ab<end>"), &feedback(reason, phrase), &Chars, limits)
    }

    #[test]
    fn token_by_token() {
        let tokens = spliced("no", "yes", WIDE).unwrap();
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        assert_eq!(ids, [Chars.encode("ab\n\nno\n\nyes"), vec![END]].concat());
        let authors: Vec<bool> = tokens.iter().map(|token| token.author == Author::Student).collect();
        assert_eq!(authors, [vec![true; 2], vec![false; 10]].concat());
        assert_eq!(tokens[1].old_logprob, Some(-1.0));
        assert_eq!(tokens[11].old_logprob, None, "the end token is now drawn in another context");
    }

    #[test]
    fn limits_are_met_exactly_or_refused() {
        let limits = |feedback_tokens, response_tokens| Limits { feedback_tokens, response_tokens };
        assert_eq!(spliced("no", "yes", limits(9, 12)).unwrap().len(), 12);
        assert_eq!(spliced("no", "yes", limits(8, 12)), Err(Rejection::FeedbackTooLong));
        assert_eq!(spliced("no", "yes", limits(9, 11)), Err(Rejection::ResponseTooLong));
    }

    #[test]
    fn special_tokens_do_not_get_in() {
        let special = Err(Rejection::BadFormat(FormatFault::SpecialToken));
        assert_eq!(spliced("no<end>", "yes", WIDE), special, "it would end the turn in the middle");
        assert_eq!(spliced("no", "<odd>", WIDE), special);
    }
}
