//! The teacher's reply, parsed strictly: anything that is not the demanded format is no feedback. Tolerated are white
//! space between the tags and around each section's text, the case of the opinion, and, where the prompt set asks for
//! it, a leading section in which the work is checked.

use std::fmt;

use thinktune_policy::NoReply;

/// The teacher's opinion of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opinion {
    /// The attempt's final answer is right.
    Correct,
    /// It is wrong.
    Incorrect,
}

impl Opinion {
    /// The word in the reply.
    pub fn word(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Incorrect => "incorrect",
        }
    }
}

/// A reply in the demanded format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The teacher's verdict; it is logged and never spliced in.
    pub opinion: Opinion,
    /// First-person reflection on the attempt.
    pub reason: String,
    /// The thought carried on to the solution.
    pub phrase: String,
}

/// Why a reply was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejection {
    /// The request is longer than the teacher's prompt may be; the teacher was not asked.
    PromptTooLong,
    /// A teacher elsewhere gave no reply.
    NoReply(NoReply),
    /// The reply was cut off by the token limit.
    Truncated,
    /// The reply is not in the demanded format.
    BadFormat(FormatFault),
    /// The grader finds no answer in the phrase, so that the attempt's own answer would be graded a second time.
    NoAnswer,
    /// The guidance is longer than guidance.max_feedback_tokens.
    FeedbackTooLong,
    /// The guided trajectory would be longer than rollout.max_response_tokens.
    ResponseTooLong,
}

/// Fault in the format of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FormatFault {
    /// A tag that should come next is nowhere in the rest of the reply.
    MissingTag,
    /// There is text before, between or after the tags.
    TextOutsideTags,
    /// A section holds a tag of its own: repeated, nested or unclosed.
    StrayTag,
    /// The opinion is neither `correct` nor `incorrect`.
    UnknownOpinion,
    /// The reason or the phrase is empty.
    Empty,
    /// The guidance holds a special token of the student's.
    SpecialToken,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PromptTooLong => "prompt_too_long",
            Self::NoReply(NoReply::Unreachable) => "teacher_unreachable",
            Self::NoReply(NoReply::TimedOut) => "teacher_timed_out",
            Self::NoReply(NoReply::Busy) => "teacher_busy",
            Self::NoReply(NoReply::ServerError) => "teacher_server_error",
            Self::NoReply(NoReply::Refused) => "teacher_refused",
            Self::NoReply(NoReply::BadAnswer) => "teacher_bad_answer",
            Self::Truncated => "truncated",
            Self::BadFormat(FormatFault::MissingTag) => "bad_format_missing_tag",
            Self::BadFormat(FormatFault::TextOutsideTags) => "bad_format_text_outside_tags",
            Self::BadFormat(FormatFault::StrayTag) => "bad_format_stray_tag",
            Self::BadFormat(FormatFault::UnknownOpinion) => "bad_format_unknown_opinion",
            Self::BadFormat(FormatFault::Empty) => "bad_format_empty",
            Self::BadFormat(FormatFault::SpecialToken) => "bad_format_special_token",
            Self::NoAnswer => "no_answer",
            Self::FeedbackTooLong => "feedback_too_long",
            Self::ResponseTooLong => "response_too_long",
        })
    }
}

/// Parses `<opinion>correct|incorrect</opinion> <reason>..</reason> <phrase>..</phrase>`, where `checks_first` after
/// an optional `<check>..</check>`, which is passed over. White space is allowed between tags and trimmed off within.
pub fn parse(reply: &str, checks_first: bool) -> Result<Feedback, Rejection> {
    sections(reply, checks_first).map_err(Rejection::BadFormat)
}

/// The reply that [`parse`] reads back: what the few-shot examples show.
pub fn format(feedback: &Feedback) -> String {
    let Feedback { opinion, reason, phrase } = feedback;
    let opinion = opinion.word();
    format!("<opinion>{opinion}</opinion>\n<reason>{reason}</reason>\n<phrase>{phrase}</phrase>")
}

const TAGS: [&str; 4] = ["check", "opinion", "reason", "phrase"];

fn sections(reply: &str, checks_first: bool) -> Result<Feedback, FormatFault> {
    let checked = checks_first && reply.trim_start().starts_with("<check>");
    let rest = if checked { section(reply, "check")?.1 } else { reply };
    let (opinion, rest) = section(rest, "opinion")?;
    let opinion = match opinion.trim().to_ascii_lowercase().as_str() {
        "correct" => Opinion::Correct,
        "incorrect" => Opinion::Incorrect,
        _ => return Err(FormatFault::UnknownOpinion),
    };
    let (reason, rest) = section(rest, "reason")?;
    let (phrase, rest) = section(rest, "phrase")?;
    if !rest.trim().is_empty() {
        return Err(FormatFault::TextOutsideTags);
    }
    let (reason, phrase) = (reason.trim(), phrase.trim());
    if reason.is_empty() || phrase.is_empty() {
        return Err(FormatFault::Empty);
    }
    Ok(Feedback { opinion, reason: reason.into(), phrase: phrase.into() })
}

/// The text within the next tag, and what follows it.
fn section<'a>(text: &'a str, tag: &str) -> Result<(&'a str, &'a str), FormatFault> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let Some(inner) = text.trim_start().strip_prefix(&open) else {
        let later = text.contains(&open);
        return Err(if later { FormatFault::TextOutsideTags } else { FormatFault::MissingTag });
    };
    let (body, rest) = inner.split_once(&close).ok_or(FormatFault::MissingTag)?;
    let stray = |tag: &&str| body.contains(&format!("<{tag}>")) || body.contains(&format!("</{tag}>"));
    if TAGS.iter().any(stray) {
        return Err(FormatFault::StrayTag);
    }
    Ok((body, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str =
        "<opinion>incorrect</opinion><reason>Hm, 2+2 is 4.</reason><phrase>So \\boxed{4}.</phrase>";

    fn fault(reply: &str) -> FormatFault {
        match parse(reply, false) {
            Err(Rejection::BadFormat(fault)) => fault,
            other => panic!("{reply:?} gave {other:?}"),
        }
    }

    #[test]
    fn reads_the_demanded_format() {
        let feedback = parse(GOOD, false).unwrap();
        assert_eq!(feedback.opinion, Opinion::Incorrect);
        assert_eq!(feedback.reason, "Hm, 2+2 is 4.");
        assert_eq!(feedback.phrase, "So \\boxed{4}.");
    }

    #[test]
    fn white_space_is_allowed_between_tags_and_trimmed_within() {
        let spaced = "\n <opinion>correct</opinion>\n\n<reason>\n Yes.\n\nTwo lines. </reason> \t<phrase> 4 </phrase>\n";
        let feedback = parse(spaced, false).unwrap();
        assert_eq!((&*feedback.reason, &*feedback.phrase), ("Yes.\n\nTwo lines.", "4"));
    }

    #[test]
    fn the_opinions_case_and_white_space_are_tolerated() {
        for (opinion, expected) in [
            ("Correct", Opinion::Correct),
            (" correct ", Opinion::Correct),
            ("INCORRECT\n", Opinion::Incorrect),
        ] {
            let reply = format!("<opinion>{opinion}</opinion><reason>r</reason><phrase>p</phrase>");
            assert_eq!(parse(&reply, false).map(|feedback| feedback.opinion), Ok(expected), "{opinion:?}");
        }
    }

    #[test]
    fn a_check_comes_first_where_asked_for() {
        let checked = format!("<check>2+2=4, not 5.</check>\n{GOOD}");
        assert_eq!(parse(&checked, true), parse(GOOD, false), "it is not part of the feedback");
        assert_eq!(parse(GOOD, true), parse(GOOD, false), "it may be left out");
        assert_eq!(fault(&checked), FormatFault::TextOutsideTags, "nobody asked for it");
        let unclosed = parse(&format!("<check>2+2=4{GOOD}"), true);
        assert_eq!(unclosed, Err(Rejection::BadFormat(FormatFault::MissingTag)));
        let twice = parse(&format!("<check>a</check>{checked}"), true);
        assert_eq!(twice, Err(Rejection::BadFormat(FormatFault::TextOutsideTags)));
        let late = GOOD.replace("Hm,", "<check>");
        assert_eq!(parse(&late, true), Err(Rejection::BadFormat(FormatFault::StrayTag)));
    }

    #[test]
    fn rejects_whatever_else_with_its_reason() {
        use FormatFault::*;
        let cases = [
            ("", MissingTag),
            ("I think it is fine.", MissingTag),
            ("<opinion>correct</opinion><reason>r</reason>", MissingTag),
            ("<opinion>correct</opinion><phrase>p</phrase>", MissingTag),
            ("<opinion>correct</opinion><reason>r</reason><phrase>p", MissingTag),
            ("<OPINION>correct</OPINION><reason>r</reason><phrase>p</phrase>", MissingTag),
            ("Sure! <opinion>correct</opinion><reason>r</reason><phrase>p</phrase>", TextOutsideTags),
            ("<opinion>correct</opinion>; <reason>r</reason><phrase>p</phrase>", TextOutsideTags),
            ("<opinion>correct</opinion><reason>r</reason><phrase>p</phrase>.", TextOutsideTags),
            ("<reason>r</reason><opinion>correct</opinion><phrase>p</phrase>", TextOutsideTags),
            (
                "<opinion>correct</opinion><reason>r</reason><phrase>p</phrase><phrase>p</phrase>",
                TextOutsideTags,
            ),
            ("<opinion>correct</opinion><reason>a<reason>b</reason><phrase>p</phrase>", StrayTag),
            ("<opinion>correct</opinion><reason>r<phrase>p</phrase></reason><phrase>p</phrase>", StrayTag),
            ("<opinion>correct</opinion><reason>r</opinion></reason><phrase>p</phrase>", StrayTag),
            ("<opinion>I think it is correct</opinion><reason>r</reason><phrase>p</phrase>", UnknownOpinion),
            ("<opinion>correct.</opinion><reason>r</reason><phrase>p</phrase>", UnknownOpinion),
            ("<opinion>correct|incorrect</opinion><reason>r</reason><phrase>p</phrase>", UnknownOpinion),
            ("<opinion></opinion><reason>r</reason><phrase>p</phrase>", UnknownOpinion),
            ("<opinion>correct</opinion><reason> \n</reason><phrase>p</phrase>", Empty),
            ("<opinion>correct</opinion><reason>r</reason><phrase></phrase>", Empty),
        ];
        for (reply, expected) in cases {
            assert_eq!(fault(reply), expected, "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_is_read_back(reason in "[a-z0-9 .{}\\\\<>/\n]{0,30}[a-z]", phrase in "[a-zé数 ]{0,20}x") {
            let feedback = Feedback {
                opinion: Opinion::Correct,
                reason: reason.trim().into(),
                phrase: phrase.trim().into(),
            };
            prop_assert_eq!(parse(&format(&feedback), false).unwrap(), feedback);
        }

        #[test]
        fn no_reply_panics_and_any_addition_outside_is_refused(extra in "\\PC{1,20}", at in 0usize..4) {
            let _ = parse(&extra, false);
            let boundaries = [0, GOOD.find("<reason>").unwrap(), GOOD.find("<phrase>").unwrap(), GOOD.len()];
            let mut reply = GOOD.to_string();
            reply.insert_str(boundaries[at], &extra);
            prop_assert_eq!(parse(&reply, false).is_ok(), extra.trim().is_empty());
        }
    }
}
