//! Step 2, help: choose some of the attempts that ended by themselves, ask the teacher about them, and splice
//! its feedback into those. With nobody chosen this is plain GRPO.

pub mod gamma;

pub mod choose;

pub mod teacher;

pub mod prompts;

pub mod examples;

pub mod feedback;

pub mod splice;

pub mod guide;

pub mod old;

pub mod behaviour;

pub mod limits;

use thinktune_policy::{Teacher, TeacherReply, TeacherRequest, Tokenizer};

use crate::error::MethodError;
use crate::progress::Progress;
use crate::rollout::{Attempt, Group, Guided};
use crate::settings::RlSettings;
use choose::choose;
use gamma::gamma;
use guide::{Guide, request};

/// Counts of the teacher's round.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HelpReport {
    /// Share of the eligible attempts asked for.
    pub gamma: f64,
    /// Attempts that ended by themselves.
    pub eligible: usize,
    /// Attempts the teacher was asked about.
    pub chosen: usize,
    /// Tokens the teacher drew.
    pub teacher_tokens: usize,
}

/// Lets the teacher help with a share gamma of each group's eligible attempts.
pub fn help(
    teacher: Option<&mut (dyn Teacher + '_)>,
    tokenizer: &dyn Tokenizer,
    groups: Vec<Group<Attempt>>,
    step: u32,
    settings: &RlSettings,
    progress: &mut dyn Progress,
) -> Result<(Vec<Group<Guided>>, HelpReport), MethodError> {
    let gamma = gamma(&settings.guidance, settings.run.steps, step);
    let eligible: Vec<Vec<usize>> = groups.iter().map(|group| eligible(group, tokenizer)).collect();
    let chosen: Vec<Vec<usize>> = groups
        .iter()
        .zip(&eligible)
        .map(|(group, rows)| choose(rows, gamma, settings.seed, step, group.asked.question.index))
        .collect();
    let checks_first = teacher.as_ref().is_some_and(|teacher| teacher.checks_first());
    let guide = Guide { tokenizer, limits: settings.into(), checks_first };
    let replies = ask(teacher, &groups, &chosen, progress)?;
    let count = |rows: &[Vec<usize>]| rows.iter().map(Vec::len).sum();
    let report = HelpReport {
        gamma,
        eligible: count(&eligible),
        chosen: count(&chosen),
        teacher_tokens: replies.iter().map(TeacherReply::tokens).sum(),
    };

    let mut replies = replies.into_iter();
    let guide_group = |(group, chosen): (Group<Attempt>, Vec<usize>)| {
        let guide_row = |(row, attempt)| {
            let reply = if chosen.contains(&row) { replies.next() } else { None };
            guide.apply(&group.asked.question, attempt, reply)
        };
        Group {
            rows: group.rows.into_iter().enumerate().map(guide_row).collect(),
            asked: group.asked.clone(),
        }
    };
    Ok((groups.into_iter().zip(chosen).map(guide_group).collect(), report))
}

/// Rows that ended by themselves.
fn eligible(group: &Group<Attempt>, tokenizer: &dyn Tokenizer) -> Vec<usize> {
    (0..group.rows.len()).filter(|&row| group.rows[row].ended(tokenizer)).collect()
}

/// The teacher's replies on the chosen rows, group by group in row order.
fn ask(
    teacher: Option<&mut (dyn Teacher + '_)>,
    groups: &[Group<Attempt>],
    chosen: &[Vec<usize>],
    progress: &mut dyn Progress,
) -> Result<Vec<TeacherReply>, MethodError> {
    let of_group = |(group, rows): (&Group<Attempt>, &Vec<usize>)| -> Vec<TeacherRequest> {
        rows.iter().map(|&row| request(&group.asked.question, &group.rows[row])).collect()
    };
    let requests: Vec<TeacherRequest> = groups.iter().zip(chosen).flat_map(of_group).collect();
    match teacher {
        Some(teacher) if !requests.is_empty() => {
            Ok(teacher.replies(&requests, &mut |so_far| progress.sampling(so_far))?)
        }
        _ if requests.is_empty() => Ok(Vec::new()),
        _ => Err(MethodError::BadData("guidance is asked for and there is no teacher".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::feedback::{FormatFault, Rejection};
    use crate::progress::Silent;
    use crate::rollout::{Asked, Help};
    use crate::testing::{self, Bigram, Chars, ScriptedTeacher};
    use std::sync::Arc;

    fn group(index: u32, texts: &[&str]) -> Group<Attempt> {
        let question = testing::sums(index + 1).remove(index as usize);
        let rows = texts.iter().enumerate().map(|(sample, text)| {
            let mut attempt = testing::attempt(text);
            attempt.key.question = index;
            attempt.key.sample = sample as u32;
            attempt
        });
        let asked = Asked { question, prompt: vec![2, 5].into() };
        Group { rows: rows.collect(), asked: Arc::new(asked) }
    }

    fn help_with(groups: Vec<Group<Attempt>>, settings: &RlSettings) -> (Vec<Group<Guided>>, HelpReport) {
        help_from(&mut Bigram::default(), groups, settings)
    }

    fn help_from(
        student: &mut Bigram,
        groups: Vec<Group<Attempt>>,
        settings: &RlSettings,
    ) -> (Vec<Group<Guided>>, HelpReport) {
        let mut teacher = ScriptedTeacher;
        let (mut groups, report) =
            help(Some(&mut teacher), &Chars, groups, 1, settings, &mut Silent).unwrap();
        if old::is_needed(settings) {
            old::score_guidance(student, &mut groups, settings.rollout.temperature).unwrap();
        }
        (groups, report)
    }

    fn all_guided() -> RlSettings {
        let mut settings = testing::rl_settings();
        settings.guidance.gamma.start = 1.0;
        settings
    }

    #[test]
    fn only_attempts_that_ended_by_themselves_are_eligible() {
        let texts =
            ["\\boxed{2}<end>", "\\boxed{2}", "a<end>b<end>", "", "<end>", "\\boxed{2}<eot>", "<eot><end>"];
        let (groups, report) = help_with(vec![group(1, &texts)], &all_guided());
        assert_eq!((report.eligible, report.chosen, report.gamma), (2, 2, 1.0));
        let asked: Vec<bool> = groups[0].rows.iter().map(|row| row.help != Help::NotChosen).collect();
        assert_eq!(asked, [true, false, false, false, true, false, false]);
    }

    #[test]
    fn replies_find_their_rows_and_rejected_ones_change_nothing() {
        let first = group(0, &["\\boxed{1}<end>", "cut off", "x<end>"]);
        let second = group(2, &["y<end>", "\\boxed{4}<end>"]);
        let (groups, report) = help_with(vec![first, second], &all_guided());
        assert_eq!(report.chosen, 4);
        let texts =
            |group: &Group<Guided>| group.rows.iter().map(|row| Chars.decode(&row.ids())).collect::<Vec<_>>();
        assert_eq!(texts(&groups[0]), ["\\boxed{1}\n\nHm.\n\n\\boxed{0}", "cut off", "x"]);
        assert_eq!(texts(&groups[1]), ["y\n\nHm.\n\n\\boxed{4}", "\\boxed{4}\n\nHm.\n\n\\boxed{4}"]);
        let reason = Rejection::BadFormat(FormatFault::MissingTag);
        assert_eq!(groups[0].rows[2].help, Help::Rejected { reply: "Fine!".into(), reason });
        assert_eq!(
            groups[0].rows[2].tokens,
            Guided::plain(testing::attempt("x<end>"), Help::NotChosen).tokens
        );
    }

    #[test]
    fn pi_old_of_the_teachers_tokens_is_the_students_view_of_the_whole_trajectory() {
        let mut settings = all_guided();
        let mut student = Bigram::writing(&["b\n\nHm", "m.\n", "\n\\boxed{0}"], 3.0);
        let mut old = |settings: &RlSettings| {
            let (groups, _) = help_from(&mut student, vec![group(0, &["ab<end>"])], settings);
            groups[0].rows[0].clone()
        };
        let row = old(&settings);
        let scored: Vec<f32> = row.tokens.iter().map(|token| token.old_logprob.unwrap()).collect();
        assert_eq!(scored[..2], [-1.0; 2], "the student's own are as recorded while sampling");
        (settings.run.log_logprobs, settings.run.check_logprobs) = (false, false);
        let unscored = old(&settings);
        assert!(
            unscored.tokens[2..].iter().all(|token| token.old_logprob.is_none()),
            "not asked, not paid for"
        );
        for (at, pair) in row.ids().windows(2).enumerate().skip(1) {
            let expected = student.logprob(pair[0], pair[1]);
            assert_eq!(scored[at + 1], expected, "token {}", at + 1);
        }
    }
}
