//! The floors of `docs/ARCHITECTURE.md`: a module imports from lower floors only, and files stay small.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Modules of `src/` and their floors. A new module has to be put here.
const FLOORS: [(&str, u8); 11] = [
    ("clock", 0),
    ("error", 0),
    ("info", 0),
    ("body", 1),
    ("random", 1),
    ("rewrite", 1),
    ("upstream", 2),
    ("endpoint", 3),
    ("balance", 4),
    ("forward", 4),
    ("proxy", 5),
];

/// Crates that only some places may name.
const ONLY_IN: [(&str, &[&str]); 3] = [
    ("axum", &["proxy/"]),
    ("hyper", &["upstream/", "forward/upgrade.rs"]),
    ("hyper_util", &["upstream/", "forward/upgrade.rs"]),
];

/// Files that have a reason to be longer than 250 lines of code.
const LONG: [(&str, &str); 1] = [(
    "proxy/reverse_proxy.rs",
    "one setting after the other, each three lines under its docs",
)];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Numbered lines of code: no comments, no blank lines, no tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self
            .text
            .find("#[cfg(test)]\nmod tests")
            .unwrap_or(self.text.len());
        let lines = self.text[..tests]
            .lines()
            .enumerate()
            .map(|(n, line)| (n + 1, line.trim()));
        lines.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
    }

    fn module(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, files),
                false => files.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let read = |file: PathBuf| Source {
        path: file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .replace('\\', "/"),
        text: fs::read_to_string(&file).unwrap(),
    };
    files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|e| e == "rs"))
        .map(read)
        .collect()
}

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// Modules of this crate that a text names, by `crate::name` and by names in `crate::{…}`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    for (number, line) in source.code() {
        let mut rest = line;
        if depth == 0 {
            while let Some((_, after)) = rest.split_once("crate::") {
                let after = after.trim_start();
                rest = after;
                if let Some(group) = after.strip_prefix('{') {
                    depth = 1;
                    rest = group;
                    break;
                }
                let name: String = after
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                found.push((number, name));
            }
        }
        if depth > 0 {
            let mut word = String::new();
            for c in rest.chars().chain([' ']) {
                if c.is_alphanumeric() || c == '_' {
                    word.push(c);
                    continue;
                }
                if depth == 1 && !word.is_empty() {
                    found.push((number, word.clone()));
                }
                word.clear();
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
    }
    // Names behind `::` at depth one are items of a module, not modules.
    found.retain(|(_, name)| floor(name).is_some());
    found
}

#[test]
fn modules_import_downward_only() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let module = source.module();
        let own = floor(module)
            .unwrap_or_else(|| panic!("{} is on no floor: add it to FLOORS", source.path));
        for (line, other) in imports(source) {
            if other != module && floor(&other).unwrap() >= own {
                broken.push(format!(
                    "src/{}:{line}: {module} (F{own}) imports {other}",
                    source.path
                ));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "a module imports from lower floors only:\n{}",
        broken.join("\n")
    );
}

#[test]
fn crates_stay_in_their_places() {
    let mut broken = Vec::new();
    for source in &sources() {
        for (line, text) in source.code() {
            for (name, places) in ONLY_IN {
                let named = text.match_indices(&format!("{name}::")).any(|(at, _)| {
                    !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                });
                if named && !places.iter().any(|place| source.path.starts_with(place)) {
                    broken.push(format!(
                        "src/{}:{line}: {name} belongs to {places:?}",
                        source.path
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_stay_small() {
    for source in &sources() {
        let lines = source.code().count();
        let reason = LONG.iter().find(|(path, _)| *path == source.path);
        assert!(
            lines <= 400,
            "src/{} has {lines} lines of code",
            source.path
        );
        assert!(
            lines <= 250 || reason.is_some(),
            "src/{} has {lines} lines of code and no reason",
            source.path
        );
    }
}

/// rustfmt leaves comments as they are.
#[test]
fn lines_fit() {
    let mut long = Vec::new();
    for source in &sources() {
        let lines = source
            .text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.chars().count() > 120);
        long.extend(lines.map(|(n, line)| format!("src/{}:{}: {line}", source.path, n + 1)));
    }
    assert!(
        long.is_empty(),
        "lines of more than 120 characters:\n{}",
        long.join("\n")
    );
}

/// The floors that the documentation shows are these.
#[test]
fn the_documentation_shows_the_floors() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md"))
            .unwrap();
    for (module, floor) in FLOORS {
        let row = text.lines().find(|line| {
            line.contains(&format!("`{module}")) && line.contains(&format!("F{floor}"))
        });
        assert!(
            row.is_some(),
            "docs/ARCHITECTURE.md does not say that {module} is on F{floor}"
        );
    }
}
