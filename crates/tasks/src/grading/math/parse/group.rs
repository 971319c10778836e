//! Atoms that enclose others: brackets, sets, bars, matrices, and the commands with arguments.

use super::*;

/// Letters and signs that are variables by their command.
const SYMBOLS: &[&str] = &[
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta",
    "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega", "ell", "angle", "triangle", "hbar",
];

/// The most cells of a matrix.
const CELLS: usize = 400;

impl Parser<'_, '_> {
    /// The smallest thing that stands for itself.
    pub(super) fn atom(&mut self) -> Result<Node, Stop> {
        match self.peek()? {
            Token::Number(text) => self.number(&text),
            Token::Word(word) => self.word(word),
            Token::Text(_) => self.words(),
            Token::Begin(name) => self.matrix(name),
            Token::Char(open @ ('(' | '[')) => self.bracketed(open),
            Token::Char('{') => self.braced(),
            Token::Char('|') => self.between_bars(),
            Token::Command("{") => self.set(),
            Token::Command(name) => self.command(name),
            other => Err(unexpected(&other)),
        }
    }

    /// `(..)`, `[..]`, and intervals that mix them.
    fn bracketed(&mut self, open: char) -> Result<Node, Stop> {
        let (mut items, close) = self.enclosed(|parser| {
            let items = parser.items()?;
            let Token::Char(close @ (')' | ']')) = parser.peek()? else {
                return Err(unexpected(&parser.peek()?));
            };
            parser.advance();
            Ok((items, close))
        })?;
        match (items.len(), open, close) {
            (1, '(', ')') | (1, '[', ']') => Ok(items.remove(0)),
            (1, ..) => Err(Stop::Unreadable("brackets of two kinds around one item".into())),
            _ => Ok(Node::Tuple(open, items, close)),
        }
    }

    /// Reads what a bracket encloses: there a comma is never a thousands separator, and bars pair anew.
    fn enclosed<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        self.advance();
        let (bars, commas) = (std::mem::take(&mut self.in_bars), self.lexer.commas_group);
        self.lexer.commas_group = false;
        let read = read(self)?;
        (self.in_bars, self.lexer.commas_group) = (bars, commas);
        Ok(read)
    }

    /// `{..}`: a group, or a set typed without backslashes.
    fn braced(&mut self) -> Result<Node, Stop> {
        self.advance();
        let bars = std::mem::take(&mut self.in_bars);
        let mut items = self.items()?;
        self.expect(Token::Char('}'))?;
        self.in_bars = bars;
        Ok(if items.len() == 1 { items.remove(0) } else { Node::Set(items) })
    }

    /// `\{..\}`, and the relation in `\{x \mid ..\}`.
    fn set(&mut self) -> Result<Node, Stop> {
        self.enclosed(|parser| {
            let end = Token::Command("}");
            let items = if parser.peek()? == end { Vec::new() } else { parser.items()? };
            let relation = parser.eat(&Token::Command("mid"))?;
            let set = if relation { parser.item()? } else { Node::Set(items) };
            parser.expect(end)?;
            Ok(set)
        })
    }

    /// `|x|`.
    fn between_bars(&mut self) -> Result<Node, Stop> {
        self.advance();
        let bars = std::mem::replace(&mut self.in_bars, true);
        let inner = self.sum()?;
        self.expect(Token::Char('|'))?;
        self.in_bars = bars;
        Ok(Node::Call(Function::Abs, vec![inner]))
    }

    /// Rows separated by `\\`, cells by `&`.
    fn matrix(&mut self, name: &str) -> Result<Node, Stop> {
        if !["pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array"].contains(&name) {
            return Err(unexpected(&Token::Begin(name)));
        }
        self.advance();
        if name == "array" {
            self.lexer.braced();
        }
        let (mut rows, mut cells) = (vec![Vec::new()], 0);
        loop {
            match self.peek()? {
                Token::Char('&') => self.advance(),
                Token::Command("\\") => {
                    self.advance();
                    rows.push(Vec::new());
                }
                Token::EndOf(_) => break,
                _ => {
                    cells += 1;
                    if cells > CELLS {
                        return Err(Stop::OverBudget("a matrix has too many cells"));
                    }
                    let cell = self.item()?;
                    rows.last_mut().into_iter().for_each(|row| row.push(cell.clone()));
                }
            }
        }
        self.expect(Token::EndOf(name))?;
        rows.retain(|row| !row.is_empty());
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 || rows.iter().any(|row| row.len() != width) {
            return Err(Stop::Unreadable("a matrix whose rows differ in length".into()));
        }
        Ok(Node::Matrix(rows))
    }

    fn command(&mut self, name: &str) -> Result<Node, Stop> {
        if let Some(function) = Function::named(name) {
            self.advance();
            return self.call(function);
        }
        let (open, close, function) = match name {
            "langle" => return self.angled(),
            "lfloor" => ("lfloor", "rfloor", Function::Floor),
            "lceil" => ("lceil", "rceil", Function::Ceil),
            _ => return self.plain_command(name),
        };
        self.expect(Token::Command(open))?;
        let bars = std::mem::take(&mut self.in_bars);
        let inner = self.sum()?;
        self.expect(Token::Command(close))?;
        self.in_bars = bars;
        Ok(Node::Call(function, vec![inner]))
    }

    /// `\langle .. \rangle`, read as a tuple in round brackets.
    fn angled(&mut self) -> Result<Node, Stop> {
        let items = self.enclosed(|parser| {
            let items = parser.items()?;
            parser.expect(Token::Command("rangle"))?;
            Ok(items)
        })?;
        if items.len() < 2 {
            return Err(Stop::Unreadable("angle brackets around one item".into()));
        }
        Ok(Node::Tuple('(', items, ')'))
    }

    fn plain_command(&mut self, name: &str) -> Result<Node, Stop> {
        let seen = self.peek()?;
        self.advance();
        Ok(match name {
            "frac" => {
                let above = self.argument()?;
                Node::quotient(above, self.argument()?)
            }
            "binom" => {
                let above = self.argument()?;
                Node::Call(Function::Binomial, vec![above, self.argument()?])
            }
            "sqrt" => self.root()?,
            "overline" => self.argument()?,
            "pi" => Node::Constant(Constant::Pi),
            "infty" => Node::Constant(Constant::Infinity),
            "emptyset" => Node::Set(Vec::new()),
            "angle" => self.angle()?,
            _ if SYMBOLS.contains(&name) => Node::Symbol(name.into()),
            _ => return Err(unexpected(&seen)),
        })
    }

    /// An angle, named by its points in their order.
    fn angle(&mut self) -> Result<Node, Stop> {
        let points = match self.peek()? {
            Token::Word(points) => {
                self.advance();
                points
            }
            Token::Char('{') => {
                self.peeked = None;
                self.lexer.braced().unwrap_or_default().trim()
            }
            _ => "",
        };
        Ok(Node::Symbol(format!("angle {points}")))
    }

    /// Reads the part after `\sqrt`: an index in square brackets, and the radicand.
    pub(super) fn root(&mut self) -> Result<Node, Stop> {
        let index = if self.eat(&Token::Char('['))? {
            let index = self.sum()?;
            self.expect(Token::Char(']'))?;
            index
        } else {
            Node::integer(2)
        };
        let radicand = self.script()?;
        Ok(Node::Call(Function::Root, vec![radicand, index]))
    }

    /// Reads the part after a function's name: `^2`, `_2`, and the argument in brackets or without.
    pub(super) fn call(&mut self, function: Function) -> Result<Node, Stop> {
        let (mut function, mut power, mut base) = (function, None, None);
        loop {
            if self.eat(&Token::Char('^'))? {
                let exponent = self.script()?;
                match function.inverse() {
                    Some(inverse) if exponent == Node::integer(-1) => function = inverse,
                    _ => power = Some(exponent),
                }
            } else if self.eat(&Token::Char('_'))? {
                base = Some(self.script()?);
            } else {
                break;
            }
        }
        let mut arguments = match self.peek()? {
            Token::Char('(' | '[' | '{') | Token::Command("{") => match self.deeper(Self::atom)? {
                Node::Tuple(_, items, _) | Node::Set(items) if function.takes_list() => items,
                one => vec![one],
            },
            _ => vec![self.open_argument()?],
        };
        if function == Function::Log {
            arguments.push(base.unwrap_or_else(|| Node::integer(10)));
        } else if base.is_some() {
            return Err(Stop::Unreadable("a base on a function that has none".into()));
        }
        let call = Node::Call(function, arguments);
        Ok(power.map_or(call.clone(), |power| Node::power(call, power)))
    }

    /// An argument without brackets: factors up to a sign or the next function (`\sin 2x \cos x`).
    fn open_argument(&mut self) -> Result<Node, Stop> {
        let mut factors = vec![self.factor()?];
        loop {
            let function = match self.peek()? {
                Token::Command(name) | Token::Word(name) => Function::named(name).is_some(),
                Token::Text(_) | Token::Char('(' | '[' | '{') => true,
                _ => false,
            };
            if function || !self.begins_factor()? {
                return Ok(product_of(factors));
            }
            factors.push(self.factor()?);
        }
    }
}
