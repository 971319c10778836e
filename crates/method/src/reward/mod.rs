//! Step 3, reward: grade what came out, guided or not, and compare it with its group.

pub mod outcome;

pub mod phrase;

pub mod advantage;

use thinktune_policy::Tokenizer;
use thinktune_tasks::{Question, Reflection, Verdict};

use crate::rollout::{Group, Guided, Scored};
use crate::settings::RewardSettings;
use advantage::advantages;
use outcome::Outcome;
use phrase::phrase_bonus;

/// Gives every row its reward, and its advantage over the whole group, guided rows included.
pub fn reward(
    groups: Vec<Group<Guided>>,
    tokenizer: &dyn Tokenizer,
    settings: &RewardSettings,
) -> Vec<Group<Scored>> {
    let score_group = |group: Group<Guided>| {
        let question = &group.asked.question;
        let mut rows: Vec<Scored> =
            group.rows.into_iter().map(|row| score(row, question, tokenizer, settings)).collect();
        let rewards: Vec<f64> = rows.iter().map(|row| row.reward).collect();
        for (row, advantage) in rows.iter_mut().zip(advantages(&rewards, settings.scale)) {
            row.advantage = advantage;
        }
        Group { asked: group.asked, rows }
    };
    groups.into_iter().map(score_group).collect()
}

/// A row with its reward, graded as answers to its kind of question are; its advantage is still 0.
fn score(
    guided: Guided,
    question: &Question,
    tokenizer: &dyn Tokenizer,
    settings: &RewardSettings,
) -> Scored {
    let Question { kind, gold, .. } = question;
    let ids = guided.ids();
    let text = tokenizer.decode(&ids);
    let outcome = Outcome::of(*kind, &text, tokenizer.ended(&ids), gold);
    let attempt = &guided.attempt;
    let attempt_outcome = Outcome::of(*kind, &attempt.text, attempt.ended(tokenizer), gold);
    let last = attempt_outcome.grade.extracted.as_deref();
    let reflection = Reflection::of(question, &attempt.text, last);
    let right = attempt_outcome.grade.verdict == Verdict::Correct;
    Scored {
        reward: outcome.reward() + phrase_bonus(&text, settings),
        advantage: 0.0,
        outcome,
        first_attempt_right: reflection.map_or(right, |reflection| reflection.first_right),
        reflects: reflection.is_some(),
        changed: reflection.is_some_and(|reflection| reflection.changed),
        attempt_outcome,
        guided,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Asked, Help};
    use crate::testing::{self, Chars};
    use std::sync::Arc;
    use thinktune_tasks::AnswerKind;

    fn scored(kind: AnswerKind, gold: &str, text: &str) -> Scored {
        let question = Question { kind, gold: gold.into(), ..testing::sums(1).remove(0) };
        let asked = Arc::new(Asked { question, prompt: vec![2, 5].into() });
        let rows = vec![Guided::plain(testing::attempt(text), Help::NotChosen)];
        let groups = vec![Group { asked, rows }];
        reward(groups, &Chars, &testing::rl_settings().reward).remove(0).rows.remove(0)
    }

    /// The same grader as in evaluation: that of the question's kind.
    #[test]
    fn rewards_are_graded_by_the_questions_kind() {
        for (kind, gold, text) in [
            (AnswerKind::Gsm8k, "72", "She sold 72.<end>"),
            (AnswerKind::Choice { options: 4 }, "C", "The answer is (C).<end>"),
            (AnswerKind::YesNo, "yes", "So the answer is yes.<end>"),
            (AnswerKind::Math, "2", "Thus \\boxed{\\sqrt{4}}.<end>"),
        ] {
            let row = scored(kind, gold, text);
            assert_eq!((row.reward, row.first_attempt_right), (1.0, true), "{text}");
            assert_eq!(scored(AnswerKind::Boxed, gold, text).reward, 0.0, "{text}");
        }
    }

    #[test]
    fn a_reflection_changes_mends_or_spoils() {
        for (text, changed, mended, spoilt) in [
            ("\\boxed{3}.\n\nNo, \\boxed{4}<end>", true, true, false),
            ("\\boxed{4}.\n\nNo, \\boxed{3}<end>", true, false, true),
            ("\\boxed{3}.\n\nNo, \\boxed{5}<end>", true, false, false),
            ("\\boxed{4}.\n\nYes, \\boxed{4.0}<end>", false, false, false),
            ("\\boxed{4}.\n\nI like this paragraph.<end>", false, false, false),
            ("\\boxed{3}, no: \\boxed{4}<end>", false, false, false),
            ("\\boxed{3}.\n\nNo, \\boxed{4}", true, false, false),
            ("\\boxed{4}.\n\nYes, it is \\boxed{4", true, false, true),
        ] {
            let row = scored(AnswerKind::Boxed, "4", text);
            assert_eq!((row.changed, row.is_mended(), row.is_spoilt()), (changed, mended, spoilt), "{text}");
        }
    }
}
