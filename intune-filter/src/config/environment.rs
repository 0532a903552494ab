//! Checks a configuration against facts of the machine, which the caller gathers; no I/O.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Boot, Config, OnLink, OtherVlan, OtherVlans, ToGateway,
    link_layer::{refused_at_layer3, refused_on_bond},
    on_link_resolvers, other_vlans,
};
use crate::yaml::FileError;

/// Facts of the machine that a configuration is checked against.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Addresses of the gateway on all interfaces.
    pub own_addresses: Vec<IpAddr>,
    /// Prefixes that are on-link behind the filtered interfaces.
    pub on_link: Vec<OnLink>,
    /// Names of the interfaces that the routes to resolvers lead out of, by address.
    pub resolver_interfaces: BTreeMap<IpAddr, String>,
    /// Rules that rewrite destinations (DNAT, redirect, TPROXY), as text for people.
    pub destination_rewrites: Vec<String>,
    /// Flow tables of nftables that forward packets past the filter.
    pub flow_tables: Vec<FlowTable>,
    /// Whether the command `nft` is missing.
    pub lacks_nft: bool,
    /// Interfaces of layer 3: their packets have no hardware addresses.
    pub without_macs: Vec<String>,
    /// Bonds among the interfaces.
    pub bonds: Vec<String>,
    /// Interfaces whose packets cannot be judged, each with the cause.
    pub unjudged: Vec<(String, String)>,
    /// VLAN devices above filtered interfaces, whose ids are in no zone.
    pub other_vlans: Vec<OtherVlan>,
    /// Filtered interfaces on which the gateway takes prefixes and routes from its clients, as text for
    /// people.
    pub advertisements: Vec<String>,
    /// Sockets of the gateway that `to_gateway` lets clients reach, by zone.
    pub listening: Vec<Reached>,
}

/// Sockets of the gateway that the clients of a zone reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Name of the zone.
    pub zone: String,
    /// Protocol, address and port of each socket, as text for people.
    pub sockets: Vec<String>,
}

/// Flow table of nftables that forwards an interface's packets past the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTable {
    /// Name of the interface.
    pub interface: String,
    /// The flow table's device: the interface, or one below it.
    pub device: String,
    /// Whether the network card forwards the packets.
    pub in_hardware: bool,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Error: the configuration is refused on this machine.
    Error,
    /// Warning: the configuration is accepted.
    Warning,
}

/// Consequence of the machine's facts for the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Severity.
    pub severity: Severity,
    /// Key and message.
    pub error: FileError,
}

/// Checks a configuration against the machine that runs it.
#[must_use]
pub fn check_environment(config: &Config, environment: &Environment) -> Vec<Finding> {
    let on_link = &environment.on_link;
    let resolvers = on_link_resolvers(config, &environment.own_addresses, on_link);
    let resolvers = resolvers.into_iter().map(|(index, message)| Finding {
        severity: Severity::Error,
        error: config.error(format!("dns.resolvers[{index}]"), message),
    });
    let left_out = config.left_out(on_link).into_iter().map(|message| Finding {
        severity: Severity::Warning,
        error: config.error("clients", message),
    });
    let told = environment.advertisements.iter().map(|message| Finding {
        severity: Severity::Warning,
        error: config.error("interfaces", message.clone()),
    });
    let flow_tables = environment.flow_tables.iter();
    let offloads = flow_tables.filter_map(|table| past_the_filter(config, table));
    // The answer comes forwarded, in the gateway's name, and of no flow that is known.
    let unanswered = if config.to_gateway == ToGateway::Pass {
        "; clients get no answer from a port of the gateway that it rewrites to another host, expected \
         to_gateway: policy, or the list of the other ports, and a service with that address and port"
    } else {
        ""
    };
    let rewrites = environment.destination_rewrites.iter().map(move |rule| Finding {
        severity: Severity::Warning,
        error: config.error(
            "",
            format!("destinations are judged before the gateway rewrites them{unanswered}: {rule}"),
        ),
    });
    let gate = (environment.lacks_nft && config.boot == Boot::Closed).then(|| Finding {
        severity: Severity::Error,
        error: config.error(
            "boot",
            "closed is kept by nft, which is not installed, expected the package nftables, or open",
        ),
    });
    let links = by_link_layer(config, environment);
    let vlans = other_vlans_of(config, &environment.other_vlans);
    let all = resolvers.chain(offloads).chain(gate).chain(links).chain(rewrites);
    all.chain(vlans).chain(listening(config, environment)).chain(left_out).chain(told).collect()
}

/// Reports each VLAN device of the gateway whose id is in no zone.
fn other_vlans_of(config: &Config, others: &[OtherVlan]) -> Vec<Finding> {
    let finding = |other: &OtherVlan| {
        let (severity, message) = match (config.filters(&other.device), config.other_vlans) {
            // An attack that remains open.
            (_, OtherVlans::Pass) => return None,
            (true, OtherVlans::Deny) => {
                (Severity::Error, other_vlans::refused(&other.interface, other.vlan))
            }
            (false, choice) => (Severity::Warning, choice.fate_of(other)),
        };
        Some(Finding { severity, error: config.error("other_vlans", message) })
    };
    others.iter().filter_map(finding).collect()
}

/// Reports a flow table that forwards a filtered interface's packets past the filter.
fn past_the_filter(config: &Config, table: &FlowTable) -> Option<Finding> {
    let FlowTable { interface, device, in_hardware } = table;
    let index = config.interfaces.iter().position(|one| one.name == *interface)?;
    let message = if *in_hardware {
        format!(
            "an nftables flow table offloads the packets of {device} to hardware, past the filter; \
             expected it without the flag offload, or without {device}"
        )
    } else {
        format!(
            "an nftables flow table takes the packets of {device} before they reach {interface} and \
             the filter; expected it without {device}"
        )
    };
    let error = config.error(format!("interfaces[{index}]"), message);
    Some(Finding { severity: Severity::Error, error })
}

/// Names what clients reach on the gateway by a list of ports; all ports are an attack that remains
/// open.
fn listening(config: &Config, environment: &Environment) -> Vec<Finding> {
    if config.to_gateway == ToGateway::Pass {
        return Vec::new();
    }
    let finding = |reached: &Reached| {
        let message = format!(
            "clients on {} reach what listens on the gateway, as far as its own firewall lets them: {}",
            reached.zone,
            reached.sockets.join(", ")
        );
        Finding { severity: Severity::Warning, error: config.error("to_gateway", message) }
    };
    environment.listening.iter().map(finding).collect()
}

/// Reports what interfaces of layer 3 and bonds cannot have, and interfaces whose packets cannot be judged.
fn by_link_layer(config: &Config, environment: &Environment) -> Vec<Finding> {
    let names = environment.without_macs.iter();
    let layer3 = names.flat_map(|name| refused_at_layer3(config, name));
    let unjudged = environment.unjudged.iter().filter_map(|(name, why)| {
        let index = config.interfaces.iter().position(|one| one.name == *name)?;
        Some(config.error(format!("interfaces[{index}]"), format!("{name} {why}")))
    });
    let bonds = environment.bonds.iter().filter_map(|name| refused_on_bond(config, name));
    let all = layer3.chain(bonds).chain(unjudged);
    all.map(|error| Finding { severity: Severity::Error, error }).collect()
}
