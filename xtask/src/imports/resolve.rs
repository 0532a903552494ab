//! Resolution of paths to the files that define their items, through re-exports.

#![expect(clippy::indexing_slicing, reason = "a module's number is its place")]

use std::collections::{BTreeMap, BTreeSet};

use super::{
    circles::Edge,
    collect::{Import, Used},
    tree::{Crate, Module},
};

/// Item or module at the end of a path.
#[derive(Clone, Copy)]
enum Target {
    /// A module itself.
    Module(usize),
    /// Something that a module defines.
    Item(usize),
}

/// Imports that are being followed: modules may import each other's names in a circle.
type Followed = BTreeSet<(usize, String)>;

/// Edges of the graph of files, each pair once.
pub(super) fn edges(tree: &Crate) -> Vec<Edge> {
    let mut edges: BTreeMap<_, Edge> = BTreeMap::new();
    for (index, module) in tree.modules.iter().enumerate() {
        // What a module re-exports is used by those that go there.
        let imports = module.names.imports.iter();
        let private = imports.filter(|import| !import.is_public && import.name.is_some());
        let used = private.map(|import| &import.used).chain(&module.names.used);
        for Used { path, line } in used {
            let Some(Target::Item(to)) = tree.resolve(index, path, &mut Followed::new()) else {
                continue;
            };
            let (from, to) = (&module.file, &tree.modules[to].file);
            if from != to {
                let edge = || Edge {
                    from: from.clone(),
                    to: to.clone(),
                    line: *line,
                    path: path.join("::"),
                };
                edges.entry((from.clone(), to.clone())).or_insert_with(edge);
            }
        }
    }
    edges.into_values().collect()
}

impl Crate {
    /// Target of a path in a module; `None` for paths of other crates and local names.
    fn resolve(&self, module: usize, path: &[String], followed: &mut Followed) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(module),
            "super" => Target::Module(self.modules[module].parent?),
            name => self.lookup(module, name, rest.is_empty(), followed)?,
        };
        let mut at = start;
        for (index, name) in rest.iter().enumerate() {
            let Target::Module(within) = at else { return Some(at) };
            at = match name.as_str() {
                "super" => Target::Module(self.modules[within].parent?),
                // What no item is seen of is made by a macro there.
                name => self
                    .lookup(within, name, index + 1 == rest.len(), followed)
                    .unwrap_or(Target::Item(within)),
            };
        }
        Some(at)
    }

    /// A name in a module: a module before an item, unless the path ends there.
    fn lookup(
        &self,
        index: usize,
        name: &str,
        is_last: bool,
        followed: &mut Followed,
    ) -> Option<Target> {
        let module = &self.modules[index];
        let item = module.names.defined.contains(name).then_some(Target::Item(index));
        let child = module.child(name).map(Target::Module);
        let own = if is_last { item.or(child) } else { child.or(item) };
        if own.is_some() {
            return own;
        }
        if !followed.insert((index, name.to_owned())) {
            return None;
        }
        let named = |import: &&Import| import.name.as_deref() == Some(name);
        let mut found = None;
        for import in module.names.imports.iter().filter(named) {
            let target = self.resolve(index, &import.used.path, followed);
            let fits = matches!(target, Some(Target::Module(_))) != is_last;
            if found.is_none() || fits {
                found = target.or(found);
            }
        }
        if found.is_none() {
            let globs = module.names.imports.iter().filter(|import| import.name.is_none());
            found =
                globs.filter_map(|import| self.glob(index, import, name, is_last, followed)).next();
        }
        followed.remove(&(index, name.to_owned()));
        found
    }

    fn glob(
        &self,
        index: usize,
        import: &Import,
        name: &str,
        is_last: bool,
        followed: &mut Followed,
    ) -> Option<Target> {
        match self.resolve(index, &import.used.path, followed)? {
            Target::Module(of) => self.lookup(of, name, is_last, followed),
            // Variants of an enum.
            Target::Item(_) => None,
        }
    }
}

impl Module {
    fn child(&self, name: &str) -> Option<usize> {
        self.children.iter().find(|(child, _)| child == name).map(|(_, index)| *index)
    }
}
