//! `status`: what is enforced, where, and how full the maps are; with and without a daemon.

use std::{collections::BTreeMap, fmt::Write as _};

use intune_filter_ebpf::abi::Reason;
use serde::Serialize;
use serde_json::Value;

use super::{
    args::Global,
    context,
    error::{Failure, Outcome},
    output,
    unjudged::{BootGate, missing},
};
use crate::{
    control::{Client, Request},
    kernel::{Pins, Usage},
    system::{
        Mode, clock,
        netlink::{self, Snapshot},
    },
};

/// What goes on without a daemon, and what does not: the fail table of the documentation.
const WAITING: [&str; 5] = [
    "interfaces that vanish and return are not attached again",
    "learned addresses are enforced, but the names that led to them are not recorded",
    "exact names are not resolved ahead of the clients (what they ask for is learned)",
    "expired addresses are not removed from the maps (they are not let through either)",
    "changes of the gateway's own addresses are told by its routes alone",
];

#[derive(Debug, Serialize)]
struct Status {
    schema: u32,
    daemon: Daemon,
    /// What is not as it should be, by the daemon's word.
    problems: Value,
    /// Which configuration is in force, by the daemon's word.
    configuration: Value,
    enforcing: bool,
    generation: u32,
    /// Seconds that are left of the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_up_s_left: Option<u64>,
    interfaces: Vec<Interface>,
    counters: BTreeMap<&'static str, u64>,
    other_dns: OtherDns,
    maps: BTreeMap<String, Room>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<BootGate>,
}

impl Status {
    /// What is open although it should be shut.
    fn open(&self) -> String {
        let open = self.gate.as_ref().and_then(|gate| gate.open(self.daemon.running));
        open.map_or_else(String::new, |open| format!("{open}\n\n"))
    }
}

/// Packets by which clients have tried to ask for names past the site's resolvers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct OtherDns {
    /// To others, on port 53.
    port_53: u64,
    /// Over TLS or QUIC, on port 853.
    port_853: u64,
    /// Queries for names of known servers of DNS over HTTPS.
    https_names: u64,
}

impl OtherDns {
    fn of(counters: &BTreeMap<&'static str, u64>) -> Self {
        let of = |reason: Reason| counters.get(reason.as_str()).copied().unwrap_or_default();
        Self {
            port_53: of(Reason::Resolver),
            port_853: of(Reason::DnsOverTls),
            https_names: of(Reason::DnsOverHttps),
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Daemon {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Interface {
    name: String,
    /// Where packets from clients are judged; `None` if they are not.
    mode: Option<&'static str>,
    /// Whether both programs are on the interface as it is now.
    attached: bool,
    /// The VLAN ids that are judged, 0 for untagged frames.
    vlans: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Room {
    entries: u64,
    capacity: u64,
}

impl From<Usage> for Room {
    fn from(usage: Usage) -> Self {
        Self { entries: usage.entries, capacity: usage.capacity }
    }
}

/// Runs the command.
pub fn run(global: &Global) -> Result<(Outcome, String), Failure> {
    let (config, paths) = context::lenient(global);
    let pins = Pins::open(&paths.pin_dir)?;
    let daemon = daemon(&paths.runtime_dir);
    let told = |key: &str| daemon.details.as_ref().map(|details| details[key].clone());
    let gate = config.as_ref().map(|c| BootGate::look(c, pins.as_ref(), &netlink::snapshot()?));
    let gate = gate.transpose()?.flatten();
    let configured = config.map(|config| config.interfaces).unwrap_or_default();
    let mut status = Status {
        schema: 1,
        problems: told("problems").unwrap_or_else(|| Value::Array(Vec::new())),
        configuration: told("configuration").unwrap_or_default(),
        daemon,
        enforcing: false,
        generation: 0,
        warm_up_s_left: None,
        interfaces: Vec::new(),
        counters: BTreeMap::new(),
        other_dns: OtherDns::default(),
        maps: BTreeMap::new(),
        waiting: Vec::new(),
        gate,
    };
    if let Some(pins) = &pins {
        status.generation = pins.active()?.generation;
        status.warm_up_s_left = pins.warm_up_left(clock::boot_time())?.map(|left| left.as_secs());
        status.interfaces = interfaces(pins, &netlink::snapshot()?, configured)?;
        status.enforcing =
            status.generation != 0 && status.interfaces.iter().any(|interface| interface.attached);
        let counters = pins.counters()?;
        status.counters =
            counters.iter().map(|(r, counter)| (r.as_str(), counter.packets)).collect();
        status.other_dns = OtherDns::of(&status.counters);
        status.maps = pins.usage()?.into_iter().map(|(name, usage)| (name, usage.into())).collect();
        if !status.daemon.running {
            status.waiting = WAITING.to_vec();
        }
    }
    let text = if global.json {
        output::json(&status)?
    } else if pins.is_none() {
        format!(
            "not enforcing: nothing is pinned in {}{}\n{}",
            paths.pin_dir.display(),
            if status.daemon.running { ", though a daemon runs" } else { "" },
            status.open()
        )
    } else {
        text(&status)
    };
    Ok((Outcome::Yes, text))
}

fn daemon(runtime_directory: &std::path::Path) -> Daemon {
    let Some(client) = Client::connect(runtime_directory) else { return Daemon::default() };
    let pid = client.daemon().ok();
    let details = client
        .ask(Request::Status, context::PATIENCE)
        .inspect_err(|error| log::warn!("{error:#}"))
        .ok();
    Daemon { running: true, pid, details }
}

/// Every interface that is configured, has a link or has a zone.
fn interfaces(
    pins: &Pins,
    snapshot: &Snapshot,
    configured: Vec<crate::config::Interface>,
) -> anyhow::Result<Vec<Interface>> {
    let zones = pins.zones()?;
    let mut names = pins.directory().linked_interfaces()?;
    // An interface whose attachment failed has zones, and no link.
    names.extend(
        snapshot
            .interfaces
            .iter()
            .filter(|interface| zones.iter().any(|(key, _)| key.ifindex == interface.index))
            .map(|interface| interface.name.clone()),
    );
    names.extend(configured.into_iter().map(|interface| interface.name));
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let now = snapshot.interface(&name);
            let mode = now.map(|now| pins.enforced(now)).transpose()?.flatten();
            let mut vlans: Vec<u32> = zones
                .iter()
                .filter(|(key, _)| now.is_some_and(|now| now.index == key.ifindex))
                .map(|(key, _)| key.vlan)
                .collect();
            vlans.sort_unstable();
            let attached = mode.is_some();
            Ok(Interface { name, mode: mode.map(Mode::as_str), attached, vlans })
        })
        .collect()
}

/// What the daemon tells of the configuration, where that is not simply the file's.
fn configuration(details: Option<&Value>) -> String {
    let configuration = details.map(|details| &details["configuration"]);
    let Some(file) = configuration.and_then(|value| value["file"].as_str()) else {
        return String::new();
    };
    let value = configuration.unwrap_or(&Value::Null);
    if let Some(error) = value["rollback_error"].as_str() {
        return format!(
            "{file} was NOT confirmed in time, and the configuration before cannot be put back: \
             {error}\n\n"
        );
    }
    if let Some(seconds) = value["confirm_within_s"].as_u64() {
        return format!(
            "{file} waits for its confirmation, {seconds} s more: intune-filter confirm\n\n"
        );
    }
    match value["origin"].as_str() {
        Some("applied") => {
            format!("{file}, as it was then, is in force in place of the configuration file\n\n")
        }
        Some("last-good") => format!(
            "the configuration file cannot be used: what was last in force runs, from {file}\n\n"
        ),
        _ => String::new(),
    }
}

/// What the daemon has to complain of, and how the last reload went.
fn problems(status: &Status) -> String {
    let mut text = String::new();
    for problem in status.problems.as_array().into_iter().flatten() {
        let word = |key: &str| problem[key].as_str().unwrap_or_default();
        let _ = writeln!(text, "PROBLEM {} since {}:", word("code"), word("since"));
        for line in word("text").lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    let reload = &status.configuration["reload"];
    if let (Some(at), Some(result)) = (reload["at"].as_str(), reload["result"].as_str()) {
        let _ = writeln!(text, "last reload at {at}: {}", result.replace('_', " "));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// What the daemon tells of the gate, where that is shut, or should be.
fn gate(details: Option<&Value>) -> String {
    let Some(gate) = details.map(|details| &details["gate"]) else { return String::new() };
    if let Some(error) = gate["error"].as_str() {
        return format!("{error}\n\n");
    }
    let shut = gate["shut"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let shut: Vec<&str> = shut.collect();
    if shut.is_empty() {
        return String::new();
    }
    format!("nothing is forwarded from or to {} (boot: closed)\n\n", shut.join(", "))
}

/// What the daemon tells of the names that it resolves itself.
fn resolution(details: Option<&Value>) -> String {
    let Some(resolution) = details.map(|details| &details["resolution"]) else {
        return String::new();
    };
    let count = |key: &str| resolution[key].as_u64().unwrap_or_default();
    if count("names") == 0 {
        return String::new();
    }
    let mut text = format!("{} of {} exact names resolved", count("resolved"), count("names"));
    for (key, what) in [
        ("absent", "do not exist"),
        ("failing", "failing"),
        ("waiting", "not answered yet"),
        ("left_out", "too many"),
    ] {
        if count(key) > 0 {
            let _ = write!(text, ", {} {what}", count(key));
        }
    }
    if let Some(seconds) = resolution["next_in_s"].as_u64() {
        let _ = write!(text, "; next question in {seconds} s");
    }
    text.push('\n');
    for (name, error) in resolution["errors"].as_object().into_iter().flatten() {
        let _ = writeln!(text, "  {name}: {}", error.as_str().unwrap_or_default());
    }
    text + "\n"
}

/// What was tried past the site's resolvers.
fn other_dns(other: OtherDns) -> String {
    if other == OtherDns::default() {
        return String::new();
    }
    let OtherDns { port_53, port_853, https_names } = other;
    format!(
        "\nDNS past the resolvers, denied: {port_53} packets to others (port 53), {port_853} over TLS \
         or QUIC (port 853), {https_names} queries for servers of DNS over HTTPS\n"
    )
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}, policy generation {}",
        if status.enforcing { "enforcing" } else { "NOT enforcing" },
        status.generation
    );
    let _ = match status.daemon.pid {
        Some(pid) => writeln!(text, "daemon running, process {pid}\n"),
        None if status.daemon.running => writeln!(text, "daemon running\n"),
        None => writeln!(text, "daemon NOT running; what is pinned stays in force\n"),
    };
    if let Some(seconds) = status.warm_up_s_left {
        let _ = writeln!(
            text,
            "WARM-UP for {seconds} s more: destinations that nobody knows yet are let through\n"
        );
    }
    text += &problems(status);
    text += &configuration(status.daemon.details.as_ref());
    text += &status.open();
    text += &missing(status.daemon.details.as_ref());
    text += &gate(status.daemon.details.as_ref());
    text += &resolution(status.daemon.details.as_ref());
    let rows: Vec<[String; 4]> = status
        .interfaces
        .iter()
        .map(|interface| {
            let vlans = interface.vlans.iter().map(|vlan| match vlan {
                0 => "untagged".to_owned(),
                vlan => vlan.to_string(),
            });
            [
                interface.name.clone(),
                if interface.attached { "yes".into() } else { "NO".to_owned() },
                interface.mode.unwrap_or("-").to_owned(),
                vlans.collect::<Vec<_>>().join(", "),
            ]
        })
        .collect();
    text += &output::table(["INTERFACE", "ATTACHED", "MODE", "VLANS"], &rows);
    let rows: Vec<[String; 2]> = status
        .counters
        .iter()
        .filter(|(_, packets)| **packets > 0)
        .map(|(reason, packets)| [(*reason).to_owned(), packets.to_string()])
        .collect();
    text.push('\n');
    text += &output::table(["REASON", "PACKETS"], &rows);
    text += &other_dns(status.other_dns);
    let rows: Vec<[String; 3]> = status
        .maps
        .iter()
        .map(|(name, room)| [name.clone(), room.entries.to_string(), room.capacity.to_string()])
        .collect();
    text.push('\n');
    text += &output::table(["MAP", "ENTRIES", "CAPACITY"], &rows);
    if !status.waiting.is_empty() {
        text += "\nuntil the daemon runs again:\n";
        for waiting in &status.waiting {
            let _ = writeln!(text, "  - {waiting}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_is_told_of_when_it_is_not_simply_the_files() {
        let told = |value: Value| configuration(Some(&json!({ "configuration": value })));
        assert_eq!(configuration(None), "");
        assert_eq!(told(json!({"file": "/a.yaml", "overrides_file": false})), "");
        let waiting = json!({"file": "/b.yaml", "overrides_file": true, "confirm_within_s": 42,
                             "rollback_error": null});
        assert!(told(waiting).contains("/b.yaml waits for its confirmation, 42 s more"));
        let failing = json!({"file": "/b.yaml", "overrides_file": true, "confirm_within_s": 0,
                             "rollback_error": "no memory"});
        assert!(told(failing).contains("cannot be put back: no memory"));
        let overriding = json!({"file": "/b.yaml", "origin": "applied"});
        assert!(told(overriding).contains("in place of the configuration file"));
        let last_good = json!({"file": "/b.yaml", "origin": "last-good"});
        assert!(told(last_good).contains("cannot be used: what was last in force runs"));
    }

    #[test]
    fn names_that_are_resolved_are_told_of_with_what_is_wrong() {
        let told = |value: Value| resolution(Some(&json!({ "resolution": value })));
        assert_eq!(resolution(None) + &told(Value::Null) + &told(json!({"names": 0})), "");
        let text = told(json!({"names": 9, "resolved": 6, "absent": 2, "failing": 1, "waiting": 0,
                               "left_out": 0, "next_in_s": 12, "errors": {"a.test": "Refused"}}));
        let expected = "6 of 9 exact names resolved, 2 do not exist, 1 failing; \
                        next question in 12 s\n  a.test: Refused\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn dns_past_the_resolvers_is_told_of_by_kind() {
        let counters =
            [("resolver", 3), ("dns_over_tls", 2), ("dns_over_https", 1), ("dns_unlisted", 9)];
        let other = OtherDns::of(&counters.into());
        assert_eq!(other, OtherDns { port_53: 3, port_853: 2, https_names: 1 });
        let text = other_dns(other);
        assert!(text.contains("3 packets to others (port 53), 2 over TLS"), "{text}");
        assert!(text.contains("1 queries for servers of DNS over HTTPS"), "{text}");
        assert_eq!(other_dns(OtherDns::of(&BTreeMap::new())), "");
    }

    #[test]
    fn a_gate_is_told_of_while_it_is_shut() {
        let told = |value: Value| gate(Some(&json!({ "gate": value })));
        assert_eq!(gate(None) + &told(Value::Null) + &told(json!({"shut": []})), "");
        let text = told(json!({"shut": ["eth1", "eth2"], "error": null}));
        assert!(text.starts_with("nothing is forwarded from or to eth1, eth2"), "{text}");
        assert_eq!(told(json!({"shut": [], "error": "not kept"})), "not kept\n\n");
    }
}
