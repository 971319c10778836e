//! Conversations and the Jinja template that turns one into text, as transformers would render it.
//!
//! Templates are written for Jinja2 under Python. What differs in `minijinja` is bridged here: JSON, printing,
//! trimming, and `strftime_now`, which answers from a pinned date ([`date`]) so that a prompt does not change
//! overnight.

pub mod date;
mod python;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};

use minijinja::{Environment, Error, ErrorKind, Value};
use thinktune_policy::{Message, Role};

use crate::ModelError;
use date::Date;

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    origin: PathBuf,
    tokens: BTreeMap<String, String>,
}

/// Name under which the one template of an environment is kept; no file extension, so nothing is escaped.
const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles a template. `origin` names it in errors; `tokens` are the special tokens it may use,
    /// such as `bos_token`; `today` is what `strftime_now` answers.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn new(
        source: &str,
        origin: &Path,
        tokens: BTreeMap<String, String>,
        today: Date,
    ) -> Result<Self, ModelError> {
        let mut environment = Environment::new();
        python::install(&mut environment);
        environment.add_function("raise_exception", raise);
        environment.add_function("strftime_now", move |format: &str| today.strftime(format));
        environment.add_template_owned(NAME, generation_tags_as_blocks(source)).map_err(|error| {
            ModelError::bad_file(origin, format!("the chat template does not parse: {}", explain(&error)))
        })?;
        Ok(Self { environment, origin: origin.to_owned(), tokens })
    }

    /// The text of a conversation; with `add_generation_prompt`, up to where the model's next turn begins.
    ///
    /// # Errors
    /// A conversation the template refuses (in the template's own words), or a template that fails.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ModelError> {
        let mut context: BTreeMap<&str, Value> =
            self.tokens.iter().map(|(name, text)| (name.as_str(), Value::from(text.as_str()))).collect();
        context.insert("messages", messages.iter().map(to_value).collect());
        context.insert("tools", Value::from(()));
        context.insert("documents", Value::from(()));
        context.insert("add_generation_prompt", Value::from(add_generation_prompt));
        let template = self.environment.get_template(NAME).map_err(|error| self.failure(&error))?;
        template.render(context).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &Error) -> ModelError {
        match raised(error) {
            Some(message) => {
                ModelError::BadInput(format!("the chat template refuses the conversation: {message}"))
            }
            None => {
                ModelError::bad_file(&self.origin, format!("the chat template fails: {}", explain(error)))
            }
        }
    }
}

/// A message as templates read it.
fn to_value(message: &Message) -> Value {
    let role = match message.role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    Value::from_pairs([("role", role), ("content", &message.content)])
}

/// Message of a template's `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception was called").with_source(Raised(message)))
}

fn raised(error: &Error) -> Option<&str> {
    let Raised(message) = error.source()?.downcast_ref()?;
    Some(message)
}

fn explain(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{what} (line {line})"),
        None => what,
    }
}

/// Replaces `{% generation %}`, which marks the model's words for other programs and prints its body unchanged, by a
/// condition that always holds.
fn generation_tags_as_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else { break };
        let tag = &rest[start + 2..start + length];
        let word = tag.trim_matches(['-', '+']).trim();
        let block = match word {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        out.push_str(&rest[..start + 2]);
        match block {
            Some(block) => out.push_str(&tag.replacen(word, &format!(" {block} "), 1)),
            None => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &rest[start + length + 2..];
    }
    out.push_str(rest);
    out
}
