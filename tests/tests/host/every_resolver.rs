//! Every resolver, on the gateway and beyond it, with clients of every kind: what these find is
//! reached, over either transport and family, whatever form the answer has.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    glibc,
    namespace::run,
    network::{LAN, WAN},
    resolver::{Kind, ResolverLocation},
    rounds::{self, lose_nothing, over_tcp, over_udp},
    site::{self, WEB, tcp},
    stub::{STUB, Stub},
    testbed::{Setup, Testbed},
};

/// A name that many aliases lead from.
const CHAIN: &str = "chain.web.test";
const ALIASES: usize = 8;
/// A name with as many addresses as are read of an answer.
const MANY: &str = "many.web.test";
const COUNT: u16 = 64;

/// A testbed, and what is known there of each name.
struct Known {
    testbed: Testbed,
    names: Vec<(&'static str, Vec<IpAddr>)>,
    hints: Vec<IpAddr>,
    many: [Vec<IpAddr>; 2],
}

fn testbed(kind: Kind, place: ResolverLocation) -> Result<Known> {
    let mut setup = Setup { resolver: kind, place: Some(place), ..site::setup() };
    let mut names = vec![(CHAIN, setup.records.add_chain(CHAIN, ALIASES).to_vec())];
    let many = setup.records.add_many(MANY, COUNT);
    let hints = setup.records.add_service(WEB[0]).to_vec();
    for name in WEB {
        names.push((name, setup.records.get(name).context("a name of the site")?.to_vec()));
    }
    let mut testbed = Testbed::create(&setup)?;
    // So that answers of 4096 octets come whole.
    let network = &testbed.network;
    network.client.ip(&[format!("link set {WAN} mtu 9000")])?;
    network.gateway.ip(&[LAN, WAN].map(|interface| format!("link set {interface} mtu 9000")))?;
    network.internet.ip(&[format!("link set {WAN} mtu 9000")])?;
    testbed.filter.start()?;
    Ok(Known { testbed, names, hints, many })
}

impl Known {
    /// Asks with dig, and reaches what it finds: exactly these addresses.
    fn dig(&self, server: &str, options: &[&str], expected: &[IpAddr]) -> Result<()> {
        let mut command = self.testbed.network.client.command("dig");
        command.args([&format!("@{server}"), "+short", "+tries=2", "+time=5"]).args(options);
        let output = run(&mut command)?;
        let words = output.split(|c: char| c.is_whitespace() || c == '=' || c == ',');
        let mut found: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        ensure!(found == expected, "dig @{server} {options:?}: {output}");
        if options.contains(&MANY) {
            self.testbed.await_learned(&found)?;
        }
        self.reach(&found).with_context(|| format!("dig @{server} {options:?}"))
    }

    /// Each first address costs a connection, the rest of many are as good as their neighbours.
    fn reach(&self, found: &[IpAddr]) -> Result<()> {
        for address in found.iter().take(2).chain(found.last()) {
            self.testbed.expect_reached(tcp(*address, 443))?;
        }
        Ok(())
    }

    fn with_dig(&self) -> Result<()> {
        for server in self.testbed.resolver.addresses().map(|address| address.to_string()) {
            for transport in ["+notcp", "+tcp"] {
                for (name, addresses) in &self.names {
                    self.dig(&server, &[transport, name, "A", name, "AAAA"], addresses)?;
                }
                self.dig(&server, &[transport, "+nocookie", WEB[0], "HTTPS"], &self.hints)?;
                // What the client writes it has to get back (0x20).
                let mixed = "sTaTiC.wEb.TeSt";
                self.dig(&server, &[transport, mixed, "A", mixed, "AAAA"], &self.names[2].1)?;
                for (kind, many) in ["A", "AAAA"].into_iter().zip(&self.many) {
                    self.dig(&server, &[transport, "+bufsize=4096", MANY, kind], many)?;
                }
            }
            // Truncated: asked again over TCP.
            self.dig(&server, &["+notcp", "+bufsize=512", MANY, "AAAA"], &self.many[1])?;
            self.dig(&server, &["+notcp", "+noedns", MANY, "A"], &self.many[0])?;
        }
        Ok(())
    }

    fn with_glibc(&self, server: &str) -> Result<()> {
        for options in ["", "options use-vc\n", "options single-request\n", "options edns0\n"] {
            for (name, addresses) in &self.names {
                let found = glibc::getaddrinfo(&self.testbed, server, options, name)?;
                let mut expected = addresses.clone();
                expected.sort();
                ensure!(found == expected, "{name} of {server}, {options:?}: {found:?}");
                self.reach(&found)?;
            }
        }
        Ok(())
    }

    fn with_stubs(&self) -> Result<()> {
        let Self { testbed, .. } = self;
        for server in testbed.resolver.addresses() {
            for stub in Stub::ALL {
                let client = &testbed.network.client;
                let _stub = stub.start(client, &testbed.directory, server)?;
                for (name, addresses) in &self.names {
                    // The alias's target is a name of no service: it is asked for in vain.
                    if stub.asks_for_aliases() && [CHAIN, WEB[2]].contains(name) {
                        continue;
                    }
                    self.dig(STUB, &[name, "A", name, "AAAA"], addresses)
                        .with_context(|| format!("{stub:?}, which asks {server}"))?;
                }
                let found = glibc::getaddrinfo(testbed, STUB, "", WEB[1])?;
                ensure!(found.len() == 2, "{stub:?}: {found:?}");
                self.reach(&found)?;
            }
        }
        Ok(())
    }

    /// Nothing of all this was denied, or taken for something else.
    fn nothing_went_wrong(&self) -> Result<()> {
        let counters = self.testbed.filter.counters()?;
        for reason in ["answer_malformed", "answer_refused", "answer_unread", "dns_transport"] {
            ensure!(counters.get(reason) == 0, "{reason}: {counters}");
        }
        Ok(())
    }
}

fn every_client(kind: Kind) -> Result<()> {
    for place in ResolverLocation::ALL {
        let what = || format!("{kind}, {place:?}");
        let known = testbed(kind, place).with_context(what)?;
        known.with_dig().with_context(what)?;
        for server in known.testbed.resolver.addresses() {
            known.with_glibc(&server.to_string()).with_context(what)?;
        }
        known.with_stubs().with_context(what)?;
        known.nothing_went_wrong().with_context(what)?;
    }
    Ok(())
}

#[test]
fn every_client_of_dnsmasq() -> Result<()> {
    every_client(Kind::Dnsmasq)
}

#[test]
fn every_client_of_unbound() -> Result<()> {
    every_client(Kind::Unbound)
}

#[test]
fn every_client_of_bind() -> Result<()> {
    every_client(Kind::Bind)
}

#[test]
fn every_client_of_knot_resolver() -> Result<()> {
    every_client(Kind::Knot)
}

/// As `first_packet` has it for the others.
#[test]
fn with_bind_and_knot_resolver_no_first_packet_is_lost() -> Result<()> {
    const USUAL: u32 = 200;
    for resolver in [Kind::Bind, Kind::Knot] {
        let mut testbed = Testbed::create(&Setup { resolver, ..site::setup() })?;
        testbed.filter.start()?;
        let [server, _] = testbed.resolver.addresses();
        let udp = format!("{resolver}'s answers");
        lose_nothing(&testbed, server, &udp, rounds::rounds(USUAL)?, over_udp)?;
    }
    Ok(())
}

/// Afresh: what a resolver has told over UDP it remembers.
#[test]
fn with_bind_and_knot_resolver_no_first_packet_is_lost_over_tcp() -> Result<()> {
    const USUAL: u32 = 200;
    for resolver in [Kind::Bind, Kind::Knot] {
        let mut testbed = Testbed::create(&Setup { resolver, ..site::setup() })?;
        testbed.filter.start()?;
        let [server, _] = testbed.resolver.addresses();
        let tcp = format!("{resolver}'s answers over TCP");
        lose_nothing(&testbed, server, &tcp, rounds::rounds_over_tcp(USUAL)?, over_tcp)?;
    }
    Ok(())
}
