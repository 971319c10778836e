//! An answer as a tree.

use num_bigint::BigInt;
use num_rational::Ratio;

/// An exact fraction.
pub(super) type Rational = Ratio<BigInt>;

/// a + b; of whole numbers without bringing anything to lowest terms.
pub(super) fn sum(a: &Rational, b: &Rational) -> Rational {
    match a.is_integer() && b.is_integer() {
        true => Rational::from_integer(a.numer() + b.numer()),
        false => a + b,
    }
}

/// a b; of whole numbers without bringing anything to lowest terms.
pub(super) fn product(a: &Rational, b: &Rational) -> Rational {
    match a.is_integer() && b.is_integer() {
        true => Rational::from_integer(a.numer() * b.numer()),
        false => a * b,
    }
}

/// One node. Sums and products hold all their terms, so that depth is nesting and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// An exact number.
    Number(Rational),
    /// A named number, or infinity.
    Constant(Constant),
    /// A variable.
    Symbol(String),
    /// Terms added up.
    Sum(Vec<Node>),
    /// Factors multiplied.
    Product(Vec<Node>),
    /// Numerator and denominator.
    Quotient(Box<[Node; 2]>),
    /// Base and exponent.
    Power(Box<[Node; 2]>),
    /// A function of its arguments.
    Call(Function, Vec<Node>),
    /// `\pm x`; flipped for `\mp x`.
    PlusMinus(Box<Node>, bool),
    /// An angle in degrees.
    Degrees(Box<Node>),
    /// So many per cent.
    Percent(Box<Node>),
    /// A value with the words of its unit.
    WithUnit(Box<Node>, String),
    /// A value and the modulus it is meant by: `3 \pmod 7`.
    Residue(Box<[Node; 2]>),
    /// A numeral in a base: digits in upper case, without leading zeros.
    Numeral(String, u32),
    /// Words.
    Words(String),
    /// Two or more items in brackets: a tuple, or the ends of an interval.
    Tuple(char, Vec<Node>, char),
    /// Items in braces.
    Set(Vec<Node>),
    /// Items side by side.
    List(Vec<Node>),
    /// Sets combined.
    Combined(SetOperation, Vec<Node>),
    /// Rows of a matrix.
    Matrix(Vec<Vec<Node>>),
    /// Sides, and the signs between them.
    Relation(Vec<Node>, Vec<Sign>),
}

/// Numbers with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Constant {
    Pi,
    E,
    I,
    Infinity,
}

/// Functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    /// Natural logarithm.
    Ln,
    /// Logarithm of the first argument to the base of the second.
    Log,
    Exp,
    /// Root of the first argument; the second is its index.
    Root,
    Abs,
    Floor,
    Ceil,
    Factorial,
    Binomial,
    Gcd,
    Lcm,
    Min,
    Max,
}

/// Operations on sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SetOperation {
    Union,
    Intersection,
    Difference,
}

/// Signs between the sides of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Sign {
    /// The sign read from the other side; none for membership.
    pub(super) fn mirrored(self) -> Option<Self> {
        Some(match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal | Self::NotEqual => self,
            Self::In => return None,
        })
    }
}

impl Function {
    /// The function of that name, without a backslash.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "sin" => Self::Sin,
            "cos" => Self::Cos,
            "tan" | "tg" => Self::Tan,
            "cot" | "ctg" => Self::Cot,
            "sec" => Self::Sec,
            "csc" => Self::Csc,
            "arcsin" | "asin" => Self::Asin,
            "arccos" | "acos" => Self::Acos,
            "arctan" | "atan" => Self::Atan,
            "sinh" => Self::Sinh,
            "cosh" => Self::Cosh,
            "tanh" => Self::Tanh,
            "ln" => Self::Ln,
            "log" | "lg" => Self::Log,
            "exp" => Self::Exp,
            "abs" => Self::Abs,
            "floor" => Self::Floor,
            "ceil" => Self::Ceil,
            "gcd" => Self::Gcd,
            "lcm" => Self::Lcm,
            "min" => Self::Min,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// Returns whether the argument is an angle, for which a superscript -1 means the inverse function.
    pub(super) fn inverse(self) -> Option<Self> {
        Some(match self {
            Self::Sin => Self::Asin,
            Self::Cos => Self::Acos,
            Self::Tan => Self::Atan,
            _ => return None,
        })
    }

    /// Returns whether all arguments stand in one list, as those of a greatest common divisor.
    pub(super) fn takes_list(self) -> bool {
        matches!(self, Self::Gcd | Self::Lcm | Self::Min | Self::Max)
    }
}

impl Node {
    /// Returns whether this is one value, whatever it is written with.
    pub(super) fn is_single(&self) -> bool {
        match self {
            Node::Tuple(..)
            | Node::Set(_)
            | Node::List(_)
            | Node::Combined(..)
            | Node::Matrix(_)
            | Node::Relation(..)
            | Node::Residue(_)
            | Node::Words(_) => false,
            Node::WithUnit(inner, _) => inner.is_single(),
            _ => true,
        }
    }

    pub(super) fn integer(value: i64) -> Self {
        Self::Number(Rational::from_integer(value.into()))
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Number(value) => Self::Number(-value),
            other => Self::Product(vec![Self::integer(-1), other]),
        }
    }

    pub(super) fn quotient(above: Self, below: Self) -> Self {
        Self::Quotient(Box::new([above, below]))
    }

    pub(super) fn residue(value: Self, modulus: Self) -> Self {
        Self::Residue(Box::new([value, modulus]))
    }

    pub(super) fn power(base: Self, exponent: Self) -> Self {
        Self::Power(Box::new([base, exponent]))
    }

    /// The parts directly below this node.
    pub(super) fn parts(&self) -> Vec<&Node> {
        match self {
            Self::Number(_) | Self::Constant(_) | Self::Symbol(_) | Self::Numeral(..) | Self::Words(_) => {
                Vec::new()
            }
            Self::Quotient(pair) | Self::Power(pair) | Self::Residue(pair) => pair.iter().collect(),
            Self::PlusMinus(inner, _)
            | Self::Degrees(inner)
            | Self::Percent(inner)
            | Self::WithUnit(inner, _) => {
                vec![inner]
            }
            Self::Sum(parts)
            | Self::Product(parts)
            | Self::Call(_, parts)
            | Self::Tuple(_, parts, _)
            | Self::Set(parts)
            | Self::List(parts)
            | Self::Combined(_, parts)
            | Self::Relation(parts, _) => parts.iter().collect(),
            Self::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// Returns whether this node or one below it is such a one.
    pub(super) fn any(&self, is: &dyn Fn(&Node) -> bool) -> bool {
        is(self) || self.parts().into_iter().any(|part| part.any(is))
    }

    /// Returns whether there is a variable (or words) in it.
    pub(super) fn has_symbol(&self) -> bool {
        self.any(&|node| matches!(node, Self::Symbol(_) | Self::Words(_)))
    }
}
