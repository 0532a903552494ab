//! Contents of one module: names that it defines and imports, and paths that it uses.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path and the line where it stands.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// Its segments.
    pub path: Vec<String>,
    /// The line.
    pub line: usize,
}

/// A `use`.
#[derive(Clone, Debug)]
pub(super) struct Import {
    /// The name that it gives; none for a glob.
    pub name: Option<String>,
    /// Path behind the name.
    pub used: Used,
    /// Whether the import is a re-export, which is no use in itself.
    pub is_public: bool,
}

/// Names of a module.
#[derive(Default)]
pub(super) struct Names {
    /// Names of items.
    pub defined: BTreeSet<String>,
    /// Imports.
    pub imports: Vec<Import>,
    /// Paths.
    pub used: Vec<Used>,
}

/// Names that items define and use, without the modules among them.
pub(super) fn names(items: &[syn::Item]) -> Names {
    let mut names = Names::default();
    for item in items {
        names.defined.extend(defined(item));
        names.visit_item(item);
    }
    names
}

/// Whether an item is there for tests alone. What they use makes no circle of the program.
pub(super) fn is_of_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

fn defined(item: &syn::Item) -> Option<String> {
    let ident = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::TraitAlias(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

impl Names {
    fn import(&mut self, tree: &syn::UseTree, before: &[String], is_public: bool) {
        let with = |ident: &syn::Ident| {
            let name = ident.to_string();
            let line = ident.span().start().line;
            // `a::b::{self}` is `a::b`.
            let path = if name == "self" && !before.is_empty() {
                before.to_vec()
            } else {
                [before, &[name]].concat()
            };
            Used { path, line }
        };
        let mut add = |name, used| self.imports.push(Import { name, used, is_public });
        match tree {
            syn::UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                self.import(&path.tree, &before, is_public);
            }
            syn::UseTree::Name(name) => {
                let used = with(&name.ident);
                add(used.path.last().cloned(), used);
            }
            syn::UseTree::Rename(rename) => {
                add(Some(rename.rename.to_string()), with(&rename.ident));
            }
            syn::UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                add(None, Used { path: before.to_vec(), line });
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, is_public);
                }
            }
        }
    }

    /// Paths of more than one segment in what a macro is given: a single name comes from a `use`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons < 2 {
                        self.end(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.end(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.used.push(Used { path, line });
        }
    }
}

impl<'s> Visit<'s> for Names {
    fn visit_item(&mut self, item: &'s syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_of_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    /// Modules are looked at by themselves.
    fn visit_item_mod(&mut self, _: &'s syn::ItemMod) {}

    fn visit_attribute(&mut self, _: &'s syn::Attribute) {}

    fn visit_item_use(&mut self, item: &'s syn::ItemUse) {
        let is_public = !matches!(item.vis, syn::Visibility::Inherited);
        // `::name` is another crate's.
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[], is_public);
        }
    }

    fn visit_path(&mut self, path: &'s syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            let line = path.segments.first().map_or(0, |first| first.ident.span().start().line);
            let path = segments.map(|segment| segment.ident.to_string()).collect();
            self.used.push(Used { path, line });
        }
        visit::visit_path(self, path);
    }

    /// A small name by itself is a variable, unless it is called.
    fn visit_expr_path(&mut self, path: &'s syn::ExprPath) {
        let is_small = |ident: &syn::Ident| ident.to_string().starts_with(char::is_lowercase);
        if !path.path.get_ident().is_some_and(is_small) {
            visit::visit_expr_path(self, path);
        }
    }

    fn visit_expr_call(&mut self, call: &'s syn::ExprCall) {
        match &*call.func {
            syn::Expr::Path(called) => visit::visit_expr_path(self, called),
            other => self.visit_expr(other),
        }
        call.args.iter().for_each(|argument| self.visit_expr(argument));
    }

    fn visit_macro(&mut self, called: &'s syn::Macro) {
        visit::visit_macro(self, called);
        self.tokens(called.tokens.clone());
    }
}
