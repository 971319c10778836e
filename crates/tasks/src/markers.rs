//! Words by which a response shows that it reflects, for each of the four behaviours. Words are a proxy: a response
//! may reflect without them, or use them for something else; what they measure is how two models differ.

use crate::Behaviour;

/// Phrases that mark a behaviour, in lower case and without punctuation.
fn phrases(behaviour: Behaviour) -> &'static [&'static str] {
    match behaviour {
        Behaviour::SelfConflict => &[
            "wait",
            "hold on",
            "however",
            "on the other hand",
            "but is it",
            "but is that",
            "am i sure",
            "is that right",
            "is this right",
            "let me argue against",
            "this contradicts",
            "that contradicts",
        ],
        Behaviour::SelfCritique => &[
            "mistake",
            "mistakes",
            "my error",
            "an error",
            "i overlooked",
            "i forgot",
            "i should have",
            "not quite right",
            "is not correct",
            "is incorrect",
            "weak spot",
            "weakness",
            "let me correct",
            "let me fix",
        ],
        Behaviour::SelfAgreement => &[
            "i agree",
            "that agrees",
            "this agrees",
            "this confirms",
            "that confirms",
            "i am confident",
            "i trust my answer",
            "checks out",
            "makes sense",
            "is indeed",
            "i keep",
            "i was right",
        ],
        Behaviour::SelfConsultancy => &[
            "an expert would",
            "a teacher would",
            "a mathematician would",
            "a friend would",
            "careful friend",
            "says check it",
            "if i asked",
            "let me consult",
            "inner voice",
            "another perspective",
            "another point of view",
            "advice",
        ],
    }
}

/// The behaviours of which a text holds at least one marker.
///
/// ```
/// use thinktune_tasks::Behaviour;
/// use thinktune_tasks::markers::marked;
/// assert_eq!(marked("It is 4. Wait, I forgot one."), [Behaviour::SelfConflict, Behaviour::SelfCritique]);
/// assert!(marked("The waiter brings 4.").is_empty());
/// ```
pub fn marked(text: &str) -> Vec<Behaviour> {
    let words = words(text);
    let holds = |phrase: &&str| words.contains(&format!(" {phrase} "));
    Behaviour::ALL.into_iter().filter(|behaviour| phrases(*behaviour).iter().any(holds)).collect()
}

/// The words in lower case, one space before and after each.
fn words(text: &str) -> String {
    let mut out = String::from(" ");
    for c in text.chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !matches!(c, '\'' | '\u{2019}') && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    if !out.ends_with(' ') {
        out.push(' ');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word_problems;

    #[test]
    fn every_phrase_can_be_found() {
        for behaviour in Behaviour::ALL {
            for phrase in phrases(behaviour) {
                let text = format!("So, {}!", phrase.to_uppercase());
                assert!(marked(&text).contains(&behaviour), "{phrase}");
            }
        }
    }

    #[test]
    fn generated_reflections_carry_the_marker_of_their_behaviour() {
        for (text, behaviour) in [
            ("But is it? Let me argue against it: 3+4=7.", Behaviour::SelfConflict),
            ("My weak spot is haste. Step by step: 3+4=7.", Behaviour::SelfCritique),
            ("I trust my answer, and here is why: 3+4=7.", Behaviour::SelfAgreement),
            ("A careful friend would count again: 3+4=7.", Behaviour::SelfConsultancy),
        ] {
            assert_eq!(marked(text), [behaviour], "{text}");
        }
        for question in word_problems::questions(1, word_problems::Split::Train, 50) {
            assert!(marked(question.solution.as_deref().unwrap()).is_empty());
        }
    }

    #[test]
    fn parts_of_words_are_no_markers() {
        for text in ["", "The waiter awaits unmistakeable advices", "howevers", "i keeper"] {
            assert!(marked(text).is_empty(), "{text}");
        }
        assert_eq!(marked("wait").len(), 1);
        assert_eq!(marked("Hold\non ..."), [Behaviour::SelfConflict]);
    }
}
