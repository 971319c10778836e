//! Reading an answer into a [`Node`]: precedence climbing over the tokens, with bounded depth.

use std::borrow::Cow;

use num_bigint::BigInt;
use num_traits::{One, Zero};

use super::budget::{Budget, DEEPEST, LONGEST, Stop};
use super::node::{Constant, Function, Node, Rational, SetOperation, Sign};
use super::spelling::Token;
use super::token::Lexer;
use super::units::is_unit;

mod group;
mod modulus;
mod names;
mod number;
mod script;
mod words;

/// An answer that has been read.
pub(super) struct Reading {
    pub(super) node: Node,
    /// True where a comma was taken for a thousands separator, so that another reading is possible.
    pub(super) grouped: bool,
}

/// Reads an answer; `commas_group` says whether `1,234` is one number.
pub(super) fn read(text: &str, commas_group: bool, budget: &mut Budget) -> Result<Reading, Stop> {
    if text.len() > LONGEST {
        return Err(Stop::OverBudget("the answer is too long"));
    }
    budget.spend(text.len() as u64 / 4)?;
    let mut parser =
        Parser { lexer: Lexer::new(text, commas_group), peeked: None, depth: 0, in_bars: false, budget };
    let mut items = parser.items()?;
    match parser.peek()? {
        Token::End => {}
        other => return Err(unexpected(&other)),
    }
    let node = if items.len() == 1 { items.remove(0) } else { Node::List(items) };
    Ok(Reading { node, grouped: parser.lexer.grouped })
}

/// The most marks that may stand behind one atom: `x_1^2!`.
const MARKS: u32 = 4;

/// Returns whether a word is the name of a function.
pub(super) fn is_function(word: &str) -> bool {
    Function::named(word).is_some()
}

/// Returns whether a word is the name of a function or of a number.
pub(super) fn is_name(word: &str) -> bool {
    is_function(word) || words::named_value(word).is_some()
}

/// The text, tokens and limits of one reading.
struct Parser<'a, 'b> {
    lexer: Lexer<'a>,
    /// The next token, and where the lexer stands behind it.
    peeked: Option<(Token<'a>, Lexer<'a>)>,
    depth: u32,
    /// True where the next bar closes an absolute value.
    in_bars: bool,
    budget: &'b mut Budget,
}

impl<'a> Parser<'a, '_> {
    fn peek(&mut self) -> Result<Token<'a>, Stop> {
        if self.peeked.is_none() {
            self.budget.spend(2)?;
            let mut ahead = self.lexer.clone();
            self.peeked = Some((ahead.next()?, ahead));
        }
        Ok(self.peeked.as_ref().map_or(Token::End, |(token, _)| token.clone()))
    }

    /// Steps over the token that was seen last.
    fn advance(&mut self) {
        if let Some((_, behind)) = self.peeked.take() {
            self.lexer = behind;
        }
    }

    fn eat(&mut self, token: &Token<'_>) -> Result<bool, Stop> {
        let found = self.peek()? == *token;
        if found {
            self.advance();
        }
        Ok(found)
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), Stop> {
        if self.eat(&token)? { Ok(()) } else { Err(unexpected(&self.peek()?)) }
    }

    /// Runs one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth == DEEPEST {
            return Err(Stop::OverBudget("nested too deeply"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Items separated by commas, semicolons, "and", "or".
    fn items(&mut self) -> Result<Vec<Node>, Stop> {
        let mut items = vec![self.item()?];
        while self.separator()? {
            // "1, 2, and 3" has two separators in a row, and a list may end in one
            while self.separator()? {}
            if self.closes()? {
                break;
            }
            items.push(self.item()?);
        }
        // a full stop may end the whole
        if self.depth == 0 {
            while matches!(self.peek()?, Token::Char('.')) {
                self.advance();
            }
        }
        Ok(items)
    }

    fn separator(&mut self) -> Result<bool, Stop> {
        let found = match self.peek()? {
            Token::Char(',' | ';') | Token::Command("and" | "or") => true,
            Token::Word(word) | Token::Text(word) => {
                matches!(word.trim_matches([',', ' ']).to_ascii_lowercase().as_str(), "and" | "or" | "&" | "")
            }
            _ => false,
        };
        if found {
            self.advance();
        }
        Ok(found)
    }

    fn closes(&mut self) -> Result<bool, Stop> {
        Ok(matches!(
            self.peek()?,
            Token::End
                | Token::Char(')' | ']' | '}' | '.' | '&')
                | Token::Command("}" | "\\" | "rangle" | "rfloor" | "rceil")
                | Token::EndOf(_)
        ))
    }

    /// One side, or several with signs between them.
    fn item(&mut self) -> Result<Node, Stop> {
        if matches!(self.sign()?, Some(Sign::Equal)) {
            self.advance();
        }
        let mut sides = vec![self.side(true)?];
        let mut signs = Vec::new();
        while let Some(sign) = self.sign()? {
            self.advance();
            // ">=" typed as two signs
            let sign = match (sign, self.peek()?) {
                (Sign::Less, Token::Char('=')) => Sign::LessOrEqual,
                (Sign::Greater, Token::Char('=')) => Sign::GreaterOrEqual,
                _ => sign,
            };
            if matches!(sign, Sign::LessOrEqual | Sign::GreaterOrEqual) {
                self.eat(&Token::Char('='))?;
            }
            signs.push(sign);
            sides.push(self.side(false)?);
        }
        Ok(if signs.is_empty() { sides.remove(0) } else { Node::Relation(sides, signs) })
    }

    /// One side of a relation, or an item without a relation, with the modulus behind it. A side that is nothing but a
    /// function of its arguments (`f(x)`) is its name, not a product.
    fn side(&mut self, first: bool) -> Result<Node, Stop> {
        let name = names::function_of_arguments(self.lexer.rest());
        let node = self.combined()?;
        let name = name.filter(|name| if first { name.defined } else { name.usual && !name.defined });
        let node = name.map_or(node, |name| Node::Symbol(name.text));
        Ok(match self.modulus()? {
            Some(modulus) => Node::residue(node, modulus),
            None => node,
        })
    }

    fn sign(&mut self) -> Result<Option<Sign>, Stop> {
        Ok(Some(match self.peek()? {
            Token::Char('=') | Token::Command("approx" | "doteq" | "equiv") => Sign::Equal,
            Token::Char('<') => Sign::Less,
            Token::Char('>') => Sign::Greater,
            Token::Command("le") => Sign::LessOrEqual,
            Token::Command("ge") => Sign::GreaterOrEqual,
            Token::Command("ne") => Sign::NotEqual,
            Token::Command("in") => Sign::In,
            _ => return Ok(None),
        }))
    }

    /// Sets joined by one operation.
    fn combined(&mut self) -> Result<Node, Stop> {
        let first = self.sum()?;
        let Some(operation) = self.set_operation(&first)? else { return Ok(first) };
        let mut parts = vec![first];
        while let Some(next) = self.set_operation(&parts[0])? {
            if next != operation {
                return Err(Stop::Unreadable("several operations on sets without brackets".into()));
            }
            self.advance();
            parts.push(self.sum()?);
        }
        Ok(Node::Combined(operation, parts))
    }

    fn set_operation(&mut self, left: &Node) -> Result<Option<SetOperation>, Stop> {
        Ok(match self.peek()? {
            Token::Command("cup") => Some(SetOperation::Union),
            Token::Command("cap") => Some(SetOperation::Intersection),
            Token::Command("setminus") => Some(SetOperation::Difference),
            Token::Word("U") if matches!(left, Node::Tuple(..) | Node::Set(_)) => Some(SetOperation::Union),
            _ => None,
        })
    }

    /// Terms with plus, minus and plus-minus between them.
    fn sum(&mut self) -> Result<Node, Stop> {
        let mut terms = Vec::new();
        loop {
            let (negative, choice) = self.signs_before()?;
            let term = self.product()?;
            let term = if negative { term.negated() } else { term };
            terms.push(match choice {
                Some(flipped) => Node::PlusMinus(Box::new(term), flipped),
                None => term,
            });
            if !matches!(self.peek()?, Token::Char('+' | '-') | Token::Command("pm" | "mp")) {
                break;
            }
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Node::Sum(terms) })
    }

    /// The signs before a term: whether they make it negative, and whether one is plus-minus.
    fn signs_before(&mut self) -> Result<(bool, Option<bool>), Stop> {
        let (mut negative, mut choice) = (false, None);
        loop {
            match self.peek()? {
                Token::Char('+') => {}
                Token::Char('-') => negative = !negative,
                Token::Command("pm") => choice = Some(false),
                Token::Command("mp") => choice = Some(true),
                _ => return Ok((negative, choice)),
            }
            self.advance();
        }
    }

    /// Factors, side by side or with signs between them. `a/b/c` divides by b and by c, and `1/2x` is half of x.
    fn product(&mut self) -> Result<Node, Stop> {
        let mut above = vec![self.factor()?];
        let (mut below, mut units) = (Vec::new(), String::new());
        loop {
            self.unit(&mut units)?;
            match self.peek()? {
                Token::Char('*') => {
                    self.advance();
                    above.push(self.factor()?);
                }
                Token::Char('/' | ':') => {
                    self.advance();
                    below.push(self.factor()?);
                }
                Token::Number(_) => return Err(Stop::Unreadable("two numbers side by side".into())),
                _ if self.begins_factor()? => above.push(self.factor()?),
                _ => break,
            }
        }
        let above = product_of(above);
        let value = if below.is_empty() { above } else { Node::quotient(above, product_of(below)) };
        Ok(if units.is_empty() { value } else { Node::WithUnit(Box::new(value), units) })
    }

    /// Returns whether a factor may begin here without a sign before it.
    fn begins_factor(&mut self) -> Result<bool, Stop> {
        Ok(match self.peek()? {
            Token::Word(word) => !matches!(word, "and" | "or" | "U" | "mod" | "modulo"),
            Token::Char('(') => !self.opens_modulus()?,
            Token::Char('[' | '{') | Token::Begin(_) => true,
            Token::Char('|') => !self.in_bars,
            Token::Command(name) => !matches!(
                name,
                "}" | "\\"
                    | "pm"
                    | "mp"
                    | "le"
                    | "ge"
                    | "ne"
                    | "in"
                    | "approx"
                    | "doteq"
                    | "equiv"
                    | "pmod"
                    | "ldots"
                    | "cup"
                    | "cap"
                    | "setminus"
                    | "and"
                    | "or"
                    | "rangle"
                    | "rfloor"
                    | "rceil"
                    | "circ"
                    | "mid"
            ),
            _ => false,
        })
    }

    /// An atom with what is written behind it: powers, factorials, subscripts, per cent, degrees.
    fn factor(&mut self) -> Result<Node, Stop> {
        let (negative, choice) = self.signs_before()?;
        if choice.is_some() {
            return Err(Stop::Unreadable("a sign for plus or minus within a product".into()));
        }
        let mut node = self.deeper(Self::atom)?;
        let mut behind = 0;
        loop {
            node = match self.peek()? {
                Token::Char('^') => {
                    self.advance();
                    self.superscript(node)?
                }
                Token::Command("circ") => {
                    self.advance();
                    Node::Degrees(Box::new(node))
                }
                Token::Char('!') => {
                    self.advance();
                    Node::Call(Function::Factorial, vec![node])
                }
                Token::Char('%') => {
                    self.advance();
                    Node::Percent(Box::new(node))
                }
                Token::Char('_') => {
                    self.advance();
                    self.subscript(node)?
                }
                _ => return Ok(if negative { node.negated() } else { node }),
            };
            behind += 1;
            if behind > MARKS {
                return Err(Stop::OverBudget("nested too deeply"));
            }
        }
    }
}

fn product_of(mut factors: Vec<Node>) -> Node {
    if factors.len() == 1 { factors.remove(0) } else { Node::Product(factors) }
}

fn unexpected(token: &Token<'_>) -> Stop {
    Stop::Unreadable(match token {
        Token::End => "ends too early".into(),
        Token::Number(number) => format!("unexpected number {}", shortened(number)),
        Token::Word(word) | Token::Text(word) => format!("unexpected word {:?}", shortened(word)),
        Token::Command(name) => format!("unexpected \\{}", shortened(name)),
        Token::Begin(name) => format!("unexpected \\begin{{{}}}", shortened(name)),
        Token::EndOf(name) => format!("unexpected \\end{{{}}}", shortened(name)),
        Token::Char(sign) => format!("unexpected {sign:?}"),
    })
}

/// The beginning of a text that may be long.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(20) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}
