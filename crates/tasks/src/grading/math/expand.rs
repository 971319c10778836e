//! Plus-minus: one expression that stands for two.

use super::node::Node;

/// The two expressions that one with plus-minus stands for, or the one without. No plus-minus is left in them.
pub(super) fn expanded(node: &Node) -> Vec<Node> {
    if has_choice(node) { vec![chosen(node, false), chosen(node, true)] } else { vec![node.clone()] }
}

/// Returns whether there is a plus-minus that is for this node to expand: what holds items expands each by itself.
fn has_choice(node: &Node) -> bool {
    match node {
        Node::PlusMinus(..) => true,
        Node::Set(_) | Node::List(_) | Node::Combined(..) | Node::Matrix(_) => false,
        other => other.parts().into_iter().any(has_choice),
    }
}

/// The items of a list, each expanded.
pub(super) fn all_expanded(items: &[Node]) -> Vec<Node> {
    items.iter().flat_map(expanded).collect()
}

/// The node with its plus-minus signs taken as plus, or as minus.
fn chosen(node: &Node, minus: bool) -> Node {
    let of = |part: &Node| chosen(part, minus);
    let all = |parts: &[Node]| parts.iter().map(of).collect::<Vec<Node>>();
    match node {
        Node::PlusMinus(inner, flipped) => {
            let inner = of(inner);
            if minus != *flipped { inner.negated() } else { inner }
        }
        Node::Sum(parts) => Node::Sum(all(parts)),
        Node::Product(parts) => Node::Product(all(parts)),
        Node::Quotient(pair) => Node::quotient(of(&pair[0]), of(&pair[1])),
        Node::Power(pair) => Node::power(of(&pair[0]), of(&pair[1])),
        Node::Residue(pair) => Node::residue(of(&pair[0]), of(&pair[1])),
        Node::Call(function, parts) => Node::Call(*function, all(parts)),
        Node::WithUnit(inner, unit) => Node::WithUnit(Box::new(of(inner)), unit.clone()),
        Node::Degrees(inner) => Node::Degrees(Box::new(of(inner))),
        Node::Percent(inner) => Node::Percent(Box::new(of(inner))),
        Node::Tuple(open, parts, close) => Node::Tuple(*open, all(parts), *close),
        Node::Relation(sides, signs) => Node::Relation(all(sides), signs.clone()),
        Node::Set(_) | Node::List(_) | Node::Combined(..) | Node::Matrix(_) => node.clone(),
        Node::Number(_) | Node::Constant(_) | Node::Symbol(_) | Node::Numeral(..) | Node::Words(_) => {
            node.clone()
        }
    }
}
