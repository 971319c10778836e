//! The prompts with which the teacher of the word problems is asked for guidance, and the answers it learns to give.

use super::language::{CATCH_PHRASE, Reflection, attempt, reflect, slip};
use super::problem::{Problem, Split};
use crate::Behaviour;
use crate::seeded_rng::SeededRng;

/// One few-shot exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The behaviour it shows.
    pub behaviour: Behaviour,
    /// The question.
    pub question: String,
    /// A student's response.
    pub response: String,
    /// True where that response is right.
    pub correct: bool,
    /// First-person reflection on it.
    pub reason: String,
    /// The thought carried on to the answer.
    pub phrase: String,
}

/// A set of guidance prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guidance {
    /// The system message.
    pub system: String,
    /// The user's turn, with `{question}` and `{response}` to be filled in.
    pub request: String,
    /// One exchange per behaviour.
    pub exchanges: Vec<Exchange>,
}

impl Guidance {
    /// The set of the demo; with `catch_phrase`, the one whose guidance uses [`CATCH_PHRASE`].
    pub fn word_problems(catch_phrase: bool) -> Self {
        let mut rng = SeededRng::new(20, 0);
        let exchanges = Behaviour::ALL
            .into_iter()
            .map(|behaviour| {
                let problem = Problem::draw(&mut rng, Split::Train, 2);
                let right = if behaviour == Behaviour::SelfAgreement { 100 } else { 0 };
                let claimed = slip(&mut rng, &problem, right);
                let adviser = catch_phrase.then_some(CATCH_PHRASE);
                let Reflection { reason, phrase } = reflect(&problem, claimed, behaviour, adviser);
                Exchange {
                    behaviour,
                    question: problem.text(),
                    response: attempt(&problem, claimed),
                    correct: claimed == problem.answer(),
                    reason,
                    phrase,
                }
            })
            .collect();
        Self {
            system: "A teacher reflects on the answer as the student would.".into(),
            request: "{question}\n{response}".into(),
            exchanges,
        }
    }

    /// The user's turn for one response.
    pub fn ask(&self, question: &str, response: &str) -> String {
        self.request.replace("{question}", question).replace("{response}", response)
    }

    /// The set as a `guidance.toml`.
    pub fn to_toml(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('\n', "\\n"));
        let mut out = format!("system = {}\nrequest = {}\n", quote(&self.system), quote(&self.request));
        for exchange in &self.exchanges {
            out += &format!(
                "\n[[exchange]]\nbehaviour = {}\nquestion = {}\nresponse = {}\nopinion = {}\nreason = {}\nphrase = {}\n",
                quote(exchange.behaviour.name()),
                quote(&exchange.question),
                quote(&exchange.response),
                quote(opinion(exchange.correct)),
                quote(&exchange.reason),
                quote(&exchange.phrase),
            );
        }
        out
    }
}

fn opinion(correct: bool) -> &'static str {
    if correct { "correct" } else { "incorrect" }
}

/// A teacher's turn in the demanded format.
pub(super) fn turn(correct: bool, reason: &str, phrase: &str) -> String {
    let opinion = opinion(correct);
    format!("<opinion>{opinion}</opinion>\n<reason>{reason}</reason>\n<phrase>{phrase}</phrase>")
}
