//! Examples for supervised fine-tuning: one JSON object a line, in one of three forms.
//!
//! - `{"text": "..."}`: a document; every token after the first is learnt.
//! - `{"prompt": "...", "completion": "..."}`: a user's message and the answer to it; the answer is learnt.
//! - `{"messages": [{"role", "content", "weight"?}]}`: a conversation; each assistant message whose weight is
//!   not 0 becomes a sequence of its own: the conversation before it, and the message, which is learnt.
//!
//! Other fields are ignored.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use thinktune_policy::{Message, Role, Tokenizer};
use thinktune_tasks::Question;

use crate::error::MethodError;
use crate::settings::Ask;

/// Tokens and which of them are learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Index of the first token learnt, at least 1; all that follow are learnt too.
    pub first_target: usize,
}

impl Sequence {
    /// A document: every token after the first is learnt.
    pub fn document(tokens: Vec<u32>) -> Self {
        Self { tokens, first_target: 1 }
    }

    /// A prompt and the answer to learn.
    pub fn answer(mut prompt: Vec<u32>, answer: &[u32]) -> Self {
        let first_target = prompt.len();
        prompt.extend_from_slice(answer);
        Self { tokens: prompt, first_target }
    }

    /// Number of tokens learnt.
    pub fn targets(&self) -> usize {
        self.tokens.len().saturating_sub(self.first_target)
    }
}

/// The mark that Windows' editor writes at the start of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a file of examples.
///
/// # Errors
/// A line that is not an example, named by file and line; a file without examples.
pub fn read(path: &Path, tokenizer: &dyn Tokenizer) -> Result<Vec<Sequence>, MethodError> {
    let io = |source| MethodError::Io { path: path.into(), source };
    let mut sequences = Vec::new();
    for (index, line) in BufReader::new(File::open(path).map_err(io)?).lines().enumerate() {
        let line = line.map_err(io)?;
        let line = if index == 0 { line.trim_start_matches(BYTE_ORDER_MARK) } else { &line };
        if line.trim().is_empty() {
            continue;
        }
        let bad = |message| MethodError::BadLine { path: path.into(), line: index + 1, message };
        let example = parse(line).map_err(bad)?;
        sequences.extend(example.sequences(tokenizer).map_err(|error| bad(error.to_string()))?);
    }
    if sequences.is_empty() {
        return Err(MethodError::BadData(format!("{}: no examples in the file", path.display())));
    }
    Ok(sequences)
}

/// The reference solutions of `questions`, each asked as in training.
///
/// # Errors
/// A question without a solution.
pub fn from_questions(
    questions: &[Question],
    ask: &Ask,
    tokenizer: &dyn Tokenizer,
) -> Result<Vec<Sequence>, MethodError> {
    let sequence = |question: &Question| {
        let Some(solution) = &question.solution else {
            return Err(MethodError::BadData(format!(
                "question {} has no reference solution",
                question.index
            )));
        };
        let prompt = tokenizer.prompt_ids(&ask.messages(question))?;
        Ok(Sequence::answer(prompt, &tokenizer.answer_ids(solution)))
    };
    questions.iter().map(sequence).collect()
}

enum Example {
    Document(String),
    Pair { prompt: String, completion: String },
    Conversation(Vec<WeightedMessage>),
}

#[derive(Deserialize)]
struct WeightedMessage {
    #[serde(flatten)]
    message: Message,
    #[serde(default = "one")]
    weight: f64,
}

fn one() -> f64 {
    1.0
}

fn parse(line: &str) -> Result<Example, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
    let Value::Object(mut fields) = value else {
        return Err("expected a JSON object".into());
    };
    if fields.contains_key("messages") {
        return conversation(fields.remove("messages").unwrap_or_default());
    }
    let mut text = |key: &str| match fields.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("`{key}` is {other}; expected text")),
        None => Err(format!("no `{key}`; expected `text`, `messages`, or `prompt` and `completion`")),
    };
    match text("text") {
        Ok(document) => Ok(Example::Document(document)),
        Err(missing) => match (text("prompt"), text("completion")) {
            (Ok(prompt), Ok(completion)) => Ok(Example::Pair { prompt, completion }),
            (Err(_), Err(_)) => Err(missing),
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
    }
}

fn conversation(messages: Value) -> Result<Example, String> {
    let messages: Vec<WeightedMessage> =
        serde_json::from_value(messages).map_err(|error| format!("`messages`: {error}"))?;
    for (index, WeightedMessage { weight, .. }) in messages.iter().enumerate() {
        if *weight != 0.0 && *weight != 1.0 {
            return Err(format!("message {index} has weight {weight}; expected 0 or 1"));
        }
    }
    if !messages.iter().any(WeightedMessage::is_learnt) {
        return Err("no assistant message with weight 1; nothing to learn".into());
    }
    Ok(Example::Conversation(messages))
}

impl WeightedMessage {
    fn is_learnt(&self) -> bool {
        self.message.role == Role::Assistant && self.weight != 0.0
    }
}

impl Example {
    fn sequences(self, tokenizer: &dyn Tokenizer) -> Result<Vec<Sequence>, MethodError> {
        match self {
            Self::Document(text) => Ok(vec![Sequence::document(tokenizer.document_ids(&text))]),
            Self::Pair { prompt, completion } => {
                let prompt = tokenizer.prompt_ids(&[Message::user(prompt)])?;
                Ok(vec![Sequence::answer(prompt, &tokenizer.answer_ids(&completion))])
            }
            Self::Conversation(messages) => {
                let learnt: Vec<bool> = messages.iter().map(WeightedMessage::is_learnt).collect();
                let messages: Vec<Message> = messages.into_iter().map(|weighted| weighted.message).collect();
                (0..messages.len())
                    .filter(|&index| learnt[index])
                    .map(|index| {
                        let prompt = tokenizer.prompt_ids(&messages[..index])?;
                        Ok(Sequence::answer(prompt, &tokenizer.answer_ids(&messages[index].content)))
                    })
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, BOS, Chars, END};

    fn sequences(line: &str) -> Result<Vec<Sequence>, String> {
        parse(line)?.sequences(&Chars).map_err(|error| error.to_string())
    }

    fn ids(parts: &[&[u32]]) -> Vec<u32> {
        parts.concat()
    }

    #[test]
    fn a_document_is_learnt_after_its_first_token() {
        let found = sequences(r#"{"text": "ab", "source": "ignored"}"#).unwrap();
        assert_eq!(found, [Sequence { tokens: vec![BOS, 97, 98, END], first_target: 1 }]);
        assert_eq!(found[0].targets(), 3);
    }

    #[test]
    fn of_a_pair_the_answer_is_learnt() {
        let found = sequences(r#"{"prompt": "a", "completion": "bc"}"#).unwrap();
        let tokens = ids(&[&[BOS, 4, 97, END, 5], &[98, 99, END]]);
        assert_eq!(found, [Sequence { tokens, first_target: 5 }]);
    }

    #[test]
    fn each_weighted_assistant_message_is_a_sequence() {
        let line = r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": 1},
            {"role": "assistant", "content": "e", "weight": 0}]}"#;
        let found = sequences(line).unwrap();
        let first = ids(&[&[BOS, 4, 97, END, 5], &[98, END]]);
        let second = ids(&[&[BOS, 4, 97, END, 5, 98, END, 4, 99, END, 5], &[100, END]]);
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0].tokens, found[0].first_target), (&first, 5));
        assert_eq!((&found[1].tokens, found[1].first_target), (&second, 11));
    }

    #[test]
    fn a_bad_line_says_what_is_wrong() {
        for (line, expected) in [
            ("{", "not JSON"),
            ("[1]", "expected a JSON object"),
            ("{}", "expected `text`, `messages`, or `prompt` and `completion`"),
            (r#"{"text": 3}"#, "`text` is 3"),
            (r#"{"prompt": "a"}"#, "no `completion`"),
            (r#"{"completion": "a"}"#, "no `prompt`"),
            (r#"{"messages": "a"}"#, "`messages`"),
            (r#"{"messages": []}"#, "nothing to learn"),
            (r#"{"messages": [{"role": "user", "content": "a"}]}"#, "nothing to learn"),
            (r#"{"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]}"#, "weight 0.5"),
            (r#"{"messages": [{"role": "robot", "content": "a"}]}"#, "robot"),
        ] {
            let message = sequences(line).unwrap_err();
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn a_file_names_its_bad_line_and_an_empty_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("examples.jsonl");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("{\"text\": \"a\"}\n\n{\"text\": 1}\n");
        let message = read(&path, &Chars).unwrap_err().to_string();
        assert!(message.contains("examples.jsonl, line 3: `text` is 1"), "{message}");
        write("\u{feff}{\"text\": \"a\"}\r\n\r\n{\"text\": \"b\"}\r\n");
        assert_eq!(read(&path, &Chars).unwrap().len(), 2, "as Windows' editor writes it");
        write("\n");
        assert!(read(&path, &Chars).unwrap_err().to_string().contains("no examples"));
        let missing = read(&dir.path().join("none"), &Chars).unwrap_err().to_string();
        assert!(missing.contains("none"), "{missing}");
    }

    #[test]
    fn solutions_of_questions() {
        let mut questions = testing::sums(2);
        let found = from_questions(&questions, &Ask::default(), &Chars).unwrap();
        let prompt = Chars.prompt_ids(&[Message::user("1+1=?")]).unwrap();
        assert_eq!(found[1], Sequence::answer(prompt, &Chars.answer_ids("\\boxed{2}")));
        questions[1].solution = None;
        let message = from_questions(&questions, &Ask::default(), &Chars).unwrap_err().to_string();
        assert!(message.contains("question 1"), "{message}");
    }
}
