//! Two filtered networks: what one is allowed to send to the other arrives there, and what answers it.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    listeners::Listeners,
    namespace::{Namespace, run},
    network::{CLIENT, WAN},
    probe::{ProbeResult, Target, probe},
    prog_test_run::{Datagram, Flags, datagram::patched},
    random::Random,
    site::{self, ANSWER, CONFIG, MODES, SILENCE, eventually, tcp, udp},
    testbed::{Setup, Testbed},
    wire::Wire,
    xdp::PassAll,
};

/// Port of peers.
const PEERS: u16 = 7680;
/// Port with a listener on every client, which no service has.
const PRINTER: u16 = 631;
/// Port of peers that nobody listens on.
const CLOSED: u16 = 7681;
/// Port of a connection that a test holds open.
const HELD: u16 = 7682;

const PEER: [&str; 2] = ["10.22.0.10", "fd00:22::10"];

fn config(mode: &str) -> String {
    let interfaces =
        format!("  - {{name: eth1, mode: {mode}}}\n  - {{name: eth2, mode: {mode}}}\n");
    let groups = "  - name: devices\n    on: eth1\n    networks: [10.20.0.0/24, \"fd00:20::/64\"]\n    \
                  services: [peers]\n  - name: others\n    on: eth2\n    \
                  networks: [10.22.0.0/24, \"fd00:22::/64\"]\n    services: [peers]\n";
    let config = CONFIG.replace("  - name: eth1\n", &interfaces).replace(
        "  - name: devices\n    networks: [10.20.0.0/24, \"fd00:20::/64\"]\n    \
         services: [web, clock, printer]\n",
        groups,
    );
    format!(
        "{config}  - id: peers\n    title: Peers\n    \
         cidrs: [10.20.0.0/16, 10.22.0.0/16, \"fd00:20::/48\", \"fd00:22::/48\"]\n    \
         tcp: [{PEERS}, {CLOSED}, {HELD}]\n    udp: [{PEERS}, {CLOSED}]\n"
    )
}

/// A testbed with a second network of clients, on which peers listen as on the first.
struct Peers {
    _listeners: [Listeners; 2],
    _answering: PassAll,
    peer: Arc<Namespace>,
    testbed: Testbed,
}

fn peer() -> Result<[IpAddr; 2]> {
    Ok([PEER[0].parse()?, PEER[1].parse()?])
}

impl Peers {
    fn create(mode: &str) -> Result<Self> {
        let testbed = Testbed::create(&Setup { config: config(mode), ..site::setup() })?;
        let label = testbed.directory.label();
        let peer = Arc::new(Namespace::create(&format!("{label}-peer"))?);
        peer.sysctl("ipv6/conf/default/accept_dad", "0")?;
        let gateway = &testbed.network.gateway;
        let name = peer.name();
        gateway.ip(&[
            format!("link add eth2 index 31 type veth peer {WAN} index 32 netns {name}"),
            "link set eth2 up".to_owned(),
            "address add 10.22.0.1/24 dev eth2".to_owned(),
            "address add fd00:22::1/64 dev eth2 nodad".to_owned(),
        ])?;
        peer.ip(&[
            format!("link set {WAN} up"),
            format!("address add {}/24 dev {WAN}", PEER[0]),
            format!("address add {}/64 dev {WAN} nodad", PEER[1]),
            "route add default via 10.22.0.1".to_owned(),
            "route add default via fd00:22::1".to_owned(),
        ])?;
        testbed.network.internet.ip(&[
            "route add 10.22.0.0/24 via 172.31.0.1 table local",
            "route add fd00:22::/64 via fd00:31::1 table local",
        ])?;
        for namespace in [&testbed.network.client, &peer] {
            // Errors are answers here: none is to be held back.
            namespace.sysctl("ipv4/icmp_ratelimit", "0")?;
            namespace.sysctl("ipv6/icmp/ratelimit", "0")?;
        }
        let listen =
            |namespace: &Namespace| Listeners::start(namespace, [PEERS, PRINTER], [PEERS, PRINTER]);
        let listeners = [listen(&testbed.network.client)?, listen(&peer)?];
        let answering = PassAll::attach(&peer, WAN)?;
        Ok(Self { _listeners: listeners, _answering: answering, peer, testbed })
    }

    fn ways(&self) -> Result<[(&Namespace, [IpAddr; 2]); 2]> {
        Ok([(&self.testbed.network.client, peer()?), (&self.peer, CLIENT)])
    }

    /// Checks that peers are reached both ways, and nothing but peers.
    fn expect_peers(&self) -> Result<()> {
        for (namespace, there) in self.ways()? {
            for address in there {
                let found = |target: Target, wait| namespace.run(|| probe(target, wait));
                for target in [tcp(address, PEERS), udp(address, PEERS)] {
                    let found = found(target, ANSWER);
                    ensure!(found == ProbeResult::Reached, "{target}: {found:?}");
                }
                // The other side itself says no: a reset, and an ICMP error.
                for target in [tcp(address, CLOSED), udp(address, CLOSED)] {
                    let found = found(target, ANSWER);
                    ensure!(found == ProbeResult::Refused, "{target}: {found:?}");
                }
                for target in [tcp(address, PRINTER), udp(address, PRINTER)] {
                    let found = found(target, SILENCE);
                    ensure!(found != ProbeResult::Reached, "{target}: {found:?}");
                }
                let mut ping = namespace.command("ping");
                run(ping.args(["-c", "1", "-W", "5", &address.to_string()]))
                    .with_context(|| format!("ping {address}"))?;
                let large = namespace.run(|| echo_in_fragments(address));
                large.with_context(|| format!("in fragments to {address}"))?;
            }
        }
        Ok(())
    }
}

/// Sends a datagram that takes two fragments, and waits for the same.
fn echo_in_fragments(address: IpAddr) -> Result<()> {
    let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(ANSWER))?;
    socket.connect((address, PEERS))?;
    let sent = [7; 1900];
    socket.send(&sent)?;
    let mut received = [0; 2048];
    let length = socket.recv(&mut received)?;
    ensure!(received.get(..length) == Some(&sent[..]), "{length} octets came back");
    Ok(())
}

#[test]
fn peers_of_two_filtered_networks_reach_each_other() -> Result<()> {
    for mode in MODES {
        let mut peers = Peers::create(mode)?;
        let control = peers.testbed.network.client.run(|| probe(tcp(CLIENT[0], PRINTER), ANSWER));
        ensure!(control == ProbeResult::Reached, "nothing to deny: {control:?}");
        peers.testbed.filter.start()?;
        peers.expect_peers().with_context(|| format!("in {mode} mode"))?;
        let counters = peers.testbed.filter.counters()?;
        ensure!(counters.get("from_zone") >= 12, "{mode}: {counters}");
        // What is explained is what happened.
        for (client, peer) in CLIENT.into_iter().zip(peer()?) {
            let (client, filter) = (client.to_string(), &peers.testbed.filter);
            let told = filter.json(&["explain", &client, &tcp(peer, PEERS).to_string()])?;
            ensure!(told["verdict"] == "allow" && told["sent"]["reason"] == "policy", "{told}");
            let there = [&told["arrives"]["reason"], &told["arrives"]["zone"]];
            ensure!(there[0] == "from_zone" && there[1] == "eth2", "{told}");
            let printer = tcp(peer, PRINTER).to_string();
            let told = filter.run(&["--json", "explain", &client, &printer])?;
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            ensure!(told.contains("\"unsolicited\"") && told.contains("\"port\""), "{told}");
        }
        // From the internet nothing reaches them, on a port of peers or another.
        for address in peer()?.into_iter().chain(CLIENT) {
            for port in [PEERS, PRINTER] {
                let outside = || probe(tcp(address, port), SILENCE);
                let found = peers.testbed.network.internet.run(outside);
                ensure!(found == ProbeResult::Silent, "{mode}: {address} {port}: {found:?}");
            }
        }
        // No daemon is needed for it.
        peers.testbed.filter.kill()?;
        peers.expect_peers().with_context(|| format!("without a daemon, in {mode} mode"))?;
    }
    Ok(())
}

/// A connection from the client to a peer.
struct Held {
    near: TcpStream,
    far: TcpStream,
}

impl Held {
    fn open(peers: &Peers, address: IpAddr) -> Result<Self> {
        let listener = peers.peer.run(|| TcpListener::bind((address, HELD)))?;
        let target = SocketAddr::new(address, HELD);
        let near =
            peers.testbed.network.client.run(|| TcpStream::connect_timeout(&target, ANSWER))?;
        let (far, _) = listener.accept()?;
        for end in [&near, &far] {
            end.set_read_timeout(Some(ANSWER))?;
        }
        Ok(Self { near, far })
    }

    fn goes_on(&self) -> Result<()> {
        for [mut from, mut to] in [[&self.far, &self.near], [&self.near, &self.far]] {
            from.write_all(b"still")?;
            to.read_exact(&mut [0; 5])?;
        }
        Ok(())
    }

    /// Nothing arrives any more, whichever side sends.
    fn has_ended(&self) -> Result<()> {
        for [mut from, mut to] in [[&self.far, &self.near], [&self.near, &self.far]] {
            to.set_read_timeout(Some(SILENCE))?;
            // What was denied with a reset cannot be written to.
            let _ = from.write_all(b"too late");
            match to.read(&mut [0; 8]) {
                Ok(0) => {}
                Ok(length) => anyhow::bail!("{length} octets arrived"),
                Err(error) => ensure!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset),
                    "{error}"
                ),
            }
        }
        Ok(())
    }
}

#[test]
fn a_permission_that_is_taken_away_ends_the_flows_on_both_sides() -> Result<()> {
    let mut peers = Peers::create("auto")?;
    peers.testbed.filter.start()?;
    let filter = &peers.testbed.filter;
    for address in peer()? {
        filter.configure(&config("auto"))?;
        filter.succeed(&["apply"])?;
        let held = Held::open(&peers, address)?;
        held.goes_on()?;
        // Another policy, with the same permission.
        filter.configure(&format!("{}icmp_echo: false\n", config("auto")))?;
        filter.succeed(&["apply"])?;
        held.goes_on()?;
        let without = config("auto").replacen("services: [peers]", "services: [web]", 1);
        filter.configure(&without.replacen("services: [peers]", "services: [clock]", 1))?;
        let answer = filter.json(&["apply"])?;
        ensure!(answer["flows_ended"].as_u64() >= Some(2), "one in each network: {answer}");
        held.has_ended()?;
    }
    Ok(())
}

#[test]
fn nobody_reaches_a_network_in_anothers_name() -> Result<()> {
    for mode in MODES {
        let mut peers = Peers::create(mode)?;
        // Groups of every network: the source alone tells nothing.
        let everywhere = config(mode).replace("    on: eth1\n", "").replace("    on: eth2\n", "");
        peers.testbed.filter.configure(&everywhere)?;
        peers.testbed.filter.start()?;
        let (network, filter) = (&peers.testbed.network, &peers.testbed.filter);
        for device in ["all", "default", WAN, "eth1", "eth2"] {
            network.gateway.sysctl(&format!("ipv4/conf/{device}/rp_filter"), "0")?;
        }
        for (from, to) in CLIENT.into_iter().zip(peer()?) {
            // A flow that the forger could ride on.
            let held = Held::open(&peers, to)?;
            held.goes_on()?;
            let port = held.near.local_addr()?.port();
            let ride = |source, target| {
                Datagram::new(source, target).segment([port, HELD], Flags::ACK, [1, 1], b"forged")
            };
            let begin = |source, target| Datagram::new(source, target).tcp(999, PEERS, Flags::SYN);
            let wan = network.internet.run(|| Wire::open(WAN))?;
            let beside = peers.peer.run(|| Wire::open(WAN))?;
            let inside = network.client.run(|| Wire::open(WAN))?;
            let count = |reason: &str| Ok::<_, anyhow::Error>(filter.counters()?.get(reason));
            let attacks = [
                ("from the WAN", &wan, WAN, "unsolicited", from),
                ("from the peer's own network", &beside, "eth2", "source_interface", from),
                ("with the peer's own address", &inside, "eth1", "source_interface", to),
            ];
            for (what, wire, device, reason, source) in attacks {
                let mac = network.gateway_address(device)?;
                for datagram in [begin(source, to), ride(source, to)] {
                    let before = count(reason)?;
                    wire.send(&patched(datagram.frame(), 0, &mac))?;
                    eventually(&format!("{mode}: {what} is denied"), || {
                        Ok(count(reason)? > before)
                    })?;
                }
            }
            // Nothing of it arrived: what comes next is what was sent.
            held.goes_on().with_context(|| format!("{mode}: {to}"))?;
        }
    }
    Ok(())
}

/// Policies of two networks, each with some packets, unless `INTUNE_POLICIES` asks for the long form: then
/// so many that a thousand packets were sent.
const POLICIES: (u32, u32) = (3, 125);

/// A random configuration of both networks.
fn random_config(random: &mut Random) -> String {
    let mut config = config("auto");
    for (name, from) in [("devices", PEER), ("others", ["10.20.0.10", "fd00:20::10"])] {
        let mode = random.pick(&["enforce", "enforce", "audit", "exempt"]);
        let services = random.pick(&["peers", "peers", "web", "clock"]);
        let rules = format!("[{{from: [{}/32, '{}/128'], tcp: [{PRINTER}]}}]", from[0], from[1]);
        let inbound = random.pick(&["deny", "deny", "allow", &rules]).to_owned();
        let group = format!("  - name: {name}\n");
        let begin = config.find(&group).unwrap_or_default() + group.len();
        let (before, after) = config.split_at(begin);
        let after = after.replacen("services: [peers]", &format!("services: [{services}]"), 1);
        config = format!("{before}    mode: {mode}\n    inbound: {inbound}\n{after}");
    }
    config
}

#[test]
fn what_is_explained_of_two_networks_is_what_happens() -> Result<()> {
    let (short, long) = POLICIES;
    let policies = if std::env::var_os("INTUNE_POLICIES").is_some() { long } else { short };
    let mut peers = Peers::create("auto")?;
    peers.testbed.filter.start()?;
    let mut random = Random::new(18, "two networks");
    let mut verdicts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..policies {
        let config = random_config(&mut random);
        peers.testbed.filter.configure(&config)?;
        peers.testbed.filter.succeed(&["reload"])?;
        for (namespace, here, there) in
            [(&*peers.testbed.network.client, CLIENT, peer()?), (&*peers.peer, peer()?, CLIENT)]
        {
            for (from, to) in here.into_iter().zip(there) {
                for target in [tcp(to, PEERS), tcp(to, PRINTER)] {
                    let told = peers.testbed.filter.json(&[
                        "explain",
                        &from.to_string(),
                        &target.to_string(),
                    ])?;
                    let found = namespace.run(|| probe(target, SILENCE));
                    let happens = if found == ProbeResult::Reached { "allow" } else { "deny" };
                    ensure!(
                        told["verdict"] == happens,
                        "{from} {target}: {found:?}\n{config}\n{told:#}"
                    );
                    let (sent, arrives) = (&told["sent"]["reason"], &told["arrives"]["reason"]);
                    *verdicts.entry(format!("{happens} {sent} {arrives}")).or_default() += 1;
                }
            }
        }
    }
    println!("{} packets, no disagreement: {verdicts:#?}", policies * 8);
    ensure!(verdicts.len() > 4, "too little has happened: {verdicts:?}");
    Ok(())
}
