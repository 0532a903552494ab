//! Implements `status`: shows interfaces, counters and fill levels, with or without a daemon.

use std::{collections::BTreeMap, fmt::Write as _};

use intune_filter_ebpf::abi::Reason;
use nix::unistd::Pid;

use super::{
    advertisements,
    args::Global,
    changed_links, context, deaf_peers,
    environment::on_link_now,
    error::{ExitStatus, Failure},
    judging, output, unjudged,
};
use crate::{
    config::{Config, on_link_resolvers},
    control::{Client, Request},
    daemon::interfaces::other_vlans,
    kernel::{PinDirectory, Pins, named_snapshot},
    names::resolution::{Counts, ResolutionStatus as Resolution},
    report::{
        CatalogueStatus, ConfigurationStatus, Daemon, GateStatus, Interface, MapUsage, Origin,
        OtherDns, Problem, ReloadResult, SCHEMA, Status,
    },
    system::{Mode, clock, netlink::Snapshot},
};

/// Functions that are suspended while no daemon runs: the fail table of the documentation.
const WAITING: [&str; 5] = [
    "interfaces that vanish and return are not attached again",
    "learned addresses are enforced, but the names that led to them are not recorded",
    "exact names are not resolved ahead of the clients (what they ask for is learned)",
    "expired addresses are not removed from the maps (they are not let through either)",
    "changes of the gateway's own addresses are told by its routes alone",
];

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let (config, paths) = context::lenient(global);
    let pins = Pins::open(&paths.pin_dir)?;
    let daemon = daemon(&paths.runtime_dir);
    let wanted = config.as_ref().map(Config::interface_names).unwrap_or_default();
    let snapshot = named_snapshot(&PinDirectory::new(&paths.pin_dir), &wanted)?;
    let gate = config.as_ref().map(|c| unjudged::gate(c, pins.as_ref(), &snapshot));
    let gate = gate.transpose()?.flatten();
    let told = daemon.details.as_ref();
    let groups = config.iter().flat_map(|config| &config.clients);
    let mut warnings: Vec<String> = groups.filter_map(crate::config::ClientGroup::taken).collect();
    let mut told_on_link = Vec::new();
    warnings.extend(told.and_then(|told| told.catalogue.as_ref()?.warning()));
    if let Some(config) = &config {
        warnings.extend(unfiltered(config, &snapshot));
        let links = on_link_now(config, &snapshot);
        warnings.extend(config.left_out(&links));
        told_on_link = config.told(&links);
        let resolvers = on_link_resolvers(config, &snapshot.addresses, &links);
        warnings.extend(resolvers.into_iter().map(|(_, text)| text));
        warnings.extend(advertisements::taken(config, &snapshot));
        warnings.extend(deaf_peers::notes(config, &snapshot));
        warnings.extend(changed_links::notes(config, &snapshot));
    }
    let configured = config.map(|config| config.interfaces).unwrap_or_default();
    let mut status = Status {
        schema: SCHEMA,
        problems: told.map(|told| told.problems.clone()).unwrap_or_default(),
        configuration: told.map(|told| told.configuration.clone()),
        catalogue: told.and_then(|told| told.catalogue.clone()),
        daemon,
        enforcing: false,
        generation: 0,
        warm_up_s_left: None,
        interfaces: Vec::new(),
        on_link: told_on_link,
        counters: BTreeMap::new(),
        other_dns: OtherDns::default(),
        maps: BTreeMap::new(),
        waiting: Vec::new(),
        warnings,
        gate,
    };
    if let Some(pins) = &pins {
        status.generation = pins.active()?.generation;
        status.warm_up_s_left = pins.warm_up_left(clock::boot_time())?.map(|left| left.as_secs());
        status.interfaces = interfaces(pins, &snapshot, configured)?;
        status.warnings.extend(judging::notes(pins, &snapshot)?);
        status.enforcing =
            status.generation != 0 && status.interfaces.iter().any(|interface| interface.attached);
        let counters = pins.counters()?;
        status.counters =
            counters.iter().map(|(r, counter)| (r.as_str(), counter.packets)).collect();
        status.other_dns = other_dns(&status.counters);
        let usage = pins.usage()?.into_iter().map(|(name, usage)| {
            (name, MapUsage { entries: usage.entries, capacity: usage.capacity })
        });
        status.maps = usage.collect();
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
            open(&status)
        )
    } else {
        text(&status)
    };
    Ok((ExitStatus::Yes, text))
}

/// Says what becomes of the VLANs of no zone, but for those whose device is filtered itself.
fn unfiltered(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let others = other_vlans(config, snapshot).into_iter();
    let others = others.filter(|other| !config.filters(&other.device));
    others.map(|other| config.other_vlans.fate_of(&other)).collect()
}

fn daemon(runtime_directory: &std::path::Path) -> Daemon {
    let Some(client) = Client::connect(runtime_directory) else { return Daemon::default() };
    let pid = client.daemon().ok();
    let details = client
        .ask(&Request::Status {}, context::REPLY_TIMEOUT)
        .inspect_err(|error| log::warn!("{error:#}"))
        .ok();
    Daemon { running: true, pid: pid.map(Pid::as_raw), details }
}

/// Returns every interface that is configured, has a link or has a zone.
fn interfaces(
    pins: &Pins,
    snapshot: &Snapshot,
    configured: Vec<crate::config::Interface>,
) -> anyhow::Result<Vec<Interface>> {
    let zones = pins.zones()?;
    let mut names = pins.directory().linked_interfaces()?;
    // An interface whose attachment failed has zones, but no link.
    names.extend(
        snapshot
            .interfaces
            .iter()
            .filter(|interface| zones.iter().any(|(key, _)| key.ifindex == interface.index))
            .map(|interface| interface.name.clone()),
    );
    names.extend(configured.into_iter().map(|interface| interface.name));
    for interface in &snapshot.interfaces {
        names.extend(judging::mode_of(pins, interface)?.map(|_| interface.name.clone()));
    }
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let now = snapshot.interface(&name);
            let mode = now.map(|now| judging::mode_of(pins, now)).transpose()?.flatten();
            let mode = mode.map(|(mode, _)| mode);
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

/// Describes traffic that passes although `boot: closed` should keep it out.
fn open(status: &Status) -> String {
    let gate = status.gate.as_ref();
    let open = gate.and_then(|gate| unjudged::open(gate, status.daemon.running));
    open.map_or_else(String::new, |open| format!("{open}\n\n"))
}

/// Describes the configuration in force, unless it is simply the file's.
fn configuration(status: &ConfigurationStatus) -> String {
    let file = &status.file;
    if let Some(waiting) = &status.waiting {
        return match &waiting.rollback_error {
            Some(error) => format!(
                "{file} was NOT confirmed in time, and the configuration before cannot be put \
                 back: {error}\n\n"
            ),
            None => format!(
                "{file} waits for its confirmation, {} s more: intune-filter confirm\n\n",
                waiting.confirm_within_s
            ),
        };
    }
    match status.origin {
        Origin::Applied => {
            format!("{file}, as it was then, is in force in place of the configuration file\n\n")
        }
        Origin::LastGood => format!(
            "the configuration file cannot be used: what was last in force runs, from {file}\n\n"
        ),
        Origin::File => String::new(),
    }
}

/// Describes the daemon's problems, and the result of the last reload.
fn problems(status: &Status) -> String {
    let mut text = String::new();
    for Problem { code, since, text: lines } in &status.problems {
        let _ = writeln!(text, "PROBLEM {code} since {since}:");
        for line in lines.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    if let Some(reload) = status.configuration.as_ref().and_then(|told| told.reload.as_ref()) {
        let result = match reload.result {
            ReloadResult::InForce => "in force",
            ReloadResult::Unchanged => "unchanged",
            ReloadResult::Refused => "refused",
        };
        let _ = writeln!(text, "last reload at {}: {result}", reload.at);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Describes the boot guard, if it keeps anything out, or should.
fn gate(gate: &GateStatus) -> String {
    if let Some(error) = &gate.error {
        return format!("{error}\n\n");
    }
    if gate.shut.is_empty() {
        return String::new();
    }
    format!("nothing is forwarded from or to {} (boot: closed)\n\n", gate.shut.join(", "))
}

/// Describes the daemon's resolution of exact names.
fn resolution(resolution: &Resolution) -> String {
    let Counts { names, resolved, absent, failing, waiting, left_out, .. } = resolution.counts;
    if names == 0 {
        return String::new();
    }
    let mut text = format!("{resolved} of {names} exact names resolved");
    for (count, what) in [
        (absent, "do not exist"),
        (failing, "failing"),
        (waiting, "not answered yet"),
        (left_out, "too many"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    if let Some(seconds) = resolution.next_in_s {
        let _ = write!(text, "; next question in {seconds} s");
    }
    text.push('\n');
    for (name, error) in &resolution.errors {
        let _ = writeln!(text, "  {name}: {error}");
    }
    text + "\n"
}

/// Sums up DNS queries to other servers than the site's resolvers, by reason.
fn other_dns(counters: &BTreeMap<&'static str, u64>) -> OtherDns {
    let of = |reason: Reason| counters.get(reason.as_str()).copied().unwrap_or_default();
    OtherDns {
        port_53: of(Reason::Resolver),
        port_853: of(Reason::DnsOverTls),
        https_names: of(Reason::DnsOverHttps),
    }
}

/// Describes DNS queries to other servers than the site's resolvers, in one sentence.
fn other_dns_text(other: OtherDns) -> String {
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
    text += &status.catalogue.as_ref().map(CatalogueStatus::line).unwrap_or_default();
    if let Some(seconds) = status.warm_up_s_left {
        let _ = writeln!(
            text,
            "WARM-UP for {seconds} s more: destinations that nobody knows yet are let through\n"
        );
    }
    text += &problems(status);
    text += &status.configuration.as_ref().map(configuration).unwrap_or_default();
    text += &open(status);
    if let Some(told) = &status.daemon.details {
        text += &unjudged::missing(&told.missing_interfaces);
        text += &told.gate.as_ref().map(gate).unwrap_or_default();
        text += &resolution(&told.resolution);
    }
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
    text += &other_dns_text(status.other_dns);
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
    if !status.warnings.is_empty() {
        text += "\nwarnings:\n";
        for warning in &status.warnings {
            let _ = writeln!(text, "  - {warning}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Waiting;

    #[test]
    fn a_configuration_is_told_of_when_it_is_not_simply_the_files() {
        let told = |origin, waiting| {
            configuration(&ConfigurationStatus {
                file: "/b.yaml".into(),
                digest: String::new(),
                origin,
                overrides_file: origin != Origin::File,
                reload: None,
                waiting,
            })
        };
        let waits = |seconds, error: Option<&str>| {
            let rollback_error = error.map(str::to_owned);
            Some(Waiting { confirm_within_s: seconds, rollback_error })
        };
        assert_eq!(told(Origin::File, None), "");
        let waiting = told(Origin::Applied, waits(42, None));
        assert!(waiting.contains("/b.yaml waits for its confirmation, 42 s more"), "{waiting}");
        let failing = told(Origin::Applied, waits(0, Some("no memory")));
        assert!(failing.contains("cannot be put back: no memory"), "{failing}");
        assert!(told(Origin::Applied, None).contains("in place of the configuration file"));
        let last_good = told(Origin::LastGood, None);
        assert!(last_good.contains("cannot be used: what was last in force runs"), "{last_good}");
    }

    #[test]
    fn names_that_are_resolved_are_told_of_with_what_is_wrong() {
        let told = |counts, next_in_s, errors: &[(&str, &str)]| {
            let errors = errors.iter().map(|(name, why)| ((*name).into(), (*why).into()));
            resolution(&Resolution { counts, next_in_s, errors: errors.collect() })
        };
        assert_eq!(told(Counts::default(), None, &[]), "");
        let counts = Counts { names: 9, resolved: 6, absent: 2, failing: 1, ..Counts::default() };
        let expected = "6 of 9 exact names resolved, 2 do not exist, 1 failing; \
                        next question in 12 s\n  a.test: Refused\n\n";
        assert_eq!(told(counts, Some(12), &[("a.test", "Refused")]), expected);
    }

    #[test]
    fn dns_past_the_resolvers_is_told_of_by_kind() {
        let counters =
            [("resolver", 3), ("dns_over_tls", 2), ("dns_over_https", 1), ("dns_unlisted", 9)];
        let other = other_dns(&counters.into());
        assert_eq!(other, OtherDns { port_53: 3, port_853: 2, https_names: 1 });
        let text = other_dns_text(other);
        assert!(text.contains("3 packets to others (port 53), 2 over TLS"), "{text}");
        assert!(text.contains("1 queries for servers of DNS over HTTPS"), "{text}");
        assert_eq!(other_dns_text(other_dns(&BTreeMap::new())), "");
    }

    #[test]
    fn vlans_of_no_zone_are_told_of_unless_their_device_is_filtered_itself() {
        let interface = crate::system::Interface::bare;
        let snapshot = Snapshot {
            interfaces: vec![interface("eth1", 2), interface("eth1.20", 3), interface("office", 4)],
            vlan_devices: [(3, (2, 20)), (4, (2, 30))].into(),
            ..Snapshot::default()
        };
        let config = Config::parse(
            "config.yaml",
            "interfaces: [{name: eth1}, {name: eth1.20}]\n\
             clients: [{name: a, networks: [10.20.0.0/24]}]\ndns: {resolvers: [10.20.0.1]}\n",
        );
        let told = unfiltered(&config.unwrap(), &snapshot);
        let office = "VLAN 30 on eth1 (device office) is in no zone: its frames pass unjudged";
        assert_eq!(told, [office]);
    }

    #[test]
    fn a_gate_is_told_of_while_it_is_shut() {
        let told = |shut: &[&str], error: Option<&str>| {
            let shut = shut.iter().map(ToString::to_string).collect();
            gate(&GateStatus { shut, owned: true, error: error.map(str::to_owned) })
        };
        assert_eq!(told(&[], None), "");
        let text = told(&["eth1", "eth2"], None);
        assert!(text.starts_with("nothing is forwarded from or to eth1, eth2"), "{text}");
        assert_eq!(told(&[], Some("not kept")), "not kept\n\n");
    }
}
