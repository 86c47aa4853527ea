//! The rules of `docs/ARCHITECTURE.md`: which module may import which, how a file may grow, what the documentation
//! names.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod documents;
mod modules;
mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use self::{
    modules::{Import, Tree},
    source::{sources, text_at, tokens, without_tests},
};

/// What breaks a rule today. It only shrinks: an entry that breaks none any more has to go.
const ALLOWED: &[&str] = &[];

/// Modules of `src/` and their floors, those to come among them. A new module has to be put here.
const FLOORS: [(&str, u8); 27] = [
    ("clock", 0),
    ("error", 0),
    ("hash", 0),
    ("folder_watch", 1),
    ("settled_file", 1),
    ("random", 1),
    ("record", 1),
    ("rewrite", 1),
    ("grpc", 1),
    ("limit", 1),
    ("body", 2),
    ("telemetry", 2),
    ("retry", 3),
    ("health", 3),
    ("tunnel", 3),
    ("cache", 3),
    ("clusters", 3),
    ("mirror", 3),
    ("split", 3),
    ("upstream", 4),
    ("endpoint", 5),
    ("forward", 5),
    ("balance", 6),
    ("discover", 6),
    ("proxy", 6),
    ("status", 7),
    ("config", 8),
];

/// Crates that only some rooms may name.
const ONLY_IN: [(&str, &[&str]); 3] = [
    ("axum", &["proxy", "status", "config"]),
    ("hyper", &["upstream", "tunnel"]),
    ("hyper_util", &["upstream", "tunnel"]),
];

/// Files that have a reason to be longer than 250 lines of code.
const LONG: [(&str, &str); 1] = [(
    "proxy/reverse_proxy.rs",
    "one setting after the other, each three lines under its docs",
)];

/// How the code breaks one rule: a name for `ALLOWED` that does not change with every edit, and what to read.
type Broken = BTreeMap<String, Vec<String>>;

/// Fails with everything that breaks the rule and is not allowed, and with what is allowed and breaks it no more.
fn check(rule: &str, why: &str, broken: &Broken) {
    let mine = |entry: &&&str| entry.starts_with(&format!("{rule}: "));
    let allowed: BTreeSet<&str> = ALLOWED.iter().filter(mine).copied().collect();
    let name = |key: &String| format!("{rule}: {key}");
    let new: Vec<String> = broken
        .iter()
        .filter(|(key, _)| !allowed.contains(name(key).as_str()))
        .map(|(key, lines)| format!("{}\n    {}", name(key), lines.join("\n    ")))
        .collect();
    let mended: Vec<&str> = allowed
        .into_iter()
        .filter(|entry| !broken.keys().any(|key| name(key) == *entry))
        .collect();
    assert!(new.is_empty(), "{why}\n\n{}\n", new.join("\n"));
    assert!(
        mended.is_empty(),
        "mended, take it out of ALLOWED:\n{}",
        mended.join("\n")
    );
}

fn floor(module: &str) -> Option<u8> {
    let entry = FLOORS.iter().find(|(name, _)| *name == module);
    entry.map(|(_, floor)| *floor)
}

fn room(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap()
}

fn show(import: &Import) -> String {
    let Import {
        from,
        line,
        to,
        written,
        ..
    } = import;
    format!("src/{from}:{line}: `{written}` is in src/{to}")
}

#[test]
fn modules_import_downward_only() {
    let sources = sources();
    let mut broken = Broken::new();
    for source in sources.iter().filter(|source| source.path != "lib.rs") {
        if floor(source.room()).is_none() {
            let key = format!("{} is on no floor, add it to FLOORS", source.room());
            broken.entry(key).or_default().push(source.path.clone());
        }
    }
    for import in Tree::new(&sources).imports() {
        let (own, other) = (room(&import.from), room(&import.to));
        let (Some(here), Some(there)) = (floor(own), floor(other)) else {
            continue;
        };
        if own != other && there >= here {
            let key = format!("{own} (F{here}) imports {other} (F{there})");
            broken.entry(key).or_default().push(show(&import));
        }
    }
    check("floor", "A module imports from lower floors only:", &broken);
}

/// In each folder its files, and its folders as wholes. A `mod.rs` without code of its own is nothing to import.
#[test]
fn nothing_in_a_folder_imports_in_a_circle() {
    let sources = sources();
    let imports = Tree::new(&sources).imports();
    let folders: BTreeSet<&str> = sources
        .iter()
        .filter_map(|source| source.path.rsplit_once('/'))
        .flat_map(|(folder, _)| {
            let above = folder.match_indices('/').map(|(at, _)| &folder[..at]);
            above.chain([folder])
        })
        .collect();
    let mut broken = Broken::new();
    for folder in folders {
        for (member, lines) in circles(folder, &imports) {
            broken.insert(format!("{folder}/{member}"), lines);
        }
    }
    check(
        "circle",
        "What lies in one folder never imports each other in a circle:",
        &broken,
    );
}

/// What lies directly in the folder and is part of a circle, with its part of it.
fn circles(folder: &str, imports: &[Import]) -> BTreeMap<String, Vec<String>> {
    let member = |path: &str| {
        let below = path.strip_prefix(folder)?.strip_prefix('/')?;
        Some(match below.split_once('/') {
            Some((inner, _)) => format!("{inner}/"),
            None => below.to_owned(),
        })
    };
    let mut edges: BTreeMap<(String, String), &Import> = BTreeMap::new();
    for import in imports.iter().filter(|import| !import.passed_on) {
        match (member(&import.from), member(&import.to)) {
            (Some(from), Some(to)) if from != to => {
                edges.entry((from, to)).or_insert(import);
            }
            _ => {}
        }
    }
    let reaches = |start: &str, goal: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(at) = next.pop() {
            for (from, to) in edges.keys() {
                if from == at && seen.insert(to.as_str()) {
                    next.push(to);
                }
            }
        }
        seen.contains(goal)
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ((from, to), import) in &edges {
        if reaches(to, from) {
            found.entry(from.clone()).or_default().push(show(import));
        }
    }
    found
}

#[test]
fn crates_stay_in_their_places() {
    let mut broken = Broken::new();
    for source in &sources() {
        let (tokens, _) = without_tests(&tokens(&source.text));
        for (at, token) in tokens.iter().enumerate() {
            let Some((name, rooms)) = ONLY_IN.iter().find(|(name, _)| *name == token.text) else {
                continue;
            };
            let previous = at.checked_sub(1).map_or("", |at| text_at(&tokens, at));
            let names = text_at(&tokens, at + 1) == "::" || previous == "use";
            if names && !matches!(previous, "::" | ".") && !rooms.contains(&source.room()) {
                let key = format!("{name} in {}", source.path);
                let line = format!(
                    "src/{}:{}, but it belongs in {rooms:?}",
                    source.path, token.line
                );
                broken.entry(key).or_default().push(line);
            }
        }
    }
    check(
        "crate",
        "Some crates are named in some rooms only:",
        &broken,
    );
}

#[test]
fn types_have_names_of_their_own() {
    let mut broken = Broken::new();
    let tree = Tree::new(&sources());
    for module in tree.modules() {
        for (line, name) in &module.types {
            let place = format!("src/{}:{line}", module.path);
            broken.entry(name.clone()).or_default().push(place);
        }
    }
    broken.retain(|_, places| places.len() > 1);
    check("name", "No two types have one name:", &broken);
}

#[test]
fn files_stay_small() {
    let mut broken = Broken::new();
    for source in &sources() {
        let lines = source.code().count();
        let reason = LONG.iter().any(|(path, _)| *path == source.path);
        if lines > 400 || (lines > 250 && !reason) {
            let said = format!("{lines} lines of code");
            broken.insert(source.path.clone(), vec![said]);
        }
    }
    check(
        "size",
        "A file has at most 250 lines of code, 400 with a reason in LONG:",
        &broken,
    );
}

/// rustfmt leaves comments as they are.
#[test]
fn lines_fit() {
    let mut broken = Broken::new();
    for source in &sources() {
        for (n, line) in source.text.lines().enumerate() {
            if line.chars().count() > 120 {
                let line = format!("{}: {line}", n + 1);
                broken.entry(source.path.clone()).or_default().push(line);
            }
        }
    }
    check("line", "A line has at most 120 characters:", &broken);
}

/// The table of floors in the documentation has all modules that exist, on their floors, and no others.
#[test]
fn the_documentation_shows_the_floors() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let text = fs::read_to_string(page).unwrap();
    let documented: BTreeSet<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| F")?.split('|');
            let floor = cells.next()?.trim().to_owned();
            let module = cells.next()?.trim().trim_matches(['`', '/']).to_owned();
            Some((module, floor))
        })
        .collect();
    let sources = sources();
    let existing: BTreeSet<(String, String)> = sources
        .iter()
        .filter_map(|source| Some((source.room().to_owned(), floor(source.room())?.to_string())))
        .collect();
    assert_eq!(
        documented, existing,
        "documented on the left, existing on the right"
    );
}

#[test]
fn a_circle_is_found() {
    let import = |from: &str, to: &str| Import {
        from: from.to_owned(),
        line: 1,
        to: to.to_owned(),
        written: "super::x".to_owned(),
        passed_on: false,
    };
    let imports = [
        import("room/a.rs", "room/inner/mod.rs"),
        import("room/inner/leaf.rs", "room/b.rs"),
        import("room/b.rs", "room/a.rs"),
        import("room/c.rs", "room/a.rs"),
        import("room/inner/mod.rs", "room/inner/leaf.rs"),
        import("other/a.rs", "room/a.rs"),
    ];
    let found = circles("room", &imports);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a.rs", "b.rs", "inner/"]);
    assert!(circles("room/inner", &imports).is_empty());
}
