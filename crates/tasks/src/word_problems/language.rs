//! The language of the word problems: a terse attempt, and a reflection that spells out what the attempt
//! left unsaid. A slip made in one's head is found by working step by step, by a model of any size.

use super::problem::{LARGEST, Problem};
use crate::Behaviour;
use crate::seeded_rng::SeededRng;

/// The phrase of the "unknown behaviour" experiment.
pub const CATCH_PHRASE: &str = "Thalapathy Vijay";

/// The words with which a reflection of a behaviour begins.
fn opener(behaviour: Behaviour) -> &'static str {
    match behaviour {
        Behaviour::SelfConflict => "But is it? Let me argue against it:",
        Behaviour::SelfCritique => "My weak spot is haste. Step by step:",
        Behaviour::SelfAgreement => "I trust my answer, and here is why:",
        Behaviour::SelfConsultancy => "A careful friend would count again:",
    }
}

/// Draws a behaviour that fits what the author thinks of the attempt.
pub(super) fn draw_behaviour(rng: &mut SeededRng, thinks_right: bool) -> Behaviour {
    use Behaviour::{SelfAgreement, SelfConflict, SelfConsultancy, SelfCritique};
    let fitting = [SelfConflict, SelfCritique, SelfConsultancy, SelfAgreement];
    fitting[rng.below(if thinks_right { 4 } else { 3 })]
}

/// The answer a student gives, right or wrong.
pub(super) fn attempt(problem: &Problem, answer: u32) -> String {
    format!("{} has \\boxed{{{answer}}} {}.", problem.name, problem.thing)
}

/// A plausible answer: right `percent_right` times in a hundred, else a slip - a step left out, or off by
/// a little.
pub(super) fn slip(rng: &mut SeededRng, problem: &Problem, percent_right: u32) -> u32 {
    let right = problem.answer();
    if rng.percent(percent_right) {
        return right;
    }
    loop {
        let wrong = match rng.below(4) {
            0 => {
                let counts = problem.counts_before_answer();
                counts[rng.below(counts.len())]
            }
            _ => (right + rng.between(0, 8)).saturating_sub(4),
        };
        if wrong != right && (1..=LARGEST).contains(&wrong) {
            return wrong;
        }
    }
}

/// The text after an attempt: the reflection and the thought carried on to the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reflection {
    pub(super) reason: String,
    pub(super) phrase: String,
}

/// Reflects on an attempt at `problem` that answered `claimed`, optionally with a sentence of somebody
/// else's advice first.
pub(super) fn reflect(
    problem: &Problem,
    claimed: u32,
    behaviour: Behaviour,
    adviser: Option<&str>,
) -> Reflection {
    let answer = problem.answer();
    let advice = adviser.map_or(String::new(), |name| format!("{name} says: check it. "));
    let (verdict, phrase) = if claimed == answer {
        (format!("That agrees with my {claimed}."), format!("So I keep \\boxed{{{answer}}}."))
    } else {
        (format!("That is not my {claimed}."), format!("So I change it to \\boxed{{{answer}}}."))
    };
    let reason = format!("{advice}{} {}. {verdict}", opener(behaviour), problem.working());
    Reflection { reason, phrase }
}
