//! Tokens to text, piece by piece: no piece ends within a character, and none shows a part of a stop string.

use std::sync::Arc;

use thinktune_text::ChatTokenizer;

/// What a decoder shows for bytes that make no character, or none yet.
const BROKEN: char = '\u{fffd}';

/// Marks at the end of a text that later bytes may still turn into a character: a decoder shows one for all its bytes
/// so far, or one for each.
const MOST_BROKEN: usize = 3;

/// Tokens whose text is looked at again for the next: decoders treat the first token of a text differently.
const CONTEXT: usize = 4;

/// Tokens after which bytes that still make no character are given up.
const LONGEST: usize = 64;

/// The text of one answer as it grows.
pub(crate) struct Writer {
    codec: Arc<ChatTokenizer>,
    stops: Arc<[String]>,
    /// The last tokens.
    window: Vec<u32>,
    /// How much of the window's text is out.
    out: String,
    /// Text that may be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl Writer {
    /// A text that continues `before`, and ends before the first of `stops`.
    pub(crate) fn new(codec: Arc<ChatTokenizer>, stops: Arc<[String]>, before: &[u32]) -> Self {
        let window = before[before.len().saturating_sub(CONTEXT)..].to_vec();
        let out = codec.decode(&window);
        Self { codec, stops, window, out, held: String::new(), stopped: false }
    }

    /// Whether a stop string has come.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The text that is certain after one more token.
    pub(crate) fn push(&mut self, token: u32) -> String {
        self.window.push(token);
        let text = self.codec.decode(&self.window);
        let Some(new) = text.strip_prefix(self.out.as_str()) else {
            // what is out stays out; bytes that undo it end sooner or later
            if self.window.len() > LONGEST {
                self.begin_anew(text);
            }
            return String::new();
        };
        let piece = certain(new).to_owned();
        if piece.len() == new.len() || self.window.len() > LONGEST {
            let piece = new.to_owned();
            self.begin_anew(text);
            return self.scan(&piece);
        }
        self.out.push_str(&piece);
        self.scan(&piece)
    }

    /// What was held back, once it is known that nothing follows.
    pub(crate) fn finish(&mut self) -> String {
        if self.stopped {
            return String::new();
        }
        let text = self.codec.decode(&self.window);
        let rest = text.strip_prefix(self.out.as_str()).unwrap_or_default().to_owned();
        self.out = text;
        let mut piece = self.scan(&rest);
        if !self.stopped {
            piece.push_str(&std::mem::take(&mut self.held));
        }
        piece
    }

    /// All of `text`, the window's, is out: a short end of it is context enough, if it begins with a whole character.
    fn begin_anew(&mut self, text: String) {
        self.out = text;
        for kept in CONTEXT..self.window.len().min(2 * CONTEXT) {
            let window = &self.window[self.window.len() - kept..];
            let text = self.codec.decode(window);
            if !text.starts_with(BROKEN) && !text.ends_with(BROKEN) {
                (self.window, self.out) = (window.to_vec(), text);
                return;
            }
        }
        if self.window.len() > LONGEST {
            self.window.clear();
            self.out.clear();
        }
    }

    /// Passes text on up to a stop string, or to where one may begin.
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

/// A text without the marks at its end that may still become a character.
fn certain(text: &str) -> &str {
    let mut end = text;
    for _ in 0..MOST_BROKEN {
        match end.strip_suffix(BROKEN) {
            Some(shorter) => end = shorter,
            None => break,
        }
    }
    end
}

/// The text of single tokens as they stand within a text.
pub(crate) struct Pieces {
    codec: Arc<ChatTokenizer>,
    /// Put before a token, since decoders treat the first one differently; and its text.
    anchor: (Vec<u32>, String),
}

impl Pieces {
    pub(crate) fn new(codec: Arc<ChatTokenizer>) -> Self {
        let mut anchor = codec.encode("a");
        anchor.truncate(1);
        let text = codec.decode_raw(&anchor);
        Self { codec, anchor: (anchor, text) }
    }

    /// A token's text, special tokens shown.
    pub(crate) fn of(&self, token: u32) -> String {
        let (anchor, before) = &self.anchor;
        let both: Vec<u32> = anchor.iter().copied().chain([token]).collect();
        match self.codec.decode_raw(&both).strip_prefix(before.as_str()) {
            Some(text) => text.to_owned(),
            None => self.codec.decode_raw(&[token]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn codec(name: &str) -> Arc<ChatTokenizer> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../text/tests/fixtures/tokenizer");
        Arc::new(ChatTokenizer::load(&fixtures.join(name), "2025-01-01").unwrap())
    }

    fn pieces(codec: &Arc<ChatTokenizer>, tokens: &[u32], stops: &[&str]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
        let mut writer = Writer::new(Arc::clone(codec), stops.into(), &[]);
        let mut pieces: Vec<String> = Vec::new();
        for &token in tokens {
            pieces.push(writer.push(token));
            if writer.stopped() {
                break;
            }
        }
        pieces.push(writer.finish());
        (pieces, writer.stopped())
    }

    const TEXT: &str = "Zażółć 😀😀 gęślą \u{1f469}\u{200d}\u{1f52c} x = 3\n\nEND of it";

    #[test]
    fn pieces_are_whole_characters_and_add_up_to_the_text() {
        for name in ["byte_bos", "byte_chat"] {
            let codec = codec(name);
            let tokens = codec.encode(TEXT);
            let (pieces, stopped) = pieces(&codec, &tokens, &[]);
            assert_eq!(pieces.concat(), codec.decode(&tokens), "{name}");
            assert_eq!(pieces.concat(), TEXT, "{name}");
            assert!(pieces.iter().all(|piece| !piece.contains(BROKEN)) && !stopped);
            assert!(pieces.iter().filter(|piece| !piece.is_empty()).count() > 10, "it is a stream");
        }
    }

    #[test]
    fn bytes_that_make_no_character_are_shown_in_the_end() {
        let codec = codec("byte_bos");
        let tokens = codec.encode(TEXT);
        for length in 1..tokens.len() {
            let (pieces, _) = pieces(&codec, &tokens[..length], &[]);
            assert_eq!(pieces.concat(), codec.decode(&tokens[..length]), "cut after {length}");
        }
        // every second token: bytes torn apart
        let torn: Vec<u32> = tokens.iter().step_by(2).copied().cycle().take(400).collect();
        let (pieces, _) = pieces(&codec, &torn, &[]);
        assert!(pieces[..399].iter().any(|piece| !piece.is_empty()), "garbage flows too");
    }

    #[test]
    fn a_text_ends_before_its_first_stop_string_and_shows_no_part_of_one() {
        let codec = codec("byte_bos");
        let tokens = codec.encode(TEXT);
        for (stops, expected) in [
            (vec!["END"], TEXT.split("END").next().unwrap()),
            (vec!["x = 4", "= 3\n"], TEXT.split("= 3").next().unwrap()),
            (vec!["😀 g"], "Zażółć 😀"),
            (vec!["Z"], ""),
        ] {
            let (pieces, stopped) = pieces(&codec, &tokens, &stops);
            assert!(stopped);
            assert_eq!(pieces.concat(), expected, "{stops:?}");
        }
        let (pieces, stopped) = pieces(&codec, &tokens, &["of it!", "nowhere"]);
        assert_eq!((pieces.concat().as_str(), stopped), (TEXT, false), "what was held back comes in the end");
    }

    #[test]
    fn a_token_has_the_text_it_has_within_a_text() {
        for name in ["byte_bos", "byte_chat", "word_bos"] {
            let codec = codec(name);
            let pieces = Pieces::new(Arc::clone(&codec));
            let tokens = codec.encode("a b a");
            let joined: String = tokens.iter().skip(1).map(|&token| pieces.of(token)).collect();
            let whole = codec.decode_raw(&tokens);
            assert!(whole.ends_with(&joined), "{name}: {joined:?} {whole:?}");
        }
    }
}
