//! Circles in small trees.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{circles, resolve, told, tree::Crate};

/// The circles of a crate of these files, the first of which is its root.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let texts: BTreeMap<PathBuf, &str> =
        files.iter().map(|(name, text)| (PathBuf::from(name), *text)).collect();
    let read = |path: &Path| texts.get(path).map(|text| (*text).to_owned());
    let tree = Crate::load(Path::new(files[0].0), &read).expect("the tree parses");
    let edges = resolve::edges(&tree);
    circles::of(&edges).iter().map(|circle| told(circle, Path::new(""))).collect()
}

#[test]
fn a_circle_is_found_with_the_lines_that_make_it() {
    let found = circles(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "\nuse super::c::{C};\npub struct B(C);"),
        ("c.rs", "pub struct C(Vec<crate::a::A>);"),
    ]);
    let expected = "circle of imports:\n  a.rs:1: crate::b::B is in b.rs\n  \
                    b.rs:2: super::c::C is in c.rs\n  c.rs:1: crate::a::A is in a.rs\n";
    assert_eq!(found, [expected]);
}

#[test]
fn imports_in_one_direction_are_none() {
    let found = circles(&[
        ("lib.rs", "mod a;\nmod b;\nuse a::A;\nuse b::B;\nstruct Both(A, B);"),
        ("a.rs", "use crate::b::B;\npub struct A(B);"),
        ("b.rs", "pub struct B;"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_re_export_is_no_circle() {
    let found = circles(&[
        ("lib.rs", "mod room;\nmod user;"),
        ("room/mod.rs", "mod thing;\nmod other;\npub use thing::Thing;\npub use other::*;"),
        ("room/thing.rs", "use super::Other;\npub struct Thing(Other);"),
        ("room/other.rs", "pub struct Other;"),
        ("user.rs", "use crate::room::{self, Thing};\nfn f(_: Thing, _: room::Other) {}"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_re_export_leads_to_the_file_that_defines() {
    let found = circles(&[
        ("lib.rs", "mod room;\nmod user;"),
        ("room/mod.rs", "mod thing;\npub use thing::Thing;"),
        ("room/thing.rs", "use crate::user::User;\npub struct Thing(User);"),
        ("user.rs", "use crate::room;\npub struct User;\nfn f(_: room::Thing) {}"),
    ]);
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("user.rs:3: room::Thing is in room/thing.rs"), "{found:?}");
    assert!(!found[0].contains("room/mod.rs"), "{found:?}");
}

#[test]
fn a_parent_that_uses_its_child_which_uses_the_parent_is_one() {
    let child = ("room/child.rs", "use super::Parent;\npub fn made(_: &Parent) {}");
    let uses = "mod child;\npub struct Parent;\nfn f(p: &Parent) { child::made(p) }";
    assert_eq!(circles(&[("lib.rs", "mod room;"), ("room/mod.rs", uses), child]).len(), 1);
    let declares = "mod child;\npub use child::made;\npub struct Parent;";
    assert_eq!(circles(&[("lib.rs", "mod room;"), ("room/mod.rs", declares), child]).len(), 0);
    // What a module re-exports, it may use too.
    let both = "mod child;\npub use child::made;\npub struct Parent;\nfn f(p: &Parent) { made(p) }";
    assert_eq!(circles(&[("lib.rs", "mod room;"), ("room/mod.rs", both), child]).len(), 1);
}

#[test]
fn globs_and_macros_count() {
    let globs = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::*;\npub struct A(B);"),
        ("b.rs", "pub struct B;\nfn f() { println!(\"{:?}\", crate::a::A::new()) }"),
    ];
    assert_eq!(circles(&globs).len(), 1);
}

#[test]
fn what_tests_use_and_other_crates_have_is_none() {
    let found = circles(&[
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use std::b::B as Other;\nuse crate::b::B;\npub struct A(B, Other);"),
        ("b.rs", "pub struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn modules_are_found_where_attributes_say() {
    let found = circles(&[
        ("tests/main.rs", "#[path = \"../shared/a.rs\"]\nmod a;\nmod b;"),
        ("shared/a.rs", "use crate::b::B;\npub struct A(B);"),
        ("tests/b.rs", "use crate::a::A;\npub struct B(Vec<A>);"),
    ]);
    assert_eq!(found.len(), 1);
}
