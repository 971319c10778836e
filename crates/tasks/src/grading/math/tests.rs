//! Tests of answers that are the same, and of answers that are not.

use super::*;
use crate::Verdict::{Correct, OverBudget, Unparseable, Wrong};

fn verdict(gold: &str, answer: &str) -> Verdict {
    compare(gold, answer).verdict
}

#[test]
fn the_same_answer_in_other_words() {
    let mut missed = Vec::new();
    for (gold, answer) in [
        // numbers
        ("025", "25"),
        ("x=5", "5"),
        ("5", "x = 5"),
        ("5", "5 = x"),
        ("5", "x=3+2=5"),
        ("10,\\!080", "10080"),
        ("10080", "10,080"),
        ("58,500", "58500"),
        ("\\$18.90", "18.9"),
        ("\\$36", "36 dollars"),
        ("1\\frac{4}{5}", "1.8"),
        ("\\frac{9}{5}", "1 4/5"),
        ("\\frac43", "4/3"),
        ("6.72 \\times 10^{-5}", ".0000672"),
        ("25\\%", "0.25"),
        ("25\\%", "25"),
        ("25", "25\\%"),
        ("0.25", "25\\%"),
        ("12^{\\text{th}}", "12"),
        ("120", "5!"),
        // units
        ("864 \\mbox{ inches}^2", "864"),
        ("864 \\mbox{ inches}^2", "864 square inches"),
        ("15\\mbox{ cm}^2", "15 \\text{ cm}^2"),
        ("5.4 \\text{ cents}", "5.4"),
        ("5", "5 \\text{ apples}"),
        ("60", "60 km/h"),
        ("60", "60 \\text{ m/s}"),
        ("15", "15 \\text{ m}"),
        ("\\frac{270}7\\text{ degrees}", "\\frac{270}{7}^\\circ"),
        ("90^\\circ", "90"),
        ("90^{\\circ}", "90°"),
        ("90", "90^\\circ"),
        ("90^\\circ", "\\frac{\\pi}{2}"),
        // expressions
        ("3\\sqrt{13}", "\\sqrt{117}"),
        ("p - q", "-q+p"),
        ("2k+2", "2(k+1)"),
        ("(a+5)(b+2)", "ab+2a+5b+10"),
        ("6r^2-4r-24", "2(3r^2-2r-12)"),
        ("18+2\\pi", "2(9+\\pi)"),
        ("\\cot x", "\\cot(x)"),
        ("f(x) = 2x", "2x"),
        // relations
        ("y = 2x + 3", "2x+3"),
        ("y = 2x + 3", "2x - y + 3 = 0"),
        ("y = 2x + 3", "y-3=2x"),
        ("5x - 7y + 11z + 4 = 0", "-5x+7y-11z=4"),
        ("x \\in [-2,7]", "[-2,7]"),
        ("x \\in [-2,7]", "-2 \\le x \\le 7"),
        ("[-2,7]", "7 \\ge x \\ge -2"),
        ("(2,\\infty)", "x > 2"),
        ("(2,\\infty)", "2 < x"),
        ("(2,\\infty)", "\\{x \\mid x > 2\\}"),
        ("\\{2|x|, 1\\}", "\\{1, 2|x|\\}"),
        ("\\angle ABC", "\\angle{ABC}"),
        ("(-\\infty, 2) \\cup (3, \\infty)", "x<2 \\text{ or } x>3"),
        ("x \\ge 3", "[3,\\infty)"),
        ("x+y>3", "3<y+x"),
        ("x+y>3", "2x+2y>6"),
        ("x+y>3", "-x-y<-3"),
        // names of values
        ("f(x)=2x", "y=2x"),
        ("y=2x", "f(x)=2x"),
        ("g(t)=3t^2", "y=3t^2"),
        ("f(x)=2x", "2x=f(x)"),
        ("f^{-1}(x)=2x", "2x"),
        ("f\\left(x\\right)=2x", "f(x)=2x"),
        ("P(A)=\\frac12", "0.5"),
        ("f(2)=5", "5"),
        ("AB=5", "5"),
        ("5", "AB=5"),
        ("7", "x+y=7"),
        ("\\frac35", "\\sin\\theta=3/5"),
        ("2k+2", "2(k+1)=2k+2"),
        ("2x", "\\frac{dy}{dx}=2x"),
        ("5", "2+3=5"),
        // repeating decimals
        ("\\frac13", "0.333\\ldots"),
        ("\\frac13", "0.33..."),
        ("\\frac13", "0.\\overline{3}"),
        ("\\frac13", "0.(3)"),
        ("\\frac13", "0.\\dot{3}"),
        ("\\frac13", "0.333…"),
        ("\\frac16", "0.1666\\ldots"),
        ("\\frac16", "0.1666\\dots"),
        ("0.\\overline{142857}", "0.142857142857..."),
        ("\\frac{116}{999}", "0.11611611\\ldots"),
        ("-\\frac{13}{3}", "-4.333..."),
        // congruences
        ("x \\equiv 3 \\pmod{7}", "3 \\pmod 7"),
        ("x \\equiv 3 \\pmod 7", "x \\equiv 10 \\pmod{7}"),
        ("x \\equiv 3 \\pmod 7", "x ≡ 3 (mod 7)"),
        ("3 \\pmod{7}", "x \\equiv -4 \\ (\\text{mod } 7)"),
        ("3 \\bmod 12", "3 mod 12"),
        ("3", "3 \\pmod{7}"),
        // several values
        ("\\frac{639}{40}", "15\\frac{39}{40} \\text{ or } 15.975"),
        ("1,-2", "-2, 1"),
        ("1,-2", "1 and -2"),
        ("1,-2", "x=1 \\text{ or } x=-2"),
        ("1,-2", "\\{1,-2\\}"),
        ("3, 5, 7", "7,5,3"),
        ("3, 5, 7", "3,5, and 7"),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19},1-\\sqrt{19}"),
        ("1 \\pm \\sqrt{19}", "x = 1 \\pm \\sqrt{19}"),
        ("1 \\pm \\sqrt{19}", "1 \\mp \\sqrt{19}"),
        ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"),
        ("x=1, y=2", "y=2, x=1"),
        ("x=1, y=2", "1, 2"),
        ("(1,2)", "x=1, y=2"),
        ("(6,31,-1)", "6,31,-1"),
        ("(6,31,-1)", "\\langle 6,31,-1\\rangle"),
        (
            "\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}",
            "\\begin{bmatrix} -\\frac13 \\\\ \\frac23 \\end{bmatrix}",
        ),
        ("\\begin{pmatrix} -1/3 \\\\ 2/3 \\end{pmatrix}", "(-1/3, 2/3)"),
        ("x = \\{1 \\pm 2\\}", "x = \\{3, -1\\}"),
        ("x \\in \\{\\pm 1\\} \\cup (2, 3)", "(2, 3) \\cup \\{1, -1\\}"),
        ("(0,9) \\cup (9,36)", "(9,36)\\cup(0,9)"),
        ("(0,9) \\cup (9,36)", "(0,9) U (9,36)"),
        ("\\emptyset", "\\{\\}"),
        // words, letters, numerals
        ("\\text{Evelyn}", "Evelyn"),
        ("\\text{Evelyn}", "evelyn."),
        ("\\text{even}", "\\textbf{even}"),
        ("\\text{ellipse}", "an ellipse"),
        ("east", "\\text{East}"),
        ("\\text{(C)}", "C"),
        ("\\text{(C)}", "\\textbf{(C)}"),
        ("\\text{(E)}", "E"),
        ("52_8", "52_{8}"),
        ("52_8", "52"),
        ("52_8", "(52)_8"),
        ("42", "52_8"),
        ("xy", "y x"),
        ("$5$", "\\(5\\)"),
        ("5", "\\boxed{5}"),
        ("5", "5."),
    ] {
        let judged = compare(gold, answer);
        if judged.verdict != Correct {
            missed.push(format!("{gold} and {answer}: {judged:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn answers_that_differ() {
    for (gold, answer) in [
        ("25", "52"),
        ("5", "x = 3 = 5"),
        ("5", "1 = 2 = 3 = 4 = 5"),
        ("x=5", "2x=10"),
        ("x=5", "y=5"),
        ("x=5", "x-5=0"),
        ("5", "4, 5"),
        ("5", "4 or 5"),
        ("5", "\\{4, 5\\}"),
        ("5", "(5, 5)"),
        ("5", "4 \\le x \\le 5"),
        ("5", "5 \\pm 0"),
        ("5", "5x"),
        ("1,-2", "1"),
        ("1,-2", "1,-2,3"),
        ("1,-2", "1,2"),
        ("1,-2", "(-2,1)"),
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2)"),
        ("(1,2)", "2,1"),
        ("(1,2)", "\\{1,2\\}"),
        ("(1,2)", "x=2, y=1"),
        ("x=1, y=2", "2, 1"),
        ("x=1, y=2", "x=2, y=1"),
        ("(3,4]", "[3,4)"),
        ("\\angle ABC", "\\angle BAC"),
        ("(2,\\infty)", "x \\ge 2"),
        ("(2,\\infty)", "x < 2"),
        ("x+y>3", "x+y<3"),
        ("x+y>3", "x+y\\ge 3"),
        ("x+y>3", "-x-y>-3"),
        ("y = 2x + 3", "y = 2x - 3"),
        ("y = 2x + 3", "2x - 3"),
        ("58,500", "500, 58"),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}"),
        ("1 \\pm \\sqrt{19}", "1 \\pm \\sqrt{17}"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\end{pmatrix}"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}"),
        ("(0,9) \\cup (9,36)", "(0,36)"),
        ("(0,9) \\cup (9,36)", "(0,9) \\cap (9,36)"),
        ("\\text{Evelyn}", "Eve"),
        ("\\text{even}", "even or odd"),
        ("\\text{even}", "never"),
        ("east", "seat"),
        ("\\text{(C)}", "(B)"),
        ("\\text{(C)}", "(B), (C)"),
        ("52_8", "42"),
        ("52_8", "52_9"),
        ("15\\mbox{ cm}^2", "15 \\text{ m}^2"),
        ("15\\mbox{ cm}^2", "15 \\text{ cm}"),
        ("5.4 \\text{ cents}", "5.4 dollars"),
        ("x+3=5", "5"),
        ("x+3=5", "x+3"),
        ("2x=6", "3"),
        ("2x=6", "6"),
        ("x^2=4", "4"),
        ("x+y=7", "7"),
        ("x=x^2-2", "x^2-2"),
        ("5", "x+3=5"),
        ("6", "2x=6"),
        ("4", "x^2=4"),
        ("2x", "y-3=2x"),
        ("f(x)=2x", "y=3x"),
        ("f(x)=2x", "g(x)=2x"),
        ("f(x)=2x", "x=2x"),
        ("f(2)=5", "y=5"),
        ("\\frac13", "0.334\\overline{3}"),
        ("\\frac13", "0.3433\\ldots"),
        ("x \\equiv 3 \\pmod{7}", "4 \\pmod 7"),
        ("x \\equiv 3 \\pmod{7}", "3 \\pmod 8"),
        ("x \\equiv 3 \\pmod{7}", "3"),
        ("3", "10 \\pmod 7"),
        ("90^\\circ", "\\pi"),
        ("25", "0.25"),
        ("25\\%", "2.5"),
        ("3\\sqrt{13}", "10.816653826391969"),
        ("3R^2", "3r^2"),
    ] {
        let judged = compare(gold, answer);
        assert_ne!(judged.verdict, Correct, "{gold} and {answer}");
        assert!(matches!(judged.verdict, Wrong), "{gold} and {answer}: {judged:?}");
    }
}

#[test]
fn what_cannot_be_read_is_no_answer() {
    for answer in [
        "5 not 6",
        "1 2 3 4 5",
        "\\frac{1}",
        "(1, 2",
        "\\sqrt",
        "5 +",
        "\\unknown{5}",
        "1/0",
        "NaN 5",
        "５",
        "\\sum_{k=1}^5 1",
        "0.1234\\ldots",
        "5 \\pmod",
        "5 (mod",
    ] {
        assert_eq!(verdict("5", answer), Unparseable, "{answer}");
    }
}

/// A small stack is enough for the deepest answer that is read.
#[test]
fn hostile_answers_run_out_of_budget_and_nothing_else() {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(hostile_answers).unwrap();
    thread.join().unwrap();
}

fn hostile_answers() {
    let deep = |open: &str, close: &str| open.repeat(10_000) + "5" + &close.repeat(10_000);
    for answer in [
        deep("{", "}"),
        deep("(", ")")[..9_000].to_string(),
        "{".repeat(9_000),
        "-".repeat(9_000) + "(",
        "\\sqrt".repeat(1_500),
        "\\frac".repeat(1_500),
        "x^".repeat(4_000),
        "\\sin".repeat(2_000),
        "9^{9^{9^9}}".into(),
        "5!!!!!!!!!!".into(),
        "9".repeat(9_000),
        "x".to_string() + &"!".repeat(9_000),
        "|".repeat(9_000),
        "5".repeat(1 << 22),
        "(x+y+z+w)^{64}".into(),
        "\\binom{1000}{500}^{1000}".into(),
        "\\sqrt{".repeat(38) + "x+2" + &"}".repeat(38),
        "(".repeat(38) + "x" + &"!^{2}_1)".repeat(38),
        "-\\sin(\\pm ".repeat(38) + "x" + &"^2!)".repeat(38),
        "\\{1, ".repeat(38) + "\\pm x" + &"\\}".repeat(38),
        "(1, \\{x = \\pm ".repeat(18) + "2" + &"\\})".repeat(18),
    ] {
        // as gold and answer alike, so that both are read, and compared in depth
        let _ = compare(&format!("{answer}+0"), &answer);
        let judged = compare("5", &answer);
        assert!(matches!(judged.verdict, OverBudget | Unparseable | Wrong), "{:.60}: {judged:?}", answer);
    }
    assert_eq!(verdict("5", &deep("{", "}")), OverBudget);
    assert_eq!(verdict("5", "9^{9^{9^9}}"), OverBudget);
    assert_eq!(verdict("5", &"1,".repeat(4_000)), Wrong);
}
