//! The language of the miniature: a terse attempt, and a reflection that spells out what the attempt
//! left unsaid. A slip made in one's head is found by working step by step, by a model of any size.

use super::dice::Dice;
use super::problem::{LARGEST, Problem};

/// The phrase of the "unknown behaviour" experiment.
pub const CATCH_PHRASE: &str = "Thalapathy Vijay";

/// The ways of reflecting that guidance models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Challenge the answer.
    SelfConflict,
    /// Name a weakness and mend it.
    SelfCritique,
    /// Affirm the answer and say why.
    SelfAgreement,
    /// Ask an inner voice for advice.
    SelfConsultancy,
}

impl Behaviour {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::SelfConflict, Self::SelfCritique, Self::SelfAgreement, Self::SelfConsultancy];

    /// As guidance prompt files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SelfConflict => "self-conflict",
            Self::SelfCritique => "self-critique",
            Self::SelfAgreement => "self-agreement",
            Self::SelfConsultancy => "self-consultancy",
        }
    }

    fn opener(self) -> &'static str {
        match self {
            Self::SelfConflict => "But is it? Let me argue against it:",
            Self::SelfCritique => "My weak spot is haste. Step by step:",
            Self::SelfAgreement => "I trust my answer, and here is why:",
            Self::SelfConsultancy => "A careful friend would count again:",
        }
    }

    /// One that fits what the author thinks of the attempt.
    pub(super) fn draw(dice: &mut Dice, thinks_right: bool) -> Self {
        use Behaviour::{SelfAgreement, SelfConflict, SelfConsultancy, SelfCritique};
        let fitting = [SelfConflict, SelfCritique, SelfConsultancy, SelfAgreement];
        fitting[dice.below(if thinks_right { 4 } else { 3 })]
    }
}

/// The answer a student gives, right or wrong.
pub(super) fn attempt(problem: &Problem, answer: u32) -> String {
    format!("{} has \\boxed{{{answer}}} {}.", problem.name, problem.thing)
}

/// A plausible answer: right `percent_right` times in a hundred, else a slip - a step left out, or off by
/// a little.
pub(super) fn slip(dice: &mut Dice, problem: &Problem, percent_right: u32) -> u32 {
    let right = problem.answer();
    if dice.percent(percent_right) {
        return right;
    }
    loop {
        let wrong = match dice.below(4) {
            0 => {
                let counts = problem.counts_before_answer();
                counts[dice.below(counts.len())]
            }
            _ => (right + dice.between(0, 8)).saturating_sub(4),
        };
        if wrong != right && (1..=LARGEST).contains(&wrong) {
            return wrong;
        }
    }
}

/// What follows an attempt: the reflection and the thought carried on to the answer.
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
    let reason = format!("{advice}{} {}. {verdict}", behaviour.opener(), problem.working());
    Reflection { reason, phrase }
}
