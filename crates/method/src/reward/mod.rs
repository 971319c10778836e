//! Step 3, reward: grade what came out, guided or not, and compare it with its group.

pub mod outcome;

pub mod phrase;

pub mod advantage;

use thinktune_policy::Tokenizer;
use thinktune_tasks::{AnswerKind, Verdict, first_attempt, grade_boxed};

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
        let gold = &group.asked.question.gold;
        let mut rows: Vec<Scored> =
            group.rows.into_iter().map(|row| score(row, gold, tokenizer, settings)).collect();
        let rewards: Vec<f64> = rows.iter().map(|row| row.reward).collect();
        for (row, advantage) in rows.iter_mut().zip(advantages(&rewards)) {
            row.advantage = advantage;
        }
        Group { asked: group.asked, rows }
    };
    groups.into_iter().map(score_group).collect()
}

/// A row with its reward; its advantage is still 0.
fn score(guided: Guided, gold: &str, tokenizer: &dyn Tokenizer, settings: &RewardSettings) -> Scored {
    let ids = guided.ids();
    let text = tokenizer.decode(&ids);
    let outcome = Outcome::of(AnswerKind::Boxed, &text, tokenizer.ended(&ids), gold);
    let attempt = &guided.attempt;
    Scored {
        reward: outcome.reward() + phrase_bonus(&text, settings),
        advantage: 0.0,
        outcome,
        attempt_outcome: Outcome::of(AnswerKind::Boxed, &attempt.text, attempt.ended(tokenizer), gold),
        first_attempt_right: grade_boxed(first_attempt(&attempt.text), gold).verdict == Verdict::Correct,
        guided,
        text,
    }
}
