//! The splice over real tokenizers: its tokens after the join are those of the joined text, encoded anew.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use thinktune_method::help::feedback::{Feedback, Opinion};
use thinktune_method::help::splice::{Limits, splice};
use thinktune_method::rollout::{Attempt, Token};
use thinktune_policy::{Finish, SampleKey, Stream};
use thinktune_runlog::event::Author;
use thinktune_text::ChatTokenizer;

const WIDE: Limits = Limits { feedback_tokens: 10_000, response_tokens: 10_000 };

/// A byte-level BPE in which `.` and a blank line are one token, as on Llama 3 and Qwen.
fn byte_level(digits: Value) -> Value {
    let pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let byte = |byte: u8| match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        0..=32 => char::from_u32(256 + u32::from(byte)).unwrap(),
        127..=160 => char::from_u32(256 + 33 + u32::from(byte) - 127).unwrap(),
        173 => '\u{143}',
    };
    let mut tokens: Vec<String> = (0..=255).map(|at| byte(at).to_string()).collect();
    let merges = ["Ċ Ċ", ". ĊĊ", "} ĊĊ", "1 2", "Ġ t", "Ġt he", "h e", "! ĊĊ"];
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    let split =
        json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    let bytes =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let steps: Vec<Value> = [split, digits, bytes].into_iter().filter(|step| !step.is_null()).collect();
    bpe(tokens, &merges, json!({ "type": "Sequence", "pretokenizers": steps }), bytes_decoder())
}

fn bytes_decoder() -> Value {
    json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true })
}

/// A BPE over characters with a visible space, as SentencePiece makes it.
fn metaspace() -> Value {
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let letters = ('a'..='z').chain("▁\n.,!?0123456789{}\\=+*HSW".chars()).map(String::from);
    let merges = ["\n \n", ". \n\n", "h e", "▁ the", "t he", "▁ so"];
    let mut tokens: Vec<String> = bytes.chain(letters).collect();
    tokens.push("so".into());
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    let pre = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false });
    let decoder = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
        { "type": "ByteFallback" }, { "type": "Fuse" }
    ] });
    bpe(tokens, &merges, pre, decoder)
}

fn bpe(tokens: Vec<String>, merges: &[&str], pre_tokenizer: Value, decoder: Value) -> Value {
    let end = json!({ "id": tokens.len(), "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true });
    let vocab: serde_json::Map<String, Value> =
        tokens.into_iter().enumerate().map(|(id, token)| (token, id.into())).collect();
    let byte_fallback = vocab.contains_key("<0x00>");
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end], "normalizer": null,
        "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder,
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": byte_fallback,
                   "vocab": vocab, "merges": merges }
    })
}

fn load(tokenizer: &Value) -> (TempDir, ChatTokenizer) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), r#"{"eos_token": "<end>"}"#).unwrap();
    let tokenizer = ChatTokenizer::load(dir.path(), "2025-01-01").unwrap();
    (dir, tokenizer)
}

fn tokenizers() -> [(&'static str, TempDir, ChatTokenizer); 3] {
    let all = [
        ("byte level", byte_level(Value::Null)),
        ("metaspace", metaspace()),
        ("digits split", byte_level(json!({ "type": "Digits", "individual_digits": true }))),
    ];
    all.map(|(name, file)| {
        let (dir, tokenizer) = load(&file);
        (name, dir, tokenizer)
    })
}

fn attempt(mut tokens: Vec<u32>, tokenizer: &ChatTokenizer) -> Attempt {
    tokens.push(tokenizer.end_of_turn());
    Attempt {
        key: SampleKey { stream: Stream::Attempt, step: 1, question: 0, sample: 0 },
        logprobs: (0..tokens.len()).map(|at| -(at as f32)).collect(),
        finish: Finish::Stop,
        text: tokenizer.decode(&tokens),
        tokens,
    }
}

fn spliced(said: &[u32], reason: &str, phrase: &str, tokenizer: &ChatTokenizer) -> Vec<Token> {
    let feedback = Feedback { opinion: Opinion::Correct, reason: reason.into(), phrase: phrase.into() };
    splice(&attempt(said.to_vec(), tokenizer), &feedback, tokenizer, WIDE).unwrap()
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

/// The student's tokens are a prefix of what it sampled, with their log-probs; the teacher's have none.
fn check_authors(tokens: &[Token], said: &[u32]) -> usize {
    let kept = tokens.iter().take_while(|token| token.author == Author::Student).count();
    assert_eq!(ids(&tokens[..kept]), said[..kept]);
    for (at, token) in tokens.iter().enumerate() {
        let expected = (at < kept).then_some(-(at as f32));
        assert_eq!((token.author == Author::Student, token.old_logprob), (at < kept, expected), "token {at}");
    }
    kept
}

#[test]
fn a_full_stop_and_a_blank_line_are_one_token() {
    let (_dir, tokenizer) = load(&byte_level(Value::Null));
    let said = tokenizer.encode("so the 12.");
    let tokens = spliced(&said, "wait", "no", &tokenizer);
    assert_eq!(check_authors(&tokens, &said), said.len() - 1, "the full stop gives way");
    assert_eq!(tokenizer.decode(&[tokens[said.len() - 1].id]), ".\n\n");
    assert_eq!(tokens.last().unwrap().id, tokenizer.end_of_turn());
}

#[test]
fn an_uncanonical_attempt_stays_as_sampled() {
    let (_dir, tokenizer) = load(&byte_level(Value::Null));
    let apart = |text: &str| text.chars().flat_map(|c| tokenizer.encode(&c.to_string())).collect::<Vec<_>>();
    let said = apart("so the 12.");
    assert_ne!(said, tokenizer.encode("so the 12."));
    let tokens = spliced(&said, "wait", "no", &tokenizer);
    assert_eq!(check_authors(&tokens, &said), said.len() - 1, "all but the full stop");
    let expected = tokenizer.encode(".\n\nwait\n\nno");
    assert_eq!(ids(&tokens[said.len() - 1..tokens.len() - 1]), expected);
}

#[test]
fn the_limit_counts_the_teachers_tokens() {
    let (_dir, tokenizer) = load(&byte_level(Value::Null));
    let feedback = Feedback { opinion: Opinion::Correct, reason: "a".into(), phrase: "b".into() };
    let within = |feedback_tokens| {
        let limits = Limits { feedback_tokens, response_tokens: 1000 };
        splice(&attempt(tokenizer.encode("so."), &tokenizer), &feedback, &tokenizer, limits)
    };
    assert!(within(4).is_ok(), "full stop with blank line, a, blank line, b");
    assert!(within(3).is_err());
}

const PIECES: [&str; 20] = [
    "the", " the", "so", " so", ".", "\n", "\n\n", " ", "  ", "12", "123", "1", "}", "!", "é", "🙂", "数",
    "\\", "?", "He",
];

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..PIECES.len(), 1..12)
        .prop_map(|pieces| pieces.into_iter().map(|piece| PIECES[piece]).collect())
}

fn check(tokenizer: &ChatTokenizer, name: &str, attempt: &str, apart: usize, reason: &str, phrase: &str) {
    let joined = format!("{attempt}\n\n{reason}\n\n{phrase}");
    let canonical = tokenizer.encode(&joined);
    let said = tokenizer.encode(attempt);
    let tokens = spliced(&said, reason, phrase, tokenizer);
    check_authors(&tokens, &said);
    assert_eq!(ids(&tokens[..tokens.len() - 1]), canonical, "{name}: {joined:?}");

    // some letters one by one, as a model may sample them
    let cut = attempt.char_indices().nth(apart).map_or(attempt.len(), |(at, _)| at);
    let mut said: Vec<u32> = attempt[..cut].chars().flat_map(|c| tokenizer.encode(&c.to_string())).collect();
    said.extend(tokenizer.encode(&attempt[cut..]));
    let tokens = spliced(&said, reason, phrase, tokenizer);
    let kept = check_authors(&tokens, &said);
    let ids = ids(&tokens[..tokens.len() - 1]);
    assert_eq!(tokenizer.decode_raw(&ids), tokenizer.decode_raw(&canonical), "{name}: {joined:?}");
    assert!(canonical.ends_with(&ids[kept..]), "{name}: {joined:?} {ids:?} {canonical:?}");
}

proptest! {
    #[test]
    fn what_follows_the_join_is_canonical(
        attempt in text(), apart in 0usize..8, reason in text(), phrase in text(),
    ) {
        for (name, _dir, tokenizer) in tokenizers() {
            check(&tokenizer, name, &attempt, apart, &reason, &phrase);
        }
    }
}

/// Environment variable that names a folder of model folders.
const MODELS: &str = "THINKTUNE_MODELS";

#[test]
fn real_vocabularies_are_joined_canonically() {
    let folders = std::env::var_os(MODELS).and_then(|models| fs::read_dir(models).ok());
    let folders: Vec<_> = folders.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let found: Vec<&Path> =
        folders.iter().map(|dir| dir.as_path()).filter(|dir| dir.join("tokenizer.json").exists()).collect();
    if found.is_empty() {
        return thinktune_testing::skipped(&format!("no models; set {MODELS} to a folder of model folders"));
    }
    for dir in found {
        let tokenizer = ChatTokenizer::load(dir, "2025-01-01").unwrap();
        let name = dir.display().to_string();
        for attempt in
            ["So \\boxed{12}.", "It is 12", "so\n\\[ x = 12 \\]", "the end!\n", "数 🙂。", "12 ", "a\n\n"]
        {
            for reason in ["Wait, 12 is wrong.", "\\[ 3 \\]", "12", "数"] {
                for apart in [0, 3, 100] {
                    check(&tokenizer, &name, attempt, apart, reason, "It is \\boxed{3}.");
                }
            }
        }
    }
}
