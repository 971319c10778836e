//! Which of the four behaviours a feedback shows.

use thinktune_tasks::markers::marked;

use crate::help::prompts::Behaviour;

/// Returns the behaviour with which a reflection begins: that of its first sentence that holds a marker
/// (`tasks::markers`). Of a sentence with markers of several behaviours it is the first in the paper's order. None
/// where no sentence holds a marker.
///
/// A sentence ends at a full stop, a question mark or an exclamation mark before white space, and at the end of a line.
/// The opening decides, because a reflection that begins with a doubt often ends in agreement.
pub fn shown(reflection: &str) -> Option<Behaviour> {
    sentences(reflection).find_map(|sentence| marked(sentence).first().copied())
}

fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut last = ' ';
    text.split(move |c: char| {
        let ends = c == '\n' || (c.is_whitespace() && matches!(last, '.' | '?' | '!'));
        last = c;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Behaviour::{SelfAgreement, SelfConflict, SelfConsultancy, SelfCritique};

    #[test]
    fn the_first_marked_sentence_decides() {
        for (reflection, expected) in [
            ("Hold on, that cannot be. I agree with the rest.", Some(SelfConflict)),
            ("I took 20 from 135. That is a mistake. Wait, no.", Some(SelfCritique)),
            ("This checks out. However, let me see.", Some(SelfAgreement)),
            ("An expert would count again: 3.5 is not 4.", Some(SelfConsultancy)),
            ("However, my weakness is haste.", Some(SelfConflict)),
            ("7 + 8 = 15\nI was right", Some(SelfAgreement)),
            ("7 + 8 = 15.", None),
            ("", None),
        ] {
            assert_eq!(shown(reflection), expected, "{reflection:?}");
        }
    }
}
