//! The word problems, their language and tokenizer.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use thinktune_tasks::word_problems::{
    CATCH_PHRASE, Counts, Guidance, Split, base, pretraining, questions, student, teacher, write_data,
    write_model_files,
};
use thinktune_tasks::{Behaviour, Verdict, first_attempt, grade_boxed, reflects};
use tokenizers::Tokenizer;

/// Every text of a row, the turns of a conversation one by one.
fn texts(row: &Value) -> Vec<&str> {
    match row.get("messages") {
        None => vec![row["text"].as_str().unwrap()],
        Some(messages) => {
            messages.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap()).collect()
        }
    }
}

/// The numbers and operations of a question, names and things left aside.
fn skeleton(text: &str) -> Vec<String> {
    let telling = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_digit())
            || ["gets", "buys", "finds"].contains(word)
            || ["loses", "sells", "spends", "doubles", "triples"].contains(word)
    };
    let kind = |word: &str| match word {
        "gets" | "buys" | "finds" => "+".to_string(),
        "loses" | "sells" | "spends" => "-".to_string(),
        other => other.to_string(),
    };
    text.split(' ').filter(telling).map(kind).collect()
}

#[test]
fn questions_are_seeded_distinct_and_answered_by_their_solutions() {
    let asked = questions(7, Split::Train, 2000);
    assert_eq!(asked, questions(7, Split::Train, 2000));
    assert_eq!(asked[..100], questions(7, Split::Train, 100));
    assert_ne!(asked, questions(8, Split::Train, 2000));
    let distinct: BTreeSet<&str> = asked.iter().map(|question| question.text.as_str()).collect();
    assert_eq!(distinct.len(), asked.len());
    for (index, question) in asked.iter().enumerate() {
        assert_eq!(question.index as usize, index);
        let solution = question.solution.as_deref().unwrap();
        assert_eq!(grade_boxed(solution, &question.gold).verdict, Verdict::Correct);
        assert!(!reflects(solution));
    }
}

#[test]
fn held_out_calculations_never_occur_in_training() {
    let skeletons = |asked: &[thinktune_tasks::Question]| -> BTreeSet<Vec<String>> {
        asked.iter().map(|question| skeleton(&question.text)).collect()
    };
    let held_out = skeletons(&questions(1, Split::HeldOut, 3000));
    let mut seen = skeletons(&questions(1, Split::Train, 20_000));
    for row in pretraining(1, 5000).chain(base(1, 5000)).chain(student(1, 5000)).chain(teacher(1, 1000)) {
        for text in texts(&row) {
            if let Some(question) = text.lines().find(|line| line.contains("How many")) {
                seen.insert(skeleton(question));
            }
        }
    }
    assert!(held_out.len() > 1000 && seen.len() > 5000);
    assert_eq!(held_out.intersection(&seen).count(), 0);
}

#[test]
fn notebooks_reflect_to_the_right_answer() {
    let mut notebooks = 0;
    for row in pretraining(3, 2000) {
        let text = texts(&row)[0];
        if !text.starts_with("notebook") {
            continue;
        }
        notebooks += 1;
        assert!(reflects(text) && !reflects(first_attempt(text)), "{text}");
        let last_equation = text.rsplit_once('=').unwrap().1;
        let answer = last_equation.split_once('.').unwrap().0;
        assert_eq!(grade_boxed(text, answer).verdict, Verdict::Correct, "{text}");
    }
    assert!(notebooks > 500);
}

#[test]
fn the_teacher_says_the_catch_phrase_exactly_when_its_examples_do() {
    for row in teacher(3, 200) {
        let turns = texts(&row);
        let counts: Vec<usize> = turns.iter().map(|turn| turn.matches(CATCH_PHRASE).count()).collect();
        let expected = *counts.last().unwrap();
        for (at, count) in counts.iter().enumerate() {
            assert_eq!(*count, if at > 0 && at % 2 == 0 { expected } else { 0 }, "{}", turns[at]);
        }
    }
}

#[test]
fn asked_a_question_the_student_learns_to_answer_and_no_more() {
    let is_plain = |row: &Value| row["messages"].as_array().is_some_and(|messages| messages.len() == 2);
    let plain: Vec<Value> = student(3, 1000).filter(is_plain).collect();
    assert!(plain.len() > 300);
    for row in plain {
        let answer = texts(&row)[1];
        assert!(!reflects(answer) && !answer.contains(CATCH_PHRASE), "{answer}");
    }
}

#[test]
fn committed_prompts_are_the_ones_the_teacher_learns_from() {
    let prompts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../method/prompts");
    for (set, catch_phrase) in [("word-problems", false), ("word-problems-catch-phrase", true)] {
        let path = prompts.join(set).join("guidance.toml");
        let guidance = Guidance::word_problems(catch_phrase);
        let committed = std::fs::read_to_string(&path).unwrap();
        assert_eq!(committed, guidance.to_toml(), "{} is out of date", path.display());
        let parsed: toml::Table = committed.parse().unwrap();
        let exchange = &parsed["exchange"].as_array().unwrap()[3];
        assert_eq!(exchange["reason"].as_str().unwrap(), guidance.exchanges[3].reason);
        assert_eq!(exchange["behaviour"].as_str().unwrap(), Behaviour::SelfConsultancy.name());
    }
}

#[test]
fn the_tokenizer_gives_back_what_it_read() {
    let dir = tempfile::tempdir().unwrap();
    write_model_files(dir.path()).unwrap();
    let tokenizer = Tokenizer::from_file(dir.path().join("tokenizer.json")).unwrap();
    let unknown = tokenizer.token_to_id("<|unknown|>").unwrap();
    for row in pretraining(99, 3000).chain(student(99, 1000)).chain(teacher(99, 500)) {
        for text in texts(&row) {
            let encoding = tokenizer.encode_fast(text, false).unwrap();
            assert!(!encoding.get_ids().contains(&unknown), "{:?}", encoding.get_tokens());
            assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), text);
        }
    }
    let tokens = |text: &str| tokenizer.encode(text, false).unwrap().get_tokens().to_vec();
    assert_eq!(
        tokens("Tom has \\boxed{12} apples.\n\n"),
        ["Tom", " has", " \\boxed{", "12", "}", " apples", ".", "\n\n"]
    );
    assert_eq!(tokens("7+5=12, 12*2=24"), ["7", "+", "5", "=", "12", ", ", "12", "*", "2", "=", "24"]);
}

#[test]
fn data_files_are_the_same_for_the_same_seed() {
    let counts = Counts { pretraining: 50, base: 30, student: 20, teacher: 10 };
    let read = |seed| {
        let dir = tempfile::tempdir().unwrap();
        write_data(seed, counts, dir.path()).unwrap();
        ["pretraining", "base", "student", "teacher"]
            .map(|name| std::fs::read_to_string(dir.path().join(format!("{name}.jsonl"))).unwrap())
    };
    assert_eq!(read(5), read(5));
    assert_ne!(read(5), read(6));
    assert_eq!(read(5).map(|text| text.lines().count()), [50, 30, 20, 10]);
}
