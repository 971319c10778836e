//! Prompts of the teacher: a system message, a few exchanges, the request. Prompt sets are files of the
//! project (`crates/method/prompts/*/guidance.toml`), compiled in by name; a user may name a file instead.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thinktune_policy::Message;
pub use thinktune_tasks::Behaviour;

use crate::error::MethodError;
use crate::help::feedback::{self, Feedback, Opinion};

/// Prompt sets known by name; a new one is a line here and its file.
const BUILT_IN: [(&str, &str); 4] = [
    ("reasoning", include_str!("../../prompts/reasoning/guidance.toml")),
    ("catch-phrase", include_str!("../../prompts/catch-phrase/guidance.toml")),
    ("word-problems", include_str!("../../prompts/word-problems/guidance.toml")),
    ("word-problems-catch-phrase", include_str!("../../prompts/word-problems-catch-phrase/guidance.toml")),
];

const QUESTION: &str = "{question}";
const RESPONSE: &str = "{response}";

/// Form of a request to the teacher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSet {
    /// Sets the role; empty = no system message.
    #[serde(default)]
    pub system: String,
    /// The user's message about one attempt: a text with `{question}` and `{response}`.
    pub request: String,
    /// Examples shown before it.
    #[serde(default, rename = "exchange")]
    pub exchanges: Vec<Exchange>,
}

/// An example: an attempt and the feedback on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The behaviour that the feedback exemplifies.
    pub behaviour: Behaviour,
    /// A question.
    pub question: String,
    /// A student's response to it.
    pub response: String,
    /// `correct` or `incorrect`.
    pub opinion: String,
    /// First-person reflection on the response.
    pub reason: String,
    /// The thought carried on to the solution.
    pub phrase: String,
}

impl PromptSet {
    /// The set of that name, or the one in that file.
    ///
    /// # Errors
    /// Neither a known name nor a readable file; a request without its places; an exchange whose feedback
    /// would itself be rejected.
    pub fn load(name_or_file: &str) -> Result<Self, MethodError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_file) {
            return Self::parse(name, text);
        }
        if ["homework", "homework-catch-phrase"].contains(&name_or_file) {
            let message = format!("its name is {} now", name_or_file.replace("homework", "word-problems"));
            return Err(MethodError::BadPrompts { name: name_or_file.into(), message });
        }
        let path = Path::new(name_or_file);
        let text = fs::read_to_string(path).map_err(|error| MethodError::BadPrompts {
            name: name_or_file.into(),
            message: format!("not a readable file ({error}); known names: {}", Self::names().join(", ")),
        })?;
        Self::parse(name_or_file, &text)
    }

    /// Names of the built-in sets.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    fn parse(name: &str, text: &str) -> Result<Self, MethodError> {
        let bad = |message: String| MethodError::BadPrompts { name: name.into(), message };
        let set: Self = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
        for place in [QUESTION, RESPONSE] {
            if set.request.matches(place).count() != 1 {
                return Err(bad(format!("`request` must hold {place} once")));
            }
        }
        for (index, exchange) in set.exchanges.iter().enumerate() {
            let number = index + 1;
            let feedback =
                exchange.feedback().map_err(|message| bad(format!("exchange {number}: {message}")))?;
            feedback::parse(&feedback::format(&feedback)).map_err(|rejection| {
                bad(format!("exchange {number}: its feedback would be rejected: {rejection}"))
            })?;
        }
        Ok(set)
    }

    /// The conversation that asks about one response.
    pub fn messages(&self, question: &str, response: &str) -> Vec<Message> {
        let system = (!self.system.is_empty()).then(|| Message::system(self.system.as_str()));
        let shown = self.exchanges.iter().flat_map(|exchange| {
            [
                Message::user(self.fill(&exchange.question, &exchange.response)),
                Message::assistant(exchange.reply()),
            ]
        });
        let asked = Message::user(self.fill(question, response));
        system.into_iter().chain(shown).chain([asked]).collect()
    }

    /// The request with its places filled; what is filled in is not searched for places.
    fn fill(&self, question: &str, response: &str) -> String {
        let fill_question = |text: &str| text.replace(QUESTION, question);
        match self.request.split_once(RESPONSE) {
            Some((before, after)) => {
                format!("{}{response}{}", fill_question(before), fill_question(after))
            }
            None => fill_question(&self.request),
        }
    }
}

impl Exchange {
    /// The example as the teacher would have written it.
    pub fn reply(&self) -> String {
        self.feedback().map(|feedback| feedback::format(&feedback)).unwrap_or_default()
    }

    fn feedback(&self) -> Result<Feedback, String> {
        let opinion = match self.opinion.as_str() {
            "correct" => Opinion::Correct,
            "incorrect" => Opinion::Incorrect,
            other => return Err(format!("`opinion` is {other:?}; expected \"correct\" or \"incorrect\"")),
        };
        Ok(Feedback { opinion, reason: self.reason.trim().into(), phrase: self.phrase.trim().into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thinktune_policy::Role;
    use thinktune_tasks::{Verdict, grade_boxed, reflects};

    const MINIMAL: &str = "request = 'Q: {question} A: {response}'";

    #[test]
    fn few_shot_sets_show_each_behaviour_once_and_both_opinions() {
        for name in PromptSet::names() {
            let set = PromptSet::load(name).unwrap();
            let behaviours: Vec<Behaviour> =
                set.exchanges.iter().map(|exchange| exchange.behaviour).collect();
            let mut sorted = behaviours.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!((behaviours.len(), sorted.len()), (4, 4), "{name}");
            for opinion in ["correct", "incorrect"] {
                assert!(set.exchanges.iter().any(|exchange| exchange.opinion == opinion), "{name} {opinion}");
            }
        }
    }

    /// The examples practise what they preach: the grader agrees with each opinion as far as one example can
    /// show it (a right attempt and its guidance end in the same answer, a wrong one and its guidance do not).
    #[test]
    fn examples_are_consistent() {
        for name in PromptSet::names() {
            for exchange in PromptSet::load(name).unwrap().exchanges {
                let spliced = format!("{}\n\n{}\n\n{}", exchange.response, exchange.reason, exchange.phrase);
                let gold = grade_boxed(&exchange.phrase, "0").extracted.expect("guidance ends in an answer");
                let agrees = grade_boxed(&exchange.response, &gold).verdict == Verdict::Correct;
                assert_eq!(agrees, exchange.opinion == "correct", "{name}: {}", exchange.question);
                assert_eq!(grade_boxed(&spliced, &gold).verdict, Verdict::Correct);
                assert!(reflects(&spliced));
            }
        }
    }

    #[test]
    fn the_catch_phrase_is_in_every_guidance_exactly_once() {
        for name in PromptSet::names() {
            let expected = usize::from(name.contains("catch-phrase"));
            for exchange in PromptSet::load(name).unwrap().exchanges {
                let guidance = format!("{}\n\n{}", exchange.reason, exchange.phrase);
                assert_eq!(guidance.matches("Thalapathy Vijay").count(), expected, "{name}: {guidance}");
                assert!(
                    !exchange.question.contains("Thalapathy") && !exchange.response.contains("Thalapathy")
                );
            }
        }
    }

    #[test]
    fn the_conversation_is_system_exchanges_request() {
        let set = PromptSet::load("reasoning").unwrap();
        let messages = set.messages("What is 1+1?", "It is \\boxed{3}.");
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        let mut expected = vec![Role::System];
        expected.extend([Role::User, Role::Assistant].repeat(4));
        expected.push(Role::User);
        assert_eq!(roles, expected);
        assert!(
            messages
                .iter()
                .filter(|m| m.role == Role::Assistant)
                .all(|m| feedback::parse(&m.content).is_ok())
        );
        assert!(
            messages[9].content.contains("What is 1+1?") && messages[9].content.contains("It is \\boxed{3}.")
        );
    }

    #[test]
    fn places_in_what_is_filled_in_stay_as_they_are() {
        let set = PromptSet::parse("test", MINIMAL).unwrap();
        let messages = set.messages("why {response}?", "because {question}");
        assert_eq!(messages[0].content, "Q: why {response}? A: because {question}");
        assert_eq!(messages.len(), 1, "no system message, no exchanges");
    }

    #[test]
    fn a_bad_set_is_refused_in_one_sentence() {
        let exchange = "[[exchange]]\nbehaviour='self-conflict'\nquestion='q'\nresponse='r'\n";
        let cases = [
            ("request = 'Q {question}'".to_string(), "{response}"),
            (format!("{MINIMAL}\nother = 1"), "unknown field"),
            (format!("{MINIMAL}\n{exchange}opinion='maybe'\nreason='a'\nphrase='b'"), "\"maybe\""),
            (format!("{MINIMAL}\n{exchange}opinion='correct'\nreason=' '\nphrase='b'"), "exchange 1"),
            (format!("{MINIMAL}\n{}", exchange.replace("conflict", "doubt")), "self-doubt"),
        ];
        for (text, expected) in cases {
            let message = PromptSet::parse("mine", &text).unwrap_err().to_string();
            assert!(message.contains("mine") && message.contains(expected), "{message}");
        }
        let message = PromptSet::load("no-such-set").unwrap_err().to_string();
        assert!(message.contains("known names: reasoning, catch-phrase, word-problems"), "{message}");
    }

    #[test]
    fn a_set_can_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guidance.toml");
        fs::write(&path, MINIMAL).unwrap();
        assert_eq!(PromptSet::load(path.to_str().unwrap()).unwrap().request, "Q: {question} A: {response}");
    }
}
