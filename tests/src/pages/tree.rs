//! The files of a repository, and which names its sources have.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::Page;

/// Directories of the root that hold no sources.
const NO_SOURCES: [&str; 2] = ["target", ".git"];
/// Keywords before the name of an item.
const KEYWORDS: [&str; 10] =
    ["fn", "struct", "enum", "union", "trait", "const", "static", "type", "mod", "macro_rules!"];

/// A repository as it lies on disk.
#[derive(Debug, Default)]
pub struct Tree {
    /// Text files by their paths, seen from the root.
    texts: BTreeMap<String, String>,
    /// All files and directories.
    paths: BTreeSet<String>,
    /// The words of every text that is no page.
    words: HashSet<String>,
    /// The items of each Rust source.
    items: BTreeMap<String, HashSet<String>>,
}

impl Tree {
    /// Reads the repository at a root.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        Ok(tree)
    }

    fn walk(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let what = || directory.display().to_string();
        for entry in fs::read_dir(directory).with_context(what)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                if !NO_SOURCES.contains(&path.as_str()) {
                    self.walk(&entry.path(), &format!("{path}/"))?;
                    self.paths.insert(path);
                }
            } else {
                let text = fs::read(entry.path()).with_context(|| path.clone())?;
                self.add(path, String::from_utf8(text).ok());
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, text: Option<String>) {
        self.paths.insert(path.clone());
        let Some(text) = text else { return };
        if !is_page(&path) {
            self.words.extend(words(&text).map(str::to_owned));
        }
        if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            self.items.insert(path.clone(), text.lines().filter_map(item).collect());
        }
        self.texts.insert(path, text);
    }

    /// Every page, by its path.
    #[must_use]
    pub fn pages(&self) -> BTreeMap<&str, Page> {
        let pages = self.texts.iter().filter(|(path, _)| is_page(path));
        pages.map(|(path, text)| (path.as_str(), Page::parse(text))).collect()
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether there is a file or directory at a path, or one that it means: a `*` stands for any
    /// part of a name.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        match path.split_once('*') {
            None => path.is_empty() || self.paths.contains(path),
            Some((before, after)) => self.paths.iter().any(|other| {
                let rest = other.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                rest.is_some_and(|part| !part.contains('/'))
            }),
        }
    }

    /// Whether a path ends like this, in whole names.
    #[must_use]
    pub fn has_end(&self, end: &str) -> bool {
        let end = format!("/{end}");
        self.paths.iter().any(|path| path.ends_with(&end))
    }

    /// Whether a text that is no page has this word.
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Whether an item of this name belongs to a module, or to a type, of that name.
    #[must_use]
    pub fn has_item(&self, parent: &str, name: &str) -> bool {
        self.items.iter().any(|(path, items)| {
            let module = || {
                let path = path.strip_suffix(".rs").unwrap_or(path);
                path.split('/').any(|part| part == parent)
            };
            items.contains(name) && (items.contains(parent) || module())
        })
    }
}

fn is_page(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "md")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The name that a line of Rust declares: an item's, a field's or a variant's.
fn item(line: &str) -> Option<String> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let mut tokens = line.split_whitespace();
    while let Some(token) = tokens.next() {
        if KEYWORDS.contains(&token) {
            let name = tokens.clone().find_map(|token| words(token).next());
            // As in `const fn`.
            if name.is_some_and(|name| !KEYWORDS.contains(&name) && name != "mut") {
                return name.map(str::to_owned);
            }
        }
    }
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name = words(line).next().filter(|name| line.starts_with(name))?;
    let rest = &line[name.len()..];
    let declares = rest.starts_with(": ")
        || rest.starts_with(" = ")
        || rest.starts_with(" {")
        || rest.starts_with(',')
        || (rest.starts_with('(') && rest.ends_with(','));
    declares.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        let source =
            "pub const fn version() {}\npub struct Host {\n    pub expires: u64,\n}\n// fn no\n";
        tree.add("a/src/host.rs".to_owned(), Some(source.to_owned()));
        tree.add("a/README.md".to_owned(), Some("# Title\n\nexpires_never\n".to_owned()));
        tree.paths.extend(["a".to_owned(), "a/src".to_owned()]);
        tree
    }

    #[test]
    fn files_directories_and_patterns_are_found() {
        let tree = tree();
        for (path, there) in [
            ("a/src/host.rs", true),
            ("a/src/", true),
            ("a/src/*.rs", true),
            ("a/*.rs", false),
            ("a/src/other.rs", false),
        ] {
            assert_eq!(tree.has(path), there, "{path}");
        }
        assert!(tree.has_end("host.rs") && !tree.has_end("ost.rs"));
    }

    #[test]
    fn items_belong_to_modules_and_types() {
        let tree = tree();
        for (parent, name, there) in [
            ("host", "version", true),
            ("Host", "version", true),
            ("Host", "expires", true),
            ("other", "version", false),
            ("host", "no", false),
        ] {
            assert_eq!(tree.has_item(parent, name), there, "{parent}::{name}");
        }
        assert!(tree.has_word("expires") && !tree.has_word("expires_never"));
    }
}
