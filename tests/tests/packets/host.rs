//! The host's runner of the tables of packets, without root and in seconds: `cargo test -p
//! intune-filter-ebpf --test tables`. The kernel's runner is `main.rs`.

mod tables;

use std::{collections::BTreeSet, fs};

use intune_filter_tests::{
    cargo,
    prog_test_run::{
        host_run::{run, run as run_once, run as run_roomy, run_layer3, run_without_policy},
        rows::{KERNEL_ONLY, kernel_only},
    },
};

/// Bound of the rows that only the kernel judges.
const KERNEL_ONLY_ROWS: usize = 327;

#[test]
fn few_rows_are_left_to_the_kernel_alone() {
    assert!(kernel_only() <= KERNEL_ONLY_ROWS, "{}", kernel_only());
    // The kernel's runner holds each module to its bound.
    let files = fs::read_dir(cargo::root().join("tests/tests/packets")).unwrap();
    let modules = files.map(|file| file.unwrap().path().file_stem().unwrap().to_owned());
    let mut modules: BTreeSet<String> =
        modules.map(|module| module.into_string().unwrap()).collect();
    for shared in ["host", "main", "tables"] {
        assert!(modules.remove(shared), "{shared}");
    }
    let listed: BTreeSet<String> = KERNEL_ONLY.iter().map(|only| only.module.to_owned()).collect();
    assert_eq!(modules, listed);
}

/// Contract with `cargo xtask packet`.
#[test]
fn rows_are_named_and_shown_on_request() {
    let ask = |wanted: &str| {
        let mut runner = std::process::Command::new(std::env::current_exe().unwrap());
        runner.args(["--nocapture", "tables::policy::a_client_reaches_what_its_rules_allow"]);
        let output = runner.env("INTUNE_PACKET", wanted).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let name = "TCP to a network of a rule";
    let row = format!("row: tables::policy::a_client_reaches_what_its_rules_allow: {name}\n");
    let names = ask("");
    assert!(names.contains(&row), "{names}");
    let shown = ask(name);
    for line in [
        "verdict   passed",
        "reason    policy",
        "because   Cidr, rule core/web, group lan",
        "counters  policy 1/58; core/web 1/58, flows 1, denied 0",
    ] {
        assert!(shown.contains(&format!("packet: {line}\n")), "{line} is not in {shown}");
    }
    assert_eq!(shown.matches("packet: row ").count(), 2, "of each family: {shown}");
    assert!(!shown.contains("row: tables"), "{shown}");
}
