//! A guided trajectory: attempt without its end token + blank line + reason + blank line + phrase + end token.
//!
//! The splice is canonical: the joined text is encoded anew, so that the tokens around the join are those that a
//! pretrained model would write. On many vocabularies a full stop and a blank line are one token; then the attempt's
//! last token gives way to it, and that token is the teacher's.

use thinktune_policy::Tokenizer;
use thinktune_runlog::event::Author;

use crate::help::feedback::{Feedback, FormatFault, Rejection};
use crate::rollout::{Attempt, Token};

/// Longest guidance and longest result, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the guidance: every token that is the teacher's but the end token.
    pub feedback_tokens: usize,
    /// Of the whole trajectory.
    pub response_tokens: usize,
}

/// Splices the feedback into an attempt that ended by itself. The attempt's tokens before the join stay as they were
/// sampled, with their log-probs. Its end token closes the trajectory and counts as the teacher's, who chose to end
/// there.
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
    let guidance = format!("\n\n{}\n\n{}", feedback.reason, feedback.phrase);
    let alone = tokenizer.encode(&guidance);
    if tokenizer.decode(&alone) != tokenizer.decode_raw(&alone) {
        return Err(Rejection::BadFormat(FormatFault::SpecialToken));
    }
    let (kept, teachers) = join(said, &guidance, tokenizer);
    if teachers.len() > limits.feedback_tokens {
        return Err(Rejection::FeedbackTooLong);
    }
    if kept + teachers.len() + 1 > limits.response_tokens {
        return Err(Rejection::ResponseTooLong);
    }
    let student = said[..kept].iter().zip(&attempt.logprobs).map(|(&id, &logprob)| Token {
        id,
        author: Author::Student,
        old_logprob: Some(logprob),
    });
    let teacher =
        teachers.iter().chain([end]).map(|&id| Token { id, author: Author::Teacher, old_logprob: None });
    Ok(student.chain(teacher).collect())
}

/// The number of tokens of `said` that stay, and the tokens that follow them, so that together they spell `said` and
/// `guidance`.
///
/// Where `said` is the canonical encoding of its own text, the longest common prefix with the canonical encoding of the
/// joined text stays, and the result is that encoding. A model may also sample tokens that no encoder writes. Then all
/// of `said` stays up to the last place at which a token ends in both, and the canonical tokens from there follow.
fn join(said: &[u32], guidance: &str, tokenizer: &dyn Tokenizer) -> (usize, Vec<u32>) {
    let text = tokenizer.decode_raw(said);
    let joined = format!("{text}{guidance}");
    let canonical = tokenizer.encode(&joined);
    let common = said.iter().zip(&canonical).take_while(|(a, b)| a == b).count();
    let (kept, from) = if common == said.len() || tokenizer.encode(&text) == said {
        (common, common)
    } else {
        last_shared_boundary(said, &canonical, &joined, tokenizer).unwrap_or((common, common))
    };
    (kept, canonical[from..].to_vec())
}

/// The largest `kept` for which `said[..kept]` spells the same as some `canonical[..from]`, and together with the rest
/// of `canonical` the whole of `joined`.
fn last_shared_boundary(
    said: &[u32],
    canonical: &[u32],
    joined: &str,
    tokenizer: &dyn Tokenizer,
) -> Option<(usize, usize)> {
    let mut from = canonical.len();
    let mut canonical_text = tokenizer.decode_raw(canonical);
    for kept in (1..=said.len()).rev() {
        let said_text = tokenizer.decode_raw(&said[..kept]);
        while from > 0 && canonical_text.len() > said_text.len() {
            from -= 1;
            canonical_text = tokenizer.decode_raw(&canonical[..from]);
        }
        if canonical_text == said_text {
            let spliced = [&said[..kept], &canonical[from..]].concat();
            if tokenizer.decode_raw(&spliced) == joined {
                return Some((kept, from));
            }
        }
    }
    None
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
