//! The tables of packets of `tests/tests/packets/`, judged by the host's maps: without root, in
//! seconds. What only the kernel can judge is not among them: its routes, the octets that it sends
//! back, tables that make room, the ring buffer, nested runs and the hooks.

#[path = "../../tests/tests/packets/answers.rs"]
mod answers;
#[path = "../../tests/tests/packets/errors.rs"]
mod errors;
#[path = "../../tests/tests/packets/events.rs"]
mod events;
#[path = "../../tests/tests/packets/flow_events.rs"]
mod flow_events;
#[path = "../../tests/tests/packets/flows.rs"]
mod flows;
#[path = "../../tests/tests/packets/fragments.rs"]
mod fragments;
#[path = "../../tests/tests/packets/gateway.rs"]
mod gateway;
#[path = "../../tests/tests/packets/headers.rs"]
mod headers;
#[path = "../../tests/tests/packets/hostile/mod.rs"]
mod hostile;
#[path = "../../tests/tests/packets/inbound.rs"]
mod inbound;
#[path = "../../tests/tests/packets/learning.rs"]
mod learning;
#[path = "../../tests/tests/packets/lifetimes.rs"]
mod lifetimes;
#[path = "../../tests/tests/packets/limits.rs"]
mod limits;
#[path = "../../tests/tests/packets/links.rs"]
mod links;
#[path = "../../tests/tests/packets/other_dns.rs"]
mod other_dns;
#[path = "../../tests/tests/packets/parts.rs"]
mod parts;
#[path = "../../tests/tests/packets/policy.rs"]
mod policy;
#[path = "../../tests/tests/packets/prefix.rs"]
mod prefix;
#[path = "../../tests/tests/packets/queries.rs"]
mod queries;
#[path = "../../tests/tests/packets/records.rs"]
mod records;
#[path = "../../tests/tests/packets/rejected.rs"]
mod rejected;
#[path = "../../tests/tests/packets/reloads.rs"]
mod reloads;
#[path = "../../tests/tests/packets/resets.rs"]
mod resets;
#[path = "../../tests/tests/packets/sources.rs"]
mod sources;
#[path = "../../tests/tests/packets/streams.rs"]
mod streams;
#[path = "../../tests/tests/packets/warm_up.rs"]
mod warm_up;

use intune_filter_tests::testrun::host::{run, run as run_once, run_without_policy};

/// What `cargo xtask packet` asks of this runner.
#[test]
fn rows_are_named_and_shown_on_request() {
    let ask = |wanted: &str| {
        let mut runner = std::process::Command::new(std::env::current_exe().unwrap());
        runner.args(["--nocapture", "policy::a_client_reaches_what_its_rules_allow"]);
        let output = runner.env("INTUNE_PACKET", wanted).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let name = "TCP to a network of a rule";
    let row = format!("row: policy::a_client_reaches_what_its_rules_allow: {name}\n");
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
    assert!(!shown.contains("row: policy"), "{shown}");
}
