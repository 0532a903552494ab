//! Verdicts that every filter has to agree on before any is measured.

use std::{fmt, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use intune_filter_bench_ebpf::Frame;
use intune_filter_ebpf::abi::TransportProtocol;

use super::{
    generator::{Generator, List},
    site::Site,
    traffic::{client, inside, nowhere},
    wiring::{CLIENTS, Direction, UNLISTED, Wiring},
};
use crate::programs::packets::Family;
use intune_filter_tests::prog_test_run::{Datagram, Flags};

/// Frames of all lists of one family, at most.
pub const ROOM: u32 = 4_000;

/// Packets from clients, and what could be answers to them.
pub struct Verdicts {
    cases: Vec<Case>,
    out: List,
    back: List,
}

/// A packet that opens a flow of its own.
struct Case {
    what: String,
    client: IpAddr,
    remote: IpAddr,
    ports: [u16; 2],
    udp: bool,
    /// Whether a filter lets the packet through, and then an answer.
    passes: bool,
}

impl Verdicts {
    /// Packets of one family: to each rule's destinations and beside them.
    pub fn new(family: Family, site: &Site, generator: &mut Generator) -> Result<Self> {
        let cases = cases(family, site)?;
        let out: Vec<_> = (0..).zip(&cases).map(|(number, case)| case.out(number)).collect();
        let back: Vec<_> = (0..).zip(&cases).map(|(number, case)| case.back(number)).collect();
        Ok(Self { out: generator.list(&out)?, back: generator.list(&back)?, cases })
    }

    /// Fails unless what is on the gateway has these verdicts, or, if it is open, lets all through.
    pub fn check(&self, generator: &mut Generator, wiring: &Wiring, open: bool) -> Result<()> {
        for (direction, list) in [(Direction::Out, &self.out), (Direction::Back, &self.back)] {
            let arrived = generator.check(wiring.origin(direction), list)?;
            for (case, arrived) in self.cases.iter().zip(arrived) {
                ensure!(
                    arrived == (case.passes || open),
                    "{}, {direction:?}: it arrived: {arrived}, expected: {}",
                    case.what,
                    !arrived
                );
            }
        }
        Ok(())
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passing = self.cases.iter().filter(|case| case.passes).count();
        write!(
            f,
            "every filter let the same {passing} of {} packets through, and answers to those alone",
            self.cases.len()
        )
    }
}

impl Case {
    fn out(&self, number: u16) -> Vec<u8> {
        let datagram = Datagram::new(self.client, self.remote).label(Frame::CHECKED, number);
        let datagram = if self.udp {
            let [from, to] = self.ports;
            datagram.udp(from, to, b"checked")
        } else {
            datagram.segment(self.ports, Flags::SYN, [1000, 0], &[])
        };
        datagram.frame()
    }

    fn back(&self, number: u16) -> Vec<u8> {
        let datagram = Datagram::new(self.remote, self.client).label(Frame::CHECKED, number);
        let [to, from] = self.ports;
        let datagram = if self.udp {
            datagram.udp(from, to, b"checked")
        } else {
            datagram.segment([from, to], Flags::SYN_ACK, [5000, 1001], &[])
        };
        datagram.frame()
    }
}

fn cases(family: Family, site: &Site) -> Result<Vec<Case>> {
    let who = client(family, CLIENTS.start);
    let mut cases = Vec::new();
    let mut add = |what: &str, client: IpAddr, remote: IpAddr, udp: bool, port: u16, passes| {
        let protocol = if udp { "UDP" } else { "TCP" };
        let what = format!("{what}: {client} to {remote} {protocol} {port}");
        // Flows of their own, so that none is known from the one before.
        let ports = [1024 + cases.len() as u16, port];
        cases.push(Case { what, client, remote, ports, udp, passes });
    };
    let (v6, mut last) = (family == Family::V6, None);
    for (bit, rule) in &site.policy.rules {
        let network = site.networks(v6).into_iter().find(|(_, of)| of == bit);
        let network = network.map(|(network, _)| inside(network, 1));
        let learned = site.learned.iter().find(|(to, of)| of == bit && to.is_ipv6() == v6);
        let learned = learned.map(|(to, _)| *to);
        for (kind, to) in [("CIDR", network), ("learned", learned)] {
            let Some(to) = to else { continue };
            let what = format!("{} by {kind}", rule.id);
            // A network may be others' too, or inside of theirs.
            let mut rules = site.networks_of(to);
            if kind == "learned" {
                rules.set(*bit);
            }
            for (udp, protocol) in [(false, TransportProtocol::Tcp), (true, TransportProtocol::Udp)]
            {
                for range in &rule.ports[protocol] {
                    for port in [range.first(), range.last()] {
                        add(&what, who, to, udp, port, true);
                        let unlisted = client(family, UNLISTED);
                        add(&format!("{what}, unlisted client"), unlisted, to, udp, port, false);
                        last = Some((to, udp, port));
                    }
                }
                for port in [22, 123, 443, 8443] {
                    let opens = site.policy.rules_of_port(protocol, port).intersects(&rules);
                    add(&what, who, to, udp, port, opens);
                }
            }
        }
    }
    for udp in [false, true] {
        add("another destination", who, nowhere(family, 1), udp, 443, false);
    }
    let (to, udp, port) = last.context("no rule has destinations")?;
    add("the last", who, to, udp, port, true);
    ensure!(cases.iter().any(|case| !case.passes), "nothing is denied");
    Ok(cases)
}
