//! The documentation names files and tests that exist.

use std::{collections::BTreeSet, fs, path::Path};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages in `docs/` and in the root, with their paths.
fn pages() -> Vec<(String, String)> {
    let list = |folder: &str| {
        let mut paths: Vec<_> = fs::read_dir(root().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".md") && name != "CHANGELOG.md")
            .map(|name| format!("{folder}{name}"))
            .collect();
        paths.sort();
        paths
    };
    let paths = list("docs/").into_iter().chain(list(""));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// What stands between backticks, outside of blocks of code.
fn quoted(text: &str) -> Vec<(usize, &str)> {
    let mut in_block = false;
    let mut found = Vec::new();
    for (n, line) in text.lines().enumerate() {
        in_block ^= line.trim_start().starts_with("```");
        if !in_block {
            let parts = line.split('`').skip(1).step_by(2);
            found.extend(parts.map(|part| (n + 1, part)));
        }
    }
    found
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let (names, after) = rest.split_once('}').unwrap();
    let one = |name| format!("{before}{name}{after}");
    names.split(',').map(one).collect()
}

#[test]
fn files_that_are_named_exist() {
    let mut missing = Vec::new();
    for (page, text) in pages() {
        for (line, name) in quoted(&text) {
            let is_path = name.ends_with(".rs") && name.contains('/') && !name.contains(' ');
            // A file of another project is named with its own.
            let elsewhere = text.contains(&format!("'s `{name}`"));
            if !is_path || elsewhere {
                continue;
            }
            for path in alternatives(name) {
                let exists = ["", "src/"]
                    .iter()
                    .any(|base| root().join(base).join(&path).is_file());
                if !exists {
                    missing.push(format!("{page}:{line}: {path}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no such files:\n{}", missing.join("\n"));
}

#[test]
fn tests_that_are_named_exist() {
    let page = read("docs/CHECKS.md");
    let mut missing = Vec::new();
    for (line, name) in quoted(&page) {
        let Some((file, test)) = name.rsplit_once("::") else {
            continue;
        };
        let is_name =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '/' | ':');
        if !name.chars().all(is_name) || name == "file::name" || name == "folder::file::name" {
            continue;
        }
        let path = file.replace("::", "/");
        let folders: &[&str] = match file.contains('/') {
            true => &["src"],
            false => &["tests/behaviour", "tests/scenarios"],
        };
        let mut candidates = folders.iter().flat_map(|folder| {
            [
                format!("{folder}/{path}.rs"),
                format!("{folder}/{path}/mod.rs"),
            ]
        });
        let has = |path: String| {
            let text = fs::read_to_string(root().join(path)).unwrap_or_default();
            text.contains(&format!("fn {test}("))
        };
        if !candidates.any(has) {
            missing.push(format!("docs/CHECKS.md:{line}: {name}"));
        }
    }
    assert!(missing.is_empty(), "no such tests:\n{}", missing.join("\n"));
}

/// A link to a file in this repository leads somewhere, and so does one to a heading.
#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for (page, text) in pages() {
        let folder = Path::new(&page).parent().unwrap();
        for (n, line) in text.lines().enumerate() {
            for link in links(line) {
                if link.starts_with("http") || link.starts_with("mailto:") {
                    continue;
                }
                let (path, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => page.clone(),
                    _ => folder.join(path).to_str().unwrap().to_owned(),
                };
                let exists = root().join(&target).exists();
                let has_heading = heading.is_empty()
                    || exists && headings(&read(&target)).contains(&heading.to_owned());
                if !exists || !has_heading {
                    broken.push(format!("{page}:{}: {link}", n + 1));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
}

/// The README is shown where there is no checkout: what it links to is in the package, or has an address of its own.
#[test]
fn the_readme_links_into_the_package() {
    let manifest = read("Cargo.toml");
    let (_, include) = manifest.split_once("include = [").unwrap();
    let (include, _) = include.split_once(']').unwrap();
    let patterns: Vec<_> = include.split('"').skip(1).step_by(2).collect();
    let is_packed = |path: &str| {
        let matches = |pattern: &&str| match pattern.strip_suffix("**") {
            Some(folder) => path.starts_with(folder),
            None => path == *pattern,
        };
        // A folder with a manifest of its own is another package.
        let inner = Path::new(path).ancestors().skip(1);
        let is_ours = inner
            .filter(|folder| !folder.as_os_str().is_empty())
            .all(|folder| !root().join(folder).join("Cargo.toml").exists());
        patterns.iter().any(matches) && is_ours
    };
    let readme = read("README.md");
    let outside: Vec<_> = readme
        .lines()
        .flat_map(links)
        .filter(|link| !link.starts_with("http") && !link.starts_with('#'))
        .filter(|link| !is_packed(link.split('#').next().unwrap()))
        .collect();
    assert!(outside.is_empty(), "not in the package: {outside:?}");
}

/// The words of a text that are flags of a program, without their dashes.
fn flags(text: &str) -> BTreeSet<&str> {
    let ends = |c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let words = text.match_indices("--").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|before| !before.is_ascii_alphanumeric() && before != '-')
    });
    let words = words.map(|(at, dashes)| text[at + dashes.len()..].split(ends).next().unwrap());
    words
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

/// The page of the gateway has every flag, and names none that it does not have. Nor do its units.
#[test]
fn the_flags_of_the_gateway_are_documented() {
    let folder = "examples/gateway";
    let help = read(&format!("{folder}/src/options/help.rs"));
    let known = flags(&help);
    assert!(
        known.contains("tls-listen") && known.len() > 30,
        "{known:?}"
    );
    let page = read("docs/GATEWAY.md");
    let documented = flags(&page);
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/GATEWAY.md: {missing:?}");
    // Of cargo, in commands.
    let foreign = ["release", "profile", "features"];
    let unknown = documented
        .iter()
        .filter(|flag| !known.contains(*flag) && !foreign.contains(flag));
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "no flags of the gateway: {unknown:?}");
    for unit in ["gateway.service", "Containerfile"] {
        let text = read(&format!("{folder}/deploy/{unit}"));
        // What starts the program, and not what builds it.
        let lines = text
            .lines()
            .filter(|line| !line.contains("cargo") && !line.contains("podman"));
        let lines: String = lines.filter(|line| !line.starts_with("COPY")).collect();
        let unknown: Vec<_> = flags(&lines)
            .into_iter()
            .filter(|flag| !known.contains(flag))
            .collect();
        assert!(
            unknown.is_empty(),
            "{unit}: no flags of the gateway: {unknown:?}"
        );
    }
}

/// Where `[text](target)` and `[text]: target` lead.
fn links(line: &str) -> Vec<&str> {
    let mut found: Vec<_> = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect();
    let definition = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]: "));
    found.extend(definition.map(|(_, target)| target));
    found
}

/// Headings as a link names them.
fn headings(text: &str) -> Vec<String> {
    let heading = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(heading)
        .collect()
}
