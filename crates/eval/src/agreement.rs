//! The settings that two evaluations must share for their difference to be the model's.

use std::collections::BTreeMap;

use crate::folder::{AskedAs, Identity};

/// Settings of the whole evaluation that must agree. The seed is none of them: samples are as good under any.
const SETTINGS: [&str; 4] = ["samples", "temperature", "precision", "date"];

/// Limits, where a folder names only those that the user gave.
const LIMITS: [&str; 2] = ["max_tokens", "budget"];

/// The longest value that is shown, in characters.
const SHOWN: usize = 160;

/// The settings in which two evaluations differ, and what cannot be told.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Agreement {
    /// Each difference, with both values.
    pub(crate) differences: Vec<String>,
    /// Benchmarks of which one of the folders does not say how they were asked.
    pub(crate) unchecked: Vec<String>,
}

impl Agreement {
    /// Compares the settings of two evaluations of the benchmarks and methods in `shared`.
    pub(crate) fn of(a: &Identity, b: &Identity, shared: &[(String, String)]) -> Self {
        let mut found = Self::default();
        let mut names: Vec<&str> = shared.iter().map(|(benchmark, _)| benchmark.as_str()).collect();
        names.dedup();
        found.unchecked = names
            .iter()
            .filter(|name| !a.asked.contains_key(**name) || !b.asked.contains_key(**name))
            .map(|name| name.to_string())
            .collect();
        let limits = if found.unchecked.is_empty() { &[][..] } else { &LIMITS[..] };
        for key in SETTINGS.iter().chain(limits) {
            found.compare(key, &a.settings, &b.settings, key);
        }
        for name in names {
            if a.benchmarks.get(name) != b.benchmarks.get(name) {
                found.differences.push(format!("the data of {name} are others: take the same file and seed"));
            }
            let (Some(of_a), Some(of_b)) = (a.asked.get(name), b.asked.get(name)) else { continue };
            let forced = shared.iter().any(|(benchmark, method)| benchmark == name && method == "s1");
            for key in of_a.0.keys().filter(|key| forced || *key != AskedAs::BUDGET_TOKENS) {
                found.compare(&format!("{key} of {name}"), &of_a.0, &of_b.0, key);
            }
        }
        found
    }

    /// Notes a difference in one text. A folder that does not have it says nothing of it.
    fn compare(&mut self, what: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>, key: &str) {
        if let (Some(a), Some(b)) = (a.get(key), b.get(key))
            && a != b
        {
            self.differences.push(format!("{what} is {} in A and {} in B", shown(a), shown(b)));
        }
    }
}

/// A value as a message shows it: quoted where it is more than a word, and not beyond a line.
fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(SHOWN).collect();
    if text.len() < value.len() {
        text.push_str("...");
    }
    let word =
        !text.is_empty() && text.chars().all(|sign| sign.is_ascii_alphanumeric() || "-_.".contains(sign));
    if word { text } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, text)| (key.to_string(), text.to_string())).collect()
    }

    fn identity() -> Identity {
        let asked = AskedAs(texts(&[
            (AskedAs::SYSTEM, AskedAs::NONE),
            (AskedAs::SUFFIX, "\n\nin a box"),
            (AskedAs::TEMPLATE, "<user>{question}"),
            (AskedAs::ANSWER_TOKENS, "1024"),
            (AskedAs::BUDGET_TOKENS, "2048"),
        ]));
        Identity {
            settings: texts(&[
                ("samples", "1"),
                ("temperature", "0"),
                ("precision", "f32"),
                ("date", "2026-01-01"),
                ("seed", "1"),
                ("max_tokens", "default"),
            ]),
            benchmarks: texts(&[("gsm8k", "sha")]),
            asked: [("gsm8k".to_string(), asked)].into(),
            ..Default::default()
        }
    }

    fn differences(b: &Identity, method: &str) -> Vec<String> {
        Agreement::of(&identity(), b, &[("gsm8k".into(), method.into())]).differences
    }

    #[test]
    fn every_setting_but_model_and_seed_must_agree() {
        let mut same = identity();
        same.model = "another".into();
        same.settings.insert("seed".into(), "2".into());
        same.settings.insert("max_tokens".into(), "1024".into());
        assert_eq!(differences(&same, "zero-shot"), [""; 0]);
        for key in ["samples", "temperature", "precision", "date"] {
            let mut other = identity();
            other.settings.insert(key.into(), "9".into());
            let found = differences(&other, "zero-shot");
            assert_eq!(found, [format!("{key} is {} in A and 9 in B", identity().settings[key])]);
        }
        for key in [AskedAs::SYSTEM, AskedAs::SUFFIX, AskedAs::TEMPLATE, AskedAs::ANSWER_TOKENS] {
            let mut other = identity();
            other.asked.get_mut("gsm8k").unwrap().0.insert(key.into(), "x y".into());
            let found = differences(&other, "zero-shot");
            assert!(
                found[0].starts_with(&format!("{key} of gsm8k is ")) && found[0].ends_with("\"x y\" in B"),
                "{found:?}"
            );
        }
        let mut other = identity();
        other.benchmarks.insert("gsm8k".into(), "other".into());
        assert_eq!(differences(&other, "zero-shot").len(), 1);
    }

    #[test]
    fn the_budget_matters_where_it_is_forced() {
        let mut other = identity();
        other.asked.get_mut("gsm8k").unwrap().0.insert(AskedAs::BUDGET_TOKENS.into(), "9".into());
        assert_eq!(differences(&other, "zero-shot"), [""; 0]);
        assert_eq!(differences(&other, "s1"), ["budget of gsm8k is 2048 in A and 9 in B"]);
    }

    #[test]
    fn an_earlier_folder_is_told_from_one_that_agrees() {
        let mut earlier = identity();
        earlier.asked.clear();
        let found = Agreement::of(&identity(), &earlier, &[("gsm8k".into(), "zero-shot".into())]);
        assert_eq!((found.differences.len(), found.unchecked), (0, vec!["gsm8k".to_string()]));
        earlier.settings.insert("max_tokens".into(), "16".into());
        assert_eq!(differences(&earlier, "zero-shot"), ["max_tokens is default in A and 16 in B"]);
    }
}
