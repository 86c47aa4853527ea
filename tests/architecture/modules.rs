//! The tree of modules: which file declares, imports and defines what, and which file another one means by a path.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token, closing, text_at, tokens, without_tests};

/// One file as a module.
#[derive(Default)]
pub struct Module {
    /// Below `src/`.
    pub path: String,
    /// From the crate's root.
    name: Vec<String>,
    children: BTreeSet<String>,
    test_children: BTreeSet<String>,
    /// What `use` brings in, by the name it has here.
    imported: BTreeMap<String, Vec<String>>,
    /// Modules whose names are all brought in.
    globs: Vec<Vec<String>>,
    /// Every path that the file writes.
    paths: Vec<Written>,
    /// Every word of the code outside of `use`.
    words: BTreeSet<String>,
    /// Types, and where they are defined.
    pub types: Vec<(usize, String)>,
    /// Everything that has a name of its own here.
    defined: BTreeSet<String>,
    /// Whether there is more in it than docs, `mod` and `use`.
    pub has_code: bool,
}

/// A path as a file writes it.
struct Written {
    line: usize,
    path: Vec<String>,
    /// The name it has from here on, if `pub use` passes it on.
    passed_on: Option<String>,
}

/// One file's mention of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub from: String,
    pub line: usize,
    pub to: String,
    /// The path as it is written.
    pub written: String,
    /// Passed on by `pub use`, and not used by the file itself.
    pub passed_on: bool,
}

/// All files of a crate that are compiled outside of tests.
pub struct Tree(BTreeMap<Vec<String>, Module>);

impl Tree {
    pub fn new(sources: &[Source]) -> Self {
        let mut modules: BTreeMap<_, _> = sources
            .iter()
            .map(Module::read)
            .map(|module| (module.name.clone(), module))
            .collect();
        let test_only: Vec<Vec<String>> = modules
            .values()
            .flat_map(|module| {
                let child = |child: &String| [module.name.clone(), vec![child.clone()]].concat();
                module.test_children.iter().map(child)
            })
            .collect();
        modules.retain(|name, _| !test_only.iter().any(|tests| name.starts_with(tests)));
        Self(modules)
    }

    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.0.values()
    }

    /// What each file mentions of files that have code, with re-exports followed to the file that defines it.
    pub fn imports(&self) -> Vec<Import> {
        let mut found = Vec::new();
        for module in self.0.values() {
            for Written {
                line,
                path,
                passed_on,
            } in &module.paths
            {
                let meant = self
                    .absolute(module, path)
                    .and_then(|path| self.locate(&path));
                if let Some(other) =
                    meant.filter(|other| other.has_code && other.path != module.path)
                {
                    found.push(Import {
                        from: module.path.clone(),
                        line: *line,
                        to: other.path.clone(),
                        written: path.join("::"),
                        passed_on: passed_on
                            .as_ref()
                            .is_some_and(|name| !module.words.contains(name)),
                    });
                }
            }
        }
        found
    }

    /// The path from the crate's root, or `None` if it leads into another crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        self.absolute_within(module, path, 16)
    }

    fn absolute_within(&self, module: &Module, path: &[String], depth: u8) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let base = match first.as_str() {
            "crate" => Vec::new(),
            "self" => module.name.clone(),
            "super" => {
                let mut base = module.name.clone();
                base.pop();
                let above = rest.iter().take_while(|name| *name == "super").count();
                base.truncate(base.len().saturating_sub(above));
                return Some([base, rest[above..].to_vec()].concat());
            }
            child if module.children.contains(child) => {
                [module.name.clone(), vec![first.clone()]].concat()
            }
            name => {
                let origin = module.imported.get(name)?;
                let same = origin.first() == Some(first);
                if depth == 0 || same {
                    return None;
                }
                self.absolute_within(module, origin, depth - 1)?
            }
        };
        Some([base, rest.to_vec()].concat())
    }

    /// The file that defines what a path from the crate's root names.
    fn locate(&self, path: &[String]) -> Option<&Module> {
        self.locate_within(path, 16)
    }

    fn locate_within(&self, path: &[String], depth: u8) -> Option<&Module> {
        let mut module = self.0.get(&[][..])?;
        for (at, name) in path.iter().enumerate() {
            let inner = [module.name.clone(), vec![name.clone()]].concat();
            if let Some(child) = self.0.get(&inner) {
                module = child;
                continue;
            }
            let depth = depth.checked_sub(1)?;
            let rest = &path[at..];
            if let Some(origin) = module.imported.get(name) {
                let origin = self.absolute(module, origin)?;
                return self.locate_within(&[origin, rest[1..].to_vec()].concat(), depth);
            }
            if module.defined.contains(name) {
                return Some(module);
            }
            let globs = module
                .globs
                .iter()
                .filter_map(|glob| self.absolute(module, glob));
            let through = |glob: Vec<String>| {
                let other = self.locate_within(&[glob, rest.to_vec()].concat(), depth)?;
                other.defined.contains(name).then_some(other)
            };
            return globs.into_iter().find_map(through).or(Some(module));
        }
        Some(module)
    }
}

impl Module {
    fn read(source: &Source) -> Self {
        let mut name: Vec<String> = source
            .path
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if matches!(
            name.last().map(String::as_str),
            Some("mod" | "lib" | "main")
        ) {
            name.pop();
        }
        let mut module = Self {
            path: source.path.clone(),
            name,
            ..Self::default()
        };
        let (tokens, test_children) = without_tests(&tokens(&source.text));
        module.test_children = test_children.into_iter().map(str::to_owned).collect();
        module.items(&tokens);
        module
    }

    /// Walks over all tokens once. `scopes` is what each open brace belongs to.
    fn items(&mut self, tokens: &[Token<'_>]) {
        let mut scopes = Vec::new();
        let mut opens = "";
        let mut public = false;
        let mut at = 0;
        while at < tokens.len() {
            let token = tokens[at];
            let next = text_at(tokens, at + 1);
            let previous = at.checked_sub(1).map_or("", |at| tokens[at].text);
            match token.text {
                "#" if next == "[" || next == "!" => {
                    let open = at + if next == "[" { 1 } else { 2 };
                    at = closing(tokens, open) + 1;
                    continue;
                }
                "pub" => {
                    public = true;
                    at += 1;
                    if next == "(" {
                        at = closing(tokens, at) + 1;
                    }
                    continue;
                }
                "mod" if text_at(tokens, at + 2) == ";" => {
                    self.children.insert(next.to_owned());
                    at += 3;
                    continue;
                }
                // `use<'a>` in a type is something else.
                "use" if next != "<" => {
                    at = self.tree(tokens, at + 1, &[], public) + 1;
                    public = false;
                    continue;
                }
                "{" => scopes.push(std::mem::take(&mut opens)),
                "}" => drop(scopes.pop()),
                ";" => opens = "",
                "impl" | "trait" if opens.is_empty() => opens = token.text,
                _ => {}
            }
            public = false;
            self.has_code = true;
            if token.is_word() {
                self.words.insert(token.text.to_owned());
            }
            let associated = matches!(scopes.last(), Some(&"impl" | &"trait"));
            let names = match token.text {
                "struct" | "enum" | "trait" | "union" => true,
                "type" => !associated,
                _ => false,
            };
            let next_is_word = tokens.get(at + 1).is_some_and(Token::is_word);
            if names && next_is_word {
                self.types.push((token.line, next.to_owned()));
            }
            let defines = names || matches!(token.text, "fn" | "const" | "static" | "macro_rules");
            if defines && next_is_word {
                self.defined.insert(next.to_owned());
            }
            let starts_path = token.is_word() && next == "::" && !matches!(previous, "::" | ".");
            if starts_path {
                let (end, path) = plain_path(tokens, at);
                self.paths.push(Written {
                    line: token.line,
                    path,
                    passed_on: None,
                });
                at = end;
                continue;
            }
            at += 1;
        }
    }

    /// Reads a tree of imports up to the token behind it, which is returned.
    fn tree(
        &mut self,
        tokens: &[Token<'_>],
        mut at: usize,
        prefix: &[String],
        public: bool,
    ) -> usize {
        let line = tokens.get(at).map_or(0, |token| token.line);
        let mut path = prefix.to_vec();
        loop {
            match text_at(tokens, at) {
                "::" => at += 1,
                "{" => {
                    let end = closing(tokens, at);
                    at += 1;
                    while at < end {
                        at = self.tree(tokens, at, &path, public);
                        if text_at(tokens, at) == "," {
                            at += 1;
                        }
                    }
                    return end + 1;
                }
                "*" => {
                    self.imports(line, &path, public.then_some("*"));
                    self.globs.push(path);
                    return at + 1;
                }
                word if tokens.get(at).is_some_and(Token::is_word) => {
                    at += 1;
                    // `self` in a group is the group's own path.
                    if word != "self" || path.is_empty() {
                        path.push(word.to_owned());
                    }
                    if text_at(tokens, at) == "::" {
                        continue;
                    }
                    let mut name = path.last().cloned().unwrap_or_default();
                    if text_at(tokens, at) == "as" {
                        name = text_at(tokens, at + 1).to_owned();
                        at += 2;
                    }
                    self.imports(line, &path, public.then_some(&*name));
                    self.imported.insert(name, path);
                    return at;
                }
                _ => return at,
            }
        }
    }

    fn imports(&mut self, line: usize, path: &[String], passed_on: Option<&str>) {
        self.paths.push(Written {
            line,
            path: path.to_vec(),
            passed_on: passed_on.map(str::to_owned),
        });
    }
}

/// A path outside of `use`, and where it ends.
fn plain_path(tokens: &[Token<'_>], mut at: usize) -> (usize, Vec<String>) {
    let mut path = vec![tokens[at].text.to_owned()];
    at += 1;
    while text_at(tokens, at) == "::" && tokens.get(at + 1).is_some_and(Token::is_word) {
        path.push(tokens[at + 1].text.to_owned());
        at += 2;
    }
    if text_at(tokens, at) == "::" {
        at += 1;
    }
    (at, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let source = |(path, text): &(&str, &str)| Source {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Tree::new(&files.iter().map(source).collect::<Vec<_>>())
    }

    /// What is imported, as "from > to".
    fn imports(files: &[(&str, &str)]) -> Vec<String> {
        let show = |import: Import| format!("{} > {}", import.from, import.to);
        let mut all = tree(files).imports();
        all.retain(|import| !import.passed_on);
        let mut all: Vec<_> = all.into_iter().map(show).collect();
        all.dedup();
        all
    }

    const FACADE: (&str, &str) = (
        "room/mod.rs",
        "//! Docs.\nmod one;\nmod two;\npub use self::{one::One, two::*};",
    );

    #[test]
    fn a_reexport_means_the_file_that_defines() {
        let one = ("room/one.rs", "use super::Two; pub struct One(Two);");
        let two = (
            "room/two.rs",
            "pub struct Two; fn f() { crate::room::One; }",
        );
        let lib = ("lib.rs", "mod room;");
        let expected = ["room/one.rs > room/two.rs", "room/two.rs > room/one.rs"];
        assert_eq!(imports(&[lib, FACADE, one, two]), expected);
    }

    #[test]
    fn a_folder_without_code_is_nothing_to_import() {
        let one = ("room/one.rs", "use super::two; pub struct One(two::Two);");
        let two = ("room/two.rs", "pub struct Two; use crate::room;");
        let lib = ("lib.rs", "mod room;");
        assert_eq!(
            imports(&[lib, FACADE, one, two]),
            ["room/one.rs > room/two.rs"]
        );
        let with_code = ("room/mod.rs", "mod one; mod two; struct Own;");
        let one = ("room/one.rs", "fn f(_: super::Own) {}");
        let expected = ["room/one.rs > room/mod.rs", "room/two.rs > room/mod.rs"];
        assert_eq!(imports(&[lib, with_code, one, two]), expected);
    }

    #[test]
    fn groups_aliases_and_names_of_modules() {
        let lib = ("lib.rs", "mod a; mod b; mod c;");
        let a = (
            "a.rs",
            "use crate::{b::{self, B as Other}, c}; fn f() { c::go(); Other::new(); b::x() }",
        );
        let b = ("b.rs", "pub struct B;");
        let c = ("c.rs", "pub fn go() {}");
        let expected = ["a.rs > b.rs", "a.rs > c.rs", "a.rs > b.rs"];
        assert_eq!(imports(&[lib, a, b, c]), expected);
    }

    #[test]
    fn tests_comments_and_strings_are_no_code() {
        let lib = ("lib.rs", "mod a; mod b; #[cfg(test)] mod fixture;");
        let a = (
            "a.rs",
            "// crate::b::B\n/* crate::b /* */ crate::b */ const A: &str = \"crate::b::\\\"B\"; const R: &str = r#\"crate::b\"\"#;\n\
             const Q: char = '\"'; /// [`crate::b`]\nfn f<'a>() {}\n#[cfg(test)]\nuse crate::b::B;\n\
             #[cfg(test)]\nmod tests { use crate::b::B; fn g() { B::new() } }",
        );
        let b = ("b.rs", "pub struct B; pub(in crate::a) fn b() {}");
        let fixture = ("fixture.rs", "use crate::a;");
        assert_eq!(imports(&[lib, a, b, fixture]), [""; 0]);
    }

    #[test]
    fn types_are_found_where_they_are_defined() {
        let text = "pin_project! { pub struct One<T> { inner: T } }\n\
                    impl Service for One { type Response = (); fn call(&self) { enum Local {} } }\n\
                    trait Two { type Associated; }\npub(crate) type Three = u8;";
        let tree = tree(&[("lib.rs", text)]);
        let types: Vec<_> = tree.modules().flat_map(|module| &module.types).collect();
        let names: Vec<_> = types
            .iter()
            .map(|(line, name)| (*line, name.as_str()))
            .collect();
        assert_eq!(names, [(1, "One"), (2, "Local"), (3, "Two"), (4, "Three")]);
    }
}
