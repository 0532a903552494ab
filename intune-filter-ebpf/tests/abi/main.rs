//! Fingerprint of the contract between kernel and userspace: a change has to raise
//! `LAYOUT_VERSION`.
//!
//! `golden.txt` has the contract as text. `history.txt` has the digest of each version's contract,
//! which never changes once the version was released.
//! `UPDATE_GOLDEN=1 cargo test -p intune-filter-ebpf --test abi` writes the text, and the digest of
//! a version that has none.

mod layouts;
mod source;

use std::{env, fmt::Write as _, fs};

use intune_filter_ebpf::{
    abi::{LAYOUT_VERSION, OCCURRENCES, REASONS},
    maps::{MAPS, MapRow, Scope},
};
use sha2::{Digest as _, Sha256};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/abi/golden.txt");
const HISTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/abi/history.txt");

/// Returns the contract, without its version.
fn contract() -> String {
    let mut text = String::from("# Layouts: offset, name and type of each field\n");
    text += &layouts::text();
    text += "\n# Reasons\n\n";
    for reason in REASONS {
        let verdict = if reason.denies() { "denies" } else { "allows" };
        let _ = writeln!(text, "{} {} {verdict}", reason.counter(), reason.as_str());
    }
    text += "\n# Occurrences\n\n";
    for occurrence in OCCURRENCES {
        let _ = writeln!(text, "{} {}", occurrence.counter(), occurrence.as_str());
    }
    text += "\n# Maps: kind and life, types and octets of key and value, elements\n\n";
    // Other maps are no contract: they live and die with one version of the programs.
    let shared = |map: &&MapRow| matches!(map.scope, Scope::Pinned | Scope::Policy);
    for map in MAPS.iter().filter(shared) {
        let types = map.types.replace(" < ", "<").replace(" >", ">");
        let set = map.setting.map(|key| format!(", set by maps.{key}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}: {:?} {:?}, {} ({} => {}), {}{set}",
            map.name, map.kind, map.scope, types, map.key, map.value, map.entries
        );
    }
    text + "\n# Constants and enums\n\n" + &source::constants()
}

fn digest(contract: &str) -> String {
    Sha256::digest(contract).iter().fold(String::new(), |text, octet| format!("{text}{octet:02x}"))
}

/// Returns the digest of a version's contract.
fn recorded(history: &str, version: u32) -> Option<&str> {
    let mut lines = history.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(of, _)| *of == format!("version {version}")).map(|(_, digest)| digest)
}

#[test]
fn a_changed_contract_has_another_version() {
    let contract = contract();
    let golden = format!("version {LAYOUT_VERSION}\n\n{contract}");
    let mut history = fs::read_to_string(HISTORY).unwrap_or_default();
    let own = digest(&contract);
    let known = recorded(&history, LAYOUT_VERSION);
    assert!(
        known.is_none_or(|known| known == own),
        "the contract has changed, and version {LAYOUT_VERSION} is another one: raise LAYOUT_VERSION"
    );
    if env::var_os("UPDATE_GOLDEN").is_some() {
        if known.is_none() {
            let _ = writeln!(history, "version {LAYOUT_VERSION}: {own}");
            fs::write(HISTORY, &history).unwrap();
        }
        fs::write(GOLDEN, &golden).unwrap();
    }
    let last = history.lines().next_back().unwrap_or_default();
    let is_last = last == format!("version {LAYOUT_VERSION}: {own}");
    let is_golden = fs::read_to_string(GOLDEN).is_ok_and(|text| text == golden);
    assert!(
        is_last && is_golden,
        "run UPDATE_GOLDEN=1 cargo test -p intune-filter-ebpf --test abi"
    );
}

#[test]
fn versions_only_grow() {
    let history = fs::read_to_string(HISTORY).unwrap();
    let versions: Vec<u32> = history
        .lines()
        .map(|line| line.strip_prefix("version ").unwrap().split(':').next().unwrap())
        .map(|version| version.parse().unwrap())
        .collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[test]
fn every_layout_is_in_the_contract() {
    let declared = source::layouts();
    assert!(declared.len() > 30, "{declared:?}");
    for name in declared {
        assert!(layouts::NAMES.contains(&name.as_str()), "tests/abi/layouts.rs lacks {name}");
    }
}

#[test]
fn another_contract_has_another_digest() {
    let contract = contract();
    for (was, is) in [("client_end: u32", "client_end: u64"), ("flow allows", "flows allows")] {
        assert!(contract.contains(was), "{was}");
        assert_ne!(digest(&contract), digest(&contract.replace(was, is)));
    }
}
