//! Contents of the maps while programs are measured.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv6Addr},
};

use anyhow::{Result, ensure};
use aya::maps::{HashMap, MapData};
use intune_filter::config::Config;
use intune_filter_bench_ebpf::FlowCycle;
use intune_filter_ebpf::abi::{Flow, FlowKey, Host, RuleMask, V4, V6, flow_flags};

use intune_filter_tests::prog_test_run::datagram::CLIENT_MAC;

use super::{
    baseline::Baseline,
    load::{Load, PORT},
    packets::{Family, Kind, Packets},
};
use intune_filter_tests::prog_test_run::{Bed as _, LoadedFilter, state::now};

/// Far away, in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;
const TCP: u8 = 6;
/// The clients' zone.
const ZONE: u16 = 1;
/// Clients of all flows.
const CLIENTS: u32 = FlowCycle::FLOWS / FlowCycle::PORTS;
/// Services of the policy, of one rule each.
const SERVICES: u32 = 20;
/// Spreads numbers over 24 bits: odd, and near to what the golden section makes of them.
const SPREAD: u32 = 10_368_889;
const BITS: u32 = (1 << 24) - 1;

/// Contents that were put into the maps last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tables {
    load: Option<Load>,
}

impl Tables {
    /// Puts so much into the maps, unless it is there.
    pub fn fill(
        &mut self,
        filter: &mut LoadedFilter,
        baseline: &mut Baseline,
        load: Load,
    ) -> Result<()> {
        let before = self.load.replace(load);
        if before.is_none() {
            introduce(filter)?;
        }
        if before.is_none_or(|before| before.nets != load.nets) {
            filter.install(&config(load.nets)?)?;
            let zone = filter.policy().zones.first().map(|zone| zone.number);
            ensure!(
                zone == Some(ZONE.into()),
                "the zone is {zone:?}, and the floors look for {ZONE}"
            );
        }
        // Every policy numbers its rules anew.
        if before.is_none_or(|before| (before.nets, before.hosts) != (load.nets, load.hosts)) {
            filter.forget_addresses()?;
            learn(filter, load.hosts)?;
        }
        // A policy ends no flow that it allows, but has each judged again once.
        filter.forget_flows()?;
        let keys4: Vec<FlowKey<V4>> = (0..load.flows).map(|flow| key4(flow, load.nets)).collect();
        let keys6: Vec<FlowKey<V6>> = (0..load.flows).map(|flow| key6(flow, load.nets)).collect();
        let flow = known_flow(filter)?;
        insert(filter, "FLOWS4", &keys4, flow)?;
        insert(filter, "FLOWS6", &keys6, flow)?;
        baseline.fill(&keys4, &keys6)
    }

    /// Has packets go to where they are to.
    pub fn point(&self, baseline: &mut Baseline, packets: &Packets) -> Result<()> {
        let address = |index| match (packets.kind, packets.family) {
            (Kind::Established | Kind::ToNetwork, Family::V4) => mapped(in_network4(index)),
            (Kind::Established | Kind::ToNetwork, Family::V6) => in_network6(index),
            (Kind::ToName, Family::V4) => mapped(host4(index)),
            (Kind::ToName, Family::V6) => host6(index),
            (Kind::Denied | Kind::Rejected, Family::V4) => mapped(nowhere4(index)),
            (Kind::Denied | Kind::Rejected, Family::V6) => nowhere6(index),
        };
        let remotes: Vec<V6> = (0..packets.cycle.remotes).map(address).collect();
        baseline.set_remotes(&remotes)
    }
}

/// A number of 24 bits that is no other index's, of those below that.
pub fn spread(index: u32) -> u32 {
    index.wrapping_mul(SPREAD) & BITS
}

/// An address in a network of the policy, which are a /28 each between 32.0.0.0 and 47.255.255.255.
fn in_network4(index: u32) -> V4 {
    V4(((2 << 28) | (spread(index) << 4) | (index & 15)).to_be())
}

fn in_network6(index: u32) -> V6 {
    let spread = spread(index);
    let (high, low) = ((spread >> 16) as u16, spread as u16);
    Ipv6Addr::new(0x2a01, high, low, index as u16, 0, 0, 0, 1).into()
}

fn host4(index: u32) -> V4 {
    V4(((64 << 24) | spread(index)).to_be())
}

fn host6(index: u32) -> V6 {
    let spread = spread(index);
    Ipv6Addr::new(0x2a02, (spread >> 16) as u16, spread as u16, 0, 0, 0, 0, 1).into()
}

fn nowhere4(index: u32) -> V4 {
    V4(((65 << 24) | spread(index)).to_be())
}

fn nowhere6(index: u32) -> V6 {
    let spread = spread(index);
    Ipv6Addr::new(0x2a03, (spread >> 16) as u16, spread as u16, 0, 0, 0, 0, 1).into()
}

fn mapped(address: V4) -> V6 {
    V6([0, 0, 0, address.0])
}

fn key4(flow: u32, nets: u32) -> FlowKey<V4> {
    let client = V4(u32::from_be_bytes([10, 20, 0, FlowCycle::client(flow)]).to_be());
    key(flow, client, in_network4(flow % nets))
}

fn key6(flow: u32, nets: u32) -> FlowKey<V6> {
    let host = u16::from(FlowCycle::client(flow));
    let client = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, host).into();
    key(flow, client, in_network6(flow % nets))
}

fn key<A>(flow: u32, client: A, remote: A) -> FlowKey<A> {
    FlowKey {
        zone: ZONE,
        protocol: TCP,
        reserved: 0,
        client_port: FlowCycle::port(flow).to_be(),
        remote_port: PORT.to_be(),
        client,
        remote,
    }
}

/// Has the gateway know the clients as neighbours: senders are asked for, and these are proven.
fn introduce(filter: &mut LoadedFilter) -> Result<()> {
    for number in 0..CLIENTS {
        let host = FlowCycle::client(number * FlowCycle::PORTS);
        let v6 = Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, host.into());
        for address in [IpAddr::from([10, 20, 0, host]), v6.into()] {
            filter.set_neighbour(address, CLIENT_MAC)?;
        }
    }
    Ok(())
}

/// A site with `nets` networks of each family, of every second rule.
fn config(nets: u32) -> Result<Config> {
    let ids: Vec<String> = (0..SERVICES).map(|service| format!("s{service}")).collect();
    let ids = ids.join(", ");
    let mut text = format!(
        "interfaces: [{{name: eth1}}]\n\
         clients:\n  - {{name: lan, networks: [10.20.0.0/25, 'fd00:20::/121'], on_deny: drop, \
         services: [{ids}]}}\n  - {{name: told, networks: [10.20.0.128/25, 'fd00:20::80/121'], \
         on_deny: reject, services: [{ids}]}}\n\
         dns: {{resolvers: [192.0.2.53]}}\nlimits: {{queries: off, flows: off}}\nservices:\n"
    );
    for service in 0..SERVICES {
        let own = (service..nets).step_by(SERVICES as usize).flat_map(|index| {
            let V4(v4) = in_network4(index);
            let v6 = Ipv6Addr::from(in_network6(index)).segments();
            let v4 = std::net::Ipv4Addr::from(u32::from_be(v4) & !15);
            [format!("{v4}/28"), format!("'{:x}:{:x}:{:x}:{:x}::/64'", v6[0], v6[1], v6[2], v6[3])]
        });
        let cidrs: Vec<String> = own.collect();
        let cidrs = cidrs.join(", ");
        let _ = writeln!(
            text,
            "  - {{id: s{service}, title: S, fqdns: ['*.s{service}.test'], cidrs: [{cidrs}], \
             tcp: [{PORT}]}}"
        );
    }
    Config::parse("bench.yaml", &text).map_err(anyhow::Error::new)
}

fn learn(filter: &LoadedFilter, hosts: u32) -> Result<()> {
    let now = now()?;
    let mut v4: HashMap<MapData, V4, Host> = filter.pins().map("HOSTS4")?;
    let mut v6: HashMap<MapData, V6, Host> = filter.pins().map("HOSTS6")?;
    let rule = |service| RuleMask::of(filter.rule(&format!("s{service}/site")));
    let rules: Vec<RuleMask> = (0..SERVICES).map(rule).collect();
    for (index, rules) in (0..hosts).zip(rules.into_iter().cycle()) {
        let host = Host::new(rules, now + HOUR, now, 0);
        v4.insert(host4(index), host, 0)?;
        v6.insert(host6(index), host, 0)?;
    }
    Ok(())
}

fn known_flow(filter: &LoadedFilter) -> Result<Flow> {
    let now = now()?;
    Ok(Flow {
        opened: now,
        last_seen: now,
        generation: filter.pins().active()?.generation,
        rule: 0,
        flags: flow_flags::ANSWERED,
        client_mac: CLIENT_MAC,
        ..Flow::default()
    })
}

fn insert<K: aya::Pod>(filter: &LoadedFilter, map: &str, keys: &[K], flow: Flow) -> Result<()> {
    let mut map: HashMap<MapData, K, Flow> = filter.pins().map(map)?;
    for key in keys {
        map.insert(key, flow, 0)?;
    }
    Ok(())
}
