//! Translates the numbers of rules, groups and zones in records and flows to names.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use anyhow::Result;
use intune_filter_ebpf::abi::{
    DeniedEvent, FlowKey, QueryHead, RULES, Reason, V6, flow_flags, has_ports,
};

use super::{
    Denied, Flow, ZoneName,
    text::{protocol, record_type},
};
use crate::{
    kernel::Pins,
    names::{Names, answer::name_at, seen::SeenNames},
    policy::{Nat64, Policy},
    system::{Interface, netlink::Snapshot},
};

/// The names behind the numbers of a policy.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Ids of the rules, `SERVICE/RULE`, by number.
    rules: Vec<Option<String>>,
    groups: Vec<Option<String>>,
    zones: BTreeMap<u32, ZoneName>,
    /// Names of the machine's interfaces, by index.
    interfaces: BTreeMap<u32, String>,
    nat64: Nat64,
}

impl Labels {
    /// Returns the names of a compiled policy.
    #[must_use]
    pub fn of_policy(policy: &Policy) -> Self {
        let rule = |bit: u8| policy.rules.get(&bit).map(|rule| rule.id.to_string());
        let zones = policy.zones.iter().map(|zone| {
            let interface = Some(zone.interface.clone());
            (zone.number, ZoneName { interface, vlan: zone.vlan })
        });
        Self {
            rules: (0..RULES as u8).map(rule).collect(),
            groups: policy.groups.iter().map(|group| Some(group.name.clone())).collect(),
            zones: zones.collect(),
            interfaces: BTreeMap::new(),
            nat64: policy.nat64.clone(),
        }
    }

    /// Replaces the names of the machine's interfaces.
    pub(super) fn set_interfaces(&mut self, interfaces: &[Interface]) {
        let named = interfaces.iter().map(|interface| (interface.index, interface.name.clone()));
        self.interfaces = named.collect();
    }

    /// Those of the policy in force, with and without a daemon.
    ///
    /// # Errors
    /// A map of the names of rules or groups cannot be read.
    pub fn of_pins(pins: &Pins, machine: &Snapshot) -> Result<Self> {
        let zones = pins.zones()?.into_iter().map(|(key, zone)| {
            let interface = machine.by_index(key.ifindex);
            let interface = interface.map(|interface| interface.name.clone());
            (zone, ZoneName { interface, vlan: key.vlan as u16 })
        });
        let mut labels = Self {
            rules: pins.rules()?,
            groups: pins.groups()?,
            zones: zones.collect(),
            interfaces: BTreeMap::new(),
            nat64: pins.nat64()?,
        };
        labels.set_interfaces(&machine.interfaces);
        Ok(labels)
    }

    /// Returns the service of a rule.
    #[must_use]
    pub fn service(&self, rule: u8) -> Option<String> {
        let rule = self.rules.get(usize::from(rule))?.as_deref()?;
        Some(rule.split_once('/').map_or(rule, |(service, _)| service).to_owned())
    }

    /// Returns the name of a group.
    #[must_use]
    pub fn group(&self, number: u16) -> Option<String> {
        self.groups.get(usize::from(number))?.clone()
    }

    /// Returns the interface and VLAN of a zone.
    #[must_use]
    pub fn place(&self, zone: u16) -> ZoneName {
        self.zones.get(&u32::from(zone)).cloned().unwrap_or_default()
    }

    /// Returns the most recent name of an address, or of the IPv4 address that it reaches by NAT64: the
    /// one that expires last.
    fn name(&self, names: &Names, address: IpAddr) -> Option<String> {
        let all = self.nat64.learned_as(address).flat_map(|one| names.of_address(one));
        let last = all.max_by_key(|(_, binding)| binding.expires);
        last.map(|(name, _)| name.to_owned())
    }

    /// Returns the name that led a client to an address last: one that taught nothing, which it has asked
    /// for itself, or else the most recent one of the address.
    fn name_for(
        &self,
        (zone, client): (u16, Option<IpAddr>),
        address: IpAddr,
        names: &Names,
        seen: &SeenNames,
    ) -> Option<String> {
        let own = client.and_then(|client| {
            self.nat64.learned_as(address).find_map(|one| seen.name(zone, client, one))
        });
        own.map(str::to_owned).or_else(|| self.name(names, address))
    }

    /// Translates the record of a denied DNS query.
    #[must_use]
    pub fn query(&self, head: &QueryHead, question: &[u8]) -> Denied {
        let (name, qtype) = asked(question).unzip();
        Denied {
            client: address(head.client),
            destination: address(head.resolver),
            protocol: protocol(head.protocol),
            port: Some(DNS_PORT),
            client_port: Some(u16::from_be(head.client_port)),
            reason: reason(head.reason),
            name,
            qtype: qtype.map(record_type),
            service: None,
            group: self.group(head.group),
            audited: head.audited != 0,
            inbound: false,
            place: self.place(head.zone),
        }
    }

    /// Translates the record of a denied packet.
    #[must_use]
    pub fn denied(&self, event: &DeniedEvent, names: &Names, seen: &SeenNames) -> Denied {
        let inbound = event.egress != 0;
        let from = (event.source, event.source_port);
        let to = (event.destination, event.destination_port);
        let (client, remote) = if inbound { (to, from) } else { (from, to) };
        let port = |port: u16| has_ports(event.protocol).then(|| u16::from_be(port));
        let destination = address(remote.0);
        Denied {
            client: address(client.0),
            destination,
            protocol: protocol(event.protocol),
            port: port(remote.1),
            client_port: port(client.1),
            reason: reason(event.reason),
            name: destination.and_then(|remote| {
                self.name_for((event.zone, address(client.0)), remote, names, seen)
            }),
            qtype: None,
            service: self.service(event.rules.lowest()),
            group: self.group(event.group),
            audited: event.audited != 0,
            inbound,
            place: self.place_of(event),
        }
    }

    /// Returns the interface and VLAN of a denied packet, also of one without a zone.
    fn place_of(&self, event: &DeniedEvent) -> ZoneName {
        if event.vlan == 0 {
            return self.place(event.zone);
        }
        let interface = self.interfaces.get(&event.ifindex).cloned();
        ZoneName { interface, vlan: event.vlan as u16 }
    }

    /// Translates a flow.
    #[must_use]
    pub fn flow(
        &self,
        key: &FlowKey<V6>,
        flow: &intune_filter_ebpf::abi::Flow,
        names: &Names,
    ) -> Flow {
        let destination = IpAddr::from(key.remote);
        Flow {
            client: key.client.into(),
            client_port: u16::from_be(key.client_port),
            destination,
            protocol: protocol(key.protocol),
            port: has_ports(key.protocol).then(|| u16::from_be(key.remote_port)),
            name: self.name(names, destination),
            service: self.service(flow.rule),
            group: self.group(flow.group.into()),
            audited: flow.flags & flow_flags::AUDITED != 0,
            inbound: flow.flags & flow_flags::INBOUND != 0,
            place: self.place(key.zone),
        }
    }
}

/// Port of resolvers.
const DNS_PORT: u16 = 53;

fn reason(number: u8) -> String {
    Reason::from_number(number).map_or("unknown", Reason::as_str).to_owned()
}

/// Returns the name and the type of a question on the wire; `None` if it is not whole.
fn asked(question: &[u8]) -> Option<(String, u16)> {
    let name = name_at(question)?;
    let mut end = 0;
    while let length @ 1.. = *question.get(end)? {
        end += usize::from(length) + 1;
    }
    let qtype = question.get(end + 1..end + 3)?;
    Some((name, u16::from_be_bytes(qtype.try_into().ok()?)))
}

/// Returns the address of a record; `None` for the unspecified one of a frame without a datagram.
fn address(address: V6) -> Option<IpAddr> {
    let address = IpAddr::from(address);
    (address != IpAddr::V6(Ipv6Addr::UNSPECIFIED)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        let place = |name: &str, vlan| ZoneName { interface: Some(name.into()), vlan };
        Labels {
            rules: vec![None, Some("web/main".into()), Some("push/wns".into())],
            groups: vec![Some("devices".into())],
            zones: [(1, place("lan", 0)), (2, place("lan", 20))].into(),
            interfaces: [(7, "lan".to_owned())].into(),
            nat64: Nat64::new(vec!["64:ff9b::/96".parse().unwrap()]),
        }
    }

    fn wide(address: &str) -> V6 {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_denial_is_told_from_the_clients_side_in_both_directions() {
        let mut names = Names::default();
        let rules = || ["web/main".to_owned()];
        names.learn("old.test", "192.0.2.1".parse().unwrap(), rules(), 5);
        names.learn("new.test", "192.0.2.1".parse().unwrap(), rules(), 9);
        let out = DeniedEvent {
            rules: [1, 2].into_iter().collect(),
            source: wide("10.0.0.1"),
            destination: wide("192.0.2.1"),
            source_port: 40000_u16.to_be(),
            destination_port: 443_u16.to_be(),
            zone: 2,
            protocol: 6,
            reason: Reason::Port as u8,
            ..DeniedEvent::default()
        };
        let told = labels().denied(&out, &names, &SeenNames::default());
        let expected = Denied {
            client: Some("10.0.0.1".parse().unwrap()),
            destination: Some("192.0.2.1".parse().unwrap()),
            protocol: "tcp".into(),
            port: Some(443),
            client_port: Some(40000),
            reason: "port".into(),
            name: Some("new.test".into()),
            qtype: None,
            service: Some("web".into()),
            group: Some("devices".into()),
            audited: false,
            inbound: false,
            place: ZoneName { interface: Some("lan".into()), vlan: 20 },
        };
        assert_eq!(told, expected);
        let by_nat64 = DeniedEvent { destination: wide("64:ff9b::192.0.2.1"), ..out };
        assert_eq!(
            labels().denied(&by_nat64, &names, &SeenNames::default()).name.as_deref(),
            Some("new.test")
        );
        let back = DeniedEvent {
            source: out.destination,
            destination: out.source,
            source_port: out.destination_port,
            destination_port: out.source_port,
            egress: 1,
            ..out
        };
        assert_eq!(
            labels().denied(&back, &names, &SeenNames::default()),
            Denied { inbound: true, ..expected }
        );
    }

    #[test]
    fn a_query_is_told_with_what_it_asks_for() {
        let head = QueryHead {
            client: wide("10.0.0.1"),
            resolver: wide("10.0.0.53"),
            client_port: 40000_u16.to_be(),
            zone: 2,
            protocol: 17,
            reason: Reason::DnsUnlisted as u8,
            audited: 1,
            ..QueryHead::default()
        };
        let question = b"\x03WWW\x04a\x1bb.\x00\x00\x41\x00\x01and what fills it up";
        let told = labels().query(&head, question);
        assert_eq!(told.name.as_deref(), Some("www.a\\x1bb."));
        assert_eq!(told.qtype.as_deref(), Some("HTTPS"));
        assert_eq!((told.port, told.client_port), (Some(53), Some(40000)));
        assert_eq!(told.destination, Some("10.0.0.53".parse().unwrap()));
        assert_eq!((told.reason.as_str(), told.audited), ("dns_unlisted", true));
        assert_eq!((told.group.as_deref(), told.place.vlan), (Some("devices"), 20));
        for length in 0..12 {
            assert_eq!(labels().query(&head, &question[..length]).qtype, None, "{length}");
        }
    }

    #[test]
    fn a_frame_of_no_zone_is_told_with_its_vlan() {
        let frame = DeniedEvent { ifindex: 7, vlan: 30, group: 255, ..DeniedEvent::default() };
        let place = |event| {
            labels().denied(&event, &Names::default(), &SeenNames::default()).place.to_string()
        };
        assert_eq!(place(frame), "lan.30");
        assert_eq!(place(DeniedEvent { ifindex: 8, ..frame }), "?.30");
    }

    #[test]
    fn what_is_not_known_is_none() {
        let frame = DeniedEvent {
            reason: Reason::EtherType as u8,
            group: 255,
            zone: 9,
            ..DeniedEvent::default()
        };
        let told = labels().denied(&frame, &Names::default(), &SeenNames::default());
        assert_eq!((told.client, told.destination, told.port), (None, None, None));
        assert_eq!((told.service, told.group, told.name), (None, None, None));
        assert_eq!((told.place, told.reason.as_str()), (ZoneName::default(), "ethertype"));
    }
}
