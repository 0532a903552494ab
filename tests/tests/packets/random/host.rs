//! The host's build alone, while time passes and two policies take turns: no frame makes it panic,
//! and what passes has a cause that somebody else sees too.

use std::{collections::BTreeMap, net::IpAddr};

use intune_filter::{
    config::Config,
    policy::{Policy, RuleBits, compile},
};
use intune_filter_ebpf::{
    abi::{Active, Matched, OwnKey, V6, ZoneKey},
    host::{self, Tables},
    verdict::{self, Action},
};
use intune_filter_tests::testrun::{
    Addresses,
    filter::Place,
    site::{LAN, OTHER, VLAN_DEVICE, catalogue, changed_config, config},
};

use ipnet::IpNet;

use super::{
    cases,
    frames::{Frames, Numbers},
    witness::{Moment, Witness},
};

/// The site with another policy, which takes rules from one group and audits nobody.
pub fn other_config() -> Config {
    changed_config("", "", |text| {
        text.replacen("[core, time]", "[time, other]", 1).replacen("    mode: audit\n", "", 1)
    })
}

/// The routes of the tables' site.
const ROUTES: [(&str, &str); 8] = [
    ("0.0.0.0/0", "eth0"),
    ("::/0", "eth0"),
    ("10.20.0.0/16", LAN),
    ("fd00:20::/48", LAN),
    ("10.21.0.0/24", VLAN_DEVICE),
    ("fd00:21::/64", VLAN_DEVICE),
    ("10.22.0.0/24", OTHER),
    ("fd00:22::/64", OTHER),
];

/// Tables of two policies with the same zones, for interfaces of these indices.
pub fn tables(policies: [&Policy; 2], active: Active, index: impl Fn(&str) -> u32) -> Tables {
    let mut tables = Tables::default();
    tables.policies = policies.map(host::Policy::from);
    tables.active.set(active);
    for zone in &policies[0].zones {
        let key = ZoneKey { ifindex: index(&zone.interface), vlan: zone.vlan.into() };
        tables.zones.insert(key, zone.number);
        let name = if zone.vlan == 0 { &zone.interface } else { VLAN_DEVICE };
        tables.devices.insert(zone.number as u16, index(name));
    }
    for (network, device) in ROUTES {
        let network: IpNet = network.parse().expect("a constant");
        let more = if network.addr().is_ipv4() { 96 } else { 0 };
        let address: V6 = network.addr().into();
        let key: Vec<u8> = address.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        tables.routes.insert(more + u32::from(network.prefix_len()), &key, index(device));
    }
    for who in Addresses::both() {
        tables.own_addresses.insert(IpAddr::into(who.gateway));
        let lan = index(LAN);
        tables.own_on_device.insert(OwnKey { device: lan, address: who.gateway.into() });
        tables.local_routes.insert(who.gateway_by_route.into(), lan);
        tables.local_routes.insert(who.gateway_link_local.into(), lan);
    }
    tables
}

/// Where a frame is, for the host's build.
pub fn place(place: Place, index: impl Fn(&str) -> u32) -> verdict::Place {
    let (interface, from_gateway) = match place {
        Place::Ingress(interface) | Place::Egress(interface) => (interface, false),
        Place::EgressOfGateway(interface) => (interface, true),
    };
    verdict::Place { ifindex: index(interface), stripped_tag: None, from_gateway }
}

/// Forgets whatever the programs remember.
pub fn clear(tables: &Tables) {
    tables.hosts4.borrow_mut().clear();
    tables.hosts6.borrow_mut().clear();
    tables.flows4.borrow_mut().clear();
    tables.flows6.borrow_mut().clear();
    tables.new_flows4.borrow_mut().clear();
    tables.new_flows6.borrow_mut().clear();
    tables.pending.borrow_mut().clear();
    tables.fragments.borrow_mut().clear();
    tables.limits.borrow_mut().clear();
    tables.streams.borrow_mut().clear();
    tables.streams_read.borrow_mut().clear();
    tables.denied.borrow_mut().clear();
    tables.answers.borrow_mut().clear();
    tables.flow_events.borrow_mut().clear();
    tables.segments.borrow_mut().clear();
}

fn index(interface: &str) -> u32 {
    if interface == "eth1" { 1 } else { 2 }
}

/// Whose reasons have to be among those of every run: what came before is remembered.
pub const DEEP: [&str; 8] = [
    "policy",
    "flow",
    "fragment_allowed",
    "icmp_error",
    "dns_query",
    "dns_answer",
    "unsolicited",
    "fragment",
];

/// Frames that follow each other on the same state.
const TOGETHER: u64 = 32;
/// Once in so many frames time has passed.
const REST: usize = 8;
/// Once in so many frames the other policy comes into force.
const POLICY: usize = 16;
/// Once in so many frames a tag comes beside the frame.
const BESIDE: usize = 2;

/// Seconds that pass: less and more than what is waited for.
const SECONDS: [u64; 8] = [0, 1, 20, 40, 90, 200, 400, 8000];

/// The tag of a frame, and the frame without it, as the hardware may hand them over.
fn apart(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    match frame.get(12..16)? {
        [0x81, 0, high, low] | [0x88, 0xa8, high, low] => {
            let without = [&frame[..12], &frame[16..]].concat();
            (without.len() >= 14).then_some((u16::from_be_bytes([*high, *low]), without))
        }
        _ => None,
    }
}

/// What was judged.
#[derive(Debug, Default)]
struct Judged {
    reasons: BTreeMap<&'static str, u64>,
    by_name: u64,
}

/// Has frames judged by these policies in turn; fails at the first that passes without a cause, or
/// by a cause does not pass.
fn judge(cases: u64, policies: [&Policy; 2]) -> Result<Judged, String> {
    let frames = Frames::new();
    let start = Active { generation: 2, reserved: 0, seed: 7 };
    let tables = tables(policies, start, index);
    let mut judged = Judged::default();
    for begin in (0..cases).step_by(TOGETHER as usize) {
        let mut numbers = Numbers::new(begin.rotate_left(32));
        let mut witness = Witness::default();
        clear(&tables);
        tables.now.set(1 << 45);
        tables.active.set(start);
        for (at, frame) in frames.batch(begin, TOGETHER.min(cases - begin)) {
            if numbers.once_in(REST) {
                tables.now.set(tables.now.get() + numbers.one(&SECONDS) * 1_000_000_000);
            }
            if numbers.once_in(POLICY) {
                let active = tables.active.get();
                tables.active.set(Active { generation: active.generation + 1, ..active });
            }
            let generation = tables.active.get().generation;
            let moment = Moment { now: tables.now.get(), generation, second: generation & 1 == 1 };
            let mut place = place(at, index);
            let beside = apart(&frame).filter(|_| numbers.once_in(BESIDE));
            place.stripped_tag = beside.as_ref().map(|(tag, _)| *tag);
            let octets = beside.as_ref().map_or(&frame, |(_, without)| without);
            let verdict = match at {
                Place::Ingress(_) => tables.ingress(octets, place),
                _ => tables.egress(octets, place),
            };
            *judged.reasons.entry(verdict.reason.as_str()).or_default() += 1;
            judged.by_name += u64::from(verdict.matched == Matched::Name);
            let passed = verdict.action == Action::Pass;
            let passes = !verdict.reason.denies() || verdict.audited != 0;
            if passed != passes || !witness.agrees(moment, at, &frame, &verdict) {
                return Err(format!(
                    "from {begin}, {moment:?}, {at:?}, {place:?}: {verdict:?} of {frame:02x?}\n\
                     {witness:?}"
                ));
            }
        }
    }
    Ok(judged)
}

#[test]
fn whatever_comes_the_host_passes_only_what_has_a_cause() {
    let cases = cases(200_000);
    let first = compile(&config("", ""), &catalogue(), &RuleBits::new()).expect("a policy");
    let second = compile(&other_config(), &catalogue(), &first.rule_bits()).expect("a policy");
    let judged = judge(cases, [&first, &second]).unwrap_or_else(|frame| panic!("{frame}"));
    let Judged { reasons, by_name } = judged;
    println!("{cases} frames, {by_name} by a learned name: {reasons:?}");
    for reason in DEEP.into_iter().chain(["port", "malformed", "exempt", "inbound"]) {
        assert!(reasons.get(reason) > Some(&(cases / 2_000)), "{reason} is among them");
    }
    assert!(by_name > cases / 2_000, "names are learned");
}

/// Shows that what passes without a cause does not go unnoticed: the site allows a little more.
#[test]
fn a_policy_that_lets_more_pass_is_noticed() {
    let first = compile(&config("", ""), &catalogue(), &RuleBits::new()).expect("a policy");
    for (old, new) in [
        // Another service, more clients, one that is let alone, audited, or reached from outside.
        ("[core, time]", "[core, time, other]"),
        ("10.22.0.0/24", "10.0.0.0/8"),
        ("name: servers\n", "name: servers\n    mode: exempt\n"),
        ("name: tagged\n", "name: tagged\n    mode: audit\n"),
        ("name: lan\n", "name: lan\n    inbound: allow\n"),
    ] {
        let wider = changed_config("", "", |text| text.replacen(old, new, 1));
        let wider = compile(&wider, &catalogue(), &first.rule_bits()).expect("a policy");
        let noticed = judge(200_000, [&wider, &wider]).expect_err(new);
        assert!(noticed.contains("action: Pass"), "{new}: {noticed}");
    }
}
