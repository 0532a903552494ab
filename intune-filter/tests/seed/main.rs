//! Holds the built-in edition of 2023-09 against the project's own list of everything that the Intune
//! document prints, in both directions: nothing of it is lost, nothing is attributed to it that
//! it does not say.

mod compare;
mod list;

use std::{collections::BTreeSet, fs, ops::Range, path::Path};

use intune_filter::catalogue::Catalogue;
use serde_yaml::Value;

use crate::{
    compare::disagreements,
    list::{Kind, List, Row, Section},
};

#[test]
fn the_catalogue_is_what_the_document_says() {
    let found = disagreements(&List::read(), Catalogue::edition_named("2023-09").unwrap());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_list_is_whole() {
    let list = List::read();
    let table =
        |title: &str| list.sections.iter().find(|section| section.r#where.contains(title)).unwrap();
    let distinct = |section: &Section, kind| {
        let rows = section.rows.iter().filter(|row| row.kind == kind);
        rows.map(|row| row.printed.clone()).collect::<BTreeSet<_>>().len()
    };
    assert_eq!(distinct(table("table of FQDNs"), Kind::Host), 71);
    assert_eq!(distinct(table("domains and IP addresses"), Kind::Prefix), 51);
    assert_eq!(distinct(table("domains and IP addresses"), Kind::Host), 7);
    assert_eq!(distinct(table("Azure Scale Units"), Kind::Storage), 9);
    assert_eq!(distinct(table("Azure Scale Units"), Kind::Tenant), 30);
    assert_eq!(list.tenants().count(), 31, "the document prints AMSUA0601 twice");
    assert_eq!(distinct(table("Microsoft Azure attestation"), Kind::Url), 16);
    let trailing = |row: &&Row| row.printed.ends_with(' ');
    assert_eq!(table("table of FQDNs").rows.iter().filter(trailing).count(), 7);
}

/// A catalogue file, as it can be changed.
#[derive(Clone)]
struct Provenance {
    name: String,
    text: String,
    yaml: Value,
}

fn sources() -> Vec<Provenance> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/catalogue/2023-09");
    let mut sources = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let yaml: Value = serde_yaml::from_str(&text).unwrap();
        // Written as a changed file is, so that nothing but the change makes a difference.
        let text = serde_yaml::to_string(&yaml).unwrap();
        sources.push(Provenance { name: path.display().to_string(), text, yaml });
    }
    sources
}

/// The lists `keys` of a rule and of what it selects.
fn lists_of<'a>(rule: &'a mut Value, keys: &[&str]) -> Vec<&'a mut Vec<Value>> {
    let mut lists = Vec::new();
    for (key, value) in rule.as_mapping_mut().unwrap() {
        match (key.as_str().unwrap(), value) {
            ("selected", Value::Sequence(parts)) => {
                lists.extend(parts.iter_mut().flat_map(|part| lists_of(part, keys)));
            }
            (key, Value::Sequence(list)) if keys.contains(&key) => lists.push(list),
            _ => {}
        }
    }
    lists
}

impl Provenance {
    /// The lists `keys` of the rules that were made from `document`.
    fn lists(&mut self, document: &str, keys: &[&str]) -> Vec<&mut Vec<Value>> {
        let mut lists = Vec::new();
        for service in self.yaml["services"].as_sequence_mut().unwrap() {
            let of_service = service["source"]["document"].clone();
            for rule in service["rules"].as_sequence_mut().unwrap() {
                let of_rule = rule.get("source").map(|source| &source["document"]);
                if of_rule.unwrap_or(&of_service) == document {
                    lists.extend(lists_of(rule, keys));
                }
            }
        }
        lists
    }
}

/// Whether a catalogue is refused, or disagrees with the list.
fn is_noticed(sources: &[Provenance], list: &List) -> bool {
    let texts = sources.iter().map(|file| (file.name.as_str(), file.text.as_str()));
    Catalogue::parse(texts).map_or(true, |changed| !disagreements(list, &changed).is_empty())
}

/// Changes each list `keys` of the rules made from the document, one at a time, in each of the
/// ways that `changes` names for a list of its length, and asks that the catalogue that results
/// is refused or disagrees with the list. Returns how many changes there were.
fn each_is_noticed(
    keys: &[&str],
    changes: impl Fn(usize) -> Range<usize>,
    change: impl Fn(&mut Vec<Value>, usize),
) -> usize {
    let list = List::read();
    let mut sources = sources();
    assert!(!is_noticed(&sources, &list), "the unchanged catalogue disagrees");
    let mut count = 0;
    for file in 0..sources.len() {
        let original = sources[file].clone();
        let lengths: Vec<usize> =
            sources[file].lists(&list.document, keys).into_iter().map(|list| list.len()).collect();
        for (number, length) in lengths.into_iter().enumerate() {
            for way in changes(length) {
                let source = &mut sources[file];
                change(source.lists(&list.document, keys)[number], way);
                source.text = serde_yaml::to_string(&source.yaml).unwrap();
                let name = &original.name;
                assert!(
                    is_noticed(&sources, &list),
                    "{name}: list {number} of {keys:?}, change {way}: not noticed"
                );
                sources[file] = original.clone();
                count += 1;
            }
        }
    }
    count
}

#[test]
fn whatever_is_removed_is_missed() {
    let keys = ["fqdns", "cidrs", "tcp", "udp", "tenants"];
    let removed = each_is_noticed(
        &keys,
        |length| 0..length,
        |list, element| {
            list.remove(element);
        },
    );
    assert!(removed > 250, "only {removed} were removed");
}

#[test]
fn whatever_is_added_is_noticed() {
    for (key, extra) in [
        ("fqdns", "extra.example"),
        ("cidrs", "192.0.2.0/24"),
        ("tcp", "8443"),
        ("udp", "8443"),
        ("tenants", "AMSUZ0101"),
    ] {
        let added = each_is_noticed(&[key], |_| 0..1, |list, _| list.push(extra.into()));
        assert!(added > 0, "{extra}");
    }
}
