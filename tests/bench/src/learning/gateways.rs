//! The gateways that learn, each in a network of its own.

use std::{
    fmt,
    net::IpAddr,
    ops::Range,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    client::{Turn, connects},
    element::{SETS, TABLE},
    learner::Learner,
};
use intune_filter_tests::{
    directory::Directory,
    filter::FilterDaemon,
    listeners::Listeners,
    namespace::run,
    network::{LAN, Network},
    records::{NUMBERS, Records, addresses},
    resolver::Resolver,
    responder::Responder,
    site::CONFIG,
};

/// A way to learn addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// A gateway that forwards everything.
    Open,
    /// intune-filter.
    Filter,
    /// dnsmasq enters the addresses into sets of nftables.
    Nftset,
    /// A process does, which is given copies of the answers.
    Userspace,
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "no filter",
            Self::Filter => "intune-filter",
            Self::Nftset => "dnsmasq, nftset",
            Self::Userspace => "copies to userspace",
        })
    }
}

impl Gateway {
    /// All, the one without a filter first.
    pub const ALL: [Self; 4] = [Self::Open, Self::Filter, Self::Nftset, Self::Userspace];

    /// Reason why this machine cannot be such a gateway.
    pub fn obstacle(self) -> Option<String> {
        let nft =
            || Some(format!("{:#}", run(Command::new("nft").args(["list", "tables"])).err()?));
        match self {
            Self::Open | Self::Filter => None,
            Self::Userspace => nft(),
            Self::Nftset => match run(Command::new("dnsmasq").arg("--version")) {
                Ok(text) if text.split_whitespace().any(|word| word == "nftset") => nft(),
                Ok(_) => Some("this dnsmasq is built without nftset".to_owned()),
                Err(error) => Some(format!("{error:#}")),
            },
        }
    }
}

/// A gateway with a client and an internet.
pub struct Site {
    /// Kind of the gateway.
    pub gateway: Gateway,
    // Dropped in this order: what runs before the namespaces that it is in.
    learner: Option<Learner>,
    _filter: Option<FilterDaemon>,
    resolver: Resolver,
    _responder: Responder,
    _listeners: Listeners,
    network: Network,
    _directory: Arc<Directory>,
}

impl Site {
    /// Makes the networks and starts what learns.
    pub fn start(gateway: Gateway) -> Result<Self> {
        let directory = Arc::new(Directory::create()?);
        let network = Network::create(directory.label())?;
        let listeners = Listeners::start(&network.internet, [443], [])?;
        let responder = Responder::in_internet(&network.internet)?;
        let settings = match gateway {
            Gateway::Nftset => {
                let [v4, v6] = SETS;
                format!("nftset=/web.test/4#inet#{TABLE}#{v4},6#inet#{TABLE}#{v6}\n")
            }
            _ => String::new(),
        };
        if matches!(gateway, Gateway::Nftset | Gateway::Userspace) {
            close(&network)?;
        }
        let resolver = Resolver::on_gateway(&network, &directory, &Records::default(), &settings)?;
        let learner = (gateway == Gateway::Userspace)
            .then(|| Learner::start(&network.gateway))
            .transpose()?;
        let filter = (gateway == Gateway::Filter)
            .then(|| -> Result<_> {
                let (inside, files) = (Arc::clone(&network.gateway), Arc::clone(&directory));
                let mut filter = FilterDaemon::new(inside, files, CONFIG)?;
                filter.start()?;
                Ok(filter)
            })
            .transpose()?;
        Ok(Self {
            gateway,
            learner,
            _filter: filter,
            resolver,
            _responder: responder,
            _listeners: listeners,
            network,
            _directory: directory,
        })
    }

    /// Fails unless it forwards what was learned, and what was not only without a filter. What the
    /// client has to learn of its neighbours it knows afterwards.
    pub fn check(&self) -> Result<()> {
        let Self { gateway, network, .. } = self;
        for address in addresses(NUMBERS - 1) {
            let reached = network.client.run(|| connects(address))?;
            ensure!(reached == (*gateway == Gateway::Open), "{gateway}: {address}: {reached}");
        }
        for family in 0..2 {
            let number = NUMBERS - 4 + family;
            let turn = network.client.run(|| Turn::take(self.server(), number..number + 1))?;
            // One that learns too late has learned by now.
            if turn.lost > 0 {
                let address = addresses(number)[usize::from(number % 2 == 1)];
                let reached = network.client.run(|| connects(address))?;
                ensure!(reached, "{gateway}: {address} was learned and is not reached");
            }
        }
        Ok(())
    }

    /// The client resolves the names with these numbers and connects.
    pub fn turn(&mut self, numbers: Range<u32>) -> Result<Turn> {
        let turn = self.network.client.run(|| Turn::take(self.server(), numbers));
        self.learner.as_mut().map_or(Ok(()), Learner::check)?;
        turn.with_context(|| self.gateway.to_string())
    }

    const fn server(&self) -> IpAddr {
        self.resolver.addresses()[0]
    }
}

/// Lets the gateway forward nothing but what the sets hold.
fn close(network: &Network) -> Result<()> {
    let [v4, v6] = SETS;
    let rules = format!(
        "table inet {TABLE} {{
           set {v4} {{ type ipv4_addr; }}
           set {v6} {{ type ipv6_addr; }}
           chain forward {{
             type filter hook forward priority filter; policy drop;
             ct state established,related accept
             iifname {LAN} tcp dport 443 ip daddr @{v4} accept
             iifname {LAN} tcp dport 443 ip6 daddr @{v6} accept
           }}
         }}\n"
    );
    let mut nft = network.gateway.command("nft");
    let mut nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("cannot run nft")?;
    if let Some(mut stdin) = nft.stdin.take() {
        std::io::Write::write_all(&mut stdin, rules.as_bytes())?;
    }
    ensure!(nft.wait()?.success(), "nft does not take the rules");
    Ok(())
}
