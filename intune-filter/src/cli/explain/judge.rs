//! Judges first packets and queries of one client: by the loaded program, and by its logic on the host.

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Result, bail};
use intune_filter_ebpf::abi::{Explanation, Matched, RuleMask};

use super::{
    packet::{Path, UNKNOWN_MAC, first_packet, query, query_packet},
    report::{Arrival, Judgement},
};
use crate::{
    cli::destination::Protocol,
    kernel::Pins,
    names::{Names, answer::Reader, is_target, resolution::Kind},
    simulation::{SimulatedZone, Simulation, mac_of},
};

/// Destinations that may stand for those of a name without addresses: of networks for documents (RFC 5737,
/// RFC 9637) and for benchmarks (RFC 2544).
const ANY4: [[u8; 4]; 3] = [[203, 0, 113, 254], [198, 51, 100, 254], [198, 19, 255, 254]];
const ANY6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0x3fff, 0xffe, 0, 0, 0, 0, 0, 0xfffe),
    Ipv6Addr::new(0x2001, 0x2, 0, 0xffff, 0, 0, 0, 0xfffe),
];

/// Judge of one client's packets under a policy.
pub(super) struct Judge<'a> {
    /// Policy and site.
    pub simulation: Simulation,
    /// Pins of the loaded program, if that judges.
    pub kernel: Option<&'a Pins>,
    /// Addresses that the kernel has learned: the pins, and the rules that the policy gives them.
    pub learned: Option<(&'a Pins, RuleMask)>,
    /// Names that led to learned addresses.
    pub names: &'a Names,
    /// Address of the client.
    pub client: IpAddr,
    /// Zone of the client.
    pub zone: SimulatedZone,
    /// Reader of DNS messages under the policy.
    pub reader: Reader,
    mac: [u8; 6],
}

impl<'a> Judge<'a> {
    /// Finds the client's zone and hardware address.
    pub(super) fn new(
        mut simulation: Simulation,
        kernel: Option<&'a Pins>,
        learned: Option<(&'a Pins, RuleMask)>,
        names: &'a Names,
        client: IpAddr,
        on: Option<&str>,
    ) -> Result<Self> {
        if learned.is_some() || !simulation.tables.devices.is_empty() {
            simulation.ask_routes(&[client])?;
        }
        let Some(zone) = simulation.zone_of_client(client, on) else {
            match on {
                Some(on) => bail!("no zone is on {on}"),
                None => bail!("no zone is in force: none of the configured interfaces exists"),
            }
        };
        let known = if learned.is_some() { mac_of(&simulation, client)? } else { None };
        let mac = known.unwrap_or(UNKNOWN_MAC);
        if known.is_some() {
            simulation.add_neighbour(client, mac);
        }
        let mut reader = Reader::over(simulation.policy().clone());
        reader.set_seed(simulation.tables.active.get().seed);
        let own = simulation.tables.own_addresses.iter().map(|address| IpAddr::from(*address));
        reader.set_own_addresses(&own.collect());
        Ok(Self { simulation, kernel, learned, names, client, zone, reader, mac })
    }

    /// Whether the client's group lists hardware addresses, and the client's own is not known.
    pub(super) fn needs_mac(&self) -> bool {
        let member = self.simulation.member(self.zone.number.into(), self.client);
        self.mac == UNKNOWN_MAC
            && member.is_some_and(|member| self.simulation.is_foreign_mac(&member, self.mac))
    }

    /// Returns the rules of a name under the policy, by its patterns or as a target.
    pub(super) fn rules_of_name(&self, name: &str) -> RuleMask {
        self.names.rules_of(name, |name| self.reader.rules_of_question(&query(name, Kind::A)))
    }

    /// Has the tables know the routes to addresses, and what the kernel has learned of them.
    pub(super) fn prepare(&mut self, addresses: &[IpAddr]) -> Result<()> {
        if !self.simulation.tables.devices.is_empty() {
            self.simulation.ask_routes(addresses)?;
        }
        let Some((pins, kept)) = self.learned else { return Ok(()) };
        for address in addresses.iter().flat_map(|one| self.simulation.nat64.learned_as(*one)) {
            let Some(host) = pins.host(address)? else { continue };
            let by_names = self.names.of_address(address);
            let names: Vec<&str> = by_names.map(|(name, _)| name).collect();
            let rules = if self.kernel.is_some() || names.is_empty() {
                host.rules & kept
            } else {
                names.iter().fold(RuleMask::EMPTY, |all, name| all | self.rules_of_name(name))
            };
            self.simulation.learn(address, rules, host.expires);
        }
        Ok(())
    }

    /// Has the tables know an address as an answer teaches it, beside what other names have taught.
    pub(super) fn teach(&self, address: IpAddr, rules: RuleMask, expires: u64) {
        let now = self.simulation.tables.now.get();
        let before = self.simulation.learned(address).filter(|host| host.expires > now);
        let rules = rules | before.map_or(RuleMask::EMPTY, |host| host.rules);
        self.simulation.learn(address, rules, expires);
    }

    /// Returns the addresses that the kernel has learned for a name and that have not expired, as the
    /// client reaches them.
    pub(super) fn known(&self, name: &str) -> Result<Vec<IpAddr>> {
        let Some((pins, _)) = self.learned else { return Ok(Vec::new()) };
        let now = self.simulation.tables.now.get();
        let mut known = Vec::new();
        for (address, _) in self.names.of_name(name).filter(|(address, _)| !is_target(*address)) {
            if pins.host(address)?.is_some_and(|host| host.expires > now) {
                known.extend(self.reached_as(address));
            }
        }
        Ok(known)
    }

    /// Returns the addresses by which the client reaches a host: of its own address family, or by NAT64.
    pub(super) fn reached_as(&self, address: IpAddr) -> Vec<IpAddr> {
        match (address, self.client) {
            (IpAddr::V4(v4), IpAddr::V6(_)) => self.simulation.nat64.forms(v4).collect(),
            (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
            _ => vec![address],
        }
    }

    /// Returns an address that no rule has by its networks, in place of one that is not known.
    pub(super) fn any_destination(&self) -> IpAddr {
        let all: Vec<IpAddr> = match self.client {
            IpAddr::V4(_) => ANY4.map(IpAddr::from).into(),
            IpAddr::V6(_) => ANY6.map(IpAddr::from).into(),
        };
        let has =
            |one: &&IpAddr| self.simulation.networks.iter().any(|(net, _)| net.contains(*one));
        all.iter().find(|one| !has(one)).or(all.first()).copied().unwrap_or(self.client)
    }

    /// Judges a query for a name, to the first resolver of the client's address family; `None` if there
    /// is none.
    pub(super) fn query(&mut self, name: &str, kind: Kind) -> Result<Option<Judgement>> {
        let resolvers = self.simulation.resolvers();
        let is_family = |one: &&IpAddr| one.is_ipv4() == self.client.is_ipv4();
        let Some(resolver) = resolvers.iter().find(is_family).copied() else { return Ok(None) };
        if !self.simulation.tables.devices.is_empty() {
            self.simulation.ask_routes(&[resolver])?;
        }
        let frame = query_packet(&self.path(resolver), name, kind)?;
        let explanation = self.explain(&frame)?;
        Ok(Some(Judgement { address: None, ..self.judgement(resolver, explanation) }))
    }

    /// Judges a first packet; `learned` says that the kernel has learned whatever the tables have.
    pub(super) fn judge(
        &self,
        address: IpAddr,
        port: u16,
        protocol: Protocol,
        learned: bool,
    ) -> Result<Judgement> {
        let frame = first_packet(&self.path(address), port, protocol)?;
        let here = self.send(&frame)?;
        let explanation = match self.kernel {
            Some(pins) if learned => pins.explain(&frame, self.zone.key.ifindex)?,
            _ => here,
        };
        if explanation != here {
            log::debug!("the loaded program says {explanation:?}, its logic on the host {here:?}");
        }
        if explanation.denies() {
            self.simulation.forget_packets();
        }
        let mut judgement = self.judgement(address, explanation);
        if let Some(zone) = self.simulation.zone_of_receiver(&self.zone, address) {
            let untagged = first_packet(&Path { vlan: 0, ..self.path(address) }, port, protocol)?;
            let there = self.simulation.arrive(&zone, self.zone.device, &untagged)?;
            judgement.arrival = Some(self.arrival(&zone, there));
        }
        self.simulation.forget_packets();
        Ok(judgement)
    }

    fn path(&self, destination: IpAddr) -> Path {
        Path { vlan: self.zone.vlan(), mac: self.mac, client: self.client, destination }
    }

    fn explain(&self, frame: &[u8]) -> Result<Explanation> {
        if let Some(pins) = self.kernel {
            return pins.explain(frame, self.zone.key.ifindex);
        }
        let explanation = self.send(frame);
        self.simulation.forget_packets();
        explanation
    }

    fn send(&self, frame: &[u8]) -> Result<Explanation> {
        self.simulation.send(&self.zone, frame)
    }

    fn judgement(&self, address: IpAddr, explanation: Explanation) -> Judgement {
        let rule = explanation.rule.and_then(|rule| self.simulation.rules.get(usize::from(rule)));
        let rule = rule.cloned().flatten();
        let value = match explanation.matched {
            Matched::Nothing => None,
            Matched::Cidr => explanation.rule.and_then(|rule| self.network(address, rule)),
            Matched::Name => Some(self.led_by(address, rule.as_deref())),
            Matched::Flow => Some("a connection that is known already".to_owned()),
            Matched::Builtin => Some(explanation.reason.as_str().to_owned()),
        };
        Judgement {
            address: Some(address),
            reason: explanation.reason,
            audited: explanation.audited,
            rule,
            group: self.group(&explanation),
            matched: explanation.matched,
            value,
            arrival: None,
            teaching: None,
        }
    }

    fn arrival(&self, zone: &SimulatedZone, there: Explanation) -> Arrival {
        let rule = there.rule.and_then(|rule| self.simulation.rules.get(usize::from(rule)));
        Arrival {
            place: zone.place(),
            reason: there.reason,
            audited: there.audited,
            rule: rule.cloned().flatten(),
            group: self.group(&there),
        }
    }

    fn group(&self, explanation: &Explanation) -> Option<String> {
        let group = explanation.group?;
        self.simulation.groups.get(usize::from(group)).cloned().flatten()
    }

    /// The widest network that has the rule: inner ones have the rules of those around them merged
    /// in.
    fn network(&self, address: IpAddr, rule: u8) -> Option<String> {
        let addresses: Vec<IpAddr> = self.simulation.nat64.learned_as(address).collect();
        let holds = |network: &ipnet::IpNet| addresses.iter().any(|one| network.contains(one));
        let networks = self.simulation.networks.iter();
        networks
            .filter(|(network, rules)| rules.contains(rule) && holds(network))
            .min_by_key(|(network, _)| network.prefix_len())
            .map(|(network, _)| network.to_string())
    }

    /// Returns the names that led to an address.
    pub(super) fn names_of(&self, address: IpAddr) -> Vec<&str> {
        let addresses = self.simulation.nat64.learned_as(address);
        addresses.flat_map(|one| self.names.of_address(one)).map(|(name, _)| name).collect()
    }

    /// Returns the names that led to an address and have the rule; or a text if none is known.
    fn led_by(&self, address: IpAddr, rule: Option<&str>) -> String {
        let has = |name: &str| {
            let rules = self.rules_of_name(name);
            let named = |bit| self.simulation.rules.get(usize::from(bit)).cloned().flatten();
            rules.iter().any(|bit| named(bit).as_deref() == rule)
        };
        let names: Vec<&str> =
            self.names_of(address).into_iter().filter(|name| rule.is_none() || has(name)).collect();
        if names.is_empty() {
            return format!("{address}, learned from a name that is not known any more");
        }
        names.join(", ")
    }
}
