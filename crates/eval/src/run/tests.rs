use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::folder::Identity;
use crate::methods;
use crate::testing::{Actor, CONTEXT, Chars, benchmark_set, settings};
use thinktune_policy::SampleKey;

const METHODS: [&str; 2] = ["zero-shot", "self-correct"];

fn identity(samples: &str) -> Identity {
    Identity {
        model: "m".into(),
        model_sha256: "sha".into(),
        settings: BTreeMap::from([("samples".into(), samples.into())]),
        benchmarks: BTreeMap::from([("word-problems".into(), "data".into())]),
        asked: Default::default(),
    }
}

/// Right for even questions, wrong in every third sample.
fn says(key: SampleKey, _: &str) -> String {
    let SampleKey { question, sample, step, .. } = key;
    let slip = question % 2 + u32::from(sample == 2);
    format!("round {step}: \\boxed{{{}}}", 2 * question + slip)
}

fn evaluate<F: Fn(SampleKey, &str) -> String>(
    dir: &Path,
    actor: &mut Actor<F>,
    questions: u32,
    samples: u32,
) -> Result<Vec<Summary>, EvalError> {
    let folder = EvalFolder::open(dir, identity(&samples.to_string()))?;
    let methods: Vec<_> = METHODS.iter().filter_map(|name| methods::by_name(name)).collect();
    let mut subject = Subject { model: actor, tokenizer: &Chars { template: true }, context: CONTEXT };
    run(&mut subject, &[benchmark_set(questions)], &methods, &settings(samples), &folder, &mut Silent)
}

/// As text, in which what cannot be computed is equal to itself.
fn shown(summaries: &[Summary]) -> String {
    crate::table::results_csv(summaries)
}

fn answers(dir: &Path) -> Vec<Vec<u8>> {
    let read = |name: &&str| std::fs::read(dir.join(format!("answers/word-problems.{name}.jsonl"))).unwrap();
    METHODS.iter().map(read).collect()
}

#[test]
fn every_number_worked_out_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let summary = &evaluate(dir.path(), &mut Actor::new(says), 4, 3).unwrap()[0];
    assert_eq!((summary.questions, summary.samples), (4, 3));
    // questions 0 and 2: right, right, wrong; 1: wrong; 3: wrong
    assert!((summary.accuracy - 4.0 / 12.0).abs() < 1e-12);
    // repeats: 1/2, 1/2, 0
    assert!((summary.standard_error - (1.0f64 / 12.0 / 3.0).sqrt()).abs() < 1e-12);
    let at: Vec<(usize, f64)> = summary.pass_at.iter().map(|pass| (pass.k, pass.share)).collect();
    assert!((at[0].1 - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!((at[0].0, at[1..].to_vec()), (1, vec![(2, 0.5), (3, 0.5)]));
    assert_eq!((summary.majority, summary.unparseable, summary.truncated), (0.5, 0.0, 0.0));
    assert!(summary.interval_low < 0.2 && summary.interval_high > 0.4);
    let lengths: usize = (0..12)
        .map(|i| {
            says(
                SampleKey {
                    stream: thinktune_policy::Stream::Attempt,
                    step: 0,
                    question: i / 3,
                    sample: i % 3,
                },
                "",
            )
            .len()
                + 1
        })
        .sum();
    assert_eq!(summary.tokens_mean, lengths as f64 / 12.0);
}

#[test]
fn killed_anywhere_it_goes_on_to_the_same_bytes_and_asks_nothing_twice() {
    let whole = tempfile::tempdir().unwrap();
    let mut actor = Actor::new(says);
    let expected = shown(&evaluate(whole.path(), &mut actor, 5, 2).unwrap());
    let all = actor.asked.clone();
    assert_eq!(all.len(), 10 + 30);
    for calls in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let mut killed = Actor { dies_after: calls, ..Actor::new(says) };
        if evaluate(dir.path(), &mut killed, 5, 2).is_ok() {
            assert!(calls > 8, "the test needs several calls");
            break;
        }
        // a torn line, as a process killed in the middle of a write leaves it
        let log = dir.path().join("answers/word-problems.zero-shot.jsonl");
        let kept = std::fs::read(&log).unwrap_or_default();
        std::fs::write(&log, [&kept, &b"{\"question\":4,\"sam"[..]].concat()).unwrap();
        let mut again = Actor::new(says);
        assert_eq!(shown(&evaluate(dir.path(), &mut again, 5, 2).unwrap()), expected);
        assert_eq!(answers(dir.path()), answers(whole.path()));
        let lines = |log: &[u8]| log.iter().filter(|&&byte| byte == b'\n').count();
        let kept = lines(&kept);
        let asked_zero_shot = again.asked.iter().filter(|(_, prompt)| !prompt.contains("Review")).count();
        assert!(asked_zero_shot <= 10 - kept + 10 + 10, "{calls}: answers that were kept are not asked for");
        assert!(calls == 0 || again.asked.len() < all.len());
    }
    let mut nobody = Actor { dies_after: 0, ..Actor::new(says) };
    let finished = evaluate(whole.path(), &mut nobody, 5, 2).unwrap();
    assert_eq!(shown(&finished), expected, "nothing is asked");
}

#[test]
fn a_longer_evaluation_goes_on_from_a_shorter_one_and_a_shorter_one_asks_nothing() {
    let (long, grown) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    evaluate(long.path(), &mut Actor::new(says), 6, 2).unwrap();
    let short = evaluate(grown.path(), &mut Actor::new(says), 3, 2).unwrap();
    evaluate(grown.path(), &mut Actor::new(says), 6, 2).unwrap();
    assert_eq!(answers(long.path()), answers(grown.path()));
    let mut nobody = Actor { dies_after: 0, ..Actor::new(says) };
    assert_eq!(shown(&evaluate(grown.path(), &mut nobody, 3, 2).unwrap()), shown(&short));
    assert_eq!(answers(long.path()), answers(grown.path()), "nothing is lost");
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    evaluate(dir.path(), &mut Actor::new(says), 2, 1).unwrap();
    let error = evaluate(dir.path(), &mut Actor::new(says), 2, 2).unwrap_err().to_string();
    assert!(error.contains("samples was 1 and now is 2"), "{error}");
    let other = Identity { model_sha256: "other".into(), model: "n".into(), ..identity("1") };
    let error = EvalFolder::open(dir.path(), other).unwrap_err().to_string();
    assert!(error.contains("the model was m with other weights, and now is n"), "{error}");
    let data = BTreeMap::from([("word-problems".into(), "changed".into()), ("csqa".into(), "new".into())]);
    let error = EvalFolder::open(dir.path(), Identity { benchmarks: data, ..identity("1") });
    assert!(error.unwrap_err().to_string().contains("the data of word-problems have changed"));
    let held = EvalFolder::open(dir.path(), identity("1")).unwrap();
    assert!(EvalFolder::open(dir.path(), identity("1")).is_err(), "held by another");
    drop(held);
    let log = dir.path().join("answers/word-problems.zero-shot.jsonl");
    let text = std::fs::read_to_string(&log).unwrap().replace("\"question\":1", "\"question\":7");
    std::fs::write(&log, text).unwrap();
    let error = evaluate(dir.path(), &mut Actor::new(says), 2, 1).unwrap_err().to_string();
    assert!(error.contains("line 2 of the answers") && error.contains("expected question 1"), "{error}");
}

#[test]
fn answers_cut_off_or_without_room_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut actor = Actor::new(|key: SampleKey, _: &str| match key.question {
        0 => "x".repeat(300),
        _ => "no box".into(),
    });
    let summaries = evaluate(dir.path(), &mut actor, 2, 1).unwrap();
    assert_eq!((summaries[0].truncated, summaries[0].unparseable), (0.5, 1.0));
    let folder = EvalFolder::open(dir.path(), identity("1")).unwrap();
    let (_, kept) = folder.answers("word-problems", "zero-shot").unwrap();
    assert_eq!((kept[0].tokens, kept[0].truncated, kept[1].truncated), (100, true, false));
    assert!(kept[1].earlier.is_empty());
    let (_, kept) = folder.answers("word-problems", "self-correct").unwrap();
    assert_eq!((kept[1].rounds, kept[1].earlier.len(), kept[1].response.as_str()), (3, 2, "no box"));
}
