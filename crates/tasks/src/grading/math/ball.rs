//! Real numbers as balls: a fixed-point middle of many bits and a bound on its error. What a ball says is
//! proven: two balls that do not touch are different numbers.

use num_bigint::{BigInt, Sign};
use num_traits::{Signed, ToPrimitive, Zero};

use super::budget::{Budget, Stop};
use super::node::Rational;

mod functions;

/// Bits before the point: magnitudes beyond are over budget.
const WHOLE_BITS: u64 = 400;

/// Radii are rounded up by this factor after every operation.
const UP: f64 = 1.000_000_1;

/// A real number: `|x - middle| <= radius`, both in units of 2^-bits.
#[derive(Debug, Clone)]
pub(super) struct Ball {
    middle: BigInt,
    radius: f64,
}

/// Arithmetic with a number of bits behind the point.
#[derive(Debug)]
pub(super) struct Field<'b> {
    pub(super) bits: u64,
    budget: &'b mut Budget,
    pi: Option<Ball>,
    ln2: Option<Ball>,
}

impl Ball {
    pub(super) fn is_exact_zero(&self) -> bool {
        self.radius == 0.0 && self.middle.is_zero()
    }

    /// Returns whether zero may be the value.
    pub(super) fn touches_zero(&self) -> bool {
        size(&self.middle) <= self.radius * UP
    }

    /// The sign, where it is certain.
    pub(super) fn sign(&self) -> Option<Sign> {
        match self.touches_zero() {
            true if self.is_exact_zero() => Some(Sign::NoSign),
            true => None,
            false => Some(self.middle.sign()),
        }
    }

    pub(super) fn negated(&self) -> Self {
        Self { middle: -&self.middle, radius: self.radius }
    }

    /// Size of the middle, and of the error, in units of 2^-bits.
    pub(super) fn extent(&self) -> (f64, f64) {
        (size(&self.middle), self.radius)
    }

    fn widened(mut self, by: f64) -> Self {
        self.radius = (self.radius + by) * UP;
        self
    }
}

/// A magnitude, rounded up a little by its users.
fn size(value: &BigInt) -> f64 {
    value.to_f64().map_or(f64::INFINITY, f64::abs)
}

impl<'b> Field<'b> {
    pub(super) fn new(bits: u64, budget: &'b mut Budget) -> Self {
        Self { bits, budget, pi: None, ln2: None }
    }

    pub(super) fn budget(&mut self) -> &mut Budget {
        self.budget
    }

    /// One unit of the integers, in units of 2^-bits.
    fn one(&self) -> f64 {
        2f64.powi(self.bits as i32)
    }

    fn made(&mut self, middle: BigInt, radius: f64) -> Result<Ball, Stop> {
        self.budget.spend(1 + self.bits / 256)?;
        if middle.bits() > self.bits + WHOLE_BITS || !radius.is_finite() {
            return Err(Stop::OverBudget("a number is too large"));
        }
        Ok(Ball { middle, radius: radius * UP })
    }

    pub(super) fn integer(&self, value: i64) -> Ball {
        Ball { middle: BigInt::from(value) << self.bits, radius: 0.0 }
    }

    pub(super) fn rational(&mut self, value: &Rational) -> Result<Ball, Stop> {
        let middle = (value.numer() << self.bits) / value.denom();
        let radius = if (&middle * value.denom()) == (value.numer() << self.bits) { 0.0 } else { 1.0 };
        self.budget.spend(value.numer().bits() / 64 + value.denom().bits() / 64)?;
        self.made(middle, radius)
    }

    pub(super) fn plus(&mut self, a: &Ball, b: &Ball) -> Result<Ball, Stop> {
        self.made(&a.middle + &b.middle, a.radius + b.radius)
    }

    pub(super) fn minus(&mut self, a: &Ball, b: &Ball) -> Result<Ball, Stop> {
        self.made(&a.middle - &b.middle, a.radius + b.radius)
    }

    pub(super) fn times(&mut self, a: &Ball, b: &Ball) -> Result<Ball, Stop> {
        if a.is_exact_zero() || b.is_exact_zero() {
            return Ok(self.integer(0));
        }
        let one = self.one();
        let error =
            size(&a.middle) / one * b.radius + size(&b.middle) / one * a.radius + a.radius / one * b.radius;
        self.made((&a.middle * &b.middle) >> self.bits, error + 1.0)
    }

    pub(super) fn over(&mut self, a: &Ball, b: &Ball) -> Result<Ball, Stop> {
        if b.is_exact_zero() {
            return Err(Stop::Undefined("division by zero"));
        }
        if b.touches_zero() {
            return Err(Stop::Undecided);
        }
        let quotient = (&a.middle << self.bits) / &b.middle;
        let one = self.one();
        let error = (a.radius + size(&quotient) / one * b.radius) / ((size(&b.middle) - b.radius) / one) * UP;
        self.made(quotient, error + 2.0)
    }

    /// Divided by a small integer.
    fn over_small(&mut self, a: &Ball, divisor: u64) -> Result<Ball, Stop> {
        self.made(&a.middle / divisor, a.radius / divisor as f64 + 1.0)
    }

    /// Times two to a power.
    fn scaled(&mut self, a: &Ball, shift: i64) -> Result<Ball, Stop> {
        let factor = 2f64.powi(shift.clamp(-2000, 1000) as i32);
        if shift >= 0 {
            if shift as u64 > self.bits + WHOLE_BITS {
                return Err(Stop::OverBudget("a number is too large"));
            }
            self.made(&a.middle << shift as u64, a.radius * factor)
        } else {
            self.made(&a.middle >> shift.unsigned_abs(), a.radius * factor + 1.0)
        }
    }

    /// The square root of a number that is not negative.
    pub(super) fn sqrt(&mut self, a: &Ball) -> Result<Ball, Stop> {
        self.budget.spend(4 + self.bits / 32)?;
        if a.touches_zero() {
            let bound = ((size(&a.middle) + a.radius) * self.one()).sqrt() * UP + 1.0;
            return if a.is_exact_zero() { Ok(a.clone()) } else { self.made(BigInt::zero(), bound) };
        }
        if a.middle.is_negative() {
            return Err(Stop::Undecided);
        }
        let root = (&a.middle << self.bits).sqrt();
        let low = ((size(&a.middle) - a.radius).max(1.0) / self.one()).sqrt();
        self.made(root, a.radius / low * UP + 1.0)
    }

    /// The integer that a ball without error is.
    pub(super) fn as_integer(&self, x: &Ball) -> Option<Rational> {
        let whole = &x.middle >> self.bits;
        (x.radius == 0.0 && (&whole << self.bits) == x.middle).then(|| Rational::from_integer(whole))
    }

    /// The integer below a number (or above), where the ball tells; a ball around an integer does not.
    pub(super) fn rounded(&mut self, x: &Ball, up: bool) -> Result<Ball, Stop> {
        let low = ball_floor(&x.middle, -x.radius, self.bits, up);
        let high = ball_floor(&x.middle, x.radius, self.bits, up);
        match (low, high) {
            (Some(low), Some(high)) if low == high => self.made(low << self.bits, 0.0),
            _ => Err(Stop::Undecided),
        }
    }
}

/// Floor or ceiling of `middle + offset`.
fn ball_floor(middle: &BigInt, offset: f64, bits: u64, up: bool) -> Option<BigInt> {
    use num_traits::FromPrimitive as _;
    let offset = BigInt::from_f64(if offset < 0.0 { offset.floor() } else { offset.ceil() })?;
    let value = middle + offset;
    Some(if up { -((-value) >> bits) } else { value >> bits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, value: impl Fn(&mut Field) -> Result<Ball, Stop>) {
        let mut budget = Budget::new();
        let mut field = Field::new(256, &mut budget);
        let ball = value(&mut field).unwrap();
        let (digits, scale) = text.split_once('.').map(|(a, b)| (format!("{a}{b}"), b.len())).unwrap();
        let expected = Rational::new(digits.parse().unwrap(), BigInt::from(10).pow(scale as u32));
        let expected = field.rational(&expected).unwrap();
        let difference = field.minus(&ball, &expected).unwrap();
        let (size, radius) = difference.extent();
        let unit = 2f64.powi(256) * 10f64.powi(-(scale as i32));
        assert!(size <= unit + radius, "{text}: off by {}", size / 2f64.powi(256));
        assert!(ball.radius < 2f64.powi(40), "{text}: radius {}", ball.radius);
    }

    /// Digits from mpmath 1.3 at 60 places.
    #[test]
    fn functions_agree_with_known_digits() {
        check("3.14159265358979323846264338327950288419716939937510582097494", |f| f.pi());
        check("0.69314718055994530941723212145817656807550013436025525412068", |f| f.ln2());
        check("2.71828182845904523536028747135266249775724709369995957496696", |f| f.exp(&f.integer(1)));
        check("22026.4657948067165169579006452842443663535126185567810742354", |f| f.exp(&f.integer(10)));
        check("2.30258509299404568401799145468436420760110148862877297603332", |f| f.ln(&f.integer(10)));
        check("1.41421356237309504880168872420969807856967187537694807317668", |f| f.sqrt(&f.integer(2)));
        check("1.47112767430373459185287557176173085185530637718323826247196", |f| f.atan(&f.integer(10)));
        check("0.841470984807896506652502321630298999622563060798371065672752", |f| {
            Ok(f.sin_cos(&f.integer(1))?.0)
        });
        check("-0.839071529076452452258863947824064834519930165133168546835954", |f| {
            Ok(f.sin_cos(&f.integer(10))?.1)
        });
        check("-0.544021110889369813404747661851377281683643012916223891574184", |f| {
            Ok(f.sin_cos(&f.integer(10))?.0)
        });
    }

    #[test]
    fn balls_hold_what_they_should() {
        let mut budget = Budget::new();
        let mut field = Field::new(128, &mut budget);
        let (one, three) = (field.integer(1), field.integer(3));
        let third = field.over(&one, &three).unwrap();
        let back = field.times(&third, &three).unwrap();
        let zero = field.minus(&back, &one).unwrap();
        assert!(zero.touches_zero() && !zero.is_exact_zero() && !third.touches_zero());
        assert_eq!(field.over(&one, &zero).unwrap_err(), Stop::Undecided);
        assert!(matches!(
            field.over(&one, &Ball { middle: BigInt::zero(), radius: 0.0 }),
            Err(Stop::Undefined(_))
        ));
        let huge = field.integer(100_000);
        assert!(matches!(field.exp(&huge), Err(Stop::OverBudget(_))));
        assert_eq!(field.rounded(&zero, false).unwrap_err(), Stop::Undecided);
        assert_eq!(field.rounded(&third, true).unwrap().extent().0, 2f64.powi(128));
    }
}
