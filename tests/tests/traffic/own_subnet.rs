//! A resolver on the clients' own subnet, as a domain controller or a Pi-hole: its answers cross the gateway
//! where it is another port of their bridge, or behind another interface that the gateway answers ARP for.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{RecordType, ResponseCode, lookup},
    namespace::Namespace,
    network::{CLIENT, GATEWAY, LAN, WAN},
    probe::{ProbeResult, probe},
    resolver::Kind,
    responder::Responder,
    site::{self, ANSWER, CONFIG, MODES, SILENCE, UNLISTED, in_mode, tcp},
    testbed::{Setup, Testbed},
};

/// The resolver's addresses, in the clients' prefixes.
const RESOLVER: [&str; 2] = ["10.20.0.53", "fd00:20::53"];

/// Device of the gateway towards the resolver.
const THERE: &str = "eth3";

fn config(mode: &str, via: &str) -> String {
    let resolvers =
        RESOLVER.map(|address| format!("    - {{address: \"{address}\"{via}}}\n")).concat();
    in_mode(CONFIG, mode).replace("  resolvers:\n", &format!("  resolvers:\n{resolvers}"))
}

/// A testbed with the resolver's namespace behind a device of the gateway, which nothing uses yet.
fn testbed(config: String) -> Result<(Testbed, Namespace, Responder)> {
    let testbed = Testbed::create(&Setup { config, resolver: Kind::Unbound, ..site::setup() })?;
    let gateway = &testbed.network.gateway;
    let resolver = Namespace::create(&format!("{}-resolver", gateway.name()))?;
    gateway.ip(&[
        format!(
            "link add {THERE} index 31 type veth peer {WAN} index 32 netns {}",
            resolver.name()
        ),
        format!("link set {THERE} up"),
    ])?;
    let [v4, v6] = RESOLVER;
    resolver.ip(&[
        "link set lo up".to_owned(),
        format!("link set {WAN} up"),
        format!("address add {v4}/24 dev {WAN}"),
        format!("address add {v6}/64 dev {WAN} nodad"),
        format!("route add default via {}", GATEWAY[0]),
    ])?;
    let responder = Responder::start(&resolver, addresses()?)?;
    Ok((testbed, resolver, responder))
}

fn addresses() -> Result<[IpAddr; 2]> {
    Ok([RESOLVER[0].parse()?, RESOLVER[1].parse()?])
}

/// Names are answered and learned from, and nothing else passes.
fn expect_learned(testbed: &mut Testbed, resolvers: &[IpAddr], mode: &str) -> Result<()> {
    testbed.filter.start()?;
    for (family, &resolver) in resolvers.iter().enumerate() {
        let name = format!("{}.web.test", family + 1);
        for address in testbed.resolve_at(resolver, &name).context(mode.to_owned())? {
            testbed.expect_reached(tcp(address, 443)).context(mode.to_owned())?;
        }
        let refused = testbed
            .network
            .client
            .run(|| lookup(resolver, UNLISTED, RecordType::A, ANSWER))
            .with_context(|| format!("{mode}: a name of no service"))?;
        ensure!(refused.code == ResponseCode::NXDomain, "{mode}: {refused:?}");
        let outcome = testbed.network.client.run(|| probe(tcp(resolver, 443), SILENCE));
        ensure!(outcome != ProbeResult::Reached, "{mode}: another port of the resolver");
        testbed.expect_denied(tcp(["192.0.2.80", "2001:db8:80::1"][family].parse()?, 443))?;
    }
    let counters = testbed.filter.counters()?;
    ensure!(counters.get("dns_unlisted") > 0, "{mode}: others have answered: {counters}");
    Ok(())
}

#[test]
fn a_resolver_on_another_port_of_the_clients_bridge_is_learned_from() -> Result<()> {
    for mode in MODES {
        let (mut testbed, _resolver, _responder) = testbed(config(mode, ", via: [eth3]"))?;
        let gateway = Arc::clone(&testbed.network.gateway);
        gateway.ip(&[
            "link add br0 type bridge".to_owned(),
            format!("link set {LAN} master br0"),
            format!("link set {THERE} master br0"),
            format!("address flush dev {LAN} scope global"),
            "link set br0 up".to_owned(),
            format!("address add {}/24 dev br0", GATEWAY[0]),
            format!("address add {}/64 dev br0 nodad", GATEWAY[1]),
        ])?;
        let told = testbed.filter.succeed(&["check"])?;
        ensure!(!told.contains("its answers never cross"), "{told}");
        // Neighbour discovery between its ports is not for the filtered one.
        expect_learned(&mut testbed, &addresses()?[..1], mode)?;
    }
    Ok(())
}

#[test]
fn a_resolver_behind_proxy_arp_is_learned_from() -> Result<()> {
    for mode in MODES {
        let (mut testbed, _resolver, _responder) = testbed(config(mode, ", via: [eth3]"))?;
        let gateway = Arc::clone(&testbed.network.gateway);
        for device in [LAN, THERE] {
            gateway.sysctl(&format!("ipv4/conf/{device}/proxy_arp"), "1")?;
            gateway.sysctl(&format!("ipv6/conf/{device}/proxy_ndp"), "1")?;
        }
        let [v4, v6] = RESOLVER;
        gateway.ip(&[
            format!("route add {v4}/32 dev {THERE}"),
            format!("route add {v6}/128 dev {THERE}"),
            format!("neigh add proxy {v6} dev {LAN}"),
            format!("neigh add proxy {} dev {THERE}", CLIENT[1]),
            format!("neigh add proxy {} dev {THERE}", GATEWAY[1]),
        ])?;
        expect_learned(&mut testbed, &addresses()?, mode)?;
    }
    Ok(())
}

#[test]
fn a_resolver_among_the_clients_is_refused_with_the_ways_out() -> Result<()> {
    let with = config("auto", ", via: [eth1]");
    for config in [with.replace("{address: ", "").replace(", via: [eth1]}", ""), with] {
        let (testbed, _resolver, _responder) = testbed(config)?;
        let output = testbed.filter.run(&["check"])?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(3), "{:?}: {told}", output.status);
        let expected = "10.20.0.53 is on-link (10.20.0.0/24) behind eth1: its answers never cross the \
                        gateway; expected the gateway itself, a resolver beyond it, or one behind \
                        another interface of the gateway, which `via` names";
        ensure!(told.contains(expected), "{told}");
    }
    Ok(())
}
