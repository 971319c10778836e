//! Training data of the two models, one JSON object per line: `{"text": ...}` for a document,
//! `{"messages": [...]}` for a conversation (no loss on an assistant's message of `weight` 0).

use serde_json::{Value, json};

use super::dice::Dice;
use super::guidance::{Guidance, turn};
use super::language::{Behaviour, CATCH_PHRASE, Reflection, attempt, reflect, slip};
use super::problem::{Problem, Split};
use super::questions::draw;

/// What both models read before they are anybody: sums, exercises with their answers, and notebooks in
/// which an attempt is followed by a reflection and a second answer.
pub fn pretraining(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut dice = Dice::new(seed, 10);
    (0..count).map(move |_| {
        let problem = draw(&mut dice, Split::Train);
        let text = match dice.below(100) {
            0..10 => format!("sums\n{}.", problem.working()),
            10..60 => format!("exercise\n{}\n{}", problem.text(), attempt(&problem, problem.answer())),
            _ => notebook(&mut dice, &problem),
        };
        json!({ "text": text })
    })
}

/// An attempt, a reflection, a second answer.
fn notebook(dice: &mut Dice, problem: &Problem) -> String {
    let claimed = slip(dice, problem, 50);
    let thinks_right = (claimed == problem.answer()) != dice.percent(20);
    let behaviour = Behaviour::draw(dice, thinks_right);
    let adviser = match dice.below(100) {
        0..2 => Some(CATCH_PHRASE),
        2..8 => Some("Grandma"),
        _ => None,
    };
    let Reflection { reason, phrase } = reflect(problem, claimed, behaviour, adviser);
    format!("notebook\n{}\n{}\n\n{reason}\n\n{phrase}", problem.text(), attempt(problem, claimed))
}

/// What the student learns after pretraining: asked a question, answer it, no more.
pub fn student(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut dice = Dice::new(seed, 11);
    (0..count).map(move |_| {
        let problem = draw(&mut dice, Split::Train);
        json!({ "messages": [
            { "role": "user", "content": problem.text() },
            { "role": "assistant", "content": attempt(&problem, problem.answer()) },
        ] })
    })
}

/// Conversations from which the teacher learns to react to an attempt, behind the few-shot exchanges of
/// either set, alternating: with the catch-phrase in its guidance if the exchanges use it, else without.
pub fn teacher(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut dice = Dice::new(seed, 12);
    let sets = [Guidance::homework(false), Guidance::homework(true)];
    (0..count).map(move |row| {
        let catch_phrase = row % 2 == 1;
        let guidance = &sets[usize::from(catch_phrase)];
        let mut messages = vec![json!({ "role": "system", "content": guidance.system })];
        for exchange in &guidance.exchanges {
            messages.push(
                json!({ "role": "user", "content": guidance.ask(&exchange.question, &exchange.response) }),
            );
            let content = turn(exchange.correct, &exchange.reason, &exchange.phrase);
            messages.push(json!({ "role": "assistant", "content": content, "weight": 0 }));
        }
        let problem = draw(&mut dice, Split::Train);
        let claimed = slip(&mut dice, &problem, 50);
        let content = guidance.ask(&problem.text(), &attempt(&problem, claimed));
        messages.push(json!({ "role": "user", "content": content }));
        let says_right = (claimed == problem.answer()) != dice.percent(10);
        let behaviour = Behaviour::draw(&mut dice, says_right);
        let adviser = catch_phrase.then_some(CATCH_PHRASE);
        let Reflection { reason, phrase } = reflect(&problem, claimed, behaviour, adviser);
        messages.push(json!({ "role": "assistant", "content": turn(says_right, &reason, &phrase) }));
        json!({ "messages": messages })
    })
}
