//! Comparison of two answers: tuples, sets, intervals, matrices, equations, single values.

use num_traits::Zero as _;

use super::budget::{Budget, Stop};
use super::expand::{all_expanded, expanded};
use super::node::{Node, SetOperation};
use super::{exact, relation, scalar, units};

/// Comparisons that the sides of relations are put to.
const COMPARE: relation::Compare = relation::Compare { same, in_order: same_in_order };

/// Returns whether an answer says what the gold answer says.
pub(super) fn same(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    budget.spend(4)?;
    budget.deeper(|budget| same_of_any_kind(gold, answer, budget))
}

fn same_of_any_kind(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    match (relation::as_set(gold), relation::as_set(answer)) {
        (None, None) => {}
        (gold_set, answer_set) => {
            return same_shape(
                gold_set.as_ref().unwrap_or(gold),
                answer_set.as_ref().unwrap_or(answer),
                budget,
            );
        }
    }
    match (gold, answer) {
        (Node::Relation(..), _) | (_, Node::Relation(..)) => {
            let (golds, answers) = (expanded(gold), expanded(answer));
            match (&golds[..], &answers[..]) {
                ([gold], [answer]) => relation::same(gold, answer, &COMPARE, budget),
                _ => same_in_any_order(&golds, &answers, budget),
            }
        }
        _ => same_shape(gold, answer, budget),
    }
}

/// The same, relations put aside.
fn same_shape(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    match (gold, answer) {
        (Node::Tuple(open, gold, close), Node::Tuple(other_open, answer, other_close)) => {
            Ok(open == other_open && close == other_close && same_in_order(gold, answer, budget)?)
        }
        // the brackets of a tuple, or those around a list, may be forgotten: then the order tells
        (Node::Tuple('(', gold, ')'), Node::List(answer))
        | (Node::List(gold), Node::Tuple('(', answer, ')')) => same_in_order(gold, answer, budget),
        (Node::Matrix(gold), Node::Matrix(answer)) => same_rows(gold, answer, budget),
        // a vector as a matrix of one column or row, or as a tuple
        (Node::Matrix(rows), Node::Tuple('(', items, ')'))
        | (Node::Tuple('(', items, ')'), Node::Matrix(rows)) => {
            let line = rows.len() == 1 || rows.iter().all(|row| row.len() == 1);
            let cells: Vec<Node> = rows.iter().flatten().cloned().collect();
            Ok(line && same_in_order(&cells, items, budget)?)
        }
        (Node::Combined(operation, gold), Node::Combined(other, answer)) => match operation {
            _ if operation != other => Ok(false),
            SetOperation::Difference => same_in_order(gold, answer, budget),
            _ => same_in_any_order(gold, answer, budget),
        },
        (Node::Numeral(digits, base), Node::Numeral(other_digits, other_base)) => {
            Ok(digits == other_digits && base == other_base)
        }
        // the base that the question asks for may go unsaid
        (Node::Numeral(digits, _), Node::Number(value)) => Ok(value.to_string() == *digits),
        (Node::Residue(gold), Node::Residue(answer)) => same_residue(gold, answer, budget),
        // the modulus that the question names may be said again
        (gold, Node::Residue(answer)) if gold.is_single() => same(gold, &answer[0], budget),
        (Node::Words(gold), Node::Words(answer)) => Ok(gold == answer),
        (Node::Words(words), Node::Symbol(name)) | (Node::Symbol(name), Node::Words(words)) => {
            Ok(name.to_lowercase() == *words)
        }
        _ if is_collection(gold) || is_collection(answer) => same_collection(gold, answer, budget),
        _ if gold.is_single() && answer.is_single() => same_single(gold, answer, budget),
        _ => Ok(false),
    }
}

/// Returns whether this stands for several values in no order.
fn is_collection(node: &Node) -> bool {
    matches!(node, Node::List(_) | Node::Set(_)) || node.is_single() && expanded(node).len() > 1
}

/// Lists and sets, and what has a plus-minus. Values that the gold answer names (`x=1, y=2`) but the answer
/// does not must come in its order.
fn same_collection(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    let (Some(golds), Some(answers)) = (items(gold), items(answer)) else { return Ok(false) };
    if let (true, [gold], Node::List(_)) = (gold.is_single(), &golds[..], answer) {
        // one value written in several ways: "15 39/40 or 639/40"
        for answer in &answers {
            if !same(gold, answer, budget)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let named = |items: &[Node]| items.iter().all(|item| matches!(item, Node::Relation(..)));
    if golds.len() > 1 && named(&golds) != named(&answers) && relation::several_names(&golds, &answers) {
        return same_in_order(&golds, &answers, budget);
    }
    same_in_any_order(&golds, &answers, budget)
}

/// Returns the items of a collection; a single value is a collection of one.
fn items(node: &Node) -> Option<Vec<Node>> {
    match node {
        Node::List(items) | Node::Set(items) => Some(all_expanded(items)),
        single if single.is_single() || matches!(single, Node::Relation(..)) => Some(expanded(single)),
        Node::Tuple(..) | Node::Words(_) => Some(expanded(node)),
        _ => None,
    }
}

pub(super) fn same_in_order(gold: &[Node], answer: &[Node], budget: &mut Budget) -> Result<bool, Stop> {
    if gold.len() != answer.len() {
        return Ok(false);
    }
    for (gold, answer) in gold.iter().zip(answer) {
        if !same(gold, answer, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether each gold item has an answer item of its own, and none is left over.
fn same_in_any_order(gold: &[Node], answer: &[Node], budget: &mut Budget) -> Result<bool, Stop> {
    if gold.len() != answer.len() {
        return Ok(false);
    }
    let mut left: Vec<&Node> = answer.iter().collect();
    for gold in gold {
        let mut found = None;
        for (at, answer) in left.iter().enumerate() {
            if same(gold, answer, budget)? {
                found = Some(at);
                break;
            }
        }
        match found {
            Some(at) => left.swap_remove(at),
            None => return Ok(false),
        };
    }
    Ok(true)
}

fn same_rows(gold: &[Vec<Node>], answer: &[Vec<Node>], budget: &mut Budget) -> Result<bool, Stop> {
    if gold.len() != answer.len() {
        return Ok(false);
    }
    for (gold, answer) in gold.iter().zip(answer) {
        if !same_in_order(gold, answer, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Two residues: of one modulus, and apart by a multiple of it.
fn same_residue(gold: &[Node; 2], answer: &[Node; 2], budget: &mut Budget) -> Result<bool, Stop> {
    let ([gold, modulus], [answer, other]) = (gold, answer);
    if !same(modulus, other, budget)? {
        return Ok(false);
    }
    let values = (exact::value(gold, budget)?, exact::value(answer, budget)?, exact::value(modulus, budget)?);
    if let (Some(gold), Some(answer), Some(modulus)) = values
        && !modulus.is_zero()
    {
        return Ok(((gold - answer) / modulus).is_integer());
    }
    same(gold, answer, budget)
}

/// Two single values: units that are known must agree, one without a unit agrees with any; degrees and per
/// cent may be left out, or converted.
fn same_single(gold: &Node, answer: &Node, budget: &mut Budget) -> Result<bool, Stop> {
    match (gold, answer) {
        (Node::WithUnit(gold, unit), Node::WithUnit(answer, other)) => {
            Ok(!units::differ(unit, other) && same_single(gold, answer, budget)?)
        }
        (Node::WithUnit(gold, _), answer) => same_single(gold, answer, budget),
        (gold, Node::WithUnit(answer, _)) => same_single(gold, answer, budget),
        (Node::Degrees(gold), Node::Degrees(answer)) => scalar::same(gold, answer, budget),
        (Node::Degrees(inner), other) | (other, Node::Degrees(inner)) => {
            let radians = if matches!(gold, Node::Degrees(_)) { gold } else { answer };
            Ok(scalar::same(inner, other, budget)? || scalar::same(radians, other, budget)?)
        }
        (Node::Percent(gold), Node::Percent(answer)) => scalar::same(gold, answer, budget),
        (Node::Percent(inner), other) | (other, Node::Percent(inner)) => {
            let share = if matches!(gold, Node::Percent(_)) { gold } else { answer };
            Ok(scalar::same(inner, other, budget)? || scalar::same(share, other, budget)?)
        }
        (gold, Node::Numeral(..)) => match (exact::value(gold, budget)?, exact::value(answer, budget)?) {
            (Some(gold), Some(answer)) => Ok(gold == answer),
            _ => Ok(false),
        },
        (Node::Numeral(..), _) => Ok(false),
        _ => scalar::same(gold, answer, budget),
    }
}
