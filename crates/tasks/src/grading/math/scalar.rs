//! Equality of two single values: as exact fractions, as polynomials in normal form, or else as balls
//! of many digits, at several points where there are variables.

use num_bigint::BigInt;

use super::ball::Field;
use super::budget::{Budget, Stop};
use super::complex::Complex;
use super::evaluate;
use super::exact;
use super::node::{Constant, Node, Rational};
use super::poly::Fraction;

/// Precisions tried, in bits behind the point: the second where the first cannot tell.
const PRECISIONS: [u64; 2] = [256, 512];

/// Two values that agree to so many bits, relative to their size, count as equal.
const AGREEMENT: i32 = 96;

/// Points at which expressions with variables are compared.
const POINTS: u64 = 10;

/// Number of them that must agree.
const ENOUGH: u32 = 2;

/// Returns whether two values are equal.
pub(super) fn same(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    budget.spend(2)?;
    if let (Node::Number(gold), Node::Number(answer)) = (gold, answer) {
        return Ok(gold == answer);
    }
    if gold == answer {
        return Ok(true);
    }
    if [gold, answer].iter().any(|node| node.any(&|part| !part.is_single())) {
        return Ok(false);
    }
    match (infinite(gold), infinite(answer)) {
        (None, None) => {}
        (gold, answer) => return Ok(gold == answer),
    }
    if let (Some(gold), Some(answer)) = (exact::value(gold, budget)?, exact::value(answer, budget)?) {
        return Ok(gold == answer);
    }
    if let (Some(gold), Some(answer)) = (Fraction::of(gold, budget)?, Fraction::of(answer, budget)?)
        && let Some(same) = gold.same(&answer, budget)?
    {
        return Ok(same);
    }
    if gold.has_symbol() || answer.has_symbol() {
        return same_at_points(gold, answer, budget);
    }
    same_number(gold, answer, budget)
}

/// The sign of an infinity.
fn infinite(node: &Node) -> Option<bool> {
    match node {
        Node::Constant(Constant::Infinity) => Some(true),
        Node::Product(factors) => match &factors[..] {
            [Node::Number(value), Node::Constant(Constant::Infinity)]
                if *value == Rational::from_integer((-1).into()) =>
            {
                Some(false)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The relation of two balls, as far as it says something of their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Balls {
    Differ,
    Agree,
    Unclear,
}

/// Returns whether two values without variables are equal.
fn same_number(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    let at = |_: &str| Rational::from_integer(BigInt::from(1));
    for bits in PRECISIONS {
        let mut field = Field::new(bits, budget);
        let gold = evaluate::value(gold, &at, &mut field);
        let answer = evaluate::value(answer, &at, &mut field);
        match (gold, answer) {
            (Ok(gold), Ok(answer)) => match compared(&gold, &answer, &mut field)? {
                Balls::Differ => return Ok(false),
                Balls::Agree => return Ok(true),
                Balls::Unclear => {}
            },
            (Err(Stop::Undecided), _) | (_, Err(Stop::Undecided)) => {}
            (Err(stop), _) | (_, Err(stop)) => return Err(stop),
        }
    }
    Err(Stop::Undecided)
}

/// Compares two numbers: different where their balls are apart, equal where they agree to many digits.
fn compared(gold: &Complex, answer: &Complex, field: &mut Field<'_>) -> Result<Balls, Stop> {
    let difference = field.subtract(gold, answer)?;
    if !difference.re.touches_zero() && !difference.re.is_exact_zero()
        || !difference.im.touches_zero() && !difference.im.is_exact_zero()
    {
        return Ok(Balls::Differ);
    }
    let sizes = [&gold.re, &gold.im, &answer.re, &answer.im].map(|part| part.extent());
    let error = difference.re.extent().1.max(difference.im.extent().1);
    let size = sizes.iter().map(|(size, radius)| size - radius).fold(0.0, f64::max);
    // a number that cannot be told from zero must be as small as the precision can show
    let close =
        error <= size * 2f64.powi(-AGREEMENT) || error <= 2f64.powi(field.bits as i32 - 2 * AGREEMENT);
    Ok(if close { Balls::Agree } else { Balls::Unclear })
}

/// Returns whether two expressions agree wherever both are real (or, where they never are, as complex numbers).
fn same_at_points(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    let (mut real, mut complex, mut apart, mut stop) = (0, 0, 0, Stop::Undecided);
    for point in 0..POINTS {
        let at = |name: &str| coordinate(point, name);
        let mut field = Field::new(PRECISIONS[0], budget);
        let gold = evaluate::value(gold, &at, &mut field);
        let answer = evaluate::value(answer, &at, &mut field);
        let (gold, answer) = match (gold, answer) {
            (Ok(gold), Ok(answer)) => (gold, answer),
            (Err(Stop::Unreadable(text)), _) | (_, Err(Stop::Unreadable(text))) => {
                return Err(Stop::Unreadable(text));
            }
            (Err(Stop::OverBudget(what)), _) | (_, Err(Stop::OverBudget(what))) => {
                stop = Stop::OverBudget(what);
                continue;
            }
            _ => continue,
        };
        let both_real = gold.is_real() && answer.is_real();
        match compared(&gold, &answer, &mut field)? {
            Balls::Differ if both_real => return Ok(false),
            Balls::Differ => apart += 1,
            Balls::Agree if both_real => real += 1,
            Balls::Agree => complex += 1,
            Balls::Unclear => {}
        }
    }
    match (real >= ENOUGH, apart > 0, complex >= ENOUGH) {
        (true, ..) => Ok(true),
        (_, true, _) => Ok(false),
        (_, _, true) => Ok(true),
        _ => Err(stop),
    }
}

/// The value of a variable at a point: a fraction that depends on nothing but the two. The points lie near
/// and far, on both sides of zero; the last three are natural numbers.
fn coordinate(point: u64, name: &str) -> Rational {
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ point;
    for byte in name.bytes() {
        seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let part = ((seed ^ (seed >> 31)) % 997) as i64;
    let (low, width, sign) = match point {
        0 => (80, 840, 1),
        1 => (1_050, 1_900, 1),
        2 => (3_100, 5_000, 1),
        3 => (10_100, 19_000, 1),
        4 => (80, 840, -1),
        5 => (1_050, 1_900, -1),
        6 => (3_100, 5_000, -1),
        _ => return Rational::from_integer((3 + 2 * point as i64 - 14 + part % 7).into()),
    };
    // thousand and nine is prime: few of these points are special to anything
    Rational::new((sign * (low + width * part / 997)).into(), BigInt::from(1009))
}

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use super::*;

    fn equal(gold: &str, answer: &str) -> Result<bool, Stop> {
        let mut budget = Budget::new();
        let gold = read(gold, true, &mut budget)?.node;
        let answer = read(answer, true, &mut budget)?.node;
        same(&gold, &answer, &mut budget)
    }

    #[test]
    fn equal_values() {
        for (a, b) in [
            (r"3\sqrt{13}", r"\sqrt{117}"),
            (r"11\sqrt2", r"\sqrt{242}"),
            (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt3}"),
            (r"\frac{3\sqrt{3}}{4}", r"\frac{\sqrt{27}}{4}"),
            (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"),
            (r"6-5i", r"-5i+6"),
            (r"i^2", "-1"),
            (r"(1+i)^2", "2i"),
            (r"e^{i\pi}", "-1"),
            (r"\sqrt{-4}", "2i"),
            (r"\sin 30^\circ", r"\frac12"),
            (r"\cos\frac{\pi}{4}", r"\frac{\sqrt2}{2}"),
            (r"\sin(\pi)", "0"),
            (r"\tan 45^\circ", "1"),
            (r"\arctan 1", r"\frac{\pi}{4}"),
            (r"\cos^{-1}\frac12", r"\pi/3"),
            (r"\log_2 8", "3"),
            (r"\log_{10} 1000", "3"),
            (r"\ln e^3", "3"),
            (r"\log 100", "2"),
            (r"e^{\ln 5}", "5"),
            (r"2^{\log_2 7}", "7"),
            (r"\sqrt[3]{16}", r"2\sqrt[3]{2}"),
            (r"16^{\frac14}", "2"),
            (r"\frac{-24}{25}", r"-\frac{24}{25}"),
            (r"\cot x", r"\frac{\cos x}{\sin x}"),
            (r"\cot x", r"\frac{1}{\tan x}"),
            (r"\sin^2 x + \cos^2 x", "1"),
            (r"\sqrt{x^2}", "|x|"),
            (r"\ln x^2 - \ln x", r"\ln x"),
            (r"2^{n+1}", r"2\cdot 2^n"),
            (r"\binom{n}{2}", r"\frac{n(n-1)}{2}"),
            (r"\frac{n!}{(n-1)!}", "n"),
            (r"\sqrt{x}\sqrt{x}", "x"),
            (r"x\sqrt{2}", r"\sqrt{2}x"),
            (r"x_1 + x_2", "x_2+x_1"),
            (r"\frac{1}{\sqrt{2}+1}", r"\sqrt2-1"),
            (r"\infty", r"+\infty"),
        ] {
            assert_eq!(equal(a, b), Ok(true), "{a} and {b}");
            assert_eq!(equal(b, a), Ok(true), "{b} and {a}");
        }
    }

    #[test]
    fn values_that_differ_a_little_or_much() {
        for (a, b) in [
            (r"\sqrt{2}", r"\sqrt{3}"),
            (r"\sqrt{2}", "1.41421356237309504880168872420969807856967187537694"),
            (r"10^{60}\sqrt2", r"10^{60}\sqrt2+1"),
            (r"\pi", "3.14159265358979323846264338327950288"),
            (r"\pi", r"\frac{355}{113}"),
            (r"\sin x", r"\cos x"),
            (r"x", r"\sqrt{x^2}"),
            (r"\cot x", r"\tan x"),
            (r"2^n", "n^2"),
            ("3R^2", "3r^2"),
            (r"\infty", r"-\infty"),
            (r"\infty", "1"),
            (r"6-5i", "6+5i"),
            (r"\sqrt{2}+\sqrt{3}", r"\sqrt{5}"),
            (r"e^{-50}", "0"),
            (r"e^{\pi\sqrt{163}}", "262537412640768744"),
            (r"\sin x", r"\sin x + 10^{-40}"),
        ] {
            assert_eq!(equal(a, b), Ok(false), "{a} and {b}");
            assert_eq!(equal(b, a), Ok(false), "{b} and {a}");
        }
    }

    #[test]
    fn what_has_no_value_or_takes_too_long() {
        assert!(matches!(equal("1", r"\frac{1}{\sin 0}"), Err(Stop::Undefined(_) | Stop::Undecided)));
        assert!(matches!(equal("1", r"\ln 0"), Err(Stop::Undefined(_))));
        for hostile in [r"e^{e^{e^{e^e}}}", r"\pi^{999999}", r"\sin(10^{500}\pi)", r"(x+y+z)^{999999}"] {
            let found = equal("1", hostile);
            assert!(matches!(found, Err(Stop::OverBudget(_) | Stop::Undecided)), "{hostile}: {found:?}");
        }
    }
}
