//! Numbers: decimals, repeating decimals, scientific notation, mixed numbers, numerals in a base.

use super::*;

/// The most digits a number may have.
const DIGITS: usize = 2_000;

impl Parser<'_, '_> {
    /// A number, or a mixed number: `1\frac45`, `1 4/5`.
    pub(super) fn number(&mut self, text: &str) -> Result<Node, Stop> {
        self.advance();
        let whole = value(text, self.budget)?;
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(whole);
        }
        let (lexer, peeked) = (self.lexer.clone(), self.peeked.clone());
        let part = match self.peek()? {
            Token::Command("frac") => self.deeper(Self::atom)?,
            Token::Number(above) if above.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.advance();
                let above = value(&above, self.budget)?;
                match (self.eat(&Token::Char('/'))?, self.peek()?) {
                    (true, Token::Number(below)) if below.bytes().all(|byte| byte.is_ascii_digit()) => {
                        self.advance();
                        Node::quotient(above, value(&below, self.budget)?)
                    }
                    _ => above,
                }
            }
            _ => return Ok(whole),
        };
        if is_proper(&part) {
            return Ok(Node::Sum(vec![whole, part]));
        }
        (self.lexer, self.peeked) = (lexer, peeked);
        Ok(whole)
    }
}

/// Returns whether a node is a fraction of whole numbers between 0 and 1.
fn is_proper(node: &Node) -> bool {
    let Node::Quotient(pair) = node else { return false };
    match &**pair {
        [Node::Number(above), Node::Number(below)] => {
            above.is_integer() && below.is_integer() && above < below && above > &Rational::zero()
        }
        _ => false,
    }
}

/// The value of a number as the lexer gives it: `12.5`, `.5`, `0.1(6)`, `6.7e-5`.
pub(super) fn value(text: &str, budget: &mut Budget) -> Result<Node, Stop> {
    if text.len() > DIGITS {
        return Err(Stop::OverBudget("a number has too many digits"));
    }
    budget.spend((text.len() * text.len() / 64) as u64)?;
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (mantissa, period) = mantissa.split_once('(').unwrap_or((mantissa, ""));
    let period = period.trim_end_matches(')');
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = Rational::new(integer(&[whole, part])?, power_of_ten(part.len()));
    if !period.is_empty() {
        let nines = power_of_ten(period.len()) - BigInt::one();
        value += Rational::new(integer(&[period])?, nines * power_of_ten(part.len()));
    }
    let exponent: i32 = exponent.parse().map_err(|_| Stop::OverBudget("an exponent is too large"))?;
    if exponent.unsigned_abs() as usize > DIGITS {
        return Err(Stop::OverBudget("an exponent is too large"));
    }
    let scale = Rational::from_integer(power_of_ten(exponent.unsigned_abs() as usize));
    Ok(Node::Number(if exponent < 0 {
        value / scale
    } else if exponent > 0 {
        value * scale
    } else {
        value
    }))
}

/// The integer that digits spell one after the other.
fn integer(digits: &[&str]) -> Result<BigInt, Stop> {
    let text = digits.concat();
    if text.len() < 19 {
        let value: i64 = text.parse().unwrap_or_default();
        return Ok(value.into());
    }
    text.parse().map_err(|_| Stop::Unreadable("a number with something else in it".into()))
}

fn power_of_ten(exponent: usize) -> BigInt {
    BigInt::from(10).pow(exponent as u32)
}

/// A numeral: digits and letters in a base from 2 to 36.
pub(super) fn numeral(digits: &str, base: BigInt) -> Result<Node, Stop> {
    let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
    let base = base.ok_or_else(|| Stop::Unreadable("a base other than 2 to 36".into()))?;
    let digits = digits.trim_start_matches('0').to_ascii_uppercase();
    if !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(Stop::Unreadable(format!("a digit that base {base} does not have")));
    }
    Ok(Node::Numeral(if digits.is_empty() { "0".into() } else { digits }, base))
}
