//! Innocents on kernels with more than this computer's: whatever happens to their packets, the filter
//! denies none.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    counters::Counters,
    namespace::run,
    network::{LAN, WAN},
    site::{self, CONFIG, MODES, WEB, in_mode},
    testbed::{Setup, Testbed},
    transfer::{Transfer, echo_on},
};

/// The printer's port, and a remote of its network for each family.
const PORT: u16 = 631;
const PRINTERS: [&str; 2] = ["192.0.2.5", "2001:db8:9100::5"];
/// Chunks of a transfer: of more octets in all than windows have without scaling.
const CHUNKS: usize = 8;

fn testbed(mode: &str) -> Result<Testbed> {
    let mut setup = Setup { config: in_mode(CONFIG, mode), ..site::setup() };
    setup.tcp.retain(|port| *port != PORT);
    let mut testbed = Testbed::create(&setup)?;
    echo_on(&testbed, PORT)?;
    testbed.filter.start()?;
    Ok(testbed)
}

fn expect_nothing_denied(testbed: &Testbed) -> Result<()> {
    let counters = testbed.filter.counters()?.since(&Counters::default());
    ensure!(counters.denials().is_empty(), "{counters}");
    Ok(())
}

/// Packets are lost before the filter has seen them, and after.
#[test]
#[ignore = "needs netem"]
fn a_transfer_with_scaled_windows_loses_packets_and_is_denied_none() -> Result<()> {
    for mode in MODES {
        let testbed = testbed(mode)?;
        let network = &testbed.network;
        let begin = |printer: &str| Transfer::begin(&testbed, printer.parse()?, PORT);
        let transfers = PRINTERS.map(begin);
        for (namespace, device) in [(&network.client, WAN), (&network.gateway, LAN)] {
            let mut tc = namespace.command("tc");
            run(tc.args(["qdisc", "add", "dev", device, "root", "netem", "loss", "5%"]))?;
        }
        for transfer in transfers {
            let mut transfer = transfer?;
            (0..CHUNKS)
                .try_for_each(|_| transfer.goes_on())
                .with_context(|| format!("in {mode}"))?;
        }
        expect_nothing_denied(&testbed)?;
    }
    Ok(())
}

/// Sizes of the neighbour tables, which all namespaces share; as before on drop.
struct Thresholds(Vec<(String, String)>);

impl Thresholds {
    /// Lets each table have so many entries: the third threshold, which no collection delays.
    fn lower(most: u32) -> Result<Self> {
        let mut before = Self(Vec::new());
        for family in ["ipv4", "ipv6"] {
            for (number, value) in [(1, most / 4), (2, most / 2), (3, most)] {
                let path = format!("/proc/sys/net/{family}/neigh/default/gc_thresh{number}");
                let old = fs::read_to_string(&path).with_context(|| path.clone())?;
                fs::write(&path, value.to_string()).with_context(|| path.clone())?;
                before.0.push((path, old));
            }
        }
        Ok(before)
    }
}

impl Drop for Thresholds {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            // What cannot be written was not changed.
            let _ = fs::write(path, value);
        }
    }
}

/// Times that a table had no room, of all CPUs.
fn overflows(table: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/net/stat/{table}"))?;
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let names = lines.next().context("no names of columns")?;
    let column = names.iter().position(|name| *name == "table_fulls").context("no such column")?;
    let of_cpu = |line: Vec<&str>| u64::from_str_radix(line.get(column)?, 16).ok();
    Ok(lines.filter_map(of_cpu).sum())
}

/// Senders that the gateway has no room to know are not proven, and share their zone's limits.
#[test]
#[ignore = "changes the neighbour tables of all namespaces"]
fn more_clients_than_the_neighbour_table_has_room_for_are_denied_nothing() -> Result<()> {
    const CLIENTS: u8 = 100;
    const ROOM: u32 = 16;
    let testbed = testbed("auto")?;
    let network = &testbed.network;
    let sources: Vec<IpAddr> = (0..CLIENTS)
        .flat_map(|number| {
            let last = 100 + number;
            [format!("10.20.0.{last}"), format!("fd00:20::{last:x}")]
        })
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?;
    let add = |source: &IpAddr| match source {
        IpAddr::V4(_) => format!("address add {source}/24 dev {WAN}"),
        IpAddr::V6(_) => format!("address add {source}/64 dev {WAN} nodad"),
    };
    network.client.ip(&sources.iter().map(add).collect::<Vec<_>>())?;
    let web = testbed.resolve(WEB[0])?;
    let mut transfer = Transfer::begin(&testbed, PRINTERS[0].parse()?, PORT)?;

    let lowered = Thresholds::lower(ROOM)?;
    let tables = ["arp_cache", "ndisc_cache"];
    let before = tables.map(|table| network.gateway.run(|| overflows(table)));
    let answered = network.client.run(|| -> Result<usize> {
        let mut sockets = Vec::new();
        for source in &sources {
            let socket = UdpSocket::bind((*source, 0))?;
            let remote = web.iter().find(|web| web.is_ipv4() == source.is_ipv4());
            socket.send_to(b"hello", (*remote.context("of its family")?, 443))?;
            socket.set_read_timeout(Some(Duration::from_millis(20)))?;
            sockets.push(socket);
        }
        Ok(sockets.iter().filter(|socket| socket.recv(&mut [0; 64]).is_ok()).count())
    })?;
    for (table, before) in tables.into_iter().zip(before) {
        let full = network.gateway.run(|| overflows(table))? - before?;
        ensure!(full > 0, "{table} had room for all, {answered} were answered");
    }
    transfer.goes_on()?;
    drop(lowered);
    let opened = testbed.filter.counters()?.get("policy");
    ensure!(opened >= u64::from(CLIENTS) * 2, "{opened} flows were opened");
    println!("{answered} of {} were answered", sources.len());
    expect_nothing_denied(&testbed)
}
