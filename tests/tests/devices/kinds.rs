//! Kinds of interface times modes: judged, or refused by name. What is printed is the table in the page.

use std::{any::Any, collections::BTreeMap, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_tests::{
    namespace::Namespace,
    network::Network,
    ppp::{self, PppEnd, PppLink},
    probe::{ProbeResult, probe},
    process::Process,
    resolver::Kind,
    site::{self, ANSWER, CONFIG, SILENCE, eventually, tcp},
    testbed::{Setup, Testbed},
    tun::{Tun, TunLink},
    wireguard::{self, WireGuardEnd},
};

use crate::cards::{WITH_XDP, WITHOUT_XDP, card_name, take_card};

/// The table as it stands in the page, which a test of pages compares.
const TABLE: &str = include_str!("kinds.md");

const MODES: [&str; 4] = ["auto", "native", "generic", "tc"];

/// Interface of the filter of a kind, and what keeps it there.
struct Wired {
    _keeper: Option<Box<dyn Any>>,
    /// Name of the filtered interface, if it is not the usual one.
    filtered: Option<String>,
    /// Whether the interfaces have their addresses.
    addressed: bool,
}

impl Wired {
    fn usual() -> Self {
        Self { _keeper: None, filtered: None, addressed: false }
    }

    fn kept_by(keeper: impl Any) -> Self {
        Self { _keeper: Some(Box::new(keeper)), ..Self::usual() }
    }
}

/// Names of a kind's devices: beneath, and those with the addresses.
struct Names {
    number: usize,
    base: String,
    far: String,
    lan: String,
    client: String,
}

impl Names {
    fn new(number: usize) -> Self {
        let name = |word: &str| format!("{word}{number}");
        let [base, far, lan, client] = ["base", "far", "lan", "cli"].map(name);
        Self { number, base, far, lan, client }
    }

    /// Adds a pair of virtual Ethernet devices, and gives the ends these names.
    fn pair(&self, network: &Network, gateway: &str, client: &str) -> Result<()> {
        let (one, other) = (1000 + 2 * self.number, 1001 + 2 * self.number);
        let far = network.client.name();
        network.gateway.ip(&[
            format!(
                "link add {gateway} index {one} type veth peer {client} index {other} netns {far}"
            ),
            format!("link set {gateway} up"),
        ])?;
        network.client.ip(&[format!("link set {client} up")])
    }

    /// Adds the pair beneath, with the client's plain end.
    fn beneath(&self, network: &Network) -> Result<()> {
        self.pair(network, &self.base, &self.client)
    }

    fn address(&self, network: &Network) -> Result<()> {
        let Self { number, lan, client, .. } = self;
        network.gateway.ip(&[
            format!("link set {lan} up"),
            format!("address add 10.30.{number}.1/24 dev {lan}"),
        ])?;
        network.client.ip(&[
            format!("link set {client} up"),
            format!("address add 10.30.{number}.2/24 dev {client}"),
        ])
    }
}

type Wire = fn(&Network, &Names) -> Result<Wired>;

/// The kinds, in the order of the table.
const KINDS: [(&str, Wire); 17] = [
    ("network card with native XDP", |network, names| cards(network, names, WITH_XDP)),
    ("network card without", |network, names| cards(network, names, WITHOUT_XDP)),
    ("veth", |network, names| {
        names.pair(network, &names.lan, &names.client)?;
        Ok(Wired::usual())
    }),
    ("tap", |network, names| {
        let ends = [
            Tun::create_tap(&network.gateway, &names.lan)?,
            Tun::create_tap(&network.client, &names.client)?,
        ];
        Ok(Wired::kept_by(TunLink::connect(ends)?))
    }),
    ("macvlan", |network, names| {
        names.beneath(network)?;
        let Names { base, lan, .. } = names;
        // The device beneath would answer for the addresses above it.
        network.gateway.sysctl(&format!("ipv4/conf/{base}/arp_ignore"), "1")?;
        network
            .gateway
            .ip(&[format!("link add link {base} name {lan} type macvlan mode bridge")])?;
        Ok(Wired::usual())
    }),
    ("bridge", |network, names| joined(network, names, "bridge")),
    ("bond", |network, names| joined(network, names, "bond mode active-backup")),
    ("team", team),
    ("VLAN", |network, names| {
        names.pair(network, &names.base, &names.far)?;
        tag(&network.gateway, &names.base, &names.lan, 20)?;
        tag(&network.client, &names.far, &names.client, 20)?;
        Ok(Wired::usual())
    }),
    ("QinQ", |network, names| {
        names.pair(network, &names.base, &names.far)?;
        for (namespace, below, above) in [
            (&network.gateway, &names.base, &names.lan),
            (&network.client, &names.far, &names.client),
        ] {
            let between = format!("{below}o");
            tag(namespace, below, &between, 20)?;
            tag(namespace, &between, above, 30)?;
        }
        Ok(Wired::usual())
    }),
    ("VRF member", |network, names| {
        names.pair(network, &names.lan, &names.client)?;
        enslave(network, names).map(|_| Wired::usual())
    }),
    ("VRF", |network, names| {
        names.pair(network, &names.lan, &names.client)?;
        let filtered = Some(enslave(network, names)?);
        Ok(Wired { filtered, ..Wired::usual() })
    }),
    ("ipvlan", |network, names| {
        names.beneath(network)?;
        let Names { base, lan, .. } = names;
        network.gateway.ip(&[format!("link add link {base} name {lan} type ipvlan mode l3")])?;
        Ok(Wired::usual())
    }),
    ("tun", |network, names| {
        let ends = [
            Tun::create(&network.gateway, &names.lan)?,
            Tun::create(&network.client, &names.client)?,
        ];
        Ok(Wired::kept_by(TunLink::connect(ends)?))
    }),
    ("WireGuard", |network, names| {
        names.pair(network, &names.base, &names.far)?;
        wireguard(network, names).map(|()| Wired::usual())
    }),
    ("PPP", |network, names| {
        let Names { number, lan, client, .. } = names;
        let address = |own| Ipv4Addr::new(10, 30, *number as u8, own);
        let link = PppLink::connect([
            PppEnd { namespace: &network.gateway, name: lan, address: address(1) },
            PppEnd { namespace: &network.client, name: client, address: address(2) },
        ])?;
        Ok(Wired { addressed: true, ..Wired::kept_by(link) })
    }),
    ("GRE", |network, names| {
        names.pair(network, &names.base, &names.far)?;
        network
            .gateway
            .ip(&[format!("link add {} type gre local 10.31.0.1 remote 10.31.0.2", names.lan)])?;
        network.client.ip(&[format!(
            "link add {} type gre local 10.31.0.2 remote 10.31.0.1",
            names.client
        )])?;
        Ok(Wired::usual())
    }),
];

/// A device that has the pair's end as its member.
fn joined(network: &Network, names: &Names, kind: &str) -> Result<Wired> {
    let Names { base, lan, .. } = names;
    network.gateway.ip(&[format!("link add {lan} type {kind}")])?;
    names.beneath(network)?;
    network.gateway.ip(&[
        format!("link set {base} down"),
        format!("link set {base} master {lan}"),
        format!("link set {base} up"),
    ])?;
    Ok(Wired::usual())
}

fn tag(namespace: &Namespace, below: &str, name: &str, id: u16) -> Result<()> {
    namespace.ip(&[
        format!("link add link {below} name {name} type vlan id {id}"),
        format!("link set {name} up"),
    ])
}

/// Puts the gateway's end into a VRF from which the way to the internet is that of all, and returns the
/// VRF's name.
fn enslave(network: &Network, names: &Names) -> Result<String> {
    let Names { number, lan, .. } = names;
    let (vrf, table) = (format!("vrf{number}"), 100 + number);
    network.gateway.ip(&[
        format!("link add {vrf} type vrf table {table}"),
        format!("link set {vrf} up"),
        format!("link set {lan} master {vrf}"),
        format!("route add default via 172.31.0.2 dev eth0 table {table}"),
        format!("route add 10.30.{number}.0/24 dev {lan}"),
    ])?;
    Ok(vrf)
}

fn wireguard(network: &Network, names: &Names) -> Result<()> {
    let Names { number, base, far, lan, client } = names;
    let endpoints = [1, 2].map(|own| format!("10.31.{number}.{own}"));
    for (namespace, below, endpoint) in
        [(&network.gateway, base, &endpoints[0]), (&network.client, far, &endpoints[1])]
    {
        namespace.ip(&[format!("address add {endpoint}/24 dev {below}")])?;
    }
    let end =
        |namespace, name, endpoint, allowed| WireGuardEnd { namespace, name, endpoint, allowed };
    wireguard::connect([
        end(&network.gateway, lan, &endpoints[0], "10.30.0.0/16"),
        end(&network.client, client, &endpoints[1], "0.0.0.0/0"),
    ])
}

/// A device with the pair's end as its port, and the daemon that has it carry packets.
fn team(network: &Network, names: &Names) -> Result<Wired> {
    let Names { base, lan, .. } = names;
    // Where the kernel has no such kind, this says so.
    network.gateway.ip(&[format!("link add {lan} type team"), format!("link delete {lan}")])?;
    names.beneath(network)?;
    network.gateway.ip(&[format!("link set {base} down")])?;
    let config = serde_json::json!({
        "device": lan,
        "runner": {"name": "activebackup"},
        "link_watch": {"name": "ethtool"},
        "ports": {base: {}},
    });
    let mut teamd = network.gateway.command("teamd");
    let process = Process::spawn("teamd", teamd.args(["-r", "-c", &config.to_string()]))?;
    eventually("the team has its port", || {
        let links =
            network.gateway.command("ip").args(["-o", "link", "show", "master", lan]).output()?;
        Ok(!links.stdout.is_empty())
    })
    .with_context(|| process.output())?;
    Ok(Wired::kept_by(process))
}

/// Two cards on one wire; where the computer is not the virtual machine, it has none to give.
fn cards(network: &Network, names: &Names, cards: [&str; 2]) -> Result<Wired> {
    if card_name(cards[0])?.is_none() && !in_machine() {
        bail!(NO_CARD);
    }
    take_card(cards[0], &network.gateway, &names.lan)?;
    take_card(cards[1], &network.client, &names.client)?;
    Ok(Wired::usual())
}

/// Whether the computer is the virtual machine, which has every kind.
fn in_machine() -> bool {
    Path::new("/modules").exists()
}

/// What is said where the computer has no card to give.
const NO_CARD: &str = "there is no such network card";

/// Whether a device cannot be made since the kernel has no such kind.
fn is_lacking(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    println!("left out: {text}");
    let words = ["Unknown device type", "Operation not supported", NO_CARD];
    words.iter().chain(&ppp::LACKING).any(|words| text.contains(words))
}

/// Returns an error in the table's words.
fn words(error: &str) -> Result<&'static str> {
    const KNOWN: [(&str, &str); 6] = [
        ("frames of the bond", "refused: frames seen as its members'"),
        ("cannot attach XDP to", "refused: the driver takes no XDP program"),
        ("no Ethernet header", "refused: no Ethernet header"),
        ("it is a VRF", "refused: packets come in by its members"),
        ("it is an ipvlan device", "refused: packets come in by the device below"),
        ("does not say where packets begin", "refused: unknown where packets begin"),
    ];
    let known = KNOWN.iter().find(|(said, _)| error.contains(said));
    known.map(|(_, word)| *word).with_context(|| format!("refused in other words: {error}"))
}

fn config(interface: &str, mode: &str) -> String {
    CONFIG
        .replace("  - name: eth1\n", &format!("  - name: {interface}\n    mode: {mode}\n"))
        .replace("[10.20.0.0/24, \"fd00:20::/64\"]", "[10.30.0.0/16]")
}

/// Returns how an interface is judged in a mode, in the table's words.
fn outcome(testbed: &Testbed, wired: &Wired, names: &Names, mode: &str) -> Result<String> {
    let interface = wired.filtered.as_deref().unwrap_or(&names.lan);
    testbed.filter.configure(&config(interface, mode))?;
    let path = testbed.filter.config().display().to_string();
    let output = testbed.filter.command(&["apply", &path])?.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return words(&said).map(str::to_owned);
    }
    let status = testbed.filter.json(&["status"])?;
    if let Some(error) = status["failed_interfaces"][0]["error"].as_str() {
        return words(error).map(str::to_owned);
    }
    let mode = status["interfaces"][0]["mode"].as_str().unwrap_or("no").to_owned();
    let before = testbed.filter.counters()?;
    let client = |target, timeout| testbed.network.client.run(|| probe(target, timeout));
    let allowed = client(tcp("192.0.2.5".parse()?, 631), ANSWER);
    let denied = client(tcp("192.0.2.80".parse()?, 443), SILENCE);
    let counted = testbed.filter.counters()?.since(&before);
    ensure!(
        allowed == ProbeResult::Reached
            && denied != ProbeResult::Reached
            && counted.get("policy") == 1
            && counted.get("destination") >= 1,
        "{allowed:?}, {denied:?}, {counted}, {said}"
    );
    Ok(format!("judged: {mode}"))
}

/// Returns a kind's row; `None` if the kernel lacks it.
fn row(testbed: &Testbed, kind: &str, wire: Wire, number: usize) -> Result<Option<String>> {
    let (network, names) = (&testbed.network, Names::new(number));
    let wired = match wire(network, &names) {
        Err(error) if is_lacking(&error) => return Ok(None),
        wired => wired?,
    };
    if !wired.addressed {
        names.address(network)?;
    }
    let route = format!("route replace 192.0.2.0/24 via 10.30.{number}.1 dev {}", names.client);
    network.client.ip(&[route])?;
    let mut cells = Vec::new();
    for mode in MODES {
        let outcome = outcome(testbed, &wired, &names, mode);
        cells.push(outcome.with_context(|| format!("{kind}, mode {mode}"))?);
    }
    Ok(Some(format!("| {kind} | {} |", cells.join(" | "))))
}

#[test]
fn every_kind_of_interface_is_judged_or_refused_by_name() -> Result<()> {
    let setup = Setup { config: config("lan0", "auto"), resolver: Kind::Unbound, ..site::setup() };
    let mut testbed = Testbed::create(&setup)?;
    testbed.network.internet.ip(&["route add 10.30.0.0/16 via 172.31.0.1 table local"])?;
    let names = Names::new(0);
    names.pair(&testbed.network, &names.lan, &names.client)?;
    testbed.filter.start()?;
    let mut rows = BTreeMap::new();
    let mut errors = Vec::new();
    for (number, (kind, wire)) in KINDS.into_iter().enumerate() {
        let row = row(&testbed, kind, wire, number + 1);
        println!("{kind}: {row:?}");
        match row {
            Ok(row) => rows.extend(row.map(|row| (number, row))),
            Err(error) => errors.push(format!("{kind}: {error:#}")),
        }
    }
    let printed: Vec<&str> = rows.values().map(String::as_str).collect();
    println!("{}", printed.join("\n"));
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    let wrong: Vec<&&str> =
        printed.iter().filter(|row| !TABLE.lines().any(|line| line == **row)).collect();
    ensure!(wrong.is_empty(), "not in the table: {wrong:?}");
    ensure!(printed.len() >= 3, "the kernel has hardly a kind: {printed:?}");
    if in_machine() && printed.len() < KINDS.len() {
        bail!("the machine lacks kinds: {printed:?}");
    }
    Ok(())
}
