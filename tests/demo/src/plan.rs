//! Questions and probes of the demo, with their expected results.

use std::{collections::BTreeSet, net::IpAddr};

use intune_filter_ebpf::abi::Reason;
use ipnet::IpNet;

use super::services::{Rule, Service, samples};
use intune_filter_tests::{
    network::GATEWAY,
    probe::{Target, Transport},
    records::{Records, addresses},
    responder::RESPONDER,
    testbed::FOREIGN_PORT,
};

/// Part of the demo that a probe belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Of the service with this number.
    Service(usize),
    /// An address that no name has led to yet, although one will.
    Unresolved,
    /// An address beside an allowed network.
    Beside,
    /// An address that no name leads to.
    Unnamed,
    /// A name on no list.
    Unlisted,
    /// A resolver that the configuration does not name.
    OtherResolver,
    /// The gateway itself.
    Gateway,
    /// The kernel's own count of what it denied.
    Count,
}

/// Expected result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The remote answers.
    Reached,
    /// No answer, for this reason.
    Denied(Reason),
}

/// A connection to try.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Part of the demo.
    pub part: Part,
    /// The name or network that it is about, for people.
    pub subject: String,
    /// Target of the probe.
    pub target: Target,
    /// Expected result.
    pub expected: Expected,
}

/// A name to resolve.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Part of the demo.
    pub part: Part,
    /// The name.
    pub name: String,
    /// Expected result.
    pub answer: ExpectedAnswer,
}

/// Expected answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedAnswer {
    /// The resolver gives the name's addresses, and the filter learns them.
    Addresses([IpAddr; 2]),
    /// The filter refuses.
    Refused,
    /// The question goes to a resolver that the filter does not trust, and never arrives.
    Silence(IpAddr),
}

/// Everything that the demo does, in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Addresses of names before anybody has asked for them.
    pub unresolved: Vec<Probe>,
    /// Names of the services, and names on no list.
    pub lookups: Vec<Lookup>,
    /// Probes that have to reach their targets.
    pub allowed: Vec<Probe>,
    /// Allowed destinations on ports that are not theirs.
    pub other_ports: Vec<Probe>,
    /// Destinations of no service.
    pub other_destinations: Vec<Probe>,
}

impl Plan {
    /// Plans for these services; the names go into `records`.
    #[must_use]
    pub fn new(services: &[Service], records: &mut Records) -> Self {
        let rules: Vec<&Rule> = services.iter().flat_map(|service| &service.rules).collect();
        let planner = Planner { declared: declared(&rules), rules, records, plan: Self::default() };
        planner.plan(services)
    }

    /// Every probe.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        let denied = self.other_ports.iter().chain(&self.other_destinations);
        self.unresolved.iter().chain(&self.allowed).chain(denied)
    }

    /// The ports on which remotes have to listen.
    #[must_use]
    pub fn ports(&self, transport: Transport) -> BTreeSet<u16> {
        let targets = self.probes().map(|probe| probe.target);
        targets.filter(|target| target.transport == transport).map(|target| target.port).collect()
    }
}

/// Every port that some rule declares.
fn declared(rules: &[&Rule]) -> Vec<(Transport, u16)> {
    let ports: BTreeSet<_> = rules.iter().flat_map(|rule| rule.ports()).collect();
    ports.into_iter().collect()
}

struct Planner<'a> {
    rules: Vec<&'a Rule>,
    declared: Vec<(Transport, u16)>,
    records: &'a mut Records,
    plan: Plan,
}

impl Planner<'_> {
    fn plan(mut self, services: &[Service]) -> Plan {
        for (number, service) in services.iter().enumerate() {
            let names: BTreeSet<String> =
                service.rules.iter().flat_map(|rule| &rule.fqdns).flat_map(samples).collect();
            for name in names {
                self.name(number, &service.rules, name);
            }
            let networks: BTreeSet<IpNet> =
                service.rules.iter().flat_map(|rule| &rule.cidrs).copied().collect();
            for network in networks {
                self.network(number, &service.rules, network);
            }
        }
        self.other_resolver();
        self.unlisted();
        self.unnamed();
        for address in GATEWAY {
            let target = Target { address, port: FOREIGN_PORT, transport: Transport::Tcp };
            self.allow(Part::Gateway, "the gateway's own address", target);
        }
        self.plan
    }

    /// A name of a service: resolved, then reached on the ports that the service declares for it,
    /// and on no other.
    fn name(&mut self, service: usize, rules: &[Rule], name: String) {
        let part = Part::Service(service);
        let addresses = self.records.add(&name);
        let ports: BTreeSet<(Transport, u16)> =
            rules.iter().filter(|rule| rule.names(&name)).flat_map(Rule::ports).collect();
        for (transport, port) in &ports {
            for address in addresses {
                let target = Target { address, port: *port, transport: *transport };
                self.allow(part, &name, target);
            }
        }
        if let Some((transport, port)) = ports.first().copied() {
            self.plan.unresolved.push(Probe {
                part: Part::Unresolved,
                subject: name.clone(),
                target: Target { address: addresses[0], port, transport },
                expected: Expected::Denied(Reason::Destination),
            });
        }
        let matching: Vec<&Rule> =
            self.rules.iter().filter(|rule| rule.names(&name)).copied().collect();
        self.deny_ports(part, &name, addresses, &matching);
        self.plan.lookups.push(Lookup { part, name, answer: ExpectedAnswer::Addresses(addresses) });
    }

    /// A network of a service: its ends, and the addresses beside them.
    fn network(&mut self, service: usize, rules: &[Rule], network: IpNet) {
        let part = Part::Service(service);
        let subject = network.to_string();
        let ends = [network.network(), network.broadcast()];
        let ports: BTreeSet<(Transport, u16)> = rules
            .iter()
            .filter(|rule| rule.cidrs.contains(&network))
            .flat_map(Rule::ports)
            .collect();
        for (transport, port) in &ports {
            for address in ends {
                let target = Target { address, port: *port, transport: *transport };
                self.allow(part, &subject, target);
            }
        }
        let matching: Vec<&Rule> =
            self.rules.iter().filter(|rule| rule.contains(ends[0])).copied().collect();
        self.deny_ports(part, &subject, ends, &matching);
        let port = ports.first().copied().unwrap_or((Transport::Tcp, FOREIGN_PORT));
        for address in beside(network).into_iter().flatten() {
            if !self.rules.iter().any(|rule| rule.contains(address)) {
                let target = Target { address, port: port.1, transport: port.0 };
                self.deny_destination(Part::Beside, &format!("beside {subject}"), target);
            }
        }
    }

    /// Expects denials: of the first address on a port that no rule declares, of the second on a
    /// port of another rule.
    fn deny_ports(&mut self, part: Part, subject: &str, to: [IpAddr; 2], matching: &[&Rule]) {
        let opens = |(transport, port): &(Transport, u16)| {
            matching.iter().any(|rule| rule.opens(*transport, *port))
        };
        let others: Vec<_> = self.declared.iter().filter(|port| !opens(port)).copied().collect();
        let foreign = (Transport::Tcp, FOREIGN_PORT);
        // Another one for each subject, so that all of them come up.
        let turn = self.plan.other_ports.len() / 2;
        let other = others.get(turn % others.len().max(1)).copied().unwrap_or(foreign);
        for (address, (transport, port)) in to.into_iter().zip([foreign, other]) {
            self.plan.other_ports.push(Probe {
                part,
                subject: subject.to_owned(),
                target: Target { address, port, transport },
                expected: Expected::Denied(Reason::Port),
            });
        }
    }

    /// Names that look like listed ones, and one that does not.
    fn unlisted(&mut self) {
        let names = [
            "www.example.org",
            "notmanage.microsoft.com",
            "manage.microsoft.com.example.org",
            "manage-microsoft.com",
            "microsoft.com",
            "com",
            "itunes.apple.com.example.org",
            "apple.com",
            "sub.payloadprod7.blob.core.windows.net",
            "payloadpro.blob.core.windows.net",
        ];
        for name in names {
            // A pattern of the catalogue may come to cover one of them.
            if self.rules.iter().any(|rule| rule.names(name)) {
                continue;
            }
            // The resolver knows them: it is not for want of an answer that there is none.
            self.records.add(name);
            let (part, name) = (Part::Unlisted, name.to_owned());
            self.plan.lookups.push(Lookup { part, name, answer: ExpectedAnswer::Refused });
        }
    }

    /// Addresses that no name leads to.
    fn unnamed(&mut self) {
        let near = addresses(u16::MAX.into());
        let far = ["192.0.2.80", "93.184.215.14", "2001:db8:80::1", "2606:2800:21f:cb07::1"];
        let far = far.iter().filter_map(|address| address.parse().ok());
        for address in near.into_iter().chain(far) {
            for transport in [Transport::Tcp, Transport::Udp] {
                let target = Target { address, port: 443, transport };
                self.deny_destination(Part::Unnamed, "an address that no name leads to", target);
            }
        }
    }

    /// A listed name, asked of a resolver that the configuration does not name.
    fn other_resolver(&mut self) {
        let listed = self.plan.lookups.iter().map(|lookup| lookup.name.clone()).next();
        for (address, name) in RESPONDER.into_iter().zip(listed.iter().cycle()) {
            let (part, name) = (Part::OtherResolver, name.clone());
            self.plan.lookups.push(Lookup { part, name, answer: ExpectedAnswer::Silence(address) });
        }
    }

    fn allow(&mut self, part: Part, subject: &str, target: Target) {
        let subject = subject.to_owned();
        self.plan.allowed.push(Probe { part, subject, target, expected: Expected::Reached });
    }

    fn deny_destination(&mut self, part: Part, subject: &str, target: Target) {
        let subject = subject.to_owned();
        let expected = Expected::Denied(Reason::Destination);
        self.plan.other_destinations.push(Probe { part, subject, target, expected });
    }
}

/// The addresses just before and just behind a network.
fn beside(network: IpNet) -> [Option<IpAddr>; 2] {
    match (network.network(), network.broadcast()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (before, behind) = (first.to_bits().checked_sub(1), last.to_bits().checked_add(1));
            [before, behind].map(|bits| bits.map(|bits| IpAddr::V4(bits.into())))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let (before, behind) = (first.to_bits().checked_sub(1), last.to_bits().checked_add(1));
            [before, behind].map(|bits| bits.map(|bits| IpAddr::V6(bits.into())))
        }
        _ => [None, None],
    }
}
