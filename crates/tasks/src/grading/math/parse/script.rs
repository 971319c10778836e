//! Parts above or below the line, and the arguments of commands.

use super::*;

impl<'a> Parser<'a, '_> {
    /// Raises to what follows the caret; towers group from the right.
    pub(super) fn superscript(&mut self, base: Node) -> Result<Node, Stop> {
        let exponent = self.deeper(|parser| {
            if let Some(mark) = parser.mark()? {
                return Ok(Err(mark));
            }
            let exponent = parser.script()?;
            Ok(Ok(if parser.eat(&Token::Char('^'))? { parser.superscript(exponent)? } else { exponent }))
        })?;
        Ok(match exponent {
            Ok(exponent) => Node::power(base, exponent),
            Err("") => Node::Degrees(Box::new(base)),
            Err(ending) => Node::WithUnit(Box::new(base), ending.into()),
        })
    }

    /// A superscript that is no exponent: a degree sign (given as nothing), the ending of an ordinal.
    fn mark(&mut self) -> Result<Option<&'a str>, Stop> {
        let inside = match self.peek()? {
            Token::Command("circ") => {
                self.advance();
                return Ok(Some(""));
            }
            Token::Text(ending) => {
                self.advance();
                return Ok(Some(ending));
            }
            Token::Char('{') => self.lexer.clone().braced().unwrap_or_default().trim(),
            _ => return Ok(None),
        };
        let plain =
            inside.trim_start_matches("\\text").trim_start_matches("\\mathrm").trim_matches(['{', '}', ' ']);
        let mark = match plain {
            "\\circ" | "\\degree" | "o" if inside.len() > 1 => "",
            "st" | "nd" | "rd" | "th" => plain,
            _ => return Ok(None),
        };
        self.peeked = None;
        self.lexer.braced();
        Ok(Some(mark))
    }

    /// A sub- or superscript, or any argument without brackets: a group, or one token with its sign.
    pub(super) fn script(&mut self) -> Result<Node, Stop> {
        let (negative, _) = self.signs_before()?;
        let node = self.deeper(Self::atom)?;
        Ok(if negative { node.negated() } else { node })
    }

    /// An argument of a command, of which a digit alone is one (`\frac12`).
    pub(super) fn argument(&mut self) -> Result<Node, Stop> {
        self.peeked = None;
        match self.lexer.digit() {
            Some(Token::Number(digit)) => number::value(&digit, self.budget),
            _ => self.deeper(Self::atom),
        }
    }

    /// A subscript: part of a variable's name, or the base of a numeral.
    pub(super) fn subscript(&mut self, node: Node) -> Result<Node, Stop> {
        let below = self.script()?;
        match (node, below) {
            (Node::Symbol(name), below) => Ok(Node::Symbol(format!("{name}_{}", label(&below)))),
            (Node::Number(digits), Node::Number(base)) if digits.is_integer() && base.is_integer() => {
                number::numeral(&digits.to_integer().to_string(), base.to_integer())
            }
            _ => Err(Stop::Unreadable("a subscript on something that has none".into())),
        }
    }
}

/// A subscript as part of a name.
pub(super) fn label(node: &Node) -> String {
    match node {
        Node::Number(value) => value.to_string(),
        Node::Symbol(name) | Node::Words(name) => name.clone(),
        other => format!("{other:?}"),
    }
}
