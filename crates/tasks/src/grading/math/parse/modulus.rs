//! The modulus of a congruence: `\pmod 7`, `(\text{mod } 7)`, `mod 7`.

use super::*;

impl Parser<'_, '_> {
    /// Reads a modulus, if one follows.
    pub(super) fn modulus(&mut self) -> Result<Option<Node>, Stop> {
        if self.opens_modulus()? {
            self.advance();
            self.peek()?;
            self.advance();
            let modulus = self.sum()?;
            self.expect(Token::Char(')'))?;
            return Ok(Some(modulus));
        }
        if !is_modulo(&self.peek()?) {
            return Ok(None);
        }
        self.advance();
        Ok(Some(self.script()?))
    }

    /// Returns whether a bracket follows that holds a modulus.
    pub(super) fn opens_modulus(&mut self) -> Result<bool, Stop> {
        if self.peek()? != Token::Char('(') {
            return Ok(false);
        }
        let Some((_, behind)) = &self.peeked else { return Ok(false) };
        Ok(is_modulo(&behind.clone().next()?))
    }
}

/// Returns whether a token says "modulo".
fn is_modulo(token: &Token<'_>) -> bool {
    match token {
        Token::Command(name) => *name == "pmod",
        Token::Word(word) | Token::Text(word) => matches!(*word, "mod" | "modulo"),
        _ => false,
    }
}
