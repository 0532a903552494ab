//! Containers on the gateway, as Docker wires them: a bridge, a port published by a DNAT rule, a proxy of
//! its own addresses, masquerade for what they send; and a bridge of virtual machines, as libvirt's.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    listeners::Listeners,
    namespace::{Namespace, run},
    network::{CLIENT, GATEWAY, WAN},
    probe::{ProbeResult, probe},
    resolver::Kind,
    responder::Responder,
    site::{self, ANSWER, CONFIG, MODES, SILENCE, in_mode, tcp},
    testbed::{Setup, Testbed},
};

/// Port that the gateway publishes, and that the container listens on.
const PUBLISHED: u16 = 8080;
const INSIDE: u16 = 8081;

const CONTAINER: [&str; 2] = ["172.17.0.2", "fd00:17::2"];

/// The rules that Docker and libvirt write for such a bridge, as nftables has them.
const RULES: &str = r#"
table inet containers {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local tcp dport 8080 iifname != "docker0" dnat ip to 172.17.0.2:8081
		fib daddr type local tcp dport 8080 iifname != "docker0" dnat ip6 to [fd00:17::2]:8081
		fib daddr type local udp dport 53 iifname "eth1" dnat ip to 172.17.0.2:53
		fib daddr type local udp dport 53 iifname "eth1" dnat ip6 to [fd00:17::2]:53
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
		ip6 saddr fd00:17::/64 oifname != "docker0" masquerade
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
		oifname "docker0" ct state established,related accept
		oifname "docker0" ct status dnat accept
		iifname "docker0" accept
		iifname "eth1" accept
		oifname "eth1" accept
	}
}
"#;

struct Containers {
    testbed: Testbed,
    container: Namespace,
}

fn containers(config: String) -> Result<Containers> {
    let mut testbed = Testbed::create(&Setup { config, resolver: Kind::Unbound, ..site::setup() })?;
    let gateway = Arc::clone(&testbed.network.gateway);
    let container = Namespace::create(&format!("{}-container", gateway.name()))?;
    gateway.ip(&[
        "link add docker0 type bridge".to_owned(),
        format!("link add veth7 index 71 type veth peer {WAN} index 72 netns {}", container.name()),
        "link set veth7 master docker0".to_owned(),
        "link set docker0 up".to_owned(),
        "link set veth7 up".to_owned(),
        "address add 172.17.0.1/16 dev docker0".to_owned(),
        "address add fd00:17::1/64 dev docker0 nodad".to_owned(),
    ])?;
    container.ip(&[
        format!("link set {WAN} up"),
        "link set lo up".to_owned(),
        format!("address add {}/16 dev {WAN}", CONTAINER[0]),
        format!("address add {}/64 dev {WAN} nodad", CONTAINER[1]),
        "route add default via 172.17.0.1".to_owned(),
        "route add default via fd00:17::1".to_owned(),
    ])?;
    let mut nft = gateway.command("nft");
    run(nft.arg(RULES)).context("the containers' rules")?;
    testbed.filter.start()?;
    testbed.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
    Ok(Containers { testbed, container })
}

/// The site with a service at the port that the gateway publishes, and one in the container's network.
fn published() -> String {
    let services = "  - id: shop\n    title: Shop\n    cidrs: [10.20.0.1/32, \"fd00:20::1/128\"]\n    tcp: [8080]\n";
    format!("{CONFIG}{services}to_gateway: policy\n").replace("printer]", "printer, shop]")
}

#[test]
fn a_published_port_is_reached_from_the_lan_where_a_service_has_it() -> Result<()> {
    for mode in MODES {
        let Containers { testbed, container } = containers(in_mode(&published(), mode))?;
        let _listeners = Listeners::start(&container, [INSIDE], [])?;
        for address in GATEWAY {
            // Who listens tells its own address, which the client has not asked for.
            let connected = testbed
                .network
                .client
                .run(|| TcpStream::connect_timeout(&SocketAddr::new(address, PUBLISHED), ANSWER));
            connected.with_context(|| format!("{mode}, {address}"))?;
        }
        let counters = testbed.filter.counters()?;
        ensure!(counters.get("unsolicited") == 0, "{mode}: {counters}");
    }
    Ok(())
}

#[test]
fn a_published_port_of_no_service_gives_no_answer_as_check_says() -> Result<()> {
    let Containers { testbed, container } = containers(CONFIG.to_owned())?;
    let _listeners = Listeners::start(&container, [INSIDE], [])?;
    let told = testbed.filter.succeed(&["check"])?;
    let expected =
        "clients get no answer from a port of the gateway that it rewrites to another host";
    ensure!(told.contains("dnat ip to 172.17.0.2:8081") && told.contains(expected), "{told}");
    for address in GATEWAY {
        let outcome = testbed.network.client.run(|| probe(tcp(address, PUBLISHED), SILENCE));
        ensure!(outcome == ProbeResult::Silent, "{address}: {outcome:?}");
    }
    ensure!(testbed.filter.counters()?.get("unsolicited") > 0, "another reason");
    Ok(())
}

/// The container is a host like any other: from the LAN by policy, towards it not at all, and on its own
/// way to the internet nothing holds it up.
#[test]
fn a_container_is_judged_from_the_lan_alone() -> Result<()> {
    let direct = CONFIG.replace("cidrs: [192.0.2.0/28, ", "cidrs: [192.0.2.0/28, 172.17.0.2/32, ");
    let Containers { testbed, container } = containers(direct)?;
    let _listeners = Listeners::start(&container, [INSIDE, 631], [])?;
    testbed.expect_reached(tcp(CONTAINER[0].parse()?, 631))?;
    testbed.expect_denied(tcp(CONTAINER[0].parse()?, INSIDE))?;
    testbed.expect_denied(tcp(CONTAINER[1].parse()?, 631))?;
    let _client = Listeners::start(&testbed.network.client, [PUBLISHED], [])?;
    for family in 0..2 {
        let outcome = container.run(|| probe(tcp(CLIENT[family], PUBLISHED), SILENCE));
        ensure!(outcome == ProbeResult::Silent, "from the container: {outcome:?}");
        let foreign = ["192.0.2.80", "2001:db8:80::1"][family].parse()?;
        let outcome = container.run(|| probe(tcp(foreign, 443), ANSWER));
        ensure!(outcome == ProbeResult::Reached, "to the internet: {outcome:?}");
    }
    Ok(())
}

/// A resolver in a container, as Pi-hole in Docker: the gateway's port 53 is its own.
#[test]
fn a_resolver_in_a_container_is_learned_from_by_way_of_its_bridge() -> Result<()> {
    let mut config = CONFIG.to_owned();
    for address in GATEWAY {
        let quoted = if address.is_ipv6() { format!("\"{address}\"") } else { address.to_string() };
        config = config.replace(
            &format!("    - {quoted}\n"),
            &format!("    - {{address: {quoted}, via: [docker0]}}\n"),
        );
    }
    for mode in MODES {
        let Containers { testbed, container } = containers(in_mode(&config, mode))?;
        let _responder = Responder::start(&container, addresses()?)?;
        for (family, resolver) in GATEWAY.into_iter().enumerate() {
            for address in testbed.resolve_at(resolver, &format!("{}.web.test", family + 1))? {
                testbed.expect_reached(tcp(address, 443)).context(mode)?;
            }
        }
    }
    Ok(())
}

fn addresses() -> Result<[IpAddr; 2]> {
    Ok([CONTAINER[0].parse()?, CONTAINER[1].parse()?])
}
