//! Two policies between which every mix of tables gives an answer that neither gives.

use std::net::IpAddr;

use intune_filter::{
    catalogue::Catalogue,
    config::Config,
    policy::{Policy, RuleBits, compile},
};
use intune_filter_ebpf::abi::Reason;
use intune_filter_tests::prog_test_run::{Datagram, Message, message::A};

/// The policies. Rules keep their bits, and are each the other's: what the first gives `one`, the
/// second gives `two`.
///
/// Where a packet passes under both, it passes by another rule: tables of two policies have none
/// in common. Where it is denied under both, two tables of different policies would agree.
#[must_use]
pub fn both() -> [Policy; 2] {
    let first = compiled("one", "two", false, &RuleBits::new());
    let second = compiled("two", "one", true, &first.rule_bits());
    assert_eq!(first.rule_bits(), second.rule_bits(), "rules keep their bits");
    [first, second]
}

fn compiled(one: &str, two: &str, icmp_echo: bool, bits: &RuleBits) -> Policy {
    // Of the echo's destination only the policy knows that does not let it pass.
    let further = if icmp_echo { "" } else { ", 198.51.102.0/24, '2001:db8:102::/48'" };
    let text = format!(
        "
interfaces: [{{name: eth1}}]
icmp_echo: {icmp_echo}
clients:
  - {{name: one, networks: [10.20.0.0/24, 'fd00:20::/64'], services: [{one}], on_deny: drop}}
  - {{name: other, networks: [10.20.1.0/24, 'fd00:20:0:1::/64'], services: [{two}], on_deny: drop}}
  - {{name: any, networks: [10.20.2.0/24, 'fd00:20:0:2::/64'], services: [one, two], on_deny: drop}}
dns: {{resolvers: [192.0.2.53, '2001:db8:53::53'], unlisted: drop}}
limits: {{queries: off, flows: off}}
services:
  - id: {one}
    fqdns: [name.test, '*.below.test', 'part*.test']
    cidrs: [198.51.100.0/24, '2001:db8:100::/48'{further}]
    tcp: [1000]
    udp: [1000]
  - id: {two}
    fqdns: [other.test]
    cidrs: [198.51.101.0/24, '2001:db8:101::/48']
    tcp: [1001]
    udp: [1001]
"
    );
    let config = Config::parse("config.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    compile(&config, Catalogue::builtin(), bits).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Whether a kind of packet passes, under either policy alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketClass {
    /// Packets that pass.
    Passes,
    /// Packets that are denied.
    Denied,
}

impl PacketClass {
    /// Reasons of the packets' verdicts; any other is the work of two policies at once.
    #[must_use]
    pub const fn reasons(self) -> &'static [Reason] {
        match self {
            Self::Passes => &[Reason::Policy, Reason::Flow, Reason::DnsQuery],
            Self::Denied => &[Reason::Port, Reason::Service, Reason::Icmp, Reason::Destination],
        }
    }

    /// Packets from clients; `number` makes them different flows.
    #[must_use]
    pub fn frames(self, number: u16) -> Vec<Vec<u8>> {
        let families = [
            (
                ["10.20.0.10", "10.20.1.10", "10.20.2.10"],
                ["198.51.100.7", "198.51.102.7", "192.0.2.53"],
            ),
            (
                ["fd00:20::10", "fd00:20:0:1::10", "fd00:20:0:2::10"],
                ["2001:db8:100::7", "2001:db8:102::7", "2001:db8:53::53"],
            ),
        ];
        let address = |text: &str| text.parse::<IpAddr>().expect("a constant");
        let port = 1024 + number % 60_000;
        let mut frames = Vec::new();
        for (clients, remotes) in families {
            let [one, other, any] = clients.map(address);
            let [server, echoing, resolver] = remotes.map(address);
            match self {
                Self::Passes => {
                    frames.push(Datagram::new(one, server).udp(port, 1000, b"data").frame());
                    for name in ["name.test", "a.below.test", "partly.test"] {
                        let query = Message::query(number, name, A);
                        let query = Datagram::new(one, resolver).udp(port, 53, query.octets());
                        frames.push(query.frame());
                    }
                }
                // Networks of one policy and ports of the other; clients of one, and networks
                // and ports of the other; networks of one and switches of the other.
                Self::Denied => frames.extend([
                    Datagram::new(any, server).udp(port, 1001, b"data").frame(),
                    Datagram::new(other, server).udp(port, 1000, b"data").frame(),
                    Datagram::new(any, echoing).echo_request(number).frame(),
                ]),
            }
        }
        frames
    }
}
