//! The host's build alone: no frame makes it panic, and what passes may pass.

use std::net::IpAddr;

use intune_filter::policy::{Policy, RuleBits, compile};
use intune_filter_ebpf::{
    abi::{Active, ZoneKey},
    host::{self, Tables},
    verdict::{self, Action},
};
use intune_filter_tests::testrun::{
    Addresses,
    filter::Place,
    site::{catalogue, config},
};

use super::{
    cases,
    frames::{Frames, Numbers},
    model,
};

/// Tables of the site's policy, for interfaces of these indices.
pub fn tables(policy: &Policy, active: Active, index: impl Fn(&str) -> u32) -> Tables {
    let mut tables = Tables::default();
    tables.policies[(active.generation & 1) as usize] = host::Policy::from(policy);
    tables.active.set(active);
    for zone in &policy.zones {
        let key = ZoneKey { ifindex: index(&zone.interface), vlan: zone.vlan.into() };
        tables.zones.insert(key, zone.number);
    }
    for who in Addresses::both() {
        tables.own_addresses.insert(IpAddr::into(who.gateway));
        tables.local_routes.insert(who.gateway_by_route.into());
        tables.local_routes.insert(who.gateway_link_local.into());
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

#[test]
fn whatever_comes_the_host_passes_only_what_may_pass() {
    let cases = cases(200_000);
    let frames = Frames::new();
    let policy = compile(&config("", ""), &catalogue(), &RuleBits::new()).expect("a policy");
    let tables = tables(&policy, Active { generation: 1, reserved: 0, seed: 7 }, index);
    tables.now.set(1 << 40);
    let mut reasons = std::collections::BTreeMap::<&str, u64>::new();
    for case in 0..cases {
        let mut numbers = Numbers::new(case);
        let (at, frame) = frames.frame(&mut numbers);
        clear(&tables);
        let place = place(at, index);
        let verdict = match at {
            Place::Ingress(_) => tables.ingress(&frame, place),
            _ => tables.egress(&frame, place),
        };
        *reasons.entry(verdict.reason.as_str()).or_default() += 1;
        let denied = verdict.reason.denies();
        let passed = verdict.action == Action::Pass;
        assert_eq!(passed, !denied || verdict.audited != 0, "case {case}: {verdict:?}");
        if !denied {
            let may = model::may_pass(at, &frame, verdict.reason);
            assert!(may, "case {case}, {at:?}: {verdict:?} of {frame:02x?}");
        }
    }
    println!("{cases} frames: {reasons:?}");
    for reason in ["policy", "dns_query", "malformed", "fragment", "port", "unsolicited"] {
        assert!(reasons.get(reason) > Some(&(cases / 10_000)), "{reason} is among them");
    }
}
