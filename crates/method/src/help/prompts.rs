//! Prompts of the teacher: a system message, a few exchanges, the request. Prompt sets are files of the
//! project (`crates/method/prompts/*/guidance.toml`), compiled in by name; a user may name a file instead.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use thinktune_runlog::sha256_hex;
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
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptSet {
    /// The name or the file it was loaded by.
    #[serde(skip)]
    pub name: String,
    /// SHA-256 of its text.
    #[serde(skip)]
    pub sha256: String,
    /// Sets the role; empty = no system message.
    #[serde(default)]
    pub system: String,
    /// The user's message about one attempt: a text with `{question}` and `{response}`.
    pub request: String,
    /// True where a reply begins with a `<check>` section, in which the work is done again before the opinion is stated.
    /// It is logged and never spliced in. Each example has one then.
    #[serde(default)]
    pub check: bool,
    /// The beginning of the reply, from which the teacher continues, such as `<opinion>`; empty: it begins by itself.
    #[serde(default)]
    pub prefill: String,
    /// Examples shown for one request; none: all.
    #[serde(default)]
    pub shown: Option<usize>,
    /// The order of the examples.
    #[serde(default)]
    pub order: Order,
    /// Examples shown before the request.
    #[serde(default, rename = "exchange")]
    pub exchanges: Vec<Exchange>,
}

/// The order of the examples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// That of the file, from its first.
    #[default]
    Fixed,
    /// Drawn anew for each request, with the examples themselves.
    Random,
}

/// An example: an attempt and the feedback on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The behaviour that the feedback exemplifies.
    pub behaviour: Behaviour,
    /// A question.
    pub question: String,
    /// A student's response to it.
    pub response: String,
    /// The work done again, where the set asks for that.
    #[serde(default)]
    pub check: String,
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

    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, MethodError> {
        let bad = |message: String| MethodError::BadPrompts { name: name.into(), message };
        let set: Self = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
        set.check().map_err(bad)?;
        Ok(Self { name: name.into(), sha256: sha256_hex(text.as_bytes()), ..set })
    }

    /// Refuses what could not be asked, or examples whose replies would themselves be rejected.
    fn check(&self) -> Result<(), String> {
        for place in [QUESTION, RESPONSE] {
            if self.request.matches(place).count() != 1 {
                return Err(format!("`request` must hold {place} once"));
            }
        }
        let first = if self.check { "<check>" } else { "<opinion>" };
        if !self.prefill.is_empty() && !self.prefill.starts_with(first) {
            let found = &self.prefill;
            return Err(format!("`prefill` is {found:?}; a reply of this set begins with {first}"));
        }
        let known = self.exchanges.len();
        if let Some(shown) = self.shown.filter(|shown| !(1..=known).contains(shown)) {
            return Err(format!("`shown` is {shown}; expected 1 to {known}, the number of exchanges"));
        }
        for (index, exchange) in self.exchanges.iter().enumerate() {
            let number = index + 1;
            self.check_exchange(exchange).map_err(|message| format!("exchange {number}: {message}"))?;
        }
        Ok(())
    }

    fn check_exchange(&self, exchange: &Exchange) -> Result<(), String> {
        exchange.feedback()?;
        if self.check == exchange.check.trim().is_empty() {
            let expected =
                if self.check { "a text, as `check = true`" } else { "none, without `check = true`" };
            return Err(format!("`check` is {:?}; expected {expected}", exchange.check));
        }
        feedback::parse(&exchange.reply(), self.check)
            .map(drop)
            .map_err(|rejection| format!("its feedback would be rejected: {rejection}"))
    }

    /// The request with its places filled; what is filled in is not searched for places.
    pub fn fill(&self, question: &str, response: &str) -> String {
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
        let formatted = self.feedback().map(|feedback| feedback::format(&feedback)).unwrap_or_default();
        match self.check.trim() {
            "" => formatted,
            check => format!("<check>\n{check}\n</check>\n{formatted}"),
        }
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
    use thinktune_tasks::{Verdict, grade_boxed, reflects};

    const MINIMAL: &str = "request = 'Q: {question} A: {response}'";

    /// The built-in sets, and those kept for comparison.
    fn all_sets() -> Vec<PromptSet> {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/guidance");
        let kept = fs::read_dir(kept).unwrap().map(|entry| entry.unwrap().path());
        let mut kept: Vec<_> =
            kept.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
        kept.sort();
        assert!(kept.len() >= 3, "{kept:?}");
        let names = PromptSet::names().into_iter().map(String::from);
        let files = kept.into_iter().map(|path| path.display().to_string());
        names.chain(files).map(|name| PromptSet::load(&name).unwrap()).collect()
    }

    #[test]
    fn few_shot_sets_show_every_behaviour_and_both_opinions() {
        for set in all_sets() {
            let name = &set.name;
            let mut behaviours: Vec<Behaviour> =
                set.exchanges.iter().map(|exchange| exchange.behaviour).collect();
            behaviours.sort();
            behaviours.dedup();
            assert_eq!((behaviours.len(), set.exchanges.len() % 4), (4, 0), "{name}");
            let right = set.exchanges.iter().filter(|exchange| exchange.opinion == "correct").count();
            let balanced = 2 * right == set.exchanges.len();
            assert!(balanced || name.starts_with("word-problems"), "{name}: {right} right");
            assert!(right > 0, "{name}");
        }
    }

    /// The examples practise what they preach: the grader agrees with each opinion as far as one example can
    /// show it (a right attempt and its guidance end in the same answer, a wrong one and its guidance do not).
    #[test]
    fn examples_are_consistent() {
        for set in all_sets() {
            for exchange in &set.exchanges {
                let name = &set.name;
                let spliced = format!("{}\n\n{}\n\n{}", exchange.response, exchange.reason, exchange.phrase);
                let gold = grade_boxed(&exchange.phrase, "0").extracted.expect("guidance ends in an answer");
                let agrees = grade_boxed(&exchange.response, &gold).verdict == Verdict::Correct;
                assert_eq!(agrees, exchange.opinion == "correct", "{name}: {}", exchange.question);
                assert_eq!(grade_boxed(&spliced, &gold).verdict, Verdict::Correct);
                assert!(reflects(&spliced), "{name}: {spliced}");
                assert!(exchange.check.is_empty() || exchange.check.contains(&gold), "{name}: {gold}");
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
    fn a_bad_set_is_refused_in_one_sentence() {
        let exchange = "[[exchange]]\nbehaviour='self-conflict'\nquestion='q'\nresponse='r'\n";
        let cases = [
            ("request = 'Q {question}'".to_string(), "{response}"),
            (format!("{MINIMAL}\nother = 1"), "unknown field"),
            (format!("{MINIMAL}\n{exchange}opinion='maybe'\nreason='a'\nphrase='b'"), "\"maybe\""),
            (format!("{MINIMAL}\n{exchange}opinion='correct'\nreason=' '\nphrase='b'"), "exchange 1"),
            (format!("{MINIMAL}\n{}", exchange.replace("conflict", "doubt")), "self-doubt"),
            (format!("{MINIMAL}\nprefill = '<reason>'"), "begins with <opinion>"),
            (format!("{MINIMAL}\nshown = 2\n{exchange}opinion='correct'\nreason='a'\nphrase='b'"), "1 to 1"),
            (format!("{MINIMAL}\norder = 'odd'"), "odd"),
            (
                format!("{MINIMAL}\ncheck = true\n{exchange}opinion='correct'\nreason='a'\nphrase='b'"),
                "`check` is \"\"",
            ),
            (
                format!("{MINIMAL}\n{exchange}check='c'\nopinion='correct'\nreason='a'\nphrase='b'"),
                "without `check = true`",
            ),
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
