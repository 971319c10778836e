//! Equations and inequalities.

use num_traits::Signed as _;

use super::budget::{Budget, Stop};
use super::node::{Constant, Node, SetOperation, Sign};
use super::poly::Fraction;
use super::scalar;

/// The set that a relation describes, if it is one variable between bounds, or a member of a set: `x > 2`,
/// `-2 \le x \le 7`, `x \in [-2, 7]`; of several (`x < 2 or x > 3`) the union.
pub(super) fn as_set(node: &Node) -> Option<Node> {
    match node {
        Node::List(items) => {
            let inequality =
                |item: &Node| matches!(item, Node::Relation(_, signs) if signs[0] != Sign::Equal);
            let sets: Option<Vec<Node>> =
                items.iter().map(|item| inequality(item).then(|| as_set(item)).flatten()).collect();
            sets.map(|sets| Node::Combined(SetOperation::Union, sets))
        }
        Node::Relation(sides, signs) => match (&sides[..], &signs[..]) {
            ([_, set], [Sign::In]) => Some(set.clone()),
            ([left, right], [sign]) if is_bound(right) && is_variable(left) => half_line(right, *sign),
            ([left, right], [sign]) if is_bound(left) && is_variable(right) => {
                half_line(left, sign.mirrored()?)
            }
            ([low, middle, high], [first, second])
                if is_bound(low) && is_bound(high) && is_variable(middle) =>
            {
                segment(low, *first, *second, high)
            }
            _ => None,
        },
        _ => None,
    }
}

fn is_variable(node: &Node) -> bool {
    matches!(node, Node::Symbol(_))
}

fn is_bound(node: &Node) -> bool {
    node.is_single() && !node.has_symbol()
}

/// The numbers that stand in that relation to a bound.
fn half_line(bound: &Node, sign: Sign) -> Option<Node> {
    let infinity = || Node::Constant(Constant::Infinity);
    let below = |close| Node::Tuple('(', vec![infinity().negated(), bound.clone()], close);
    let above = |open| Node::Tuple(open, vec![bound.clone(), infinity()], ')');
    match sign {
        Sign::Less => Some(below(')')),
        Sign::LessOrEqual => Some(below(']')),
        Sign::Greater => Some(above('(')),
        Sign::GreaterOrEqual => Some(above('[')),
        _ => None,
    }
}

/// The numbers between two bounds.
fn segment(left: &Node, first: Sign, second: Sign, right: &Node) -> Option<Node> {
    if matches!(first, Sign::Greater | Sign::GreaterOrEqual) {
        return segment(right, second.mirrored()?, first.mirrored()?, left);
    }
    let bracket = |sign, open, closed| match sign {
        Sign::Less => Some(open),
        Sign::LessOrEqual => Some(closed),
        _ => None,
    };
    let (open, close) = (bracket(first, '(', '[')?, bracket(second, ')', ']')?);
    Some(Node::Tuple(open, vec![left.clone(), right.clone()], close))
}

/// Returns whether relations on one side, but not on the other, give values to different names.
pub(super) fn several_names(golds: &[Node], answers: &[Node]) -> bool {
    let names = |items: &[Node]| {
        let mut names: Vec<Node> =
            items.iter().filter_map(|item| solved(item).map(|(name, _)| name.clone())).collect();
        names.dedup();
        names.len()
    };
    names(golds).max(names(answers)) > 1
}

/// A comparison of a gold answer with an answer, within a budget.
type Comparison<T> = fn(&T, &T, &mut Budget) -> Result<bool, Stop>;

/// Comparisons of the parts of relations, which may be of any shape.
pub(super) struct Compare {
    /// Compares two nodes.
    pub(super) same: Comparison<Node>,
    /// Compares lists of nodes in their order.
    pub(super) in_order: Comparison<[Node]>,
}

/// Compares where at least one is a relation.
pub(super) fn same(gold: &Node, answer: &Node, compare: &Compare, budget: &mut Budget) -> Result<bool, Stop> {
    match (gold, answer) {
        (Node::Relation(..), Node::Relation(..)) => both(gold, answer, compare, budget),
        (Node::Relation(sides, signs), value) if all_equal(signs) => match assigned(gold, sides) {
            Some(given) => (compare.same)(given, value, budget),
            None => Ok(false),
        },
        (value, Node::Relation(sides, signs)) if all_equal(signs) => {
            same_as_chain(value, sides, compare, budget)
        }
        // one equation as the list that the gold answer is
        _ => Ok(false),
    }
}

fn all_equal(signs: &[Sign]) -> bool {
    signs.iter().all(|sign| *sign == Sign::Equal)
}

/// The value that an equation, or a chain of them, gives to a name. An equation that still has to be solved (`x+3=5`)
/// gives none: neither of its sides answers it.
fn assigned<'a>(gold: &'a Node, sides: &'a [Node]) -> Option<&'a Node> {
    if let Some((_, value)) = solved(gold) {
        return Some(value);
    }
    let (first, last) = (sides.first()?, sides.last()?);
    let named = is_name(first) && !last.any(&|part| part == first);
    ((named && sides.len() > 2) || !first.has_symbol()).then_some(last)
}

/// Returns whether a node names a value: a variable, words, a function of its arguments, a segment (`AB`).
fn is_name(node: &Node) -> bool {
    let point = |factor: &Node| matches!(factor, Node::Symbol(name) if name.len() == 1 && name.as_bytes()[0].is_ascii_uppercase());
    match node {
        Node::Symbol(_) | Node::Words(_) => true,
        Node::Product(factors) => (2..=3).contains(&factors.len()) && factors.iter().all(point),
        _ => false,
    }
}

/// A value against `a = b = c`: the last side must be it, and so must every other side without variables (with
/// variables in the gold answer: every side but the first), lest a chain offers many values.
fn same_as_chain(gold: &Node, sides: &[Node], compare: &Compare, budget: &mut Budget) -> Result<bool, Stop> {
    let Some((last, others)) = sides.split_last() else { return Ok(false) };
    if !(compare.same)(gold, last, budget)? {
        // "5 = x" gives the value first
        let [first] = others else { return Ok(false) };
        return Ok(matches!(last, Node::Symbol(_))
            && !first.has_symbol()
            && (compare.same)(gold, first, budget)?);
    }
    if let [first] = others
        && leaves_work(first, gold)
        && !same_side(gold, first, compare, budget)?
    {
        return Ok(false);
    }
    for (at, side) in others.iter().enumerate() {
        let counts = if gold.has_symbol() { at > 0 } else { !side.has_symbol() };
        if counts && !(compare.same)(gold, side, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether an equation with this left side still has to be solved (`x+3=5`, `2x=6`), so that its right side
/// answers nothing. A sum of several variables is a value asked for (`x+y=7`), unless the gold answer has variables.
fn leaves_work(left: &Node, gold: &Node) -> bool {
    let several = symbols(left) > 1;
    match left {
        _ if !left.has_symbol() || is_name(left) => false,
        Node::Sum(_) => !several || gold.has_symbol(),
        Node::Product(_) | Node::Power(_) | Node::Quotient(_) => !several,
        _ => false,
    }
}

/// Number of different variables in a node.
fn symbols(node: &Node) -> usize {
    fn collect<'a>(node: &'a Node, names: &mut Vec<&'a str>) {
        if let Node::Symbol(name) = node
            && !names.contains(&name.as_str())
            && names.len() < 2
        {
            names.push(name);
        }
        node.parts().into_iter().for_each(|part| collect(part, names));
    }
    let mut names = Vec::new();
    collect(node, &mut names);
    names.len()
}

/// Returns whether one name is a function of a variable, and the other the `y` that stands for its value.
fn name_one_function(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Symbol(a), Node::Symbol(b)) => {
            (a.ends_with(')') && b == "y") || (a == "y" && b.ends_with(')'))
        }
        _ => false,
    }
}

/// The name and the value of an equation that is solved: a name on one side that is not on the other.
fn solved(node: &Node) -> Option<(&Node, &Node)> {
    let Node::Relation(sides, signs) = node else { return None };
    let ([left, right], [Sign::Equal]) = (&sides[..], &signs[..]) else { return None };
    let names = |side: &Node, other: &Node| {
        matches!(side, Node::Words(_)) || is_name(side) && !other.any(&|part| part == side)
    };
    match (names(left, right), names(right, left)) {
        (true, _) => Some((left, right)),
        (_, true) => Some((right, left)),
        _ => None,
    }
}

fn both(gold: &Node, answer: &Node, compare: &Compare, budget: &mut Budget) -> Result<bool, Stop> {
    let (Node::Relation(sides, signs), Node::Relation(other_sides, other_signs)) = (gold, answer) else {
        return Ok(false);
    };
    if let Some((name, value)) = solved(gold) {
        if let Some((other_name, other_value)) = solved(answer)
            && (value.has_symbol() && name_one_function(name, other_name)
                || same_side(name, other_name, compare, budget)?)
        {
            return (compare.same)(value, other_value, budget);
        }
        // what asks for a value is not answered by an equation that still has to be solved
        if !value.has_symbol() {
            let chain = other_sides.len() > 2 && all_equal(other_signs) && other_sides[0] == *name;
            return if chain { same_as_chain(value, other_sides, compare, budget) } else { Ok(false) };
        }
    }
    match (&sides[..], &other_sides[..]) {
        ([left, right], [other_left, other_right]) => {
            let (sign, other) = (signs[0], other_signs[0]);
            if sign == other && pair(left, right, other_left, other_right, compare, budget)? {
                return Ok(true);
            }
            if sign.mirrored() == Some(other) && pair(left, right, other_right, other_left, compare, budget)?
            {
                return Ok(true);
            }
            multiples([left, right], sign, [other_left, other_right], other, budget)
        }
        _ if signs == other_signs => (compare.in_order)(sides, other_sides, budget),
        _ => Ok(false),
    }
}

fn pair(
    a: &Node,
    b: &Node,
    x: &Node,
    y: &Node,
    compare: &Compare,
    budget: &mut Budget,
) -> Result<bool, Stop> {
    Ok(same_side(a, x, compare, budget)? && same_side(b, y, compare, budget)?)
}

/// Two sides, of which one may be something that is no value (a word, a set).
fn same_side(a: &Node, b: &Node, compare: &Compare, budget: &mut Budget) -> Result<bool, Stop> {
    match (a.is_single(), b.is_single()) {
        (true, true) => match scalar::same(a, b, budget) {
            Err(Stop::Undecided | Stop::Undefined(_)) => Ok(false),
            other => other,
        },
        (false, false) => (compare.same)(a, b, budget),
        _ => Ok(false),
    }
}

/// Returns whether two polynomial relations are multiples of each other: `y = 2x + 3` and `2x - y + 3 = 0`.
fn multiples(
    gold: [&Node; 2],
    sign: Sign,
    answer: [&Node; 2],
    other: Sign,
    budget: &mut Budget,
) -> Result<bool, Stop> {
    if !gold.iter().chain(&answer).all(|side| side.is_single()) {
        return Ok(false);
    }
    let difference = |sides: [&Node; 2]| Node::Sum(vec![sides[0].clone(), sides[1].clone().negated()]);
    let gold = Fraction::of(&difference(gold), budget)?;
    let answer = Fraction::of(&difference(answer), budget)?;
    let factor = gold.zip(answer).and_then(|(gold, answer)| gold.multiple_of(&answer));
    Ok(factor.is_some_and(|factor| match sign {
        Sign::Equal | Sign::NotEqual => sign == other,
        _ if factor.is_negative() => sign.mirrored() == Some(other),
        _ => sign == other,
    }))
}
