//! Complex numbers made of two balls, principal branches throughout.

use num_bigint::Sign;

use super::ball::{Ball, Field};
use super::budget::Stop;

/// A complex number.
#[derive(Debug, Clone)]
pub(super) struct Complex {
    pub(super) re: Ball,
    pub(super) im: Ball,
}

impl Complex {
    pub(super) fn is_real(&self) -> bool {
        self.im.is_exact_zero()
    }

    pub(super) fn negated(&self) -> Self {
        Self { re: self.re.negated(), im: self.im.negated() }
    }

    fn times_i(&self) -> Self {
        Self { re: self.im.negated(), im: self.re.clone() }
    }
}

impl Field<'_> {
    pub(super) fn real(&self, re: Ball) -> Complex {
        Complex { re, im: self.integer(0) }
    }

    pub(super) fn imaginary_unit(&self) -> Complex {
        Complex { re: self.integer(0), im: self.integer(1) }
    }

    pub(super) fn add(&mut self, a: &Complex, b: &Complex) -> Result<Complex, Stop> {
        Ok(Complex { re: self.plus(&a.re, &b.re)?, im: self.plus(&a.im, &b.im)? })
    }

    pub(super) fn subtract(&mut self, a: &Complex, b: &Complex) -> Result<Complex, Stop> {
        Ok(Complex { re: self.minus(&a.re, &b.re)?, im: self.minus(&a.im, &b.im)? })
    }

    pub(super) fn multiply(&mut self, a: &Complex, b: &Complex) -> Result<Complex, Stop> {
        if a.is_real() && b.is_real() {
            let re = self.times(&a.re, &b.re)?;
            return Ok(self.real(re));
        }
        let (rr, ii) = (self.times(&a.re, &b.re)?, self.times(&a.im, &b.im)?);
        let (ri, ir) = (self.times(&a.re, &b.im)?, self.times(&a.im, &b.re)?);
        Ok(Complex { re: self.minus(&rr, &ii)?, im: self.plus(&ri, &ir)? })
    }

    pub(super) fn divide(&mut self, a: &Complex, b: &Complex) -> Result<Complex, Stop> {
        if b.is_real() {
            let im = if a.is_real() { a.im.clone() } else { self.over(&a.im, &b.re)? };
            return Ok(Complex { re: self.over(&a.re, &b.re)?, im });
        }
        let conjugate = Complex { re: b.re.clone(), im: b.im.negated() };
        let above = self.multiply(a, &conjugate)?;
        let below = self.square_of_size(b)?;
        let re = self.over(&above.re, &below)?;
        Ok(Complex { re, im: self.over(&above.im, &below)? })
    }

    fn square_of_size(&mut self, z: &Complex) -> Result<Ball, Stop> {
        let (re, im) = (self.times(&z.re, &z.re)?, self.times(&z.im, &z.im)?);
        self.plus(&re, &im)
    }

    /// The absolute value.
    pub(super) fn size(&mut self, z: &Complex) -> Result<Ball, Stop> {
        if z.is_real() {
            return Ok(match z.re.sign() {
                Some(Sign::Minus) => z.re.negated(),
                Some(_) => z.re.clone(),
                None => {
                    let square = self.times(&z.re, &z.re)?;
                    self.sqrt(&square)?
                }
            });
        }
        let square = self.square_of_size(z)?;
        self.sqrt(&square)
    }

    /// The principal square root.
    pub(super) fn square_root(&mut self, z: &Complex) -> Result<Complex, Stop> {
        if z.is_real() {
            return Ok(match z.re.sign() {
                Some(Sign::Minus) => {
                    let im = self.sqrt(&z.re.negated())?;
                    Complex { re: self.integer(0), im }
                }
                Some(_) => {
                    let re = self.sqrt(&z.re)?;
                    self.real(re)
                }
                None => return Err(Stop::Undecided),
            });
        }
        let half = self.logarithm(z)?;
        let two = self.integer(2);
        let half = Complex { re: self.over(&half.re, &two)?, im: self.over(&half.im, &two)? };
        self.exponential(&half)
    }

    /// e^z = e^x (cos y + i sin y).
    pub(super) fn exponential(&mut self, z: &Complex) -> Result<Complex, Stop> {
        let size = self.exp(&z.re)?;
        if z.is_real() {
            return Ok(self.real(size));
        }
        let (sin, cos) = self.sin_cos(&z.im)?;
        Ok(Complex { re: self.times(&size, &cos)?, im: self.times(&size, &sin)? })
    }

    /// The principal logarithm.
    pub(super) fn logarithm(&mut self, z: &Complex) -> Result<Complex, Stop> {
        if z.is_real() && z.re.is_exact_zero() {
            return Err(Stop::Undefined("the logarithm of zero"));
        }
        let size = self.size(z)?;
        let re = self.ln(&size)?;
        Ok(Complex { re, im: self.angle(z)? })
    }

    /// The angle of a number, in (-pi, pi].
    fn angle(&mut self, z: &Complex) -> Result<Ball, Stop> {
        let pi = self.pi()?;
        match (z.re.sign(), z.im.sign()) {
            (Some(Sign::Plus), Some(Sign::NoSign)) => Ok(self.integer(0)),
            (Some(Sign::Minus), Some(Sign::NoSign)) => Ok(pi),
            (Some(Sign::Plus), _) => {
                let slope = self.over(&z.im, &z.re)?;
                self.atan(&slope)
            }
            (_, Some(sign @ (Sign::Plus | Sign::Minus))) => {
                // away from the positive axis: a quarter turn less the angle to the imaginary axis
                let slope = self.over(&z.re, &z.im)?;
                let angle = self.atan(&slope)?;
                let two = self.integer(2);
                let quarter = self.over(&pi, &two)?;
                let quarter = if sign == Sign::Minus { quarter.negated() } else { quarter };
                self.minus(&quarter, &angle)
            }
            _ => Err(Stop::Undecided),
        }
    }

    /// z^w = e^(w ln z), by multiplication where w is a small integer.
    pub(super) fn raise(
        &mut self,
        base: &Complex,
        exponent: &Complex,
        whole: Option<i64>,
    ) -> Result<Complex, Stop> {
        if let Some(whole) = whole.filter(|whole| whole.abs() <= 4096) {
            let power = self.whole_power(base, whole.unsigned_abs())?;
            let one = self.real(self.integer(1));
            return if whole < 0 { self.divide(&one, &power) } else { Ok(power) };
        }
        if base.is_real() && base.re.is_exact_zero() {
            return match exponent.re.sign() {
                Some(Sign::Plus) => Ok(base.clone()),
                _ => Err(Stop::Undefined("a power of zero")),
            };
        }
        let logarithm = self.logarithm(base)?;
        let product = self.multiply(&logarithm, exponent)?;
        self.exponential(&product)
    }

    fn whole_power(&mut self, base: &Complex, mut exponent: u64) -> Result<Complex, Stop> {
        let mut power = self.real(self.integer(1));
        let mut square = base.clone();
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.multiply(&power, &square)?;
            }
            exponent >>= 1;
            if exponent > 0 {
                square = self.multiply(&square, &square)?;
            }
        }
        Ok(power)
    }

    /// Sine and cosine: of a complex number by its exponentials.
    pub(super) fn sine_cosine(&mut self, z: &Complex) -> Result<(Complex, Complex), Stop> {
        if z.is_real() {
            let (sin, cos) = self.sin_cos(&z.re)?;
            return Ok((self.real(sin), self.real(cos)));
        }
        let (forward, backward) =
            (self.exponential(&z.times_i())?, self.exponential(&z.times_i().negated())?);
        let (difference, sum) = (self.subtract(&forward, &backward)?, self.add(&forward, &backward)?);
        let two = self.real(self.integer(2));
        let sin = self.divide(&difference, &two.times_i())?;
        Ok((sin, self.divide(&sum, &two)?))
    }
}
