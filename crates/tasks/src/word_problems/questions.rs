//! Questions for training and evaluation.

use std::collections::BTreeSet;

use super::language::attempt;
use super::problem::{Problem, Split};
use crate::seeded_rng::SeededRng;
use crate::{AnswerKind, Question};

/// `count` different questions of one side. A longer list begins with the shorter one of the same seed.
/// The solution is the plain right answer.
///
/// ```
/// use thinktune_tasks::word_problems::{Split, questions};
/// let questions = questions(7, Split::HeldOut, 512);
/// assert_eq!(questions.len(), 512);
/// ```
pub fn questions(seed: u64, split: Split, count: usize) -> Vec<Question> {
    let mut rng = SeededRng::new(seed, 1 + split as u64);
    let mut asked = BTreeSet::new();
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        let problem = draw(&mut rng, split);
        let text = problem.text();
        if asked.insert(text.clone()) {
            let solution = Some(attempt(&problem, problem.answer()));
            out.push(Question {
                index: out.len() as u32,
                text,
                gold: problem.answer().to_string(),
                solution,
                kind: AnswerKind::Boxed,
            });
        }
    }
    out
}

/// A problem of two to four steps, three the most common.
pub(super) fn draw(rng: &mut SeededRng, split: Split) -> Problem {
    let steps = [2, 3, 3, 4][rng.below(4)];
    Problem::draw(rng, split, steps)
}
