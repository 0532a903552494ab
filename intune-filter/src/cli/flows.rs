//! Implements `flows`: lists the live flows in the kernel's tables.

use intune_filter_ebpf::{
    abi::{Ending, flow_flags},
    verdict::ending,
};
use ipnet::IpNet;

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    output,
};
use crate::{
    config::Paths,
    events::{Labels, Traffic, flow_reaper::has_expired},
    kernel::{FlowEntry, Pins, named_snapshot},
    names::Names,
    report::LiveFlow,
    system::clock,
};

const SECOND: u64 = 1_000_000_000;

/// Runs the command.
pub(super) fn run(global: &Global, clients: &[IpNet]) -> Result<(ExitStatus, String), Failure> {
    let mut flows = live(&context::paths(global))?;
    let is_wanted = |flow: &LiveFlow| {
        clients.is_empty() || clients.iter().any(|network| network.contains(&flow.flow.client))
    };
    flows.retain(is_wanted);
    flows.sort_by_key(|live| (live.idle_s, live.flow.client));
    let text = if global.json {
        output::json(&flows)?
    } else if flows.is_empty() {
        "no flow is open\n".to_owned()
    } else {
        let rows: Vec<[String; 10]> = flows.iter().map(row).collect();
        output::table(
            [
                "CLIENT",
                "DESTINATION",
                "NAME",
                "SERVICE",
                "STATE",
                "PACKETS",
                "OUT",
                "IN",
                "AGE",
                "IDLE",
            ],
            &rows,
        )
    };
    Ok((ExitStatus::Yes, text))
}

/// Returns the live flows; none if nothing is pinned.
pub(super) fn live(paths: &Paths) -> anyhow::Result<Vec<LiveFlow>> {
    let Some(pins) = Pins::open(&paths.pin_dir)? else { return Ok(Vec::new()) };
    let labels = Labels::of_pins(&pins, &named_snapshot(pins.directory(), &[])?)?;
    let names = context::names(paths);
    let entries = pins.flows()?;
    let now = clock::boot_time();
    Ok(of_entries(&entries, &labels, &names, now))
}

fn of_entries(entries: &[FlowEntry], labels: &Labels, names: &Names, now: u64) -> Vec<LiveFlow> {
    entries
        .iter()
        .filter(|entry| !has_expired(entry.key.protocol, &entry.flow, now))
        .map(|FlowEntry { key, flow, .. }| LiveFlow {
            flow: labels.flow(key, flow, names),
            state: if ending(flow.flags) != Ending::Open {
                "closing"
            } else if flow.flags & flow_flags::ANSWERED != 0 {
                "established"
            } else {
                "new"
            },
            traffic: Traffic::from(flow),
            age_s: now.saturating_sub(flow.opened) / SECOND,
            idle_s: now.saturating_sub(flow.last_seen) / SECOND,
        })
        .collect()
}

fn row(live: &LiveFlow) -> [String; 10] {
    let LiveFlow { flow, traffic, .. } = live;
    let destination = match flow.port {
        Some(port) => std::net::SocketAddr::new(flow.destination, port).to_string(),
        None => flow.destination.to_string(),
    };
    let service = flow.service.clone().unwrap_or_else(|| "-".into());
    [
        flow.client.to_string(),
        format!("{destination}/{}", flow.protocol),
        flow.name.clone().unwrap_or_else(|| "-".into()),
        if flow.audited { "audited".into() } else { service },
        live.state.to_owned(),
        (traffic.packets_out + traffic.packets_in).to_string(),
        output::octets(traffic.bytes_out),
        output::octets(traffic.bytes_in),
        output::seconds(live.age_s),
        output::seconds(live.idle_s),
    ]
}

#[cfg(test)]
mod tests {
    use intune_filter_ebpf::abi::{self, FlowKey};

    use super::*;

    #[test]
    fn states_are_told_apart_and_what_has_expired_is_not_listed() {
        const NOW: u64 = 100_000 * SECOND;
        let entry = |port: u16, flags, silent: u64| FlowEntry {
            key: FlowKey { protocol: 6, client_port: port.to_be(), ..FlowKey::default() },
            flow: abi::Flow {
                opened: NOW - 9_000 * SECOND,
                last_seen: NOW - silent * SECOND,
                flags,
                client_packets: 3,
                remote_bytes: 7,
                ..abi::Flow::default()
            },
            answered: flags & flow_flags::ANSWERED != 0,
        };
        let answered = flow_flags::ANSWERED;
        let entries = [
            entry(1, 0, 240),
            entry(2, 0, 241),
            entry(3, answered, 7_440),
            entry(4, answered, 7_441),
            entry(5, answered | flow_flags::RESET, 30),
            entry(6, answered | flow_flags::CLIENT_FIN, 31),
            entry(7, answered | flow_flags::RESET, 31),
        ];
        let live = of_entries(&entries, &Labels::default(), &Names::default(), NOW);
        let told: Vec<_> = live.iter().map(|one| (one.flow.client_port, one.state)).collect();
        assert_eq!(told, [(1, "new"), (3, "established"), (5, "closing"), (6, "established")]);
        assert_eq!((live[1].age_s, live[1].idle_s), (9_000, 7_440));
        assert_eq!((live[0].traffic.packets_out, live[0].traffic.bytes_in), (3, 7));
    }
}
