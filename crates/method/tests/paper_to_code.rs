//! `docs/paper-to-code.md` names files, items and tests: each of them must exist.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Text between single backticks.
fn names(document: &str) -> Vec<String> {
    document.split('`').skip(1).step_by(2).map(String::from).collect()
}

fn sources(dir: &Path, out: &mut String) {
    for entry in fs::read_dir(dir).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push_str(&fs::read_to_string(&path).expect("a source file"));
        }
    }
}

fn resolve(file: &str) -> PathBuf {
    if file.starts_with("crates/") { root().join(file) } else { root().join("crates/method/src").join(file) }
}

#[test]
fn every_file_item_and_test_named_exists() {
    let document = fs::read_to_string(root().join("docs/paper-to-code.md")).expect("the document");
    let mut all = String::new();
    for krate in ["method", "eval", "thinktune"] {
        sources(&root().join("crates").join(krate), &mut all);
    }
    let (mut items, mut tests) = (0, 0);
    let mut file_at_hand = String::new();
    for name in names(&document) {
        if let Some((file, item)) = name.split_once(".rs::") {
            let path = resolve(&format!("{file}.rs"));
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{name}`: {error}"));
            for part in item.split("::") {
                assert!(defines(&text, part), "`{name}`: no definition of {part} in {}", path.display());
            }
            items += 1;
            file_at_hand = text;
        } else if name.starts_with(|c: char| c.is_ascii_uppercase()) && name.contains("::") {
            for part in name.split("::") {
                assert!(
                    defines(&file_at_hand, part),
                    "`{name}`: no definition of {part} in the file before it"
                );
            }
        } else if name.ends_with(".rs") {
            assert!(resolve(&name).exists(), "`{name}` is not there");
        } else if is_test(&name) {
            let function = name.rsplit("::").next().expect("a name");
            assert!(all.contains(&format!("fn {function}(")), "`{name}` is not a test");
            tests += 1;
        }
    }
    assert!(items > 30 && tests > 30, "the document is read as it is written: {items} items, {tests} tests");
}

/// Returns true where source text defines a function, type, constant or public field of that name.
fn defines(text: &str, name: &str) -> bool {
    let ends_there = |rest: &str| rest.starts_with(|c: char| !c.is_alphanumeric() && c != '_');
    text.lines().any(|line| {
        let line = line.trim_start();
        let public = ["pub(crate) ", "pub(super) ", "pub "].iter().find_map(|word| line.strip_prefix(word));
        let item = public.unwrap_or(line);
        let keywords = ["const fn ", "fn ", "struct ", "enum ", "trait ", "type ", "const ", "static "];
        let named = keywords.iter().find_map(|keyword| item.strip_prefix(keyword)).unwrap_or(item);
        let is_item = named.len() < item.len();
        let field =
            public.and_then(|field| field.strip_prefix(name)).is_some_and(|rest| rest.starts_with(':'));
        field || (is_item && named.strip_prefix(name).is_some_and(ends_there))
    })
}

#[test]
fn a_name_within_another_is_no_definition() {
    let source = "/// c of A.\nfn cat(c: f64) {\n    let c = c;\n    c: 1,\n}\npub struct Row {\n    pub share: f64,\n}\n";
    assert!(["cat", "Row", "share"].iter().all(|name| defines(source, name)));
    assert!(["c", "ca", "Ro", "shar", "let", "f64"].iter().all(|name| !defines(source, name)));
    assert!(defines("pub(crate) const fn c(a: f64)", "c") && defines("pub trait Run {", "Run"));
}

/// Test names are words joined by underscores, several of them, with or without their module.
fn is_test(name: &str) -> bool {
    let function = name.rsplit("::").next().unwrap_or_default();
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == ':');
    plain && function.matches('_').count() >= 2 && !function.contains('.')
}
