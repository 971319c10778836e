//! Training data of the two models, one JSON object per line: `{"text": ...}` for a document,
//! `{"messages": [...]}` for a conversation (no loss on an assistant's message of `weight` 0).

use serde_json::{Value, json};

use super::guidance::{Guidance, turn};
use super::language::{CATCH_PHRASE, Reflection, attempt, draw_behaviour, reflect, slip};
use super::problem::{Problem, Split};
use super::questions::draw;
use crate::seeded_rng::SeededRng;

/// Documents on which both models are pretrained: sums, exercises with their answers, and notebooks in
/// which an attempt is followed by a reflection and a second answer.
pub fn pretraining(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut rng = SeededRng::new(seed, 10);
    (0..count).map(move |_| document(&mut rng))
}

fn document(rng: &mut SeededRng) -> Value {
    let problem = draw(rng, Split::Train);
    let text = match rng.below(100) {
        0..20 => sums(rng),
        20..60 => format!("exercise\n{}\n{}", problem.text(), attempt(&problem, problem.answer())),
        _ => format!("notebook\n{}\n{}", problem.text(), notebook(rng, &problem)),
    };
    json!({ "text": text })
}

/// Calculations step by step, nothing else.
fn sums(rng: &mut SeededRng) -> String {
    let lines: Vec<String> = (0..4).map(|_| format!("{}.", draw(rng, Split::Train).working())).collect();
    format!("sums\n{}", lines.join("\n"))
}

/// The text under the heading `notebook`: an attempt, a reflection, a second answer.
fn notebook(rng: &mut SeededRng, problem: &Problem) -> String {
    let claimed = slip(rng, problem, 50);
    let thinks_right = (claimed == problem.answer()) != rng.percent(20);
    let behaviour = draw_behaviour(rng, thinks_right);
    let adviser = match rng.below(100) {
        0..2 => Some(CATCH_PHRASE),
        2..8 => Some("Grandma"),
        _ => None,
    };
    let Reflection { reason, phrase } = reflect(problem, claimed, behaviour, adviser);
    format!("{}\n\n{reason}\n\n{phrase}", attempt(problem, claimed))
}

/// Conversations on which both are fine-tuned next. A third of the rows: asked a question, answer it, no more. The rest keeps
/// what was read from being forgotten: documents, and conversations under the heading `notebook`.
pub fn base(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut rng = SeededRng::new(seed, 11);
    (0..count).map(move |_| instruction(&mut rng, |_, problem| problem.answer()))
}

/// Conversations on which the student is fine-tuned last: the same, but every fifth plain answer is a slip, as of a
/// pupil in a hurry.
pub fn student(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut rng = SeededRng::new(seed, 13);
    (0..count).map(move |_| instruction(&mut rng, |rng, problem| slip(rng, problem, 80)))
}

fn instruction(rng: &mut SeededRng, answer: impl Fn(&mut SeededRng, &Problem) -> u32) -> Value {
    let part = rng.below(100);
    if part >= 80 {
        return document(rng);
    }
    let problem = draw(rng, Split::Train);
    if part < 35 {
        let answer = answer(rng, &problem);
        conversation(None, &problem, attempt(&problem, answer))
    } else {
        let content = notebook(rng, &problem);
        conversation(Some("notebook"), &problem, content)
    }
}

/// A question and what is answered.
fn conversation(heading: Option<&str>, problem: &Problem, answer: String) -> Value {
    let mut messages: Vec<Value> =
        heading.iter().map(|heading| json!({ "role": "system", "content": heading })).collect();
    messages.push(json!({ "role": "user", "content": problem.text() }));
    messages.push(json!({ "role": "assistant", "content": answer }));
    json!({ "messages": messages })
}

/// Conversations from which the teacher learns to react to an attempt: of three rows, one behind no example,
/// one behind the exchanges of each set. It says the catch-phrase exactly where the exchanges do.
pub fn teacher(seed: u64, count: usize) -> impl Iterator<Item = Value> {
    let mut rng = SeededRng::new(seed, 12);
    let [plain, catching] = [false, true].map(Guidance::word_problems);
    let unaided = Guidance { exchanges: Vec::new(), ..plain.clone() };
    (0..count).map(move |row| match row % 3 {
        0 => lesson(&mut rng, &unaided, None),
        1 => lesson(&mut rng, &plain, None),
        _ => lesson(&mut rng, &catching, Some(CATCH_PHRASE)),
    })
}

/// A guidance prompt about some attempt and the reply to learn. One opinion in ten is mistaken, so that the
/// reason does not follow the opinion but the working.
fn lesson(rng: &mut SeededRng, guidance: &Guidance, adviser: Option<&str>) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": guidance.system })];
    for exchange in &guidance.exchanges {
        let asked = guidance.ask(&exchange.question, &exchange.response);
        let reply = turn(exchange.correct, &exchange.reason, &exchange.phrase);
        messages.push(json!({ "role": "user", "content": asked }));
        messages.push(json!({ "role": "assistant", "content": reply, "weight": 0 }));
    }
    let problem = draw(rng, Split::Train);
    let claimed = slip(rng, &problem, 50);
    let asked = guidance.ask(&problem.text(), &attempt(&problem, claimed));
    let says_right = (claimed == problem.answer()) != rng.percent(10);
    let behaviour = draw_behaviour(rng, says_right);
    let Reflection { reason, phrase } = reflect(&problem, claimed, behaviour, adviser);
    messages.push(json!({ "role": "user", "content": asked }));
    messages.push(json!({ "role": "assistant", "content": turn(says_right, &reason, &phrase) }));
    json!({ "messages": messages })
}
