//! Text to ids and back as `tokenizers` and `transformers` do it (numbers in `fixtures/tokenizer/expected.json`,
//! made by `generate.py` beside it), one BOS, every stop token, and what is wrong with a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use thinktune_policy::Message;
use thinktune_text::ChatTokenizer;

const DATE: &str = "2024-07-26";

#[derive(Deserialize)]
struct Expected {
    vocab_size: usize,
    texts: Vec<Text>,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    ids: Vec<u32>,
    prefixes: Vec<Prefix>,
}

#[derive(Deserialize)]
struct Prefix {
    length: usize,
    shown: String,
    skipped: String,
}

#[derive(Deserialize)]
struct Prompt {
    messages: Vec<Message>,
    text: String,
    ids: Vec<u32>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer")
}

fn fixture(name: &str) -> ChatTokenizer {
    ChatTokenizer::load(&fixtures().join(name), DATE).unwrap()
}

fn expected() -> BTreeMap<String, Expected> {
    let text = fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let mut all: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap();
    all.remove("made_with");
    all.into_iter().map(|(name, value)| (name, serde_json::from_value(value).unwrap())).collect()
}

/// A copy of a fixture, to be spoilt.
fn copy_of(name: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn edit(dir: &TempDir, file: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.path().join(file);
    let mut value = fs::read(&path).map_or(json!({}), |bytes| serde_json::from_slice(&bytes).unwrap());
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

#[track_caller]
fn refuses(dir: &TempDir, parts: &[&str]) {
    let message = ChatTokenizer::load(dir.path(), DATE).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[test]
fn texts_become_the_ids_of_tokenizers_and_come_back() {
    let all = expected();
    assert_eq!(all.len(), 3);
    for (name, expected) in all {
        let tokenizer = fixture(&name);
        assert_eq!(tokenizer.vocab_size(), expected.vocab_size, "{name}");
        for Text { text, ids, prefixes } in expected.texts {
            assert_eq!(tokenizer.encode(&text), ids, "{name} {text:?}");
            for Prefix { length, shown, skipped } in prefixes {
                assert_eq!(tokenizer.decode_raw(&ids[..length]), shown, "{name} {text:?} {length}");
                assert_eq!(tokenizer.decode(&ids[..length]), skipped, "{name} {text:?} {length}");
            }
        }
    }
}

#[test]
fn prompts_have_the_text_and_ids_of_transformers() {
    for (name, expected) in expected() {
        let tokenizer = fixture(&name);
        for Prompt { messages, text, mut ids } in expected.prompts {
            assert_eq!(tokenizer.prompt_text(&messages).unwrap(), text, "{name}");
            // transformers trusts the template to write BOS; where it does not, the tokenizer's is added here.
            if name == "word_bos" {
                ids.insert(0, 1);
            }
            assert_eq!(tokenizer.prompt_ids(&messages).unwrap(), ids, "{name} {text:?}");
        }
    }
}

#[test]
fn there_is_one_bos_whoever_writes_it() {
    let user = [Message::user("Tom")];
    for (name, bos) in [("byte_bos", Some(316)), ("byte_chat", None), ("word_bos", Some(1))] {
        let tokenizer = fixture(name);
        assert_eq!(tokenizer.bos(), bos, "{name}");
        for ids in [tokenizer.prompt_ids(&user).unwrap(), tokenizer.document_ids("Tom")] {
            let count = ids.iter().filter(|id| Some(**id) == bos.or(Some(316))).count();
            assert_eq!(
                (count, ids.first() == bos.as_ref()),
                (usize::from(bos.is_some()), bos.is_some()),
                "{name}"
            );
        }
        let answer = tokenizer.answer_ids("Tom");
        assert!(!answer.contains(&bos.unwrap_or(316)), "{name}");
    }
}

#[test]
fn add_bos_token_overrules_the_tokenizer() {
    let dir = copy_of("word_bos");
    edit(&dir, "tokenizer_config.json", |config| config["add_bos_token"] = json!(false));
    let tokenizer = ChatTokenizer::load(dir.path(), DATE).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.document_ids("Tom")), (None, vec![6, 2]));

    let dir = copy_of("byte_chat");
    edit(&dir, "tokenizer_config.json", |config| {
        config["bos_token"] = json!("<|bos|>");
        config["add_bos_token"] = json!(true);
    });
    let tokenizer = ChatTokenizer::load(dir.path(), DATE).unwrap();
    assert_eq!(tokenizer.bos(), Some(316));
    assert_eq!(tokenizer.prompt_ids(&[Message::user("x")]).unwrap()[..2], [316, 319]);
}

#[test]
fn every_stop_token_counts() {
    let tokenizer = fixture("byte_bos");
    assert_eq!((tokenizer.end_of_turn(), tokenizer.stop()), (318, &[317, 318][..]));
    let tokenizer = fixture("byte_chat");
    assert_eq!((tokenizer.end_of_turn(), tokenizer.stop()), (318, &[317, 318, 319][..]));
    let tokenizer = fixture("word_bos");
    assert_eq!((tokenizer.end_of_turn(), tokenizer.stop()), (2, &[2][..]));
}

#[test]
fn only_the_end_of_the_turn_is_a_proper_end() {
    use thinktune_policy::Tokenizer as _;
    let tokenizer = fixture("byte_bos");
    assert_eq!((tokenizer.end_of_turn(), tokenizer.stop()), (318, &[317, 318][..]));
    assert!(tokenizer.ended(&[5, 318]) && tokenizer.ended(&[318]));
    for improper in [&[5, 317][..], &[5], &[], &[5, 317, 318], &[5, 318, 318], &[5, 318, 6]] {
        assert!(!tokenizer.ended(improper), "{improper:?}");
    }
}

#[test]
fn a_template_without_an_end_of_turn_is_seen() {
    let dir = copy_of("byte_bos");
    assert!(!ChatTokenizer::load(dir.path(), DATE).unwrap().end_of_turn_is_guessed());
    let plain = "{% for message in messages %}{{ message.content }}\n{% endfor %}";
    fs::write(dir.path().join("chat_template.jinja"), plain).unwrap();
    assert!(ChatTokenizer::load(dir.path(), DATE).unwrap().end_of_turn_is_guessed());
}

#[test]
fn a_byte_order_mark_and_carriage_returns_change_nothing() {
    let dir = copy_of("byte_bos");
    for file in ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"] {
        let path = dir.path().join(file);
        if let Ok(text) = fs::read_to_string(&path) {
            fs::write(path, format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
        }
    }
    let (found, expected) = (ChatTokenizer::load(dir.path(), DATE).unwrap(), fixture("byte_bos"));
    let messages = [Message::user("Tom has 3 apples.")];
    assert_eq!(found.prompt_text(&messages).unwrap(), expected.prompt_text(&messages).unwrap());
    assert_eq!(found.prompt_ids(&messages).unwrap(), expected.prompt_ids(&messages).unwrap());
    assert_eq!((found.stop(), found.end_of_turn()), (expected.stop(), expected.end_of_turn()));
}

#[test]
fn added_tokens_keep_the_ids_of_the_file() {
    let (expected, dir) = (fixture("byte_bos"), copy_of("byte_bos"));
    edit(&dir, "tokenizer.json", |file| {
        // a hole where the added tokens are, and more behind it
        file["model"]["vocab"]["[PAD400]"] = 400.into();
    });
    let found = ChatTokenizer::load(dir.path(), DATE).unwrap();
    assert_eq!((found.end_of_turn(), found.stop(), found.bos()), (318, expected.stop(), expected.bos()));
    let messages = [Message::user("Tom has 3 apples.")];
    assert_eq!(found.prompt_ids(&messages).unwrap(), expected.prompt_ids(&messages).unwrap());

    edit(&dir, "tokenizer.json", |file| file["model"]["vocab"]["taken"] = 318.into());
    refuses(&dir, &["tokenizer.json", "`added_tokens` gives", "id 318"]);
}

#[test]
fn answers_and_documents_end_as_the_model_ends_them() {
    let tokenizer = fixture("byte_chat");
    let text = tokenizer.encode("apples");
    assert_eq!(tokenizer.answer_ids("apples"), [&text[..], &[318]].concat());
    assert_eq!(tokenizer.document_ids("apples"), [&text[..], &[317]].concat());
}

#[test]
fn a_model_without_a_template_reads_texts_but_no_conversations() {
    let dir = copy_of("byte_bos");
    fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    let tokenizer = ChatTokenizer::load(dir.path(), DATE).unwrap();
    assert!(!tokenizer.has_chat_template());
    let message = tokenizer.prompt_ids(&[Message::user("x")]).unwrap_err().to_string();
    assert!(message.contains("has no chat template") && message.contains("chat_template.jinja"), "{message}");
    assert_eq!(tokenizer.end_of_turn(), 318);
    assert_eq!(tokenizer.document_ids("Tom"), [316, 291, 318]);
}

#[test]
fn older_files_name_special_tokens_too() {
    let dir = copy_of("byte_bos");
    fs::remove_file(dir.path().join("tokenizer_config.json")).unwrap();
    edit(&dir, "special_tokens_map.json", |map| {
        *map = json!({"bos_token": {"content": "<|bos|>"}, "eos_token": "<|end|>"})
    });
    let tokenizer = ChatTokenizer::load(dir.path(), DATE).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.stop()), (Some(316), &[317, 318][..]));
}

#[test]
fn a_conversation_the_template_refuses_is_an_error_in_its_words() {
    let dir = copy_of("byte_bos");
    fs::write(dir.path().join("chat_template.jinja"), "{{ raise_exception('Only on Sundays.') }}").unwrap();
    let tokenizer = ChatTokenizer::load(dir.path(), DATE).unwrap();
    let message = tokenizer.prompt_text(&[Message::user("x")]).unwrap_err().to_string();
    assert_eq!(message, "the chat template refuses the conversation: Only on Sundays.");
}

#[test]
fn the_pinned_date_reaches_the_template() {
    let dir = copy_of("byte_bos");
    fs::write(dir.path().join("chat_template.jinja"), "{{ strftime_now('%d %b %Y') }}").unwrap();
    let tokenizer = ChatTokenizer::load(dir.path(), "2025-02-01").unwrap();
    assert_eq!(tokenizer.prompt_text(&[]).unwrap(), "01 Feb 2025");
    let message = ChatTokenizer::load(dir.path(), "yesterday").unwrap_err().to_string();
    assert!(message.contains("`yesterday`") && message.contains("YYYY-MM-DD"), "{message}");
}

#[test]
fn ids_beyond_the_vocabulary_are_refused() {
    let tokenizer = fixture("byte_bos");
    tokenizer.check_vocab(321).unwrap();
    let message = tokenizer.check_vocab(320).unwrap_err().to_string();
    assert!(
        message.contains("tokenizer.json has id 320") && message.contains("`vocab_size` is 320"),
        "{message}"
    );

    let dir = copy_of("byte_bos");
    edit(&dir, "generation_config.json", |config| config["eos_token_id"] = json!([317, 400]));
    let message = ChatTokenizer::load(dir.path(), DATE).unwrap().check_vocab(321).unwrap_err().to_string();
    assert!(message.contains("the stop tokens include id 400"), "{message}");
}

#[test]
fn bad_directories_are_named() {
    let dir = copy_of("byte_bos");
    fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    refuses(&dir, &["tokenizer.json: not found"]);
    fs::write(dir.path().join("tokenizer.model"), "x").unwrap();
    refuses(&dir, &["tokenizer.json: not found; tokenizer.model is there"]);
    fs::write(dir.path().join("tokenizer.json"), "{\"version\": \"1.0\"").unwrap();
    refuses(&dir, &["tokenizer.json: is not a tokenizer that can be read"]);

    let dir = copy_of("byte_bos");
    edit(&dir, "tokenizer_config.json", |config| config["bos_token"] = json!("<start>"));
    refuses(&dir, &["tokenizer_config.json: `bos_token` is `<start>`, which tokenizer.json does not hold"]);
    fs::write(dir.path().join("tokenizer_config.json"), "[]").unwrap();
    refuses(&dir, &["tokenizer_config.json: expected a JSON object"]);

    let dir = copy_of("byte_bos");
    fs::write(dir.path().join("chat_template.jinja"), "{% for %}").unwrap();
    refuses(&dir, &["chat_template.jinja: the chat template does not parse"]);

    let dir = copy_of("byte_chat");
    edit(&dir, "tokenizer_config.json", |config| {
        config["chat_template"] = json!([{"name": "rag", "template": "x"}])
    });
    refuses(&dir, &["tokenizer_config.json: `chat_template` lists rag, expected one named default"]);
    edit(&dir, "tokenizer_config.json", |config| config["chat_template"] = json!(7));
    refuses(&dir, &["`chat_template` is 7"]);

    let dir = copy_of("byte_bos");
    edit(&dir, "generation_config.json", |config| config["eos_token_id"] = json!([1, -2]));
    refuses(&dir, &["generation_config.json: `eos_token_id` has -2, expected a token id"]);
}

#[test]
fn a_directory_without_an_end_token_is_refused() {
    let dir = copy_of("byte_bos");
    for file in ["tokenizer_config.json", "generation_config.json", "config.json", "chat_template.jinja"] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    refuses(&dir, &["no token that ends a turn", "`eos_token` in tokenizer_config.json"]);
}

#[test]
fn tokenizers_that_guess_or_give_up_are_refused() {
    let dir = copy_of("byte_bos");
    edit(&dir, "tokenizer.json", |tokenizer| tokenizer["model"]["dropout"] = json!(0.1));
    refuses(&dir, &["`model.dropout` is 0.1, expected null"]);

    let dir = copy_of("word_bos");
    edit(&dir, "tokenizer.json", |tokenizer| tokenizer["model"]["unk_token"] = json!("<missing>"));
    refuses(&dir, &["cannot encode letters outside its vocabulary", "unknown token"]);
}

#[test]
fn truncation_and_padding_in_the_file_do_not_apply() {
    let dir = copy_of("byte_bos");
    edit(&dir, "tokenizer.json", |tokenizer| {
        tokenizer["truncation"] =
            json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
        tokenizer["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "!"});
    });
    let tokenizer = ChatTokenizer::load(dir.path(), DATE).unwrap();
    for text in ["Tom", "How many apples does Tom have?"] {
        assert_eq!(tokenizer.encode(text), fixture("byte_bos").encode(text));
    }
}

#[test]
fn a_codec_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<ChatTokenizer>();
}
