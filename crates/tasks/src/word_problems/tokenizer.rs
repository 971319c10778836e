//! A word-level tokenizer for the word problems, in the `tokenizer.json` format: decoding gives back
//! exactly the text that was encoded, and a whole number is one token.
//!
//! A word takes the space before it along. The space between a word or a sign and a number belongs to
//! the word or sign, so a number is the same token wherever it stands.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::documents::{pretraining, student, teacher};
use super::problem::LARGEST;

/// The special tokens, in the order of their ids: unknown word, begin, end of turn, the three roles.
pub(super) const SPECIAL: [&str; 6] =
    ["<|unknown|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"];

/// The pattern that cuts text into words (a regular expression of the tokenizer; [`words`] is the same in code).
const WORD: &str =
    r" ?\\boxed\{|</?[a-z]+>|\n\n|\n| ?[A-Za-z]+(?: (?=[0-9]))?|[0-9]+|[^A-Za-z0-9\s](?: (?=[0-9]))?|\s";

/// The vocabulary: special tokens, numbers, then every word of the language in alphabetical order.
pub fn vocabulary() -> Vec<String> {
    let mut words_seen = BTreeSet::new();
    for value in pretraining(0, 4000).chain(student(0, 500)).chain(teacher(0, 500)) {
        collect(&value, &mut words_seen);
    }
    let is_number = |word: &String| word.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = (0..=LARGEST + 39).map(|number| number.to_string());
    let special = SPECIAL.iter().map(ToString::to_string);
    special.chain(numbers).chain(words_seen.into_iter().filter(|word| !is_number(word))).collect()
}

fn collect(value: &Value, seen: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => seen.extend(words(text).into_iter().map(str::to_string)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, seen)),
        Value::Object(fields) => {
            for (name, item) in fields {
                if name != "role" {
                    collect(item, seen);
                }
            }
        }
        _ => {}
    }
}

/// Cuts a text into the words of [`WORD`].
fn words(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, tail) = rest.split_at(word_length(rest));
        out.push(word);
        rest = tail;
    }
    out
}

/// Length in bytes of the word a text begins with.
fn word_length(text: &str) -> usize {
    let letters = |from: usize| text[from..].bytes().take_while(u8::is_ascii_alphabetic).count();
    let spaced = usize::from(text.starts_with(' '));
    let with_space = |length: usize| {
        let next = &text.as_bytes()[length..];
        length + usize::from(next.first() == Some(&b' ') && next.get(1).is_some_and(u8::is_ascii_digit))
    };
    if text[spaced..].starts_with("\\boxed{") {
        return spaced + "\\boxed{".len();
    }
    if let Some(length) = tag_length(text) {
        return length;
    }
    if text.starts_with("\n\n") {
        return 2;
    }
    if letters(spaced) > 0 {
        return with_space(spaced + letters(spaced));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        return digits;
    }
    let first = text.chars().next().expect("the text is not empty");
    if first.is_whitespace() { first.len_utf8() } else { with_space(first.len_utf8()) }
}

/// Length of `<name>` or `</name>` at the start of a text.
fn tag_length(text: &str) -> Option<usize> {
    let name = text.strip_prefix("</").or_else(|| text.strip_prefix('<'))?;
    let letters = name.bytes().take_while(u8::is_ascii_lowercase).count();
    (letters > 0 && name[letters..].starts_with('>')).then(|| text.len() - name.len() + letters + 1)
}

/// `tokenizer.json`.
pub(super) fn tokenizer_json() -> Value {
    let vocabulary = vocabulary();
    let added: Vec<Value> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true })
        })
        .collect();
    let ids: serde_json::Map<String, Value> =
        vocabulary.into_iter().enumerate().map(|(id, word)| (word, json!(id))).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": WORD }, "behavior": "Isolated", "invert": false },
        "post_processor": null,
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": ids, "unk_token": SPECIAL[0] },
    })
}

/// Turns end with the end token; nothing else stands between them.
pub(super) const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
    {{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";
