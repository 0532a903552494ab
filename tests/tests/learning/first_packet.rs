//! No first packet is lost: a client that spins on the DNS answer and connects at once finds the
//! address allowed. `INTUNE_ROUNDS` sets the number of rounds of each test; over TCP there are a tenth
//! of them.

use std::net::IpAddr;

use anyhow::Result;
use intune_filter_tests::{
    network::WAN,
    records::NUMBERS,
    resolver::Kind,
    responder::{RESPONDER, SET},
    rounds::{self, delay_but_lose_nothing, lose_nothing, over_tcp, over_udp},
    site,
    testbed::{Setup, Testbed},
};

const USUAL: u32 = 500;

fn testbed(resolver: Kind) -> Result<(Testbed, IpAddr)> {
    let mut testbed = Testbed::create(&Setup { resolver, ..site::setup() })?;
    testbed.filter.start()?;
    let [server, _] = testbed.resolver.addresses();
    Ok((testbed, server))
}

#[test]
fn with_dnsmasq_on_the_gateway_no_first_packet_is_lost() -> Result<()> {
    let (testbed, server) = testbed(Kind::Dnsmasq)?;
    lose_nothing(&testbed, server, "dnsmasq's own answers", rounds::rounds(USUAL)?, over_udp)
}

#[test]
fn with_unbound_beyond_the_gateway_no_first_packet_is_lost() -> Result<()> {
    let (testbed, server) = testbed(Kind::Unbound)?;
    lose_nothing(&testbed, server, "unbound's answers", rounds::rounds(USUAL)?, over_udp)
}

#[test]
fn over_tcp_no_first_packet_is_lost() -> Result<()> {
    for resolver in [Kind::Dnsmasq, Kind::Unbound] {
        let (testbed, server) = testbed(resolver)?;
        let what = format!("{resolver}'s answers over TCP");
        let rounds = rounds::rounds_over_tcp(USUAL)?;
        lose_nothing(&testbed, server, &what, rounds, over_tcp)?;
    }
    Ok(())
}

/// The quickest resolver there can be: it leaves the least time between answer and packet.
#[test]
fn with_a_resolver_that_only_answers_no_first_packet_is_lost() -> Result<()> {
    let (testbed, _) = testbed(Kind::Dnsmasq)?;
    let [server, _] = RESPONDER;
    lose_nothing(&testbed, server, "the least resolver's", rounds::rounds(USUAL)?, over_udp)
}

/// An answer that the kernel cannot read is late, but its addresses are not.
#[test]
fn an_answer_in_several_segments_is_late_and_no_first_packet_is_lost() -> Result<()> {
    const USUAL: u32 = 100;
    let (testbed, _) = testbed(Kind::Dnsmasq)?;
    // As aggregates they would pass whole: segments are what is on the wire.
    testbed.network.internet.ip(&[format!("link set {WAN} gso_max_segs 1")])?;
    let [server, _] = RESPONDER;
    // So many addresses find room in the filter, with those of other answers.
    let rounds = rounds::rounds(USUAL)?.min(NUMBERS / SET / 4);
    delay_but_lose_nothing(&testbed, server, rounds)
}
