//! Quotients of polynomials in normal form: rational coefficients, variables and pi. Two of them are equal
//! where cross-multiplied they are the same polynomial, and different where they are not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use num_traits::{One, ToPrimitive, Zero};

use super::budget::{Budget, Stop};
use super::exact;
use super::node::{self, Constant, Node, Rational};

/// The most terms of a polynomial.
const TERMS: usize = 600;

/// The highest exponent that is multiplied out.
const HIGHEST: i32 = 64;

/// Variables with their exponents, by name.
type Monomial = Vec<(String, u32)>;

/// Coefficients, none zero, by their monomials.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Polynomial(BTreeMap<Monomial, Rational>);

/// A quotient of polynomials; the denominator is not zero.
#[derive(Debug, Clone)]
pub(super) struct Fraction {
    above: Polynomial,
    below: Polynomial,
}

impl Fraction {
    /// The normal form of a node; `None` where something in it is no polynomial, or has too many terms.
    pub(super) fn of(node: &Node, budget: &mut Budget) -> Result<Option<Self>, Stop> {
        budget.spend(4)?;
        Ok(match node {
            Node::Number(value) => Some(Self::whole(Polynomial::constant(value.clone()))),
            Node::Symbol(name) => Some(Self::whole(Polynomial::variable(name))),
            Node::Constant(Constant::Pi) => Some(Self::whole(Polynomial::variable("\\pi"))),
            Node::WithUnit(inner, _) => Self::of(inner, budget)?,
            Node::Sum(terms) => Self::joined(terms, Polynomial::zero(), Self::plus, budget)?,
            Node::Product(factors) => Self::joined(factors, Polynomial::one(), Self::times, budget)?,
            Node::Quotient(pair) => match (Self::of(&pair[0], budget)?, Self::of(&pair[1], budget)?) {
                (Some(above), Some(below)) => above.times(&below.inverse()?, budget)?,
                _ => None,
            },
            Node::Power(pair) => match (Self::of(&pair[0], budget)?, exact::value(&pair[1], budget)?) {
                (Some(base), Some(exponent)) => base.power(&exponent, budget)?,
                _ => None,
            },
            other => exact::value(other, budget)?.map(|value| Self::whole(Polynomial::constant(value))),
        })
    }

    /// Returns whether two quotients are the same; `None` where multiplying out takes too many terms.
    pub(super) fn same(&self, other: &Self, budget: &mut Budget) -> Result<Option<bool>, Stop> {
        let left = self.above.times(&other.below, budget)?;
        let right = other.above.times(&self.below, budget)?;
        Ok(left.zip(right).map(|(left, right)| left == right))
    }

    /// The constant by which this is a multiple of another. Denominators must be constant.
    pub(super) fn multiple_of(&self, other: &Self) -> Option<Rational> {
        let scale = other.below.as_constant()? / self.below.as_constant()?;
        let ((_, leading), (_, other_leading)) =
            (self.above.0.last_key_value()?, other.above.0.last_key_value()?);
        (self.above.monic() == other.above.monic()).then(|| scale * leading / other_leading)
    }

    fn whole(above: Polynomial) -> Self {
        Self { above, below: Polynomial::one() }
    }

    fn joined(
        nodes: &[Node],
        start: Polynomial,
        join: fn(&Self, &Self, &mut Budget) -> Result<Option<Self>, Stop>,
        budget: &mut Budget,
    ) -> Result<Option<Self>, Stop> {
        let mut all = Self::whole(start);
        for node in nodes {
            let Some(next) = Self::of(node, budget)? else { return Ok(None) };
            let Some(joined) = join(&all, &next, budget)? else { return Ok(None) };
            all = joined;
        }
        Ok(Some(all))
    }

    fn plus(&self, other: &Self, budget: &mut Budget) -> Result<Option<Self>, Stop> {
        if self.below == other.below {
            let above = self.above.plus(&other.above, budget)?;
            return Ok(Some(Self { above, below: self.below.clone() }));
        }
        let left = self.above.times(&other.below, budget)?;
        let right = other.above.times(&self.below, budget)?;
        let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
        let below = self.below.times(&other.below, budget)?;
        let above = left.plus(&right, budget)?;
        Ok(below.map(|below| Self { above, below }))
    }

    fn times(&self, other: &Self, budget: &mut Budget) -> Result<Option<Self>, Stop> {
        let above = self.above.times(&other.above, budget)?;
        let below = self.below.times(&other.below, budget)?;
        Ok(above.zip(below).map(|(above, below)| Self { above, below }))
    }

    fn inverse(self) -> Result<Self, Stop> {
        if self.above.0.is_empty() {
            return Err(Stop::Undefined("division by zero"));
        }
        Ok(Self { above: self.below, below: self.above })
    }

    fn power(self, exponent: &Rational, budget: &mut Budget) -> Result<Option<Self>, Stop> {
        if let (Some(above), Some(below)) = (self.above.as_constant(), self.below.as_constant()) {
            let value = exact::power(&(above / below), exponent, budget)?;
            return Ok(value.map(|value| Self::whole(Polynomial::constant(value))));
        }
        let exponent = exponent.is_integer().then(|| exponent.numer().to_i32()).flatten();
        let Some(exponent) = exponent.filter(|exponent| exponent.abs() <= HIGHEST) else { return Ok(None) };
        let base = if exponent < 0 { self.inverse()? } else { self };
        let mut all = Self::whole(Polynomial::one());
        for _ in 0..exponent.abs() {
            let Some(next) = all.times(&base, budget)? else { return Ok(None) };
            all = next;
        }
        Ok(Some(all))
    }
}

impl Polynomial {
    fn zero() -> Self {
        Self(BTreeMap::new())
    }

    fn one() -> Self {
        Self::constant(Rational::one())
    }

    fn constant(value: Rational) -> Self {
        Self(if value.is_zero() { BTreeMap::new() } else { BTreeMap::from([(Vec::new(), value)]) })
    }

    fn variable(name: &str) -> Self {
        Self(BTreeMap::from([(vec![(name.to_string(), 1)], Rational::one())]))
    }

    fn as_constant(&self) -> Option<Rational> {
        match self.0.first_key_value() {
            None => Some(Rational::zero()),
            Some((monomial, value)) if monomial.is_empty() && self.0.len() == 1 => Some(value.clone()),
            _ => None,
        }
    }

    /// Divided by the coefficient of its last monomial; nothing for zero.
    fn monic(&self) -> Option<Self> {
        let (_, leading) = self.0.last_key_value()?;
        Some(Self(self.0.iter().map(|(monomial, value)| (monomial.clone(), value / leading)).collect()))
    }

    fn plus(&self, other: &Self, budget: &mut Budget) -> Result<Self, Stop> {
        budget.spend(self.0.len() as u64 + self.cost_with(other) * other.0.len() as u64)?;
        let mut sum = self.clone();
        for (monomial, value) in &other.0 {
            sum.add(monomial.clone(), value.clone());
        }
        Ok(sum)
    }

    fn times(&self, other: &Self, budget: &mut Budget) -> Result<Option<Self>, Stop> {
        let each = self.cost_with(other);
        let mut product = Self::zero();
        for (left, a) in &self.0 {
            budget.spend(each * other.0.len() as u64)?;
            for (right, b) in &other.0 {
                product.add(multiplied(left, right), node::product(a, b));
            }
            if product.0.len() > TERMS {
                return Ok(None);
            }
        }
        Ok(Some(product))
    }

    /// Steps that one operation on coefficients takes: sums and products of fractions are brought to lowest
    /// terms, in time quadratic in their bits.
    fn cost_with(&self, other: &Self) -> u64 {
        let bits = |polynomial: &Self| -> u64 {
            polynomial.0.values().map(|value| value.numer().bits() + value.denom().bits()).max().unwrap_or(0)
        };
        let bits = bits(self) + bits(other);
        6 + bits / 4 + bits * bits / 20_000
    }

    fn add(&mut self, monomial: Monomial, value: Rational) {
        match self.0.entry(monomial) {
            Entry::Vacant(free) => {
                free.insert(value);
            }
            Entry::Occupied(mut taken) => {
                *taken.get_mut() = node::sum(taken.get(), &value);
                if taken.get().is_zero() {
                    taken.remove();
                }
            }
        }
    }
}

/// The product of two monomials.
fn multiplied(left: &Monomial, right: &Monomial) -> Monomial {
    let mut all = left.clone();
    for (name, exponent) in right {
        match all.binary_search_by(|(other, _)| other.cmp(name)) {
            Ok(at) => all[at].1 = all[at].1.saturating_add(*exponent),
            Err(at) => all.insert(at, (name.clone(), *exponent)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use super::*;

    fn same(a: &str, b: &str) -> Option<bool> {
        let mut budget = Budget::new();
        let mut fraction = |text| {
            let node = read(text, true, &mut budget).unwrap().node;
            Fraction::of(&node, &mut budget).unwrap()
        };
        let (a, b) = (fraction(a)?, fraction(b)?);
        a.same(&b, &mut budget).unwrap()
    }

    #[test]
    fn normal_forms_decide() {
        for (a, b) in [
            ("(a+5)(b+2)", "ab+2a+5b+10"),
            ("\\frac{11+9a}{20}", "\\frac{9}{20}a+0.55"),
            ("\\frac{x^2-1}{x-1}", "x+1"),
            ("(x+1)^{20}", "(1+x)^{19}(x+1)"),
            ("x^{-1}", "1/x"),
            ("2\\pi r", "r \\cdot 2 \\pi"),
            ("\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}"),
        ] {
            assert_eq!(same(a, b), Some(true), "{a} and {b}");
        }
        for (a, b) in
            [("(a+5)(b+2)", "ab+2a+5b+11"), ("x", "y"), ("x^2", "x"), ("2\\pi", "6.28"), ("x-y", "y-x")]
        {
            assert_eq!(same(a, b), Some(false), "{a} and {b}");
        }
        assert_eq!(same("\\sqrt{x}", "x"), None);
    }
}
