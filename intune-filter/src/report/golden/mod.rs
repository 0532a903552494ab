//! Compares every shape with its file in `tests/json`, full and sparse.

mod catalogue;
mod change;
mod control;
mod live;
mod status;
mod values;

use std::{collections::BTreeSet, env, fmt::Debug, fs, path::PathBuf};

use serde::{Serialize, de::DeserializeOwned};

/// Environment variable with which the files are written instead of compared.
const VARIABLE: &str = "UPDATE_GOLDEN";

/// Names of the files, without `.json`.
const FILES: [&str; 35] = [
    "changed",
    "changed-sparse",
    "check",
    "check-sparse",
    "clients",
    "clients-sparse",
    "config-show",
    "config-show-sparse",
    "confirm",
    "confirm-sparse",
    "control-replies",
    "control-requests",
    "detach",
    "detach-sparse",
    "endpoints-diff",
    "endpoints-list",
    "endpoints-list-sparse",
    "events",
    "events-sparse",
    "explain",
    "explain-pcap",
    "explain-sparse",
    "flows",
    "flows-sparse",
    "match",
    "match-sparse",
    "names",
    "names-sparse",
    "preview",
    "preview-sparse",
    "services",
    "status",
    "status-no-daemon",
    "status-reload-sparse",
    "status-sparse",
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/json")
}

fn writes() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Compares a value with the file of its shape.
fn compare(name: &str, value: &impl Serialize) {
    assert!(FILES.contains(&name), "{name} is not in the list of files");
    let text = crate::report::to_text(value).unwrap();
    let path = directory().join(name).with_extension("json");
    if writes() {
        fs::write(&path, &text).unwrap();
    }
    let file = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == file,
        "{} is a contract, and has another shape:\n{text}\nnot\n{file}\n({VARIABLE}=1 writes it)",
        path.display()
    );
}

/// Compares a value with the file of its shape, and reads the file back as a command does.
fn compare_both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    compare(name, value);
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
}

#[test]
fn every_file_is_held() {
    if writes() {
        return; // Other tests are writing them.
    }
    let found: BTreeSet<String> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = FILES.iter().map(|name| format!("{name}.json")).collect();
    assert_eq!(found, listed);
}
