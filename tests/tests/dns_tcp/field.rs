//! The wiring: a client that makes its frames by hand, the gateway with the filter, and who listens
//! on both sides of it.

use std::{
    cell::Cell,
    fmt::Write as _,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use etherparse::{IcmpEchoHeader, Icmpv4Type, PacketBuilder, SlicedPacket, TransportSlice};
use intune_filter_tests::{
    directory::Directory,
    filter::FilterDaemon,
    namespace::{Namespace, run},
    network::{LAN, Network, WAN},
    resolver::BEYOND,
    site,
    wire::{Tap, Wire},
    xdp::PassAll,
};

use crate::segment::Seen;

/// Clients of each family.
pub const CLIENTS: u16 = 64;
/// Host that asks whether everything that was sent has arrived.
const ASKING: [u8; 4] = [10, 20, 0, 9];
/// Host that is asked.
const ASKED: [u8; 4] = [192, 0, 2, 5];
/// The link-layer address of the client's accomplice.
const ACCOMPLICE: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
/// The group's first lines: what is denied it is not told of.
const DROPPING: &str = "clients:\n  - name: devices\n    on_deny: drop\n";
/// Longest time of a packet under way.
const PATIENCE: Duration = Duration::from_secs(60);
/// After how long to ask again whether everything has arrived.
const AGAIN: Duration = Duration::from_millis(500);
/// Octets of frames that may wait to be looked at.
const ROOM: usize = 64 << 20;

/// The address of a client with this number.
#[must_use]
pub fn client(number: u16, six: bool) -> IpAddr {
    if six {
        let last = 0x100 + number;
        IpAddr::from([0xfd00, 0x20, 0, 0, 0, 0, 0, last])
    } else {
        IpAddr::from([10, 20, 0, 20 + number as u8])
    }
}

/// The wiring and the filter; gone when dropped.
#[derive(Debug)]
pub struct Field {
    /// The filter.
    pub filter: FilterDaemon,
    wire: Wire,
    client_tap: Tap,
    wan_tap: Tap,
    client_mac: [u8; 6],
    gateway_mac: [u8; 6],
    asked: Cell<u16>,
    _answering: PassAll,
    /// The namespaces.
    pub network: Network,
    directory: Arc<Directory>,
}

impl Field {
    /// Makes it, with the filter in this mode, not started yet.
    pub fn create(mode: &str) -> Result<Self> {
        let directory = Arc::new(Directory::create()?);
        let network = Network::create(directory.label())?;
        // A reset of the filter's would look like one of the server's.
        // Answers of the filter's own are none of the resolver's.
        let config = site::CONFIG
            .replace("clients:\n  - name: devices\n", DROPPING)
            .replace("dns:\n", "dns:\n  unlisted: refuse\n");
        let config = site::in_mode(&config, mode);
        let filter =
            FilterDaemon::new(Arc::clone(&network.gateway), Arc::clone(&directory), &config)?;
        let client_mac = address_of(&network.client, WAN)?;
        let mut neighbours = Vec::new();
        let mac = text(client_mac);
        for six in [false, true] {
            for number in 0..CLIENTS {
                let address = client(number, six);
                neighbours
                    .push(format!("neigh replace {address} lladdr {mac} dev {LAN} nud permanent"));
            }
        }
        let asking = IpAddr::from(ASKING);
        neighbours.push(format!("neigh replace {asking} lladdr {mac} dev {LAN} nud permanent"));
        network.gateway.ip(&neighbours)?;
        let internet = &network.internet;
        for (key, value) in [
            ("core/somaxconn", "65535"),
            ("ipv4/tcp_max_syn_backlog", "65535"),
            ("ipv4/tcp_synack_retries", "1"),
            ("ipv4/tcp_invalid_ratelimit", "0"),
            ("ipv4/tcp_no_metrics_save", "1"),
        ] {
            internet.sysctl(key, value)?;
        }
        // As a router would be beyond the gateway: what has no hop left ends here.
        let mut nft = internet.command("nft");
        run(nft.arg(
            "table inet hops { chain hops { type filter hook prerouting priority -300; \
             ip ttl 1 drop; ip6 hoplimit 1 drop; }; }",
        ))?;
        Ok(Self {
            wire: network.client.run(|| Wire::open(WAN))?,
            client_tap: network.client.run(|| Tap::open(WAN)?.with_room(ROOM))?,
            wan_tap: network.gateway.run(|| Tap::of_sent(WAN)?.with_room(ROOM))?,
            client_mac,
            gateway_mac: network.lan_address()?,
            asked: Cell::new(0),
            _answering: PassAll::attach(&network.client, WAN)?,
            filter,
            network,
            directory,
        })
    }

    /// Directory of the files.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Whether the server answers SYNs without remembering them.
    pub fn use_cookies(&self, always: bool) -> Result<()> {
        self.network.internet.sysctl("ipv4/tcp_syncookies", if always { "2" } else { "1" })
    }

    /// The server's address of a client's family.
    #[must_use]
    pub const fn resolver(&self, client: IpAddr) -> IpAddr {
        let [v4, v6] = BEYOND;
        if client.is_ipv4() { v4 } else { v6 }
    }

    /// The link-layer addresses of what the client sends.
    #[must_use]
    pub const fn client_link(&self) -> [[u8; 6]; 2] {
        [self.client_mac, self.gateway_mac]
    }

    /// The link-layer addresses of what its accomplice sends.
    #[must_use]
    pub const fn accomplice_link(&self) -> [[u8; 6]; 2] {
        [ACCOMPLICE, self.gateway_mac]
    }

    /// Sends a frame from the client's network.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.wire.offer(frame)? {
            ensure!(Instant::now() < deadline, "the wire stays full");
        }
        Ok(())
    }

    /// Waits until everything that was sent before has arrived, there and back, and returns the
    /// segments that have come to the client meanwhile.
    pub fn settle(&self) -> Result<Vec<Seen>> {
        let number = self.asked.get().wrapping_add(1);
        self.asked.set(number);
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2(self.client_mac, self.gateway_mac);
        builder
            .ipv4(ASKING, ASKED, 64)
            .icmpv4_echo_request(0x1f1f, number)
            .write(&mut frame, &[])?;
        self.send(&frame)?;
        let (mut deadline, end) = (Instant::now() + AGAIN, Instant::now() + PATIENCE);
        let mut segments = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(frame) = self.client_tap.wait(left)? else {
                ensure!(
                    deadline < end,
                    "an echo request was lost on its way through the gateway, again and again",
                );
                // On a busy machine a queue may have been full. Soon, for honest clients wait for
                // what comes to them no longer than this does.
                deadline = Instant::now() + AGAIN;
                self.send(&frame)?;
                continue;
            };
            if echoed(&frame) == Some(number) {
                return Ok(segments);
            }
            segments.extend(Seen::read(&frame).ok().flatten());
        }
    }

    /// Segment that comes to the client within this time.
    pub fn arrival(&self, timeout: Duration) -> Result<Option<Seen>> {
        let frame = self.client_tap.wait(timeout)?;
        Ok(frame.and_then(|frame| Seen::read(&frame).ok().flatten()))
    }

    /// The segments that have left the gateway since the last time, away from the client.
    pub fn passed(&self) -> Result<Vec<Seen>> {
        let mut segments = Vec::new();
        while let Some(frame) = self.wan_tap.take()? {
            segments.extend(Seen::read(&frame)?);
        }
        Ok(segments)
    }
}

/// The number of an echo reply.
fn echoed(frame: &[u8]) -> Option<u16> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Icmpv4(message)) = sliced.transport else { return None };
    match message.icmp_type() {
        Icmpv4Type::EchoReply(IcmpEchoHeader { seq, .. }) => Some(seq),
        _ => None,
    }
}

fn text(mac: [u8; 6]) -> String {
    let mut text = String::new();
    for (at, octet) in mac.iter().enumerate() {
        let colon = if at == 0 { "" } else { ":" };
        let _ = write!(text, "{colon}{octet:02x}");
    }
    text
}

fn address_of(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let mut command = std::process::Command::new("ip");
    command.args(["-json", "-netns", namespace.name(), "link", "show", "dev", interface]);
    let links: serde_json::Value = serde_json::from_str(&run(&mut command)?)?;
    let text = links[0]["address"].as_str().context("an interface has an address")?;
    let octets = text.split(':').map(|octet| u8::from_str_radix(octet, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
    octets.try_into().ok().context("a MAC address has six octets")
}
