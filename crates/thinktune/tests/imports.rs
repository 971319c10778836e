//! No two files import each other in a circle: every `use` of every library is resolved to the file that defines the
//! name, through re-exports, and the graph of files has no cycle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A crate's files by module path, such as `["decoder", "head"]`.
struct Crate {
    files: BTreeMap<Vec<String>, PathBuf>,
    /// Names that a module re-exports: module, name, path that it stands for.
    exports: BTreeMap<(Vec<String>, String), Vec<String>>,
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates");
    let mut circles = Vec::new();
    for entry in std::fs::read_dir(crates).expect("crates") {
        let source = entry.expect("entry").path().join("src");
        if source.is_dir() {
            circles.extend(circles_of(&source));
        }
    }
    assert!(circles.is_empty(), "{} circles of imports:\n{}", circles.len(), circles.join("\n"));
}

#[test]
fn circle_in_a_made_up_crate_is_found() {
    let dir = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        std::fs::write(path, text).expect("file");
    };
    write("lib.rs", "mod a;\nmod b;\npub use b::{B as Renamed, Other};\n");
    write("a.rs", "use crate::Renamed;\npub struct A;\n");
    write("b/mod.rs", "mod c;\nuse c::C;\npub struct B;\npub struct Other;\n");
    write("b/c.rs", "pub struct C;\n");
    assert!(circles_of(dir.path()).is_empty());
    write("b/c.rs", "use crate::a::A;\npub struct C;\n#[cfg(test)]\nmod tests {\n    use crate::Other;\n}\n");
    let circles = circles_of(dir.path());
    assert_eq!(circles.len(), 1, "{circles:?}");
    assert!(circles[0].contains("a.rs") && circles[0].contains("c.rs"), "{circles:?}");
}

/// The circles among the files of one crate, each as the list of its files.
fn circles_of(source: &Path) -> Vec<String> {
    let mut all = Crate { files: BTreeMap::new(), exports: BTreeMap::new() };
    collect(source, source, &mut all.files);
    let texts: BTreeMap<&Vec<String>, String> = all
        .files
        .iter()
        .map(|(module, path)| (module, without_tests(&std::fs::read_to_string(path).expect("source"))))
        .collect();
    for (module, text) in &texts {
        for (public, path) in uses(text) {
            let path = absolute(module, &path, &all.files);
            if let (true, Some((name, target))) = (public, path) {
                all.exports.insert(((*module).clone(), name), target);
            }
        }
    }
    let mut edges: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = BTreeMap::new();
    for (module, text) in &texts {
        for (public, path) in uses(text) {
            let Some((_, target)) = absolute(module, &path, &all.files).filter(|_| !public) else { continue };
            if let Some(file) = all.defining(&target, 0)
                && file != &all.files[*module]
            {
                edges.entry(&all.files[*module]).or_default().insert(file);
            }
        }
    }
    components(&edges)
        .into_iter()
        .map(|files| {
            let names =
                files.iter().map(|file| file.strip_prefix(source).unwrap_or(file).display().to_string());
            format!("{}: {}", source.display(), names.collect::<Vec<_>>().join(" <-> "))
        })
        .collect()
}

fn collect(root: &Path, dir: &Path, files: &mut BTreeMap<Vec<String>, PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).expect("below").with_extension("");
            let mut module: Vec<String> =
                relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            if ["mod", "lib", "main"].contains(&module.last().map_or("", String::as_str)) {
                module.pop();
            }
            files.insert(module, path);
        }
    }
}

/// The text before the file's own tests.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// The paths that a file's `use` items at the top level name, and whether each re-exports.
fn uses(text: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line_start = rest[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = &rest[line_start..at];
        let Some(end) = rest[at..].find(';') else { break };
        if before.is_empty() || before.starts_with("pub") && !before.contains("//") {
            let mut paths = Vec::new();
            expand(&rest[at + 4..at + end], &[], &mut paths);
            found.extend(paths.into_iter().map(|path| (!before.is_empty(), path)));
        }
        rest = &rest[at + 4..];
    }
    found
}

/// Every path of a tree of `use`.
fn expand(tree: &str, prefix: &[String], out: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let head = tree[..open].trim().trim_end_matches("::");
        let mut prefix = prefix.to_vec();
        prefix.extend(head.split("::").filter(|part| !part.is_empty()).map(|part| part.trim().to_owned()));
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let (mut depth, mut start) = (0, 0);
        for (i, c) in inner.char_indices().chain([(inner.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[start..i].trim().is_empty() {
                        expand(&inner[start..i], &prefix, out);
                    }
                    start = (i + 1).min(inner.len());
                }
                _ => {}
            }
        }
    } else {
        let mut path = prefix.to_vec();
        path.extend(tree.split("::").map(|part| part.trim().to_owned()));
        out.push(path);
    }
}

/// A path from the crate's root, and the name it gets; none where it leaves the crate.
fn absolute(
    module: &[String],
    path: &[String],
    files: &BTreeMap<Vec<String>, PathBuf>,
) -> Option<(String, Vec<String>)> {
    let mut path = path.to_vec();
    let last = path.pop()?;
    let (name, alias) = last.split_once(" as ").map_or((last.clone(), last.clone()), |(name, alias)| {
        (name.trim().to_owned(), alias.trim().to_owned())
    });
    let mut full: Vec<String> = Vec::new();
    let mut parts = path.into_iter().chain([name]).peekable();
    match parts.peek().map(String::as_str)? {
        "crate" => {
            parts.next();
        }
        "self" => {
            parts.next();
            full = module.to_vec();
        }
        "super" => {
            full = module.to_vec();
            while parts.next_if(|part| part == "super").is_some() {
                full.pop();
            }
        }
        first => {
            let mut child = module.to_vec();
            child.push(first.to_owned());
            if !files.contains_key(&child) {
                return None;
            }
            full = module.to_vec();
        }
    }
    full.extend(parts.filter(|part| part != "self"));
    Some((alias, full))
}

impl Crate {
    /// The file that defines what `path` names.
    fn defining(&self, path: &[String], depth: usize) -> Option<&PathBuf> {
        if let Some(file) = self.files.get(path) {
            return Some(file);
        }
        let (name, module) = path.split_last()?;
        if let Some(target) = self.exports.get(&(module.to_vec(), name.clone()))
            && depth < 10
            && target != path
        {
            return self.defining(target, depth + 1);
        }
        match self.files.get(module) {
            Some(file) => Some(file),
            None => self.defining(module, depth + 1),
        }
    }
}

/// Sets of files each of which reaches the others.
fn components<'a>(edges: &BTreeMap<&'a PathBuf, BTreeSet<&'a PathBuf>>) -> Vec<BTreeSet<&'a PathBuf>> {
    let reach = |from: &'a PathBuf| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            for &next in edges.get(file).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&PathBuf, BTreeSet<&PathBuf>> = edges.keys().map(|&file| (file, reach(file))).collect();
    let mut found: BTreeSet<BTreeSet<&PathBuf>> = BTreeSet::new();
    for (&file, reached) in &all {
        if reached.contains(file) {
            found.insert(
                reached
                    .iter()
                    .copied()
                    .filter(|other| all.get(other).is_some_and(|back| back.contains(file)))
                    .collect(),
            );
        }
    }
    found.into_iter().collect()
}
