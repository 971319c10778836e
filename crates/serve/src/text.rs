//! Tokens to text, piece by piece: no piece ends within a character, and none contains a part of a stop string.

use std::sync::Arc;

use thinktune_text::ChatTokenizer;

/// Character that a decoder puts for bytes that make no character, or none yet.
const REPLACEMENT: char = '\u{fffd}';

/// Most replacement characters at the end of a text that later bytes may still turn into one character. Some decoders
/// put one for all bytes so far, others one for each.
const MAX_PENDING: usize = 3;

/// Tokens decoded again before the next one, because decoders treat the first token of a text differently.
const CONTEXT: usize = 4;

/// Most tokens to wait for bytes to make a character.
const MAX_WINDOW: usize = 64;

/// Decoder of one answer, token by token.
pub(crate) struct IncrementalDecoder {
    tokenizer: Arc<ChatTokenizer>,
    stops: Arc<[String]>,
    /// The last tokens.
    window: Vec<u32>,
    /// The part of the window's text that has been returned.
    out: String,
    /// Text that may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl IncrementalDecoder {
    /// Decoder of a text that continues `before`, and ends before the first of `stops`.
    pub(crate) fn new(tokenizer: Arc<ChatTokenizer>, stops: Arc<[String]>, before: &[u32]) -> Self {
        let window = before[before.len().saturating_sub(CONTEXT)..].to_vec();
        let out = tokenizer.decode(&window);
        Self { tokenizer, stops, window, out, held: String::new(), stopped: false }
    }

    /// True once a stop string has occurred.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The text that is certain after one more token.
    pub(crate) fn push(&mut self, token: u32) -> String {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window);
        let Some(new) = text.strip_prefix(self.out.as_str()) else {
            // text that has been returned stays as it is; bytes that change it end sooner or later
            if self.window.len() > MAX_WINDOW {
                self.shorten_window(text);
            }
            return String::new();
        };
        let piece = certain(new).to_owned();
        if piece.len() == new.len() || self.window.len() > MAX_WINDOW {
            let piece = new.to_owned();
            self.shorten_window(text);
            return self.scan(&piece);
        }
        self.out.push_str(&piece);
        self.scan(&piece)
    }

    /// Returns the text held back, once no token follows.
    pub(crate) fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        let text = self.tokenizer.decode(&self.window);
        let rest = text.strip_prefix(self.out.as_str()).unwrap_or_default().to_owned();
        self.out = text;
        let mut piece = self.scan(&rest);
        if !self.stopped {
            piece.push_str(&std::mem::take(&mut self.held));
        }
        piece
    }

    /// Shortens the window, all of whose text has been returned, to a few tokens that begin and end with a whole
    /// character.
    fn shorten_window(&mut self, text: String) {
        self.out = text;
        for kept in CONTEXT..self.window.len().min(2 * CONTEXT) {
            let window = &self.window[self.window.len() - kept..];
            let text = self.tokenizer.decode(window);
            if !text.starts_with(REPLACEMENT) && !text.ends_with(REPLACEMENT) {
                (self.window, self.out) = (window.to_vec(), text);
                return;
            }
        }
        if self.window.len() > MAX_WINDOW {
            self.window.clear();
            self.out.clear();
        }
    }

    /// Returns text up to a stop string, or up to a place where one may begin.
    fn scan(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins = |from: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*from..]));
        let boundaries = self.held.char_indices().map(|(at, _)| at);
        let keep = boundaries.clone().find(begins).unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        std::mem::replace(&mut self.held, rest)
    }
}

/// A text without the replacement characters at its end that may still become a character.
fn certain(text: &str) -> &str {
    let mut end = text;
    for _ in 0..MAX_PENDING {
        match end.strip_suffix(REPLACEMENT) {
            Some(shorter) => end = shorter,
            None => break,
        }
    }
    end
}

/// The text of single tokens as they stand within a text.
pub(crate) struct TokenTexts {
    tokenizer: Arc<ChatTokenizer>,
    /// Token put before each one, because decoders treat the first one differently; and its text.
    anchor: (Vec<u32>, String),
}

impl TokenTexts {
    pub(crate) fn new(tokenizer: Arc<ChatTokenizer>) -> Self {
        let mut anchor = tokenizer.encode("a");
        anchor.truncate(1);
        let text = tokenizer.decode_raw(&anchor);
        Self { tokenizer, anchor: (anchor, text) }
    }

    /// A token's text, special tokens shown.
    pub(crate) fn of(&self, token: u32) -> String {
        let (anchor, before) = &self.anchor;
        let both: Vec<u32> = anchor.iter().copied().chain([token]).collect();
        match self.tokenizer.decode_raw(&both).strip_prefix(before.as_str()) {
            Some(text) => text.to_owned(),
            None => self.tokenizer.decode_raw(&[token]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tokenizer(name: &str) -> Arc<ChatTokenizer> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../text/tests/fixtures/tokenizer");
        Arc::new(ChatTokenizer::load(&fixtures.join(name), "2025-01-01").unwrap())
    }

    fn pieces(tokenizer: &Arc<ChatTokenizer>, tokens: &[u32], stops: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut decoder = IncrementalDecoder::new(Arc::clone(tokenizer), stops.into(), &[]);
        let mut pieces: Vec<String> = Vec::new();
        for &token in tokens {
            pieces.push(decoder.push(token));
            if decoder.stopped() {
                break;
            }
        }
        pieces.push(decoder.finish());
        (pieces, decoder.stopped())
    }

    const TEXT: &str = "Zażółć 😀😀 gęślą \u{1f469}\u{200d}\u{1f52c} x = 3\n\nEND of it";

    #[test]
    fn pieces_are_whole_characters_of_the_text() {
        for name in ["byte_bos", "byte_chat"] {
            let tokenizer = tokenizer(name);
            let tokens = tokenizer.encode(TEXT);
            let (pieces, stopped) = pieces(&tokenizer, &tokens, &[]);
            assert_eq!(pieces.concat(), tokenizer.decode(&tokens), "{name}");
            assert_eq!(pieces.concat(), TEXT, "{name}");
            assert!(pieces.iter().all(|piece| !piece.contains(REPLACEMENT)) && !stopped);
            assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 10, "it is a stream");
        }
    }

    #[test]
    fn bytes_that_make_no_character_come_last() {
        let tokenizer = tokenizer("byte_bos");
        let tokens = tokenizer.encode(TEXT);
        for length in 1..tokens.len() {
            let (pieces, _) = pieces(&tokenizer, &tokens[..length], &[]);
            assert_eq!(pieces.concat(), tokenizer.decode(&tokens[..length]), "cut after {length}");
        }
        // every second token: bytes torn apart
        let torn: Vec<u32> = tokens.iter().step_by(2).copied().cycle().take(400).collect();
        let (pieces, _) = pieces(&tokenizer, &torn, &[]);
        assert!(pieces[..399].iter().any(|piece| !piece.is_empty()), "garbage flows too");
    }

    #[test]
    fn a_text_ends_before_its_first_stop_string() {
        let tokenizer = tokenizer("byte_bos");
        let tokens = tokenizer.encode(TEXT);
        for (stops, expected) in [
            (vec!["END"], TEXT.split("END").next().unwrap()),
            (vec!["x = 4", "= 3\n"], TEXT.split("= 3").next().unwrap()),
            (vec!["😀 g"], "Zażółć 😀"),
            (vec!["Z"], ""),
        ] {
            let (pieces, stopped) = pieces(&tokenizer, &tokens, &stops);
            assert!(stopped);
            assert_eq!(pieces.concat(), expected, "{stops:?}");
        }
        let (pieces, stopped) = pieces(&tokenizer, &tokens, &["of it!", "nowhere"]);
        assert_eq!((pieces.concat().as_str(), stopped), (TEXT, false), "what was held back comes in the end");
    }

    #[test]
    fn a_token_decodes_as_within_a_text() {
        for name in ["byte_bos", "byte_chat", "word_bos"] {
            let tokenizer = tokenizer(name);
            let texts = TokenTexts::new(Arc::clone(&tokenizer));
            let tokens = tokenizer.encode("a b a");
            let joined: String = tokens.iter().skip(1).map(|&token| texts.of(token)).collect();
            let whole = tokenizer.decode_raw(&tokens);
            assert!(whole.ends_with(&joined), "{name}: {joined:?} {whole:?}");
        }
    }
}
