//! The modules of a crate, with the names that each defines and imports and the paths that it uses.

#![expect(clippy::indexing_slicing, reason = "a module's number is its place")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::collect::{self, Names, is_of_tests};

/// A crate: its modules, the root first.
pub(super) struct Crate {
    /// The modules; others know them by their index.
    pub modules: Vec<Module>,
}

/// A module.
pub(super) struct Module {
    /// The file that it is in.
    pub file: PathBuf,
    /// The module around it.
    pub parent: Option<usize>,
    /// Modules in it, by name.
    pub children: Vec<(String, usize)>,
    /// Names in the module.
    pub names: Names,
}

/// Locations of a module's files.
#[derive(Clone)]
struct ModuleFiles {
    /// The file that the declaration is in.
    file: PathBuf,
    /// The directory of files of modules that are declared there.
    children: PathBuf,
}

impl Crate {
    /// Reads a crate from its root file on; `read` returns the text of a file that is there.
    pub(super) fn load(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Result<Self> {
        let mut tree = Self { modules: Vec::new() };
        let children = root.parent().unwrap_or(root).to_owned();
        tree.file(ModuleFiles { file: root.to_owned(), children }, None, read)?;
        Ok(tree)
    }

    /// The files of all modules.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.modules.iter().map(|module| module.file.clone()).collect()
    }

    fn file(
        &mut self,
        place: ModuleFiles,
        parent: Option<usize>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<usize> {
        let name = place.file.display().to_string();
        let text = read(&place.file).with_context(|| format!("cannot read {name}"))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("cannot parse {name}"))?;
        self.module(&parsed.items, place, parent, read)
    }

    fn module(
        &mut self,
        items: &[syn::Item],
        place: ModuleFiles,
        parent: Option<usize>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<usize> {
        let index = self.modules.len();
        let names = collect::names(items);
        self.modules.push(Module { file: place.file.clone(), parent, children: vec![], names });
        for item in items {
            let syn::Item::Mod(declared) = item else { continue };
            if is_of_tests(&declared.attrs) {
                continue;
            }
            let name = declared.ident.to_string();
            let child = match &declared.content {
                Some((_, items)) => {
                    let place =
                        ModuleFiles { children: place.children.join(&name), ..place.clone() };
                    self.module(items, place, Some(index), read)?
                }
                None => {
                    let place = place.of_child(&name, &declared.attrs, read);
                    self.file(place, Some(index), read)?
                }
            };
            self.modules[index].children.push((name, child));
        }
        Ok(index)
    }
}

impl ModuleFiles {
    fn of_child(
        &self,
        name: &str,
        attributes: &[syn::Attribute],
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Self {
        if let Some(path) = attributes.iter().find_map(path_of) {
            let file = normal(&self.file.parent().unwrap_or(&self.file).join(path));
            let children = file.parent().unwrap_or(&file).to_owned();
            return Self { file, children };
        }
        let beside = self.children.join(format!("{name}.rs"));
        let children = self.children.join(name);
        let file = if read(&beside).is_some() { beside } else { children.join("mod.rs") };
        Self { file, children }
    }
}

/// Value of `#[path = "..."]`.
fn path_of(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) = &pair.value else {
        return None;
    };
    pair.path.is_ident("path").then(|| text.value())
}

/// The path without `..`, so that a file has one name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
