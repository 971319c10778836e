//! Text to token ids and back, for one model directory: tokenizer, chat template, stop tokens.

mod added;
mod files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tokenizers::{ModelWrapper, Tokenizer};

use crate::chat::ChatTemplate;
use crate::chat::date::DateError;
use files::TokenizerFiles;
use thinktune_policy::{Message, ModelError};

/// The tokenizer, chat template and stop tokens of a model directory.
#[derive(Debug, Clone)]
pub struct ChatTokenizer {
    dir: PathBuf,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    bos: Option<Bos>,
    end_of_turn: u32,
    /// True where the chat template writes it.
    template_ends_turn: bool,
    end_of_document: u32,
    stop: Vec<u32>,
    vocab_size: usize,
}

/// The token that begins a sequence, and the program that writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bos {
    id: u32,
    /// The tokenizer puts it before a text, so it must be added where a template has not written it.
    added_by_tokenizer: bool,
}

impl ChatTokenizer {
    /// Reads `tokenizer.json` and what stands beside it. `pinned_date` (`YYYY-MM-DD`) is the day a chat
    /// template sees as today.
    ///
    /// # Errors
    /// A missing or foreign file, a template that does not parse, special tokens the vocabulary lacks,
    /// no token that ends a turn, a tokenizer that is random or cannot encode arbitrary text.
    pub fn load(dir: &Path, pinned_date: &str) -> Result<Self, ModelError> {
        let today =
            pinned_date.parse().map_err(|error: DateError| ModelError::BadInput(error.to_string()))?;
        let tokenizer = load_tokenizer(&dir.join("tokenizer.json"))?;
        let files = TokenizerFiles::read(dir)?;
        let template = match files.template()? {
            Some((source, origin)) => Some(ChatTemplate::new(&source, &origin, files.tokens.clone(), today)?),
            None => None,
        };
        let eos = files.token_id("eos_token", &tokenizer)?;
        let mut stop: BTreeSet<u32> = files.eos_ids()?.into_iter().chain(eos).collect();
        let of_template = template.as_ref().and_then(|template| end_of_turn(template, &tokenizer, &stop));
        let end_of_turn = of_template.or(eos).or(stop.first().copied()).ok_or_else(|| {
            ModelError::bad_file(
                dir,
                "names no token that ends a turn: set `eos_token` in tokenizer_config.json",
            )
        })?;
        stop.insert(end_of_turn);
        Ok(Self {
            dir: dir.to_owned(),
            bos: bos(&files, &tokenizer, template.as_ref())?,
            end_of_turn,
            template_ends_turn: of_template.is_some(),
            end_of_document: eos.unwrap_or(end_of_turn),
            stop: stop.into_iter().collect(),
            vocab_size: vocab_size(&tokenizer),
            tokenizer,
            template,
        })
    }

    /// The text of a conversation up to where the model's answer begins.
    ///
    /// # Errors
    /// No chat template, or one that refuses the conversation.
    pub fn prompt_text(&self, messages: &[Message]) -> Result<String, ModelError> {
        let Some(template) = &self.template else {
            return Err(ModelError::bad_file(
                &self.dir,
                "has no chat template (neither chat_template.jinja nor `chat_template` in tokenizer_config.json); \
                 take an instruct model, or add a chat_template.jinja",
            ));
        };
        template.render(messages, true)
    }

    /// [`ChatTokenizer::prompt_text`] as ids: begins with one BOS where the model uses one, whoever writes it.
    ///
    /// # Errors
    /// As [`ChatTokenizer::prompt_text`].
    pub fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        let mut ids = self.encode(&self.prompt_text(messages)?);
        if let Some(bos) = self.bos.filter(|bos| bos.added_by_tokenizer && ids.first() != Some(&bos.id)) {
            ids.insert(0, bos.id);
        }
        Ok(ids)
    }

    /// An answer as it follows [`ChatTokenizer::prompt_ids`]: its text and the token that ends the turn.
    pub fn answer_ids(&self, answer: &str) -> Vec<u32> {
        let mut ids = self.encode(answer);
        ids.push(self.end_of_turn);
        ids
    }

    /// A text on its own: BOS where the model uses one, the text, the token that ends a document.
    pub fn document_ids(&self, text: &str) -> Vec<u32> {
        let mut ids: Vec<u32> = self.bos().into_iter().collect();
        ids.extend(self.encode(text));
        ids.push(self.end_of_document);
        ids
    }

    /// The ids of a text; special tokens spelled out in it are recognised, none is added.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // Only a model without an unknown token fails, on letters it lacks: `load_tokenizer` refuses those.
        encode(&self.tokenizer, text, false).unwrap_or_default()
    }

    /// The text of ids, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, true).unwrap_or_default()
    }

    /// The text of ids, special tokens shown.
    pub fn decode_raw(&self, ids: &[u32]) -> String {
        self.tokenizer.decode(ids, false).unwrap_or_default()
    }

    /// Every token that ends an answer, ascending: those of `generation_config.json` and `config.json`,
    /// the tokenizer's `eos_token`, the template's end of turn.
    pub fn stop(&self) -> &[u32] {
        &self.stop
    }

    /// The token that ends the model's turn: the first end token that the chat template writes after the model's words;
    /// where there is none, the tokenizer's `eos_token`, or else the first of `eos_token_id`.
    pub fn end_of_turn(&self) -> u32 {
        self.end_of_turn
    }

    /// Returns true where there is a chat template and it writes no token after the model's words, so that the end of the
    /// turn is taken from elsewhere.
    pub fn end_of_turn_is_guessed(&self) -> bool {
        self.template.is_some() && !self.template_ends_turn
    }

    /// The token every sequence begins with, if the model uses one.
    pub fn bos(&self) -> Option<u32> {
        self.bos.map(|bos| bos.id)
    }

    /// True where conversations can be rendered.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// Largest id + 1.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Checks that every id this tokenizer can produce is one the model knows.
    ///
    /// # Errors
    /// An id beyond `vocab_size`, the model's.
    pub fn check_vocab(&self, vocab_size: usize) -> Result<(), ModelError> {
        let last_stop = self.stop.last().map_or(0, |id| *id as usize + 1);
        let (what, needed) = if self.vocab_size > vocab_size {
            ("tokenizer.json has", self.vocab_size)
        } else if last_stop > vocab_size {
            ("the stop tokens include", last_stop)
        } else {
            return Ok(());
        };
        Err(ModelError::bad_file(
            &self.dir,
            format!(
                "{what} id {}, but the model's `vocab_size` is {vocab_size}; \
                 the tokenizer belongs to another model, or tokens were added without enlarging the embedding",
                needed - 1
            ),
        ))
    }
}

/// Letters no vocabulary is likely to hold: what a tokenizer does with them shows whether it can encode any text.
const RARE: &str = "\u{10fffd}\u{f8ff}\u{4dff}";

fn load_tokenizer(path: &Path) -> Result<Tokenizer, ModelError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let has_model = path.with_file_name("tokenizer.model").exists();
            let hint = if has_model { "; tokenizer.model is there: convert it first" } else { "" };
            return Err(ModelError::bad_file(path, format!("not found{hint}")));
        }
        Err(error) => return Err(ModelError::io(path, error)),
    };
    let wrong = |message: String| ModelError::bad_file(path, message);
    let marked = bytes.starts_with("\u{feff}".as_bytes());
    let mut tokenizer = added::read(if marked { &bytes[3..] } else { &bytes }).map_err(&wrong)?;
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model()
        && let Some(dropout) = bpe.dropout.filter(|dropout| *dropout > 0.0)
    {
        return Err(wrong(format!(
            "`model.dropout` is {dropout}, expected null: it would make token ids random"
        )));
    }
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|error| wrong(error.to_string()))?;
    encode(&tokenizer, RARE, false).map_err(|error| {
        wrong(format!(
            "cannot encode letters outside its vocabulary ({error}); it needs an unknown token or bytes"
        ))
    })?;
    Ok(tokenizer)
}

fn encode(tokenizer: &Tokenizer, text: &str, add_special: bool) -> Result<Vec<u32>, tokenizers::Error> {
    tokenizer.encode_fast(text, add_special).map(|encoding| encoding.get_ids().to_vec())
}

fn vocab_size(tokenizer: &Tokenizer) -> usize {
    tokenizer.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1)
}

/// The `bos_token`, if anything writes it: the tokenizer's post-processor, `add_bos_token`, or the chat template.
fn bos(
    files: &TokenizerFiles,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
) -> Result<Option<Bos>, ModelError> {
    let Some(id) = files.token_id("bos_token", tokenizer)? else { return Ok(None) };
    let begins = |text: &str, add_special| {
        encode(tokenizer, text, add_special).is_ok_and(|ids| ids.first() == Some(&id))
    };
    let added_by_tokenizer = match files.add_bos_token {
        Some(adds) => adds,
        None => begins("a", true),
    };
    let written_by_template = || {
        template
            .and_then(|template| template.render(&[Message::user("a")], true).ok())
            .is_some_and(|text| begins(&text, false))
    };
    Ok((added_by_tokenizer || written_by_template()).then_some(Bos { id, added_by_tokenizer }))
}

/// An answer that is found again in a rendered conversation.
const PROBE: &str = "qzprobezq";

/// The first special or stop token that a template writes after the model's words.
fn end_of_turn(template: &ChatTemplate, tokenizer: &Tokenizer, stop: &BTreeSet<u32>) -> Option<u32> {
    let text = template.render(&[Message::user("a"), Message::assistant(PROBE)], false).ok()?;
    let tail = &text[text.rfind(PROBE)? + PROBE.len()..];
    let special = tokenizer.get_added_tokens_decoder();
    let ids = encode(tokenizer, tail, false).ok()?;
    ids.into_iter().find(|id| stop.contains(id) || special.get(id).is_some_and(|token| token.special))
}

impl thinktune_policy::Tokenizer for ChatTokenizer {
    fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>, ModelError> {
        ChatTokenizer::prompt_ids(self, messages)
    }

    fn has_chat_template(&self) -> bool {
        ChatTokenizer::has_chat_template(self)
    }

    fn answer_ids(&self, text: &str) -> Vec<u32> {
        ChatTokenizer::answer_ids(self, text)
    }

    fn document_ids(&self, text: &str) -> Vec<u32> {
        ChatTokenizer::document_ids(self, text)
    }

    fn encode(&self, text: &str) -> Vec<u32> {
        ChatTokenizer::encode(self, text)
    }

    fn decode(&self, tokens: &[u32]) -> String {
        ChatTokenizer::decode(self, tokens)
    }

    fn decode_raw(&self, tokens: &[u32]) -> String {
        ChatTokenizer::decode_raw(self, tokens)
    }

    fn stop(&self) -> &[u32] {
        ChatTokenizer::stop(self)
    }

    fn end_of_turn(&self) -> u32 {
        ChatTokenizer::end_of_turn(self)
    }
}
