//! Changes a configuration so that it allows more: one change for each cause of a denial.

use std::net::IpAddr;

use intune_filter_ebpf::abi::TransportProtocol;
use ipnet::IpNet;

use crate::{
    cli::destination::{Protocol, Target},
    config::{Config, Inbound, InboundRule, Network, Parts, Resolver, SiteService},
    ports::{PerProtocol, PortRange, Ports},
};

/// Change of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fix {
    /// A group may use a service.
    Service { group: String, service: String },
    /// The catalogue's data that the documents no longer have count.
    Legacy,
    /// The observed data of a service count.
    Observed(String),
    /// A group may use a service of the site's own for a destination.
    Own { group: String, target: Target, port: u16, protocol: Protocol },
    /// Answers may teach an address.
    Private(IpAddr),
    /// Clients may ask a resolver.
    Resolver(IpAddr),
    /// Clients may ping.
    Echo,
    /// A client is in a group.
    Client { group: String, address: IpAddr },
    /// A client lets a sender in.
    Inbound { group: String, from: IpAddr, port: u16, protocol: TransportProtocol },
}

impl Fix {
    /// Makes the change; `None` if the configuration has no place for it.
    pub(super) fn apply(&self, config: &mut Config) -> Option<()> {
        match self {
            Self::Service { group, service } => {
                config
                    .clients
                    .iter_mut()
                    .find(|one| one.name == *group)?
                    .services
                    .push(service.clone());
            }
            Self::Legacy => config.choice.catalogue.legacy = true,
            Self::Observed(service) => config.choice.catalogue.observed.push(service.clone()),
            Self::Own { group, target, port, protocol } => {
                let service = own(config, target, *port, *protocol)?;
                let group = config.clients.iter_mut().find(|one| one.name == *group)?;
                group.services.push(service.id.clone());
                config.services.push(service);
            }
            Self::Private(address) => config.dns.allow_private.push((*address).into()),
            Self::Resolver(address) => {
                config.dns.resolvers.push(Resolver { address: *address, via: Vec::new() });
            }
            Self::Echo => config.icmp_echo = true,
            Self::Client { group, address } => {
                let group = config.clients.iter_mut().find(|one| one.name == *group)?;
                group.networks.push(Network::Prefix((*address).into()));
            }
            Self::Inbound { group, from, port, protocol } => {
                let group = config.clients.iter_mut().find(|one| one.name == *group)?;
                let mut ports: Ports = Ports::default();
                ports[*protocol] = vec![PortRange::new(*port, *port).ok()?];
                let rule =
                    InboundRule { services: Vec::new(), from: vec![IpNet::from(*from)], ports };
                match &mut group.inbound {
                    Inbound::Allow => return None,
                    Inbound::Deny => group.inbound = Inbound::Rules(vec![rule]),
                    Inbound::Rules(rules) => rules.push(rule),
                }
            }
        }
        Some(())
    }
}

/// Returns a service for one destination and port.
fn own(config: &Config, target: &Target, port: u16, protocol: Protocol) -> Option<SiteService> {
    let (text, fqdns, cidrs) = match target {
        Target::Name(name) => (name.clone(), Some(vec![name.parse().ok()?]), None),
        Target::Address(address) => (address.to_string(), None, Some(vec![IpNet::from(*address)])),
    };
    let legal = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let text: String = text.chars().map(legal).collect();
    let base = format!("own-{}", text.trim_matches('-'));
    let is_free = |id: &String| config.services.iter().all(|service| service.id != *id);
    let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
    let id = std::iter::once(base.clone()).chain(numbered.take(1000)).find(is_free)?;
    // A ping needs a destination that the client may reach on some port.
    let (open, port) = match protocol {
        Protocol::Transport(protocol) => (protocol, port),
        Protocol::Icmp => (TransportProtocol::Tcp, 443),
    };
    let range = PortRange::new(port, port).ok()?;
    let ports = PerProtocol::from_fn(|one| (one == open).then(|| vec![range]));
    let parts = Parts { fqdns, cidrs, ports };
    Some(SiteService { id, title: None, parts, rules: Vec::new(), allow_broad: false })
}
