//! What a teacher is shown about one attempt: the prompt set, its examples drawn for this request, and the question as
//! the student saw it.

use thinktune_policy::{Message, SampleKey, Stream, TeacherRequest, rng, rng::SampleRng};

use crate::help::prompts::{Exchange, Order, PromptSet};
use crate::settings::Ask;

/// A prompt set, the form in which the student is asked, and the seed of the examples' draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeacherPrompts {
    /// The prompt set.
    pub set: PromptSet,
    /// The form in which questions are put to the student.
    pub ask: Ask,
    /// Keys the draw.
    pub seed: u64,
}

impl TeacherPrompts {
    /// The conversation that asks about one response. Its examples are a function of the seed and of the request's key.
    pub fn messages(&self, request: &TeacherRequest) -> Vec<Message> {
        let system = (!self.set.system.is_empty()).then(|| Message::system(self.set.system.as_str()));
        let shown = draw(&self.set, self.seed, request.key).into_iter().flat_map(|exchange| {
            [
                Message::user(self.set.fill(&self.as_asked(&exchange.question), &exchange.response)),
                Message::assistant(exchange.reply()),
            ]
        });
        let asked = Message::user(self.set.fill(&self.as_asked(&request.question), &request.response));
        system.into_iter().chain(shown).chain([asked]).collect()
    }

    /// The text from which the reply is continued; empty where the teacher begins it.
    pub fn prefill(&self) -> &str {
        &self.set.prefill
    }

    /// A question as the student sees it: the system message, if any, the question, the suffix.
    fn as_asked(&self, question: &str) -> String {
        let Ask { system, suffix } = &self.ask;
        let before = system.as_ref().map(|system| format!("{system}\n\n")).unwrap_or_default();
        format!("{before}{question}{suffix}")
    }
}

/// The examples shown for one request, in their order. With a random order they are drawn without replacement, as many
/// right as wrong ones (of an odd number, either may be one more), and shuffled, so that no example is always the last.
pub fn draw(set: &PromptSet, seed: u64, key: SampleKey) -> Vec<&Exchange> {
    let shown = set.shown.unwrap_or(set.exchanges.len()).min(set.exchanges.len());
    if set.order == Order::Fixed {
        return set.exchanges.iter().take(shown).collect();
    }
    let key = SampleKey { stream: Stream::Examples, ..key };
    let mut shuffled: Vec<&Exchange> = set.exchanges.iter().collect();
    rng::shuffle(seed, key, &mut shuffled);
    let is_right = |exchange: &&Exchange| exchange.opinion == "correct";
    let right = shuffled.iter().filter(|exchange| is_right(exchange)).count();
    let wrong = shuffled.len() - right;
    // the shuffle does not use position 0
    let one_more = usize::from(shown % 2 == 1 && SampleRng::new(seed, key).uniform(0) < 0.5);
    let right = (shown / 2 + one_more).clamp(shown.saturating_sub(wrong), right.min(shown));
    let mut left = [shown - right, right];
    shuffled.retain(|exchange| {
        let left = &mut left[usize::from(is_right(exchange))];
        let taken = *left > 0;
        *left = left.saturating_sub(1);
        taken
    });
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::feedback;
    use crate::testing;
    use thinktune_policy::Role;

    fn prompts(text: &str) -> TeacherPrompts {
        TeacherPrompts { set: PromptSet::parse("test", text).unwrap(), ask: Ask::default(), seed: 1 }
    }

    fn request(question: &str, response: &str, sample: u32) -> TeacherRequest {
        let key = SampleKey { stream: Stream::Teacher, sample, ..testing::attempt("x").key };
        TeacherRequest { question: question.into(), response: response.into(), key }
    }

    /// Six examples, `wrong` of them wrong, named by their question.
    fn pool(wrong: usize, shown: usize) -> TeacherPrompts {
        let exchange = |index: usize| {
            let opinion = if index < wrong { "incorrect" } else { "correct" };
            format!(
                "[[exchange]]\nbehaviour='self-critique'\nquestion='{index}'\nresponse='r'\n\
                 opinion='{opinion}'\nreason='a'\nphrase='b'\n"
            )
        };
        let exchanges: String = (0..6).map(exchange).collect();
        prompts(&format!("request='{{question}}{{response}}'\norder='random'\nshown={shown}\n{exchanges}"))
    }

    #[test]
    fn the_conversation_is_system_exchanges_request() {
        let set = PromptSet::load("catch-phrase").unwrap();
        let shown = TeacherPrompts { set, ask: Ask::default(), seed: 0 };
        let messages = shown.messages(&request("What is 1+1?", "It is \\boxed{3}.", 0));
        let roles: Vec<Role> = messages.iter().map(|message| message.role).collect();
        let shown = (roles.len() - 2) / 2;
        let mut expected = vec![Role::System];
        expected.extend([Role::User, Role::Assistant].repeat(shown));
        expected.push(Role::User);
        assert_eq!(roles, expected);
        let replies = messages.iter().filter(|message| message.role == Role::Assistant);
        assert!(replies.clone().count() > 0);
        assert!(replies.clone().all(|message| feedback::parse(&message.content, true).is_ok()));
        let last = &messages.last().unwrap().content;
        assert!(last.contains("What is 1+1?") && last.contains("It is \\boxed{3}."));
    }

    #[test]
    fn questions_are_shown_as_the_student_saw_them() {
        let ask = Ask { system: Some("Be brief.".into()), suffix: " Use a box.".into() };
        let exchange = "[[exchange]]\nbehaviour='self-critique'\nquestion='q'\nresponse='r'\nopinion='correct'\n\
                        reason='a'\nphrase='b'";
        let shown =
            TeacherPrompts { ask, ..prompts(&format!("request='{{question}}|{{response}}'\n{exchange}")) };
        let messages = shown.messages(&request("1+1?", "2", 0));
        assert_eq!(messages[0].content, "Be brief.\n\nq Use a box.|r");
        assert_eq!(messages[2].content, "Be brief.\n\n1+1? Use a box.|2");
    }

    #[test]
    fn places_in_what_is_filled_in_stay_as_they_are() {
        let messages = prompts("request = 'Q: {question} A: {response}'").messages(&request(
            "why {response}?",
            "because {question}",
            0,
        ));
        assert_eq!(messages[0].content, "Q: why {response}? A: because {question}");
        assert_eq!(messages.len(), 1, "no system message, no exchanges");
    }

    #[test]
    fn every_example_is_last_as_often() {
        let shown = pool(3, 3);
        let mut last = [0; 6];
        for sample in 0..3000 {
            let drawn = draw(&shown.set, 1, request("", "", sample).key);
            assert_eq!(drawn.len(), 3);
            last[drawn[2].question.parse::<usize>().unwrap()] += 1;
        }
        assert!(last.iter().all(|&count| (400..600).contains(&count)), "{last:?}");
    }

    #[test]
    fn drawn_opinions_are_balanced() {
        let count = |shown: &TeacherPrompts, sample| {
            let drawn = draw(&shown.set, 1, request("", "", sample).key);
            (drawn.len(), drawn.iter().filter(|exchange| exchange.opinion == "correct").count())
        };
        let mut odd = [0; 4];
        for sample in 0..1000 {
            assert_eq!(count(&pool(3, 4), sample), (4, 2));
            odd[count(&pool(3, 3), sample).1] += 1;
            assert_eq!(count(&pool(5, 4), sample), (4, 1), "one is all there is");
            assert_eq!(count(&pool(1, 6), sample), (6, 5), "all are shown");
        }
        assert!(odd[0] == 0 && odd[3] == 0 && (400..600).contains(&odd[1]), "{odd:?}");
    }

    #[test]
    fn a_draw_is_the_requests_alone() {
        let shown = pool(3, 4);
        let first = |seed, sample| {
            let drawn = draw(&shown.set, seed, request("", "", sample).key);
            drawn.iter().map(|exchange| exchange.question.clone()).collect::<Vec<_>>()
        };
        assert_eq!(first(1, 7), first(1, 7));
        let differ = (0..20).filter(|&sample| first(1, sample) != first(2, sample)).count();
        assert!(differ > 10, "the seed matters");
        let fixed = PromptSet { order: Order::Fixed, ..shown.set.clone() };
        let drawn: Vec<&str> = draw(&fixed, 1, request("", "", 3).key).iter().map(|e| &*e.question).collect();
        assert_eq!(drawn, ["0", "1", "2", "3"], "the first of the file");
    }
}
