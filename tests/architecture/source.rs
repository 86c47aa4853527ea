//! The files of `src/`, and the tokens of their code.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One file.
pub struct Source {
    /// Below `src/`, with `/` on every platform.
    pub path: String,
    pub text: String,
}

impl Source {
    /// Numbered lines of code: no comments, no blank lines, no tests.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
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

    /// The module of the crate's root that the file belongs to.
    pub fn room(&self) -> &str {
        self.path.split(['/', '.']).next().unwrap()
    }
}

/// All files of `src/`, in the order of their paths.
pub fn sources() -> Vec<Source> {
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

/// A word, `::`, or a single sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token<'a> {
    pub line: usize,
    pub text: &'a str,
}

impl Token<'_> {
    pub fn is_word(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of a text, without comments, strings, characters and lifetimes.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest) {
            length
        } else if first == '\'' {
            character(rest)
        } else {
            let length = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            if !first.is_whitespace() {
                let text = &rest[..length];
                found.push(Token { line, text });
            }
            length
        };
        line += rest[..length].matches('\n').count();
        at += length;
    }
    found
}

fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let step = match () {
            () if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            () if rest.starts_with("*/") => {
                depth -= 1;
                2
            }
            () => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// How long the string is that the text begins with, if it does: plain, raw, of bytes, of C.
fn string(text: &str) -> Option<usize> {
    let prefix = text.find(|c| !matches!(c, 'b' | 'c' | 'r'))?;
    let raw = text[..prefix].contains('r');
    let hashes = match raw {
        true => text[prefix..].find(|c| c != '#')?,
        false => 0,
    };
    let inside = prefix + hashes + 1;
    if prefix > 2 || !text[prefix + hashes..].starts_with('"') {
        return None;
    }
    if raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(inside + text[inside..].find(&end)? + end.len());
    }
    let mut escaped = false;
    for (at, c) in text[inside..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(inside + at + 1),
            _ => {}
        }
    }
    None
}

/// How long a character or the tick of a lifetime is. The name of a lifetime is then a word that nothing looks at.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // What is escaped may be a tick itself.
            chars.next();
            chars
                .find(|(_, c)| *c == '\'')
                .map_or(text.len(), |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 1,
        },
        None => 1,
    }
}

/// The tokens that are compiled outside of tests, and the modules that are not.
pub fn without_tests<'a>(tokens: &[Token<'a>]) -> (Vec<Token<'a>>, Vec<&'a str>) {
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let is_attribute = tokens[at].text == "#" && text_at(tokens, at + 1) == "[";
        if !is_attribute {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        let end = closing(tokens, at + 1);
        let words: Vec<_> = tokens[at..end].iter().map(|token| token.text).collect();
        if words.starts_with(&["#", "[", "cfg", "("])
            && words.contains(&"test")
            && !words.contains(&"not")
        {
            let item = end + 1;
            at = end_of_item(tokens, item);
            match &tokens[item..at] {
                [.., keyword, module, end] if (keyword.text, end.text) == ("mod", ";") => {
                    modules.push(module.text);
                }
                _ => {}
            }
        } else {
            kept.extend(&tokens[at..=end]);
            at = end + 1;
        }
    }
    (kept, modules)
}

pub fn text_at<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

/// The token that closes the bracket at `open`.
pub fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len().saturating_sub(1)
}

/// One past the last token of the item, field or statement that begins at `start`.
fn end_of_item(tokens: &[Token<'_>], start: usize) -> usize {
    const ITEMS: [&str; 12] = [
        "pub", "use", "mod", "fn", "async", "const", "struct", "enum", "impl", "trait", "type",
        "unsafe",
    ];
    let mut at = start;
    while text_at(tokens, at) == "#" {
        at = closing(tokens, at + 1) + 1;
    }
    let is_item = ITEMS.contains(&text_at(tokens, at));
    if text_at(tokens, at) == "pub" {
        at += 1;
    }
    if text_at(tokens, at) == "(" {
        at = closing(tokens, at) + 1;
    }
    let is_use = text_at(tokens, at) == "use";
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            "}" | ")" if !is_item => return at,
            "{" => {
                at = closing(tokens, at);
                if is_item && !is_use {
                    return at + 1;
                }
            }
            "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
    at
}
