//! Constants and elementary functions of balls: arguments made small, then their series.

use num_bigint::{BigInt, Sign};
use num_integer::Integer as _;
use num_traits::{Signed as _, ToPrimitive as _, Zero as _};

use super::{Ball, Field, Stop, WHOLE_BITS, size};

impl Field<'_> {
    /// The circle's constant, by Machin's formula.
    pub(in super::super) fn pi(&mut self) -> Result<Ball, Stop> {
        if let Some(pi) = &self.pi {
            return Ok(pi.clone());
        }
        let (a, b) = (self.inverse_arctangent(5, true)?, self.inverse_arctangent(239, true)?);
        let (a, b) = (self.scaled(&a, 4)?, self.scaled(&b, 2)?);
        let pi = self.minus(&a, &b)?;
        Ok(self.pi.insert(pi).clone())
    }

    /// The natural logarithm of two: 2 artanh(1/3).
    pub(super) fn ln2(&mut self) -> Result<Ball, Stop> {
        if let Some(ln2) = &self.ln2 {
            return Ok(ln2.clone());
        }
        let half = self.inverse_arctangent(3, false)?;
        let ln2 = self.scaled(&half, 1)?;
        Ok(self.ln2.insert(ln2).clone())
    }

    /// arctan(1/n), or artanh(1/n) without alternating signs.
    fn inverse_arctangent(&mut self, n: u64, alternating: bool) -> Result<Ball, Stop> {
        let one = self.integer(1);
        let mut power = self.over_small(&one, n)?;
        let mut sum = power.clone();
        for k in 1.. {
            power = self.over_small(&power, n * n)?;
            let term = self.over_small(&power, 2 * k + 1)?;
            sum = if alternating && k % 2 == 1 { self.minus(&sum, &term)? } else { self.plus(&sum, &term)? };
            if power.middle.is_zero() {
                break;
            }
        }
        Ok(sum.widened(2.0))
    }

    /// e^x.
    pub(in super::super) fn exp(&mut self, x: &Ball) -> Result<Ball, Stop> {
        if x.is_exact_zero() {
            return Ok(self.integer(1));
        }
        if x.radius / self.one() > 0.25 {
            return Err(Stop::Undecided);
        }
        if size(&x.middle) / self.one() > 2.0 * WHOLE_BITS as f64 {
            return Err(Stop::OverBudget("an exponent is too large"));
        }
        let centre = Ball { middle: x.middle.clone(), radius: 0.0 };
        let ln2 = self.ln2()?;
        let count = (&centre.middle / &ln2.middle).to_i64().ok_or(Stop::Undecided)?;
        let multiple = self.integer(count);
        let multiple = self.times(&ln2, &multiple)?;
        let rest = self.minus(&centre, &multiple)?;
        let small = self.scaled(&rest, -8)?;
        let mut sum = self.series(&small, |k| k)?;
        for _ in 0..8 {
            sum = self.times(&sum, &sum)?;
        }
        let value = self.scaled(&sum, count)?;
        // e^(x +- r) differs from e^x by less than 2 r e^x, r being at most a quarter
        let spread = 2.0 * x.radius / self.one() * (size(&value.middle) + value.radius);
        Ok(value.widened(spread))
    }

    /// 1 + x/d(1) + x^2/(d(1) d(2)) + ..., |x| < 1.
    fn series(&mut self, x: &Ball, divisor: impl Fn(u64) -> u64) -> Result<Ball, Stop> {
        let mut term = self.integer(1);
        let mut sum = term.clone();
        for k in 1.. {
            let product = self.times(&term, x)?;
            term = self.over_small(&product, divisor(k))?;
            sum = self.plus(&sum, &term)?;
            if size(&term.middle) <= 2.0 {
                break;
            }
        }
        Ok(sum.widened(4.0))
    }

    /// The natural logarithm of a positive number.
    pub(in super::super) fn ln(&mut self, x: &Ball) -> Result<Ball, Stop> {
        match x.sign() {
            Some(Sign::Plus) => {}
            Some(_) => return Err(Stop::Undefined("the logarithm of a number that is not positive")),
            None => return Err(Stop::Undecided),
        }
        let shift = x.middle.bits() as i64 - self.bits as i64;
        let near_one = self.scaled(&Ball { middle: x.middle.clone(), radius: 0.0 }, -shift)?;
        let one = self.integer(1);
        // ln m = 2 artanh((m - 1) / (m + 1)), 1/2 <= m <= 1; what the shift cut off is part of the radius
        let (above, below) = (self.minus(&near_one, &one)?, self.plus(&near_one, &one)?);
        let ratio = self.over(&above, &below)?;
        let half = self.artanh(&ratio)?;
        let (twice, ln2, count) = (self.scaled(&half, 1)?, self.ln2()?, self.integer(shift));
        let powers = self.times(&ln2, &count)?;
        let sum = self.plus(&twice, &powers)?;
        Ok(sum.widened(x.radius / ((size(&x.middle) - x.radius) / self.one()).max(f64::MIN_POSITIVE)))
    }

    /// x + x^3/3 + x^5/5 + ..., |x| <= 1/3; with alternating signs by a negative square.
    fn artanh(&mut self, x: &Ball) -> Result<Ball, Stop> {
        let square = self.times(x, x)?;
        self.odd_series(x, &square)
    }

    fn odd_series(&mut self, x: &Ball, square: &Ball) -> Result<Ball, Stop> {
        let mut power = x.clone();
        let mut sum = x.clone();
        for k in 1.. {
            power = self.times(&power, square)?;
            let term = self.over_small(&power, 2 * k + 1)?;
            sum = self.plus(&sum, &term)?;
            if size(&power.middle) <= 2.0 {
                break;
            }
        }
        Ok(sum.widened(4.0))
    }

    /// The arc tangent.
    pub(in super::super) fn atan(&mut self, x: &Ball) -> Result<Ball, Stop> {
        let centre = Ball { middle: x.middle.clone(), radius: 0.0 };
        let one = self.integer(1);
        let steep = size(&centre.middle) > self.one();
        let mut small = if steep { self.over(&one, &centre)? } else { centre };
        for _ in 0..3 {
            let square = self.times(&small, &small)?;
            let sum = self.plus(&one, &square)?;
            let root = self.sqrt(&sum)?;
            let below = self.plus(&one, &root)?;
            small = self.over(&small, &below)?;
        }
        let square = self.times(&small, &small)?;
        let angle = self.odd_series(&small, &square.negated())?;
        let mut angle = self.scaled(&angle, 3)?;
        if steep {
            let pi = self.pi()?;
            let quarter = self.scaled(&pi, -1)?;
            let quarter = if x.middle.is_negative() { quarter.negated() } else { quarter };
            angle = self.minus(&quarter, &angle)?;
        }
        Ok(angle.widened(x.radius))
    }

    /// Sine and cosine.
    pub(in super::super) fn sin_cos(&mut self, x: &Ball) -> Result<(Ball, Ball), Stop> {
        let centre = Ball { middle: x.middle.clone(), radius: 0.0 };
        let pi = self.pi()?;
        let quarter = self.scaled(&pi, -1)?;
        let turns = (&centre.middle + (&quarter.middle >> 1u32)).div_floor(&quarter.middle);
        let turns_ball = Ball { middle: &turns << self.bits, radius: 0.0 };
        let multiple = self.times(&quarter, &turns_ball)?;
        let rest = self.minus(&centre, &multiple)?;
        let square = self.times(&rest, &rest)?.negated();
        let cos = self.series(&square, |k| (2 * k - 1) * (2 * k))?;
        let sin = self.series(&square, |k| (2 * k) * (2 * k + 1))?;
        let sin = self.times(&sin, &rest)?;
        let (sin, cos) = match turns.mod_floor(&BigInt::from(4)).to_u32() {
            Some(0) => (sin, cos),
            Some(1) => (cos, sin.negated()),
            Some(2) => (sin.negated(), cos.negated()),
            _ => (cos.negated(), sin),
        };
        Ok((sin.widened(x.radius), cos.widened(x.radius)))
    }
}
