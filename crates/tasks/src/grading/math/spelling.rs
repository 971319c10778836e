//! Spellings that say the same: commands by several names, signs of other alphabets.

use std::borrow::Cow;

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A number as digits with at most one point, separators removed.
    Number(Cow<'a, str>),
    /// Letters in a row.
    Word(&'a str),
    /// The content of `\text{...}` and its kin.
    Text(&'a str),
    /// A command by its name, without the backslash, in its usual spelling.
    Command(&'a str),
    /// The name in `\begin{name}`.
    Begin(&'a str),
    /// The name in `\end{name}`.
    EndOf(&'a str),
    /// Any other character.
    Char(char),
    /// Nothing more.
    End,
}

/// Commands that change how something looks and not what it says.
pub(super) const ONLY_LOOKS: &[&str] = &[
    "left",
    "right",
    "middle",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "Biggl",
    "Biggr",
    "displaystyle",
    "textstyle",
    "scriptstyle",
    "limits",
    "quad",
    "qquad",
    "thinspace",
    "mathbf",
    "mathit",
    "mathsf",
    "mathbb",
    "mathcal",
    "mathnormal",
    "boldsymbol",
    "bm",
    "bf",
    "it",
    "vec",
    "hat",
    "bar",
    "boxed",
    "fbox",
    "phantom",
    "strut",
    "hline",
    "nonumber",
    "allowbreak",
    "pounds",
    "euro",
    "textdollar",
    "dollar",
];

/// The usual spelling of a command.
pub(super) fn usual(name: &str) -> Token<'_> {
    Token::Command(match name {
        "cdot" | "times" | "ast" | "cdotp" => return Token::Char('*'),
        "div" => return Token::Char('/'),
        "lvert" | "rvert" | "vert" => return Token::Char('|'),
        "lbrack" => return Token::Char('['),
        "rbrack" => return Token::Char(']'),
        "lparen" => return Token::Char('('),
        "rparen" => return Token::Char(')'),
        "lt" => return Token::Char('<'),
        "gt" => return Token::Char('>'),
        "colon" => return Token::Char(':'),
        "percent" => return Token::Char('%'),
        "lbrace" => "{",
        "rbrace" => "}",
        "dfrac" | "tfrac" | "cfrac" => "frac",
        "dbinom" | "tbinom" | "choose" => "binom",
        "leq" | "leqslant" => "le",
        "geq" | "geqslant" => "ge",
        "neq" => "ne",
        "degree" => "circ",
        "infin" => "infty",
        "varnothing" => "emptyset",
        "backslash" => "setminus",
        "land" | "wedge" => "and",
        "lor" | "vee" => "or",
        "isin" => "in",
        "varphi" => "phi",
        "varepsilon" => "epsilon",
        "dots" | "cdots" | "dotsc" | "dotsb" => "ldots",
        "mod" | "bmod" | "pod" => "pmod",
        other => other,
    })
}

/// Signs of other alphabets as LaTeX has them.
pub(super) fn in_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match SIGNS.iter().find(|(sign, _)| *sign == character) {
            Some((_, latex)) => out.push_str(latex),
            None => out.push(character),
        }
    }
    out.into()
}

const SIGNS: &[(char, &str)] = &[
    ('\u{2212}', "-"),
    ('\u{2013}', "-"),
    ('\u{00d7}', "*"),
    ('\u{00b7}', "*"),
    ('\u{22c5}', "*"),
    ('\u{00f7}', "/"),
    ('\u{2044}', "/"),
    ('\u{2215}', "/"),
    ('\u{00b0}', "^\\circ "),
    ('\u{03c0}', "\\pi "),
    ('\u{221a}', "\\sqrt "),
    ('\u{221e}', "\\infty "),
    ('\u{2264}', "\\le "),
    ('\u{2265}', "\\ge "),
    ('\u{2260}', "\\ne "),
    ('\u{222a}', "\\cup "),
    ('\u{2229}', "\\cap "),
    ('\u{2208}', "\\in "),
    ('\u{00b1}', "\\pm "),
    ('\u{2213}', "\\mp "),
    ('\u{2248}', "\\approx "),
    ('\u{2261}', "\\equiv "),
    ('\u{2026}', "\\ldots "),
    ('\u{00b2}', "^{2}"),
    ('\u{00b3}', "^{3}"),
    ('\u{00b9}', "^{1}"),
    ('\u{2074}', "^{4}"),
    ('\u{2075}', "^{5}"),
    ('\u{2076}', "^{6}"),
    ('\u{2077}', "^{7}"),
    ('\u{2078}', "^{8}"),
    ('\u{2079}', "^{9}"),
    ('\u{2070}', "^{0}"),
    ('\u{00bd}', "\\frac{1}{2}"),
    ('\u{00bc}', "\\frac{1}{4}"),
    ('\u{00be}', "\\frac{3}{4}"),
    ('\u{2205}', "\\emptyset "),
    ('\u{03b8}', "\\theta "),
    ('\u{03b1}', "\\alpha "),
    ('\u{03b2}', "\\beta "),
    ('\u{03b3}', "\\gamma "),
    ('\u{03bb}', "\\lambda "),
    ('\u{03bc}', "\\mu "),
    ('\u{03c6}', "\\phi "),
    ('\u{03c9}', "\\omega "),
    ('\u{27e8}', "\\langle "),
    ('\u{27e9}', "\\rangle "),
    ('\u{2220}', "\\angle "),
    ('\u{20ac}', " "),
    ('\u{00a3}', " "),
    ('\u{00a5}', " "),
    ('\u{2009}', "\\,"),
    ('\u{202f}', "\\,"),
    ('\u{2019}', "'"),
    ('\u{a2}', "\\text{cents}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_become_commands() {
        assert_eq!(in_ascii("x²≤π−1"), "x^{2}\\le \\pi -1");
        assert_eq!(in_ascii("x^2"), "x^2");
    }
}
