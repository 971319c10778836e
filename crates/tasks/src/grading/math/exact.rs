//! The exact value of a node, where it is a fraction and exact arithmetic finds it.

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::budget::{Budget, Stop};
use super::node::{self, Function, Node, Rational};

/// The most bits of a numerator or denominator.
const BITS: u64 = 20_000;

/// The largest argument of a factorial or a binomial coefficient.
const LARGEST_FACTORIAL: u64 = 1_000;

/// The value of a node; `None` where it has variables, or an irrational part, or may have.
pub(super) fn value(node: &Node, budget: &mut Budget) -> Result<Option<Rational>, Stop> {
    budget.spend(2)?;
    Ok(match node {
        Node::Number(value) => Some(value.clone()),
        Node::WithUnit(inner, _) => value(inner, budget)?,
        Node::Percent(inner) => value(inner, budget)?.map(|value| value / BigInt::from(100)),
        Node::Numeral(digits, base) => {
            BigInt::parse_bytes(digits.as_bytes(), *base).map(Rational::from_integer)
        }
        Node::Sum(terms) => {
            let mut sum = Rational::zero();
            for term in terms {
                let Some(term) = value(term, budget)? else { return Ok(None) };
                sum = sized(node::sum(&sum, &term), budget)?;
            }
            Some(sum)
        }
        Node::Product(factors) => {
            let mut product = Rational::one();
            for factor in factors {
                let Some(factor) = value(factor, budget)? else { return Ok(None) };
                product = sized(node::product(&product, &factor), budget)?;
            }
            Some(product)
        }
        Node::Quotient(pair) => {
            let (Some(above), Some(below)) = (value(&pair[0], budget)?, value(&pair[1], budget)?) else {
                return Ok(None);
            };
            if below.is_zero() {
                return Err(Stop::Undefined("division by zero"));
            }
            Some(sized(above / below, budget)?)
        }
        Node::Power(pair) => {
            let (Some(base), Some(exponent)) = (value(&pair[0], budget)?, value(&pair[1], budget)?) else {
                return Ok(None);
            };
            power(&base, &exponent, budget)?
        }
        Node::Call(function, arguments) => {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                let Some(value) = value(argument, budget)? else { return Ok(None) };
                values.push(value);
            }
            call(*function, &values, budget)?
        }
        _ => None,
    })
}

/// A result, if it is not too large; pays for it.
fn sized(value: Rational, budget: &mut Budget) -> Result<Rational, Stop> {
    let bits = value.numer().bits().max(value.denom().bits());
    if bits > BITS {
        return Err(Stop::OverBudget("a number is too large"));
    }
    budget.spend(1 + bits / 8 + bits * bits / 20_000)?;
    Ok(value)
}

/// A power, where it is a fraction.
pub(super) fn power(
    base: &Rational,
    exponent: &Rational,
    budget: &mut Budget,
) -> Result<Option<Rational>, Stop> {
    if base.is_one() {
        return Ok(Some(base.clone()));
    }
    if base.is_zero() {
        return match (exponent.is_positive(), exponent.is_zero()) {
            (true, _) => Ok(Some(Rational::zero())),
            (_, true) => Ok(Some(Rational::one())),
            _ => Err(Stop::Undefined("division by zero")),
        };
    }
    if !exponent.is_integer() {
        let Some(index) = exponent.denom().to_u32() else { return Ok(None) };
        let whole = Rational::from_integer(exponent.numer().clone());
        // the even roots of a negative number are not real, its odd roots not the principal ones
        let Some(root) = (!base.is_negative()).then(|| root(base, index)).flatten() else { return Ok(None) };
        return power(&root, &whole, budget);
    }
    let exponent = exponent.numer().to_i32().ok_or(Stop::OverBudget("an exponent is too large"));
    if (-base).is_one() {
        // the sign of -1 to a huge power is not worth an error, but is not needed either
        return Ok(Some(if exponent?.is_even() { Rational::one() } else { base.clone() }));
    }
    let exponent = exponent?;
    let bits = base.numer().bits().max(base.denom().bits());
    if bits.saturating_mul(u64::from(exponent.unsigned_abs())) > 2 * BITS {
        return Err(Stop::OverBudget("a power is too large"));
    }
    budget.spend(u64::from((exponent.unsigned_abs() | 1).ilog2() + 1) * (1 + bits / 16))?;
    sized(base.pow(exponent), budget).map(Some)
}

/// The root of a positive fraction, where it is a fraction.
fn root(value: &Rational, index: u32) -> Option<Rational> {
    if index == 0 || u64::from(index) > BITS {
        return None;
    }
    let exact = |whole: &BigInt| Some(whole.nth_root(index)).filter(|root| root.pow(index) == *whole);
    Some(Rational::new_raw(exact(value.numer())?, exact(value.denom())?))
}

/// A function of fractions, where it is one.
pub(super) fn call(
    function: Function,
    values: &[Rational],
    budget: &mut Budget,
) -> Result<Option<Rational>, Stop> {
    let integers = || -> Option<Vec<&BigInt>> {
        values.iter().map(|value| value.is_integer().then(|| value.numer())).collect()
    };
    Ok(match (function, values) {
        (Function::Abs, [value]) => Some(value.abs()),
        (Function::Floor, [value]) => Some(value.floor()),
        (Function::Ceil, [value]) => Some(value.ceil()),
        (Function::Min, values) => values.iter().min().cloned(),
        (Function::Max, values) => values.iter().max().cloned(),
        (Function::Gcd, _) => fold(integers(), |a, b| a.gcd(b)),
        (Function::Lcm, _) => match fold(integers(), |a, b| a.lcm(b)) {
            Some(value) => Some(sized(value, budget)?),
            None => None,
        },
        (Function::Root, [value, index]) => real_root(value, index),
        (Function::Factorial, [value]) => Some(product(&Rational::one(), value, budget)?),
        (Function::Binomial, [above, below]) => Some(binomial(above, below, budget)?),
        _ => None,
    })
}

fn fold(integers: Option<Vec<&BigInt>>, join: impl Fn(&BigInt, &BigInt) -> BigInt) -> Option<Rational> {
    let integers = integers?;
    let (first, rest) = integers.split_first()?;
    Some(Rational::from_integer(rest.iter().fold((*first).clone(), |value, next| join(&value, next))))
}

/// The real root, an odd one of a negative number included.
fn real_root(value: &Rational, index: &Rational) -> Option<Rational> {
    let index = index.is_integer().then(|| index.numer().to_u32())??;
    if value.is_negative() {
        return (index % 2 == 1).then(|| root(&-value, index)).flatten().map(|root| -root);
    }
    if value.is_zero() { (index > 0).then(Rational::zero) } else { root(value, index) }
}

/// The product of the integers from `first` to `last`.
fn product(first: &Rational, last: &Rational, budget: &mut Budget) -> Result<Rational, Stop> {
    let (first, last) = match (natural(first), natural(last)) {
        (Some(first), Some(last)) => (first, last),
        _ if last.is_integer() && last.is_positive() => {
            return Err(Stop::OverBudget("a factorial is too large"));
        }
        _ => return Err(Stop::Undefined("the factorial of something that is no natural number")),
    };
    let mut product = BigInt::one();
    for factor in first.max(1)..=last {
        product *= factor;
        budget.spend(1 + product.bits() / 128)?;
    }
    Ok(Rational::from_integer(product))
}

fn natural(value: &Rational) -> Option<u64> {
    value.is_integer().then(|| value.numer().to_u64())?.filter(|value| *value <= LARGEST_FACTORIAL)
}

fn binomial(above: &Rational, below: &Rational, budget: &mut Budget) -> Result<Rational, Stop> {
    let (Some(n), Some(k)) = (natural(above), natural(below)) else {
        return Err(Stop::OverBudget("a binomial coefficient is too large"));
    };
    if k > n {
        return Ok(Rational::zero());
    }
    let k = k.min(n - k);
    let integer = |value: u64| Rational::from_integer(value.into());
    let above = product(&integer(n - k + 1), &integer(n), budget)?;
    Ok(above / product(&Rational::one(), &integer(k), budget)?)
}

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use super::*;

    fn exact(text: &str) -> Result<Option<String>, Stop> {
        let mut budget = Budget::new();
        let node = read(text, true, &mut budget)?.node;
        Ok(value(&node, &mut budget)?.map(|value| value.to_string()))
    }

    #[test]
    fn arithmetic_is_exact() {
        for (text, expected) in [
            ("\\frac43", "4/3"),
            ("\\frac 59", "5/9"),
            ("\\frac9{19}", "9/19"),
            ("\\frac{270}7", "270/7"),
            ("1\\frac{4}{5}", "9/5"),
            ("137 \\frac{1}{2}", "275/2"),
            ("-1\\frac45", "-9/5"),
            ("1 4/5", "9/5"),
            ("2\\cdot\\frac{1}{2}", "1"),
            (".0000672", "21/312500"),
            ("6.72 \\times 10^{-5}", "21/312500"),
            ("6.72e-5", "21/312500"),
            ("0.\\overline{3}", "1/3"),
            ("0.1\\overline{6}", "1/6"),
            ("1.\\overline{09}", "12/11"),
            ("2^{10}", "1024"),
            ("(-2)^3", "-8"),
            ("-2^2", "-4"),
            ("2^{-2}", "1/4"),
            ("4^{1/2}", "2"),
            ("8^{\\frac23}", "4"),
            ("\\sqrt{\\frac{4}{9}}", "2/3"),
            ("\\sqrt[3]{-8}", "-2"),
            ("\\sqrt{49}", "7"),
            ("5!", "120"),
            ("3!!", "720"),
            ("\\binom{10}{3}", "120"),
            ("\\binom52", "10"),
            ("|3-5|", "2"),
            ("\\lfloor -2.5 \\rfloor + \\lceil 2.5 \\rceil", "0"),
            ("\\gcd(12, 18)", "6"),
            ("\\operatorname{lcm}(4,6)", "12"),
            ("\\max\\{1,3,2\\}", "3"),
            ("8/2/2", "2"),
            ("1/2*4", "2"),
            ("25\\%", "1/4"),
            ("12,345.6", "61728/5"),
            ("2 - -3", "5"),
            ("0^0", "1"),
            ("9^0", "1"),
            ("9^{9^0}", "9"),
            ("10^{100}/10^{99}", "10"),
        ] {
            assert_eq!(exact(text).unwrap().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_irrational_or_unknown_has_no_exact_value() {
        for text in ["\\sqrt{2}", "\\pi", "x", "\\sin 0", "(-8)^{1/3}", "2^{1/2}", "i"] {
            assert_eq!(exact(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn hostile_sizes_run_out_of_budget() {
        for text in [
            "9^{9^{9^9}}",
            "9^9^9^9",
            "100000!",
            "3!!!!",
            "10^{99999}",
            "\\binom{100000}{50000}",
            "1e99999",
            "(((9^999)^999)^999)^999",
        ] {
            assert!(matches!(exact(text), Err(Stop::OverBudget(_))), "{text}: {:?}", exact(text));
        }
        assert!(matches!(exact("1/0"), Err(Stop::Undefined(_))));
        assert!(matches!(exact("0^{-1}"), Err(Stop::Undefined(_))));
    }
}
