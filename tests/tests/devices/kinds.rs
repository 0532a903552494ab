//! Kinds of interface times modes: judged, or refused by name. What is printed is the table in the page.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_tests::{
    namespace::{Namespace, run},
    network::Network,
    probe::{ProbeResult, probe},
    resolver::Kind,
    site::{self, ANSWER, CONFIG, SILENCE, tcp},
    testbed::{Setup, Testbed},
    tun::{Tun, TunLink},
};

/// The table as it stands in the page, which a test of pages compares.
const TABLE: &str = include_str!("kinds.md");

const MODES: [&str; 4] = ["auto", "native", "generic", "tc"];

/// Interface of the filter of a kind, and what keeps it there.
struct Wired {
    _link: Option<TunLink>,
    /// Name of the filtered interface, if it is not the usual one.
    filtered: Option<String>,
    carries: bool,
}

impl Wired {
    const fn usual() -> Self {
        Self { _link: None, filtered: None, carries: true }
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
const KINDS: [(&str, Wire); 14] = [
    ("veth", |network, names| {
        names.pair(network, &names.lan, &names.client)?;
        Ok(Wired::usual())
    }),
    ("tap", |network, names| {
        let ends = [
            Tun::create_tap(&network.gateway, &names.lan)?,
            Tun::create_tap(&network.client, &names.client)?,
        ];
        Ok(Wired { _link: Some(TunLink::connect(ends)?), ..Wired::usual() })
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
    ("team", |network, names| {
        // Without a daemon of its own it has no mode, and carries nothing.
        Ok(Wired { carries: false, ..joined(network, names, "team")? })
    }),
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
        Ok(Wired { _link: Some(TunLink::connect(ends)?), ..Wired::usual() })
    }),
    ("WireGuard", |network, names| {
        names.pair(network, &names.base, &names.far)?;
        wireguard(network, names).map(|()| Wired::usual())
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
    let key = |command: &str, input: &str| {
        run(Command::new("sh").args(["-c", &format!("echo '{input}' | wg {command}")]))
    };
    let secrets = [key("genkey", "")?, key("genkey", "")?];
    let number = names.number;
    let ends = [
        (&network.gateway, &names.base, &names.lan, 1, 2, "10.30.0.0/16"),
        (&network.client, &names.far, &names.client, 2, 1, "0.0.0.0/0"),
    ];
    for (at, (namespace, below, above, own, other, allowed)) in ends.into_iter().enumerate() {
        namespace.ip(&[
            format!("address add 10.31.{number}.{own}/24 dev {below}"),
            format!("link add {above} type wireguard"),
        ])?;
        let (secret, peer) = (&secrets[at], key("pubkey", &secrets[1 - at])?);
        let set = format!(
            "echo '{secret}' | wg set {above} private-key /proc/self/fd/0 listen-port 51820 peer '{peer}' \
             allowed-ips {allowed} endpoint 10.31.{number}.{other}:51820"
        );
        run(namespace.command("sh").args(["-c", &set]))?;
    }
    Ok(())
}

/// Whether a device cannot be made since the kernel has no such kind.
fn is_lacking(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    println!("left out: {text}");
    ["Unknown device type", "Operation not supported"].iter().any(|word| text.contains(word))
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
    if !wired.carries {
        return Ok(format!("attached: {mode}"));
    }
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
    names.address(network)?;
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
        match row(&testbed, kind, wire, number + 1) {
            Ok(row) => rows.extend(row.map(|row| (number, row))),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    let printed: Vec<&str> = rows.values().map(String::as_str).collect();
    println!("{}", printed.join("\n"));
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    let wrong: Vec<&&str> =
        printed.iter().filter(|row| !TABLE.lines().any(|line| line == **row)).collect();
    ensure!(wrong.is_empty(), "not in the table: {wrong:?}");
    ensure!(printed.len() >= 3, "the kernel has hardly a kind: {printed:?}");
    if Path::new("/modules").exists() && printed.len() < KINDS.len() {
        bail!("the machine lacks kinds: {printed:?}");
    }
    Ok(())
}
