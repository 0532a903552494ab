//! References of pages: where links lead, and what code spans name.
//!
//! A code span is held against the tree if it looks like a path of the repository, like a path of
//! items (`module::item`), or like an identifier: a constant's name, or words joined by `_`.

use std::{collections::BTreeMap, fmt};

use super::{Page, Tree};

/// A reference that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The page.
    pub page: String,
    /// Target of the reference.
    pub reference: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.page, self.reference)
    }
}

/// The references of one page that lead nowhere.
pub(super) fn of(tree: &Tree, pages: &BTreeMap<&str, Page>, path: &str) -> Vec<Problem> {
    let Some(page) = pages.get(path) else { return Vec::new() };
    let links = page.links.iter().filter(|link| !leads(tree, pages, path, link));
    let code = page.code.iter().filter(|code| !exists(tree, path, code));
    let problem =
        |reference: &String| Problem { page: path.to_owned(), reference: reference.clone() };
    links.chain(code).map(problem).collect()
}

/// Whether a link of a page leads to a file, or to a heading of a page.
fn leads(tree: &Tree, pages: &BTreeMap<&str, Page>, page: &str, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (link, None),
    };
    let target = if file.is_empty() { Some(page.to_owned()) } else { beside(page, file) };
    let Some(target) = target.filter(|target| tree.has(target)) else { return false };
    anchor.is_none_or(|anchor| {
        let page = pages.get(target.as_str());
        page.is_some_and(|page| page.anchors.iter().any(|other| other == anchor))
    })
}

/// A relative path of a page, seen from the root; none if it leaves the repository.
fn beside(page: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether what a code span names exists, if it names something.
fn exists(tree: &Tree, page: &str, code: &str) -> bool {
    match kind(tree, code) {
        Kind::Path => {
            tree.has(code)
                || beside(page, code).is_some_and(|path| tree.has(&path))
                || tree.has_end(code)
        }
        Kind::Items => {
            let parts: Vec<&str> = code.split("::").collect();
            parts.windows(2).all(|pair| tree.has_item(pair[0], pair[1]))
        }
        Kind::Identifier => tree.has_word(code),
        Kind::Other => true,
    }
}

enum Kind {
    Path,
    Items,
    Identifier,
    Other,
}

fn kind(tree: &Tree, code: &str) -> Kind {
    let of = |allowed: fn(char) -> bool| !code.is_empty() && code.chars().all(allowed);
    let is_name = |part: &str| {
        let mut letters = part.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if of(|c| c.is_ascii_alphanumeric() || "_./-*".contains(c)) {
        let top = code.split('/').next().unwrap_or_default();
        let source = [".rs", ".md", ".toml"].iter().any(|end| code.ends_with(end));
        if source || (code.contains('/') && !top.is_empty() && tree.has(top)) {
            return Kind::Path;
        }
    }
    if code.contains("::") && code.split("::").all(is_name) {
        return Kind::Items;
    }
    let loud = code.len() > 3 && of(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_name(code) && (loud || code.contains('_')) {
        return Kind::Identifier;
    }
    Kind::Other
}

#[cfg(test)]
mod tests {
    use std::fs;

    use anyhow::Result;

    use super::*;
    use crate::pages::problems;

    #[test]
    fn what_is_not_there_is_found_and_nothing_else() -> Result<()> {
        let place = tempfile::tempdir()?;
        let write = |path: &str, text: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap_or(place.path()))?;
            fs::write(path, text)
        };
        write("src/host.rs", "pub struct Host;\nconst LIMIT_MAX: u32 = 1;\n")?;
        write("target/README.md", "[no page of the repository](nowhere.md)\n")?;
        write(
            "docs/PAGE.md",
            "# Here\n\n[a](../README.md#there) [b](#here) [c](https://example.org/x#y)\n\
             `src/host.rs` `host.rs` `src/` `host::Host` `LIMIT_MAX` `--flag` `/etc/file` `eth1.20`\n",
        )?;
        write(
            "README.md",
            "# There\n\n[a](docs/PAGE.md#nowhere) [b](docs/OTHER.md) [c](../out.md) [d](#here)\n\
             `src/other.rs` `host::Other` `LIMIT_MIN` `no_such_word`\n",
        )?;
        let tree = Tree::read(place.path())?;
        let found: Vec<_> = problems(&tree).into_iter().map(|one| one.to_string()).collect();
        let expected = [
            "docs/PAGE.md#nowhere",
            "docs/OTHER.md",
            "../out.md",
            "#here",
            "src/other.rs",
            "host::Other",
            "LIMIT_MIN",
            "no_such_word",
        ];
        let expected = expected.map(|reference| format!("README.md: {reference}"));
        assert_eq!(found, expected);
        Ok(())
    }
}
