//! Gathers the facts of this machine against which a configuration is checked.

use std::net::IpAddr;

use anyhow::Result;

use super::{advertisements, changed_links, deaf_peers, flow_tables::past_the_filter, listening};
use crate::{
    boot_guard,
    config::{self, Boot, Config, Environment, Mode, OnLink, Zone},
    daemon::interfaces::{devices::device_of, on_link, other_vlans, zone_devices},
    kernel::{self, PinDirectory, keep_names},
    system::{
        LinkLayer,
        netlink::{self, Snapshot},
        nft, route,
    },
};

/// Facts of the machine, with notes.
pub(super) struct Facts {
    /// Facts for [`crate::config::check_environment`].
    pub environment: Environment,
    /// Number of possible CPUs, for which per-CPU maps have elements.
    pub cpus: u32,
    /// Notes for the user beyond the facts.
    pub notes: Vec<String>,
}

/// Returns the on-link prefixes of the zones: those of their addresses, and of routes without a router.
pub(super) fn on_link_now(config: &Config, snapshot: &Snapshot) -> Vec<OnLink> {
    let mut all = snapshot.clone();
    match route::on_link_networks(&zone_devices(config, snapshot)) {
        Ok(networks) => all.networks.extend(networks),
        Err(error) => log::warn!("what is on-link by routes is not known: {error:#}"),
    }
    on_link(config, &all)
}

/// Gathers the facts. A fact that cannot be read becomes a note.
pub(super) fn gather(config: &Config) -> Result<Facts> {
    let mut snapshot = netlink::snapshot()?;
    let directory = PinDirectory::new(&config.paths.pin_dir);
    if let Err(error) = keep_names(&directory, &config.interface_names(), &mut snapshot) {
        log::debug!("{error:#}");
    }
    let mut notes = changed_links::notes(config, &snapshot);
    if config.boot == Boot::Closed {
        notes.extend(boot_guard::held(&snapshot));
    }
    if let Err(error) = kernel::check_kernel() {
        notes.push(error.to_string());
    }
    for interface in &config.interfaces {
        if snapshot.interface(&interface.name).is_none() {
            notes.push(format!(
                "interface {} does not exist now; it is attached when it appears",
                interface.name
            ));
        }
    }
    let is_there = |zone: &Zone| {
        let interface = snapshot.interface(&zone.interface);
        interface.is_some_and(|one| device_of(&snapshot, one.index, zone.vlan).is_some())
    };
    let unknown = config.unknown_on_link(is_there);
    if !unknown.is_empty() {
        let zones = unknown.join(", ");
        notes.push(format!("what is on-link behind {zones} is not known before its device exists"));
    }
    let (mut destination_rewrites, mut flow_tables) = (Vec::new(), Vec::new());
    let mut lacks_nft = false;
    match nft::ask(&["list", "ruleset"]) {
        Ok(ruleset) => destination_rewrites = rewrites(&ruleset),
        Err(why) => {
            lacks_nft = matches!(why, nft::Error::NotInstalled);
            notes.push(format!("DNAT and proxy rules were not looked for: {why}"));
        }
    }
    match nft::ask(&["list", "flowtables"]) {
        Ok(tables) => flow_tables = past_the_filter(&tables, &snapshot),
        Err(why) => notes.push(format!("flow tables were not looked for: {why}")),
    }
    let addresses: Vec<IpAddr> =
        config.dns.resolvers.iter().map(|resolver| resolver.address).collect();
    let towards = route::interfaces_towards(&addresses)?;
    let resolver_interfaces = addresses
        .into_iter()
        .zip(towards)
        .filter_map(|(address, index)| Some((address, snapshot.by_index(index?)?.name.clone())))
        .collect();
    notes.extend(deaf_peers::notes(config, &snapshot));
    notes.extend(at_tc(config, &snapshot));
    let of = |link: LinkLayer| {
        let interfaces = snapshot.interfaces.iter().filter(move |one| one.link == link);
        interfaces.map(|interface| interface.name.clone()).collect()
    };
    let unjudged = snapshot.interfaces.iter().filter_map(|one| match &one.link {
        LinkLayer::Unjudged(why) => Some((one.name.clone(), why.to_string())),
        LinkLayer::Ethernet | LinkLayer::Bond | LinkLayer::Layer3 => None,
    });
    let environment = Environment {
        other_vlans: other_vlans(config, &snapshot),
        listening: listening::of_zones(config, &snapshot),
        without_macs: of(LinkLayer::Layer3),
        bonds: of(LinkLayer::Bond),
        unjudged: unjudged.collect(),
        on_link: on_link_now(config, &snapshot),
        advertisements: advertisements::taken(config, &snapshot),
        own_addresses: snapshot.addresses,
        resolver_interfaces,
        destination_rewrites,
        flow_tables,
        lacks_nft,
    };
    let cpus = aya::util::nr_cpus().map_err(|(path, error)| {
        anyhow::Error::new(error).context(format!("cannot read {path}"))
    })?;
    Ok(Facts { environment, cpus: u32::try_from(cpus).unwrap_or(u32::MAX), notes })
}

/// Returns a line for each interface that is judged at TC for want of an Ethernet header.
fn at_tc(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    let chosen = config.interfaces.iter().filter(|wanted| {
        let interface = snapshot.interface(&wanted.name);
        let is_layer3 = interface.is_some_and(|one| one.link == LinkLayer::Layer3);
        is_layer3 && wanted.mode == Mode::Auto
    });
    let note = |wanted: &config::Interface| {
        format!("{} is judged at TC: its packets have no Ethernet header (layer 3)", wanted.name)
    };
    chosen.map(note).collect()
}

/// Returns the rules that rewrite destinations, from a ruleset's text.
fn rewrites(ruleset: &str) -> Vec<String> {
    let rewrites = |word: &str| {
        matches!(word, "dnat" | "redirect" | "tproxy" | "\"DNAT\"" | "\"REDIRECT\"" | "\"TPROXY\"")
    };
    ruleset
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("type ") && line.split_whitespace().any(rewrites))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_rewrite_destinations_are_found() {
        let ruleset = r#"
table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "eth0" tcp dport 443 dnat to 10.0.0.7
		tcp dport 80 redirect to :8080
		counter packets 0 bytes 0 xt target "DNAT"
		oifname "eth0" masquerade
		tcp dport 22 accept comment "no redirecting here"
	}
}"#;
        let found = rewrites(ruleset);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].ends_with("dnat to 10.0.0.7"));
    }
}
