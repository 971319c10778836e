//! Letters in a row: names of functions and numbers, variables side by side, units, words.

use super::*;

/// Letters in a row that are a word rather than variables side by side.
const WORD: usize = 5;

impl<'a> Parser<'a, '_> {
    pub(super) fn word(&mut self, word: &'a str) -> Result<Node, Stop> {
        self.advance();
        if let Some(function) = Function::named(word) {
            return self.call(function);
        }
        if let Some(value) = named_value(word) {
            return Ok(value);
        }
        match word {
            "sqrt" => return self.root(),
            _ if word.chars().count() == 1 => return Ok(Node::Symbol(word.into())),
            _ => {}
        }
        let sentence = matches!(self.peek()?, Token::Word(next) if next.len() >= WORD);
        if word.len() >= WORD || sentence || !word.is_ascii() {
            return self.words_after(word.into());
        }
        // variables side by side: the first alone, the rest is read again
        let keep = if word.starts_with("pi") { 2 } else { 1 };
        self.peeked = None;
        self.lexer.split_word(word, keep);
        Ok(named_value(&word[..keep]).unwrap_or_else(|| Node::Symbol(word[..keep].into())))
    }

    /// `\text{..}` and the words behind it.
    pub(super) fn words(&mut self) -> Result<Node, Stop> {
        self.words_after(String::new())
    }

    fn words_after(&mut self, mut text: String) -> Result<Node, Stop> {
        while let Token::Text(word) | Token::Word(word) = self.peek()? {
            if self.separates(word) {
                break;
            }
            self.advance();
            text.push(' ');
            text.push_str(word);
        }
        Ok(Node::Words(super::super::units::plain_words(&text)))
    }

    fn separates(&self, word: &str) -> bool {
        matches!(word.trim_matches([',', ' ']).to_ascii_lowercase().as_str(), "and" | "or" | "mod" | "modulo")
    }

    /// Adds the words behind a value, with their powers and slashes, to its unit.
    pub(super) fn unit(&mut self, units: &mut String) -> Result<(), Stop> {
        let mut any = false;
        loop {
            match self.peek()? {
                Token::Text(word) if !self.separates(word) => {
                    if offers_more(word) {
                        return Err(Stop::Unreadable("words behind a value that offer another".into()));
                    }
                    units.push_str(word);
                }
                Token::Word(word) if !self.separates(word) && (is_unit(word) || is_noise(word)) => {
                    units.push_str(word)
                }
                Token::Char('^') if any => {
                    self.advance();
                    let power = self.script()?;
                    units.push_str(&format!("^{}", super::script::label(&power)));
                    continue;
                }
                Token::Char('/') if any => {
                    let mut ahead = self.lexer.clone();
                    ahead.next()?;
                    if !matches!(ahead.next()?, Token::Text(_) | Token::Word(_)) {
                        return Ok(());
                    }
                    units.push('/');
                    self.advance();
                    // a single letter behind the slash is a unit, too
                    if let Token::Text(word) | Token::Word(word) = self.peek()? {
                        units.push_str(word);
                    }
                }
                _ => return Ok(()),
            }
            self.advance();
            units.push(' ');
            any = true;
        }
    }
}

/// Returns whether the words behind a value have other answers among them ("or 6"), or take it back.
fn offers_more(text: &str) -> bool {
    let word = |word: &str| matches!(word.to_ascii_lowercase().as_str(), "or" | "and" | "not" | "either");
    text.contains(|next: char| next.is_ascii_digit())
        || text.split(|next: char| !next.is_alphanumeric()).any(word)
}

/// Returns whether a word behind a value says nothing that could be an expression.
fn is_noise(word: &str) -> bool {
    word.len() >= WORD && Function::named(word).is_none() && named_value(word).is_none()
}

pub(super) fn named_value(word: &str) -> Option<Node> {
    Some(Node::Constant(match word {
        "pi" => Constant::Pi,
        "e" => Constant::E,
        "i" => Constant::I,
        "inf" | "infinity" | "oo" => Constant::Infinity,
        _ => return None,
    }))
}
