//! Chat templates render as transformers renders them, byte for byte.
//!
//! `fixtures/chat/expected.json` holds what transformers said (see `generate.py` beside it). The published
//! templates it was asked about are not ours to ship: the test reads them from `$THINKTUNE_DATA/chat_templates`,
//! else from `shared/data` beside the repository, and says so where it finds none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thinktune_policy::{Message, ModelError};
use thinktune_text::ChatTemplate;
use thinktune_text::chat::date::Date;

#[derive(Deserialize)]
struct Expected {
    date: String,
    conversations: BTreeMap<String, Vec<Message>>,
    ours: BTreeMap<String, Cases>,
    real: BTreeMap<String, Cases>,
    strftime: Vec<Strftime>,
}

#[derive(Deserialize)]
struct Cases {
    tokens: BTreeMap<String, String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    conversation: String,
    add_generation_prompt: bool,
    text: Option<String>,
    error: Option<String>,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Strftime {
    date: String,
    format: String,
    text: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat")
}

fn expected() -> Expected {
    serde_json::from_str(&std::fs::read_to_string(fixtures().join("expected.json")).unwrap()).unwrap()
}

/// Compares every case of every template in a folder; returns how many there were.
fn compare(dir: &Path, expected: &Expected, templates: &BTreeMap<String, Cases>) -> usize {
    let mut compared = 0;
    for (name, Cases { tokens, cases }) in templates {
        let path = dir.join(format!("{name}.jinja"));
        let source = std::fs::read_to_string(&path).unwrap();
        let date = expected.date.parse().unwrap();
        let template = ChatTemplate::new(&source, &path, tokens.clone(), date).unwrap();
        for case in cases {
            let at = format!("{name}, {}, {}", case.conversation, case.add_generation_prompt);
            let messages = &expected.conversations[&case.conversation];
            assert_matches(case, template.render(messages, case.add_generation_prompt), &at);
            compared += 1;
        }
    }
    compared
}

fn assert_matches(case: &Case, got: Result<String, ModelError>, at: &str) {
    match (got, &case.text, &case.error) {
        (Ok(got), Some(text), _) => assert_eq!(&got, text, "{at}"),
        (Err(ModelError::BadInput(got)), None, Some(error))
            if case.kind.as_deref() == Some("TemplateError") =>
        {
            assert_eq!(got, format!("the chat template refuses the conversation: {error}"), "{at}");
        }
        (Err(ModelError::BadFile { message, .. }), None, Some(_)) => {
            assert!(message.starts_with("the chat template fails: "), "{at}: {message}");
        }
        (got, text, error) => panic!("{at}: got {got:?}, expected text {text:?} or error {error:?}"),
    }
}

#[test]
fn our_templates_render_as_in_transformers() {
    let expected = expected();
    assert!(compare(&fixtures().join("templates"), &expected, &expected.ours) >= 100);
}

#[test]
fn published_templates_render_as_in_transformers() {
    let Some(dir) = thinktune_testing::real_data("chat_templates") else { return };
    let expected = expected();
    assert!(compare(&dir, &expected, &expected.real) >= 7 * 30);
}

#[test]
fn dates_print_as_in_python() {
    let rows = expected().strftime;
    assert!(rows.len() > 50);
    for Strftime { date, format, text } in rows {
        let day: Date = date.parse().unwrap();
        assert_eq!(day.strftime(&format), text, "{date} {format:?}");
    }
}

#[test]
fn days_the_calendar_lacks_are_refused() {
    for text in [
        "",
        "2024",
        "2024-7-26",
        "2024-13-01",
        "2023-02-29",
        "2024-00-10",
        "0000-01-01",
        "2024-07-26T",
        "20240726",
        "+024-07-26",
    ] {
        let message = text.parse::<Date>().unwrap_err().to_string();
        assert!(message.contains(text) && message.contains("YYYY-MM-DD"), "{message}");
    }
    assert!("2024-02-29".parse::<Date>().is_ok());
}

fn template(source: &str) -> Result<ChatTemplate, ModelError> {
    ChatTemplate::new(
        source,
        Path::new("some/chat_template.jinja"),
        BTreeMap::new(),
        "2024-07-26".parse().unwrap(),
    )
}

#[test]
fn templates_that_do_not_parse_or_fail_are_named() {
    let message = template("line one\n{% if %}").unwrap_err().to_string();
    assert!(message.starts_with("some/chat_template.jinja: the chat template does not parse: "), "{message}");
    assert!(message.contains("(line 2)"), "{message}");
    let failing = template("{{ nothing.at.all }}").unwrap();
    let message = failing.render(&[Message::user("x")], true).unwrap_err().to_string();
    assert!(message.starts_with("some/chat_template.jinja: the chat template fails: "), "{message}");
}

#[test]
fn a_refusal_inside_a_macro_keeps_the_words_of_the_template() {
    let template =
        template("{% macro m() %}{{ raise_exception('No ' ~ messages[0].role) }}{% endmacro %}{{ m() }}")
            .unwrap();
    let message = template.render(&[Message::user("x")], false).unwrap_err().to_string();
    assert_eq!(message, "the chat template refuses the conversation: No user");
}

#[test]
fn nothing_is_escaped_and_messages_are_data() {
    let template = template("{{ messages[0].content }}").unwrap();
    let text = "<a href=\"x\">&amp;</a> {{ 1 + 1 }} {% raise %}";
    assert_eq!(template.render(&[Message::user(text)], false).unwrap(), text);
}
