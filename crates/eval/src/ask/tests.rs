use thinktune_policy::Generate;
use thinktune_tasks::Question;

use super::*;
use crate::methods::{BudgetForcing, SelfCorrect, SelfVerify, ZeroShot};
use crate::testing::{Actor, Chars, asked};

const CHAT: Chars = Chars { template: true };
const PLAIN: Chars = Chars { template: false };

fn finish(
    model: &mut dyn Generate,
    tokenizer: &Chars,
    method: &dyn Method,
    context: usize,
    conversations: &mut [Conversation],
) {
    let subject = &mut Subject { model, tokenizer, context };
    let sampling = AnswerSampling { stream: Stream::Benchmark, seed: 1, temperature: 1.0 };
    Conversations { subject, method, sampling, progress: &mut |_| () }.finish(conversations).unwrap();
}

/// One conversation, and the prompts it led to.
fn lead(
    method: &dyn Method,
    asked: QuestionPrompt,
    tokenizer: Chars,
    context: usize,
    says: impl Fn(SampleKey, &str) -> String,
) -> (Conversation, Vec<String>) {
    let mut actor = Actor::new(says);
    let mut conversations = [Conversation::new(5, 2, asked)];
    finish(&mut actor, &tokenizer, method, context, &mut conversations);
    let rounds: Vec<u32> = actor.asked.iter().map(|(key, _)| key.step).collect();
    assert_eq!(rounds, (0..rounds.len() as u32).collect::<Vec<_>>(), "each round has numbers of its own");
    assert!(actor.asked.iter().all(|(key, _)| (key.question, key.sample) == (5, 2)));
    let [conversation] = conversations;
    (conversation, actor.asked.into_iter().map(|(_, prompt)| prompt).collect())
}

fn by_round(words: &'static [&'static str]) -> impl Fn(SampleKey, &str) -> String {
    move |key, _| words.get(key.step as usize).unwrap_or(&"?").to_string()
}

#[test]
fn zero_shot_is_one_turn() {
    let (said, prompts) = lead(&ZeroShot, asked("1+1?"), CHAT, 9999, by_round(&["2"]));
    assert_eq!(prompts, ["<User>1+1?<end><Assistant>"]);
    assert_eq!((said.said.len(), said.said[0].text.as_str(), said.said[0].tokens), (1, "2", 2));
}

#[test]
fn self_verify_asks_again_with_the_answer_in_sight() {
    let (said, prompts) = lead(&SelfVerify, asked("1+1?"), CHAT, 9999, by_round(&["3", "2"]));
    assert_eq!(prompts[0], "<User>1+1?<end><Assistant>");
    assert_eq!(
        prompts[1],
        "<User>1+1?<end><Assistant>3<end><User>Verify your answer: go through it again step by step and check \
         that each step is right. Then state your final answer in \\boxed{}.<end><Assistant>"
    );
    assert_eq!((prompts.len(), SelfVerify.response_from(&said.said)), (2, 1));
}

#[test]
fn self_correct_is_answer_critique_and_improved_answer() {
    let (said, prompts) = lead(&SelfCorrect, asked("1+1?"), CHAT, 9999, by_round(&["3", "bad", "2"]));
    assert_eq!(prompts.len(), 3);
    assert_eq!(
        prompts[2],
        "<User>1+1?<end><Assistant>3<end><User>Review your answer critically and point out every mistake or \
         weakness you find in it.<end><Assistant>bad<end><User>Improve your answer in the light of this critique, \
         and state your final answer in \\boxed{}.<end><Assistant>"
    );
    assert_eq!(said.said.last().unwrap().text, "2");
    assert_eq!(SelfCorrect.response_from(&said.said), 2);
}

#[test]
fn budget_forcing_puts_wait_for_the_end_until_the_budget_is_used() {
    let words = by_round(&["twenty tokens here..", "twenty more of them.", "2}."]);
    let budget = QuestionPrompt { budget_tokens: 40, ..asked("1+1?") };
    let (said, prompts) = lead(&BudgetForcing, budget, CHAT, 9999, words);
    let start = "<User>1+1?<end><Assistant>twenty tokens here..";
    assert_eq!(prompts[1], format!("{start}\n\nWait"), "no end token before it");
    // 20 + 6 for the forced words, so 14 of the next 20 are within the budget
    assert_eq!(prompts[2], format!("{start}\n\nWaittwenty more of\n\nFinal answer: \\boxed{{"));
    assert_eq!(prompts.len(), 3);
    assert_eq!(BudgetForcing.response_from(&said.said), 0, "all of it is the response");
    let drawn: Vec<usize> = said.said.iter().map(|round| round.tokens).collect();
    assert_eq!(drawn, [21, 14, 4]);
    assert!(!said.said[1].ended && said.said[2].ended);
}

#[test]
fn budget_forcing_elicits_at_once_where_the_budget_was_used_in_one_go_and_ends_where_nothing_is_said() {
    let long = |key: SampleKey, _: &str| if key.step == 0 { "x".repeat(500) } else { "2}".into() };
    let (said, prompts) = lead(&BudgetForcing, asked("q"), CHAT, 9999, long);
    assert_eq!((prompts.len(), said.said[0].tokens), (2, 60));
    let (said, prompts) = lead(&BudgetForcing, asked("q"), CHAT, 9999, |_, _| String::new());
    assert_eq!(prompts.len(), 12, "60 tokens of six forced ones each, then the answer");
    assert_eq!(said.said.iter().map(|round| round.tokens).sum::<usize>(), 12);
}

#[test]
fn budget_forcing_leaves_room_for_the_answer() {
    let budget = QuestionPrompt { budget_tokens: 5000, room_tokens: 200, ..asked("q") };
    let (said, _) = lead(&BudgetForcing, budget, CHAT, 240, |_, _| "word ".repeat(30));
    assert!(!said.out_of_room);
    assert!(said.said.last().unwrap().forced.contains("Final answer"), "{:?}", said.said);
}

#[test]
fn a_turn_that_does_not_fit_is_not_asked() {
    let (said, prompts) = lead(&SelfVerify, asked("1+1?"), CHAT, 60, by_round(&["3", "2"]));
    assert_eq!((prompts.len(), said.out_of_room, said.said.len()), (1, true, 1));
    let (said, prompts) = lead(&ZeroShot, asked("1+1?"), CHAT, 10, by_round(&["3"]));
    assert_eq!((prompts.len(), said.out_of_room, said.said.len()), (0, true, 0));
}

#[test]
fn without_a_template_questions_and_answers_take_turns() {
    let says = by_round(&["3\n\nQuestion: what else?\n\nAnswer: 9", "2"]);
    let (said, prompts) = lead(&SelfVerify, asked("1+1?"), PLAIN, 9999, says);
    assert_eq!(prompts[0], "<begin>Question: 1+1?\n\nAnswer:");
    assert!(
        prompts[1].starts_with("<begin>Question: 1+1?\n\nAnswer: 3\n\nQuestion: Verify"),
        "{}",
        prompts[1]
    );
    assert!(prompts[1].ends_with("\\boxed{}.\n\nAnswer:"));
    assert_eq!(
        (said.said[0].text.as_str(), said.said[0].ended),
        ("3\n", true),
        "its own question is cut off"
    );
    let says = by_round(&["3\nQuestion: x", "2}"]);
    let (_, prompts) = lead(&BudgetForcing, asked("q"), PLAIN, 9999, says);
    assert_eq!(prompts[1], "<begin>Question: q\n\nAnswer:3\n\nWait", "what was cut off is not continued");
}

/// Answers of many lengths, side by side and alone.
#[test]
fn a_conversation_does_not_depend_on_its_neighbours() {
    let says = |key: SampleKey, prompt: &str| {
        let length = (key.question * 7 + key.sample * 13 + key.step * 5) as usize % 50 + prompt.len() % 3;
        "abcdefghij".repeat(9)[..length].to_string()
    };
    let all: Vec<Conversation> = (0..6)
        .flat_map(|question| (0..3).map(move |sample| (question, sample)))
        .map(|(question, sample)| Conversation::new(question, sample, asked(&question.to_string())))
        .collect();
    for method in crate::methods::ALL {
        let converse = |conversations: &mut [Conversation]| {
            let mut actor = Actor::new(says);
            finish(&mut actor, &CHAT, method, 9999, conversations);
        };
        let mut together = all.clone();
        converse(&mut together);
        for (alone, together) in all.iter().zip(&together) {
            let mut alone = [alone.clone()];
            converse(&mut alone);
            assert_eq!(alone[0].said, together.said, "{}", method.name());
        }
    }
}

#[test]
fn samples_of_a_question_share_its_prompt() {
    let requests: Vec<RoundRequest> = [0, 1, 2]
        .map(|conversation| RoundRequest {
            conversation,
            tokens: vec![if conversation < 2 { 7 } else { 8 }],
            forced: String::new(),
            forced_tokens: 0,
            limit: 9,
        })
        .into();
    let of = |question, sample| Conversation::new(question, sample, asked("q"));
    let (prompts, places) = prompts(&requests, &[of(0, 0), of(0, 1), of(1, 0)], Stream::Benchmark, 4);
    assert_eq!(prompts.iter().map(|prompt| prompt.keys.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(places, [(0, 0), (0, 1), (1, 0)]);
    assert_eq!(prompts[0].keys[1].step, 4);
}

/// What counts as cut off depends on the method: an elicited answer has a length of its own.
#[test]
fn an_elicited_answer_is_whole_and_a_cut_one_is_not() {
    let endless = |_: SampleKey, _: &str| "4} ".repeat(200);
    let question = Question {
        index: 5,
        text: "2+2?".into(),
        gold: "4".into(),
        solution: None,
        kind: thinktune_tasks::grading::AnswerKind::Boxed,
    };
    let record = |method: &dyn Method| {
        let (conversation, _) = lead(method, asked("2+2?"), CHAT, 9999, endless);
        crate::record::AnswerRecord::of(&conversation, &question, method)
    };
    let (elicited, cut) = (record(&BudgetForcing), record(&ZeroShot));
    assert!(!elicited.truncated && elicited.is_right(), "{elicited:?}");
    assert!(cut.truncated && !cut.is_right(), "{cut:?}");
}
