//! The testbed's wiring: client, gateway and internet, each a namespace, IPv4 and IPv6.
//!
//! ```text
//! client eth0 10.20.0.10 --- eth1 10.20.0.1 gateway eth0 172.31.0.1 --- eth0 172.31.0.2 internet
//! ```
//!
//! The internet answers on every address.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};

use crate::{
    namespace::{Namespace, run},
    ppp::{PppEnd, PppLink},
    tun::{Tun, TunLink},
};

/// The client's addresses.
pub const CLIENT: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 20, 0, 10)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 0x10)),
];

/// The gateway's addresses on the client's side.
pub const GATEWAY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 20, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x20, 0, 0, 0, 0, 0, 1)),
];

/// The gateway's interface on the client's side.
pub const LAN: &str = "eth1";

/// The other interfaces: the gateway's on the internet's side, and the only one of the others.
pub const WAN: &str = "eth0";

/// The three namespaces.
#[derive(Debug)]
pub struct Network {
    /// Namespace in which probes start.
    pub client: Arc<Namespace>,
    /// Namespace of the filter.
    pub gateway: Arc<Namespace>,
    /// Namespace of everything else.
    pub internet: Arc<Namespace>,
}

impl Network {
    /// Makes and connects the namespaces, whose names begin with `label`.
    pub fn create(label: &str) -> Result<Self> {
        let network = Self {
            client: Arc::new(Namespace::create(&format!("{label}-client"))?),
            gateway: Arc::new(Namespace::create(&format!("{label}-gateway"))?),
            internet: Arc::new(Namespace::create(&format!("{label}-internet"))?),
        };
        let Self { client, gateway, internet } = &network;
        for namespace in [client, gateway, internet] {
            // The addresses are known to be unique: duplicate address detection would cost a second.
            namespace.sysctl("ipv6/conf/default/accept_dad", "0")?;
            namespace.sysctl("ipv6/conf/default/dad_transmits", "0")?;
            // Announced prefixes would add addresses that nobody expects.
            namespace.sysctl("ipv6/conf/default/autoconf", "0")?;
        }
        gateway.sysctl("ipv4/ip_forward", "1")?;
        gateway.sysctl("ipv6/conf/all/forwarding", "1")?;

        let (client_name, internet_name) = (client.name(), internet.name());
        // The kernel reports the carrier of a veth at once only where the ends' indices differ.
        gateway.ip(&[
            format!("link add {LAN} index 11 type veth peer {WAN} index 12 netns {client_name}"),
            format!("link add {WAN} index 21 type veth peer {WAN} index 22 netns {internet_name}"),
        ])?;
        let ready =
            [(&**client, vec![WAN]), (&**gateway, vec![LAN, WAN]), (&**internet, vec![WAN])]
                .map(|(namespace, interfaces)| Ready::watch(namespace, interfaces));
        gateway.ip(&[format!("link set {LAN} up"), format!("link set {WAN} up")])?;
        client.ip(&[format!("link set {WAN} up")])?;
        internet.ip(&[format!("link set {WAN} up")])?;
        for ready in ready {
            ready?.wait()?;
        }
        network.address()?;
        Ok(network)
    }

    /// Gives the gateway's interface on the client's side another name.
    pub fn rename_lan(&self, name: &str) -> Result<()> {
        let [_, gateway6] = GATEWAY;
        self.gateway.ip(&[
            // Older kernels rename what is down alone, and forget IPv6 addresses then.
            format!("link set {LAN} down"),
            format!("link set {LAN} name {name}"),
            format!("link set {name} up"),
            format!("address replace {gateway6}/64 dev {name} nodad"),
        ])
    }

    /// The link-layer address of the gateway's interface on the client's side.
    pub fn lan_address(&self) -> Result<[u8; 6]> {
        self.gateway_address(LAN)
    }

    /// The link-layer address of an interface of the gateway.
    pub fn gateway_address(&self, interface: &str) -> Result<[u8; 6]> {
        Self::address_in(&self.gateway, interface)
    }

    /// The link-layer address of the client's interface.
    pub fn client_address(&self) -> Result<[u8; 6]> {
        Self::address_in(&self.client, WAN)
    }

    fn address_in(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
        let mut command = std::process::Command::new("ip");
        let name = namespace.name();
        let text = run(command.args(["-json", "-netns", name, "link", "show", interface]))?;
        let links: serde_json::Value = serde_json::from_str(&text)?;
        let address = links[0]["address"].as_str().context("an interface has an address")?;
        let octets = address.split(':').map(|octet| u8::from_str_radix(octet, 16));
        let octets: Vec<u8> = octets.collect::<Result<_, _>>()?;
        octets.try_into().map_err(|_| anyhow::anyhow!("{address} is no MAC address"))
    }

    /// Puts a link of PPP in place of that between client and gateway, with its names and addresses.
    pub fn use_ppp(&self) -> Result<PppLink> {
        self.gateway.ip(&[format!("link delete {LAN}")])?;
        self.dial()
    }

    /// Makes the link of PPP again, which has gone.
    pub fn dial(&self) -> Result<PppLink> {
        let [IpAddr::V4(gateway4), gateway6] = GATEWAY else { bail!("IPv4 comes first") };
        let [IpAddr::V4(client4), client6] = CLIENT else { bail!("IPv4 comes first") };
        let link = PppLink::connect([
            PppEnd { namespace: &self.gateway, name: LAN, address: gateway4 },
            PppEnd { namespace: &self.client, name: WAN, address: client4 },
        ])?;
        self.gateway.ip(&[format!("address add {gateway6}/64 dev {LAN} nodad")])?;
        self.client.ip(&[
            format!("address add {client6}/64 dev {WAN} nodad"),
            format!("route add default via {gateway4}"),
            format!("route add default via {gateway6}"),
        ])?;
        Ok(link)
    }

    /// Puts a link of layer 3 in place of that between client and gateway, with the names and addresses of
    /// the old one. `change` is what is done to both ends before they are up.
    pub fn use_tun(&self, change: impl Fn(&Tun) -> Result<()>) -> Result<TunLink> {
        self.gateway.ip(&[format!("link delete {LAN}")])?;
        let ends = [Tun::create(&self.gateway, LAN)?, Tun::create(&self.client, WAN)?];
        for end in &ends {
            change(end)?;
        }
        let link = TunLink::connect(ends)?;
        self.gateway.ip(&[format!("link set {LAN} up")])?;
        self.client.ip(&[format!("link set {WAN} up")])?;
        let [gateway4, gateway6] = GATEWAY;
        self.gateway.ip(&[
            format!("address add {gateway4}/24 dev {LAN}"),
            format!("address add {gateway6}/64 dev {LAN} nodad"),
        ])?;
        self.address_client()?;
        Ok(link)
    }

    fn address_client(&self) -> Result<()> {
        let [client4, client6] = CLIENT;
        let [gateway4, gateway6] = GATEWAY;
        self.client.ip(&[
            format!("address add {client4}/24 dev {WAN}"),
            format!("address add {client6}/64 dev {WAN} nodad"),
            format!("route add default via {gateway4}"),
            format!("route add default via {gateway6}"),
        ])
    }

    fn address(&self) -> Result<()> {
        let [gateway4, gateway6] = GATEWAY;
        self.address_client()?;
        self.gateway.ip(&[
            format!("address add {gateway4}/24 dev {LAN}"),
            format!("address add {gateway6}/64 dev {LAN} nodad"),
            format!("address add 172.31.0.1/30 dev {WAN}"),
            format!("address add fd00:31::1/64 dev {WAN} nodad"),
            "route add default via 172.31.0.2".to_owned(),
            "route add default via fd00:31::2".to_owned(),
        ])?;
        self.internet.ip(&[
            "address add 172.31.0.2/30 dev {WAN}",
            "address add fd00:31::2/64 dev {WAN} nodad",
            // Every address is one of its own, in the table where the kernel looks for its own;
            // the way back to the others has to be the longer match in the same table.
            "route add local 0.0.0.0/0 dev lo table local",
            "route add local ::/0 dev lo table local",
            "route add 172.31.0.0/30 dev {WAN} table local",
            "route add fd00:31::/64 dev {WAN} table local",
            "route add fe80::/64 dev {WAN} table local",
            "route add 10.20.0.0/24 via 172.31.0.1 table local",
            "route add fd00:20::/64 via fd00:31::1 table local",
        ]
        .map(|line| line.replace("{WAN}", WAN)))?;
        // An IPv6 socket may not name a source of which no interface has the address.
        self.internet.sysctl("ipv6/ip_nonlocal_bind", "1")
    }
}

/// Waits for interfaces to be up: until then their queueing discipline drops what is sent.
struct Ready<'a> {
    namespace: &'a Namespace,
    interfaces: Vec<&'static str>,
    changes: OwnedFd,
}

impl<'a> Ready<'a> {
    /// Begins to listen for changes of the namespace's interfaces.
    fn watch(namespace: &'a Namespace, interfaces: Vec<&'static str>) -> Result<Self> {
        const RTMGRP_LINK: u32 = 1;
        let changes = namespace.run(|| -> nix::Result<OwnedFd> {
            let route = SockProtocol::NetlinkRoute;
            let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)?;
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK))?;
            Ok(fd)
        })?;
        Ok(Self { namespace, interfaces, changes })
    }

    fn wait(self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.is_up()? {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).context("ten seconds fit")?;
            let mut fds = [PollFd::new(self.changes.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, timeout)?;
            ensure!(
                ready > 0,
                "{:?} in {} did not come up",
                self.interfaces,
                self.namespace.name()
            );
            // What has changed does not matter, nor that a long message is cut.
            recv(self.changes.as_raw_fd(), &mut [0; 4096], nix::sys::socket::MsgFlags::empty())?;
        }
        Ok(())
    }

    fn is_up(&self) -> Result<bool> {
        let mut command = std::process::Command::new("ip");
        command.args(["-json", "-netns", self.namespace.name(), "link", "show"]);
        let links: serde_json::Value = serde_json::from_str(&run(&mut command)?)?;
        let links = links.as_array().context("ip prints a list")?;
        Ok(self.interfaces.iter().all(|interface| {
            links.iter().any(|link| link["ifname"] == **interface && link["operstate"] == "UP")
        }))
    }
}
