//! The value of a node as a ball, variables standing for given numbers.

use num_bigint::Sign;
use num_traits::ToPrimitive;

use super::ball::{Ball, Field};
use super::budget::Stop;
use super::complex::Complex;
use super::exact;
use super::node::{Constant, Function, Node, Rational};

/// Evaluates a node; `at` gives the value of each variable.
pub(super) fn value(
    node: &Node,
    at: &dyn Fn(&str) -> Rational,
    field: &mut Field<'_>,
) -> Result<Complex, Stop> {
    field.budget().spend(2)?;
    let mut of = |node: &Node| value(node, at, field);
    match node {
        Node::Number(number) => rational(number, field),
        Node::Symbol(name) => rational(&at(name), field),
        Node::Constant(constant) => named(*constant, field),
        Node::WithUnit(inner, _) => of(inner),
        Node::Percent(inner) => {
            let inner = of(inner)?;
            let hundred = field.real(field.integer(100));
            field.divide(&inner, &hundred)
        }
        Node::Degrees(inner) => {
            let inner = of(inner)?;
            let pi = field.pi()?;
            let pi = field.real(pi);
            let (turned, half) = (field.multiply(&inner, &pi)?, field.real(field.integer(180)));
            field.divide(&turned, &half)
        }
        Node::Sum(terms) => {
            let mut sum = field.real(field.integer(0));
            for term in terms {
                let term = value(term, at, field)?;
                sum = field.add(&sum, &term)?;
            }
            Ok(sum)
        }
        Node::Product(factors) => {
            let mut product = field.real(field.integer(1));
            for factor in factors {
                let factor = value(factor, at, field)?;
                product = field.multiply(&product, &factor)?;
            }
            Ok(product)
        }
        Node::Quotient(pair) => {
            let (above, below) = (of(&pair[0])?, of(&pair[1])?);
            field.divide(&above, &below)
        }
        Node::Power(pair) => {
            let (base, exponent) = (of(&pair[0])?, of(&pair[1])?);
            let whole = exact::value(&pair[1], field.budget())?;
            let whole = whole.filter(Rational::is_integer).and_then(|whole| whole.numer().to_i64());
            field.raise(&base, &exponent, whole)
        }
        Node::Call(function, arguments) => {
            if let Some(number) = exact::value(node, field.budget())? {
                return rational(&number, field);
            }
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                values.push(value(argument, at, field)?);
            }
            call(*function, &values, field)
        }
        Node::Numeral(..) => match exact::value(node, field.budget())? {
            Some(number) => rational(&number, field),
            None => Err(Stop::Unreadable("a numeral without a value".into())),
        },
        _ => Err(Stop::Unreadable("not a single value".into())),
    }
}

fn rational(number: &Rational, field: &mut Field<'_>) -> Result<Complex, Stop> {
    let number = field.rational(number)?;
    Ok(field.real(number))
}

fn named(constant: Constant, field: &mut Field<'_>) -> Result<Complex, Stop> {
    Ok(match constant {
        Constant::Pi => {
            let pi = field.pi()?;
            field.real(pi)
        }
        Constant::E => {
            let one = field.integer(1);
            let e = field.exp(&one)?;
            field.real(e)
        }
        Constant::I => field.imaginary_unit(),
        Constant::Infinity => return Err(Stop::Undefined("arithmetic with infinity")),
    })
}

fn call(function: Function, values: &[Complex], field: &mut Field<'_>) -> Result<Complex, Stop> {
    let one = field.real(field.integer(1));
    match (function, values) {
        (Function::Sin, [z]) => Ok(field.sine_cosine(z)?.0),
        (Function::Cos, [z]) => Ok(field.sine_cosine(z)?.1),
        (Function::Tan, [z]) => {
            let (sin, cos) = field.sine_cosine(z)?;
            field.divide(&sin, &cos)
        }
        (Function::Cot, [z]) => {
            let (sin, cos) = field.sine_cosine(z)?;
            field.divide(&cos, &sin)
        }
        (Function::Sec, [z]) => {
            let cos = field.sine_cosine(z)?.1;
            field.divide(&one, &cos)
        }
        (Function::Csc, [z]) => {
            let sin = field.sine_cosine(z)?.0;
            field.divide(&one, &sin)
        }
        (Function::Sinh | Function::Cosh | Function::Tanh, [z]) => hyperbolic(function, z, field),
        (Function::Exp, [z]) => field.exponential(z),
        (Function::Ln, [z]) => field.logarithm(z),
        (Function::Log, [z, base]) => {
            let (above, below) = (field.logarithm(z)?, field.logarithm(base)?);
            field.divide(&above, &below)
        }
        (Function::Root, [z, index]) => root(z, index, field),
        (Function::Abs, [z]) => {
            let size = field.size(z)?;
            Ok(field.real(size))
        }
        _ => of_reals(function, values, field),
    }
}

fn hyperbolic(function: Function, z: &Complex, field: &mut Field<'_>) -> Result<Complex, Stop> {
    let (up, down) = (field.exponential(z)?, field.exponential(&z.negated())?);
    let (difference, sum) = (field.subtract(&up, &down)?, field.add(&up, &down)?);
    let two = field.real(field.integer(2));
    match function {
        Function::Sinh => field.divide(&difference, &two),
        Function::Cosh => field.divide(&sum, &two),
        _ => field.divide(&difference, &sum),
    }
}

/// A root: the principal square root, the real odd root of a negative number, else the principal power.
fn root(z: &Complex, index: &Complex, field: &mut Field<'_>) -> Result<Complex, Stop> {
    let two = field.integer(2);
    let difference = field.minus(&index.re, &two)?;
    if index.is_real() && difference.is_exact_zero() {
        return field.square_root(z);
    }
    let one = field.real(field.integer(1));
    let exponent = field.divide(&one, index)?;
    let odd = || {
        let doubled = field.bits;
        let (size, radius) = index.re.extent();
        let whole = size / 2f64.powi(doubled as i32);
        radius == 0.0 && whole.fract() == 0.0 && whole % 2.0 == 1.0
    };
    if z.is_real() && z.re.sign() == Some(Sign::Minus) && index.is_real() && odd() {
        let positive = field.raise(&z.negated(), &exponent, None)?;
        return Ok(positive.negated());
    }
    field.raise(z, &exponent, None)
}

/// Functions that are only defined (here) on real numbers.
fn of_reals(function: Function, values: &[Complex], field: &mut Field<'_>) -> Result<Complex, Stop> {
    if values.iter().any(|value| !value.is_real()) {
        return Err(Stop::Undecided);
    }
    let reals: Vec<&Ball> = values.iter().map(|value| &value.re).collect();
    let result = match (function, &reals[..]) {
        (Function::Atan, [x]) => field.atan(x)?,
        (Function::Asin, [x]) => arc_sine(x, field)?,
        (Function::Acos, [x]) => {
            let sine = arc_sine(x, field)?;
            let (pi, two) = (field.pi()?, field.integer(2));
            let quarter = field.over(&pi, &two)?;
            field.minus(&quarter, &sine)?
        }
        (Function::Floor, [x]) => field.rounded(x, false)?,
        (Function::Ceil, [x]) => field.rounded(x, true)?,
        (Function::Min | Function::Max, [first, rest @ ..]) => {
            let mut best = (*first).clone();
            for next in rest {
                let sign = field.minus(next, &best)?.sign();
                let wanted = if function == Function::Min { Sign::Minus } else { Sign::Plus };
                match sign {
                    Some(sign) if sign == wanted => best = (*next).clone(),
                    Some(_) => {}
                    None => return Err(Stop::Undecided),
                }
            }
            best
        }
        _ => {
            let values: Vec<Rational> = reals.iter().filter_map(|ball| field.as_integer(ball)).collect();
            let undefined = Stop::Undefined("a function of numbers that it is not defined for");
            if values.len() < reals.len() {
                return Err(undefined);
            }
            let number = exact::call(function, &values, field.budget())?.ok_or(undefined)?;
            field.rational(&number)?
        }
    };
    Ok(field.real(result))
}

/// arcsin x = arctan(x / sqrt(1 - x^2)).
fn arc_sine(x: &Ball, field: &mut Field<'_>) -> Result<Ball, Stop> {
    let one = field.integer(1);
    let square = field.times(x, x)?;
    let rest = field.minus(&one, &square)?;
    match rest.sign() {
        Some(Sign::Minus) => Err(Stop::Undefined("the arc sine of a number beyond 1")),
        Some(Sign::NoSign) => {
            let (pi, two) = (field.pi()?, field.integer(2));
            let quarter = field.over(&pi, &two)?;
            Ok(if x.sign() == Some(Sign::Minus) { quarter.negated() } else { quarter })
        }
        None => Err(Stop::Undecided),
        Some(Sign::Plus) => {
            let below = field.sqrt(&rest)?;
            let slope = field.over(x, &below)?;
            field.atan(&slope)
        }
    }
}
