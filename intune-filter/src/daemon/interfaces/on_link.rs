//! Finds the prefixes that are on-link behind the zones, by the addresses of their devices and the routes by
//! these, and tells when they change.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use ipnet::IpNet;

use super::devices::device_of;
use crate::{
    config::{Config, OnLink, on_link_resolvers},
    system::netlink::Snapshot,
};

/// Time between two reports: a prefix that comes and goes fills no log.
const PACE: Duration = Duration::from_secs(2);

/// Returns the on-link prefixes of each zone whose device exists; without link-local ones, and those of
/// a single address, which is the gateway's.
pub(crate) fn on_link(config: &Config, snapshot: &Snapshot) -> Vec<OnLink> {
    let mut all = Vec::new();
    for zone in config.zones() {
        let Some(interface) = snapshot.interface(&zone.interface) else { continue };
        let Some(device) = device_of(snapshot, interface.index, zone.vlan) else { continue };
        let of_device = snapshot.networks.iter().filter(|(index, _)| *index == device);
        let networks = of_device.map(|(_, network)| network.trunc()).filter(is_of_clients);
        let here = networks.map(|network| OnLink {
            interface: zone.interface.clone(),
            vlan: zone.vlan,
            network,
        });
        all.extend(here);
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns the indices of the zones' devices, each once.
pub(crate) fn zone_devices(config: &Config, snapshot: &Snapshot) -> Vec<u32> {
    let zones = config.zones().into_iter();
    let devices = zones.filter_map(|zone| {
        device_of(snapshot, snapshot.interface(&zone.interface)?.index, zone.vlan)
    });
    devices.collect::<BTreeSet<_>>().into_iter().collect()
}

fn is_of_clients(network: &IpNet) -> bool {
    let is_of_link = match network {
        IpNet::V4(v4) => v4.network().is_link_local(),
        IpNet::V6(v6) => v6.network().is_unicast_link_local(),
    };
    !is_of_link && network.prefix_len() < network.max_prefix_len()
}

/// Line for the log about what is on-link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A change that the configuration covers.
    Info(String),
    /// A change that leaves something out.
    Warning(String),
}

/// On-link prefixes as they were last told of.
#[derive(Debug, Default)]
pub(crate) struct OnLinkWatch {
    links: BTreeMap<OnLink, Vec<String>>,
    resolvers: Vec<String>,
    last: Option<Instant>,
}

impl OnLinkWatch {
    /// Compares what is on-link with what was told of, and returns what there is to tell.
    pub(crate) fn observe(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        now: Instant,
    ) -> Vec<Told> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PACE) {
            return Vec::new();
        }
        let found = on_link(config, snapshot);
        let mut told = Vec::new();
        let resolvers: Vec<String> = on_link_resolvers(config, &snapshot.addresses, &found)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        let new = resolvers.iter().filter(|text| !self.resolvers.contains(text));
        told.extend(new.cloned().map(Told::Warning));
        let of = |link: &OnLink| -> Vec<String> {
            config.groups_on_link(link).into_iter().map(str::to_owned).collect()
        };
        let links: BTreeMap<OnLink, Vec<String>> =
            found.into_iter().map(|link| (link.clone(), of(&link))).collect();
        for (link, groups) in &links {
            if self.links.get(link) == Some(groups) {
                continue;
            }
            told.push(if groups.is_empty() {
                Told::Warning(config.in_no_group(link))
            } else {
                Told::Info(format!("{link}, in {}", groups.join(", ")))
            });
        }
        let gone = self.links.keys().filter(|link| !links.contains_key(link));
        told.extend(gone.map(|link| {
            let (network, zone) = (link.network, link.zone());
            Told::Info(format!("{network} is no longer on-link behind {zone}"))
        }));
        if !told.is_empty() {
            self.last = Some(now);
        }
        (self.links, self.resolvers) = (links, resolvers);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Interface;

    fn snapshot(networks: &[(u32, &str)]) -> Snapshot {
        let named = [("lan", 2), ("lan.20", 3), ("eth2", 4), ("br0", 5)];
        let networks = networks.iter().map(|(index, net)| (*index, net.parse().unwrap()));
        let networks: Vec<(u32, IpNet)> = networks.collect();
        Snapshot {
            interfaces: named.map(|(name, index)| Interface::bare(name, index)).to_vec(),
            addresses: networks.iter().map(|(_, network)| network.addr()).collect(),
            networks,
            vlan_devices: [(3, (2, 20))].into(),
            wholes: [(4, 5)].into(),
            ..Snapshot::default()
        }
    }

    fn config(clients: &str) -> Config {
        let text = format!(
            "interfaces: [{{name: lan, vlans: [0, 20]}}, {{name: eth2}}, {{name: gone}}]\n\
             clients: {clients}\ndns: {{resolvers: [10.20.0.53, 192.0.2.53]}}\n"
        );
        Config::parse("config.yaml", &text).unwrap()
    }

    #[test]
    fn a_zones_prefixes_are_those_of_its_device() {
        let found = on_link(
            &config("[{name: a, networks: on-link}]"),
            &snapshot(&[
                (2, "10.20.0.1/24"),
                (2, "10.20.0.2/24"),
                (2, "2001:db8:1::1/64"),
                (2, "fe80::1/64"),
                (2, "169.254.0.1/16"),
                (2, "10.99.0.1/32"),
                (2, "2001:db8:9::1/128"),
                (3, "10.21.0.1/24"),
                (4, "10.22.0.1/24"),
                (5, "10.23.0.1/24"),
                (9, "10.24.0.1/24"),
            ]),
        );
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "10.23.0.0/24 is on-link behind eth2",
            "10.20.0.0/24 is on-link behind lan",
            "2001:db8:1::/64 is on-link behind lan",
            "10.21.0.0/24 is on-link behind lan.20",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn changes_are_told_of_once_and_at_a_pace() {
        let config = config(
            "[{name: a, on: lan.0, networks: on-link},\n  \
             {name: b, on: lan.20, networks: [10.0.0.0/8, 172.16.0.0/12]}]",
        );
        let (mut watch, start) = (OnLinkWatch::default(), Instant::now());
        let first = snapshot(&[(2, "2001:db8:1::1/64"), (3, "10.21.0.1/24"), (3, "172.16.0.1/16")]);
        let told = watch.observe(&config, &first, start);
        let info = |text: &str| Told::Info(text.to_owned());
        let expected = [
            info("2001:db8:1::/64 is on-link behind lan, in a"),
            info("10.21.0.0/24 is on-link behind lan.20, in b"),
            info("172.16.0.0/16 is on-link behind lan.20, in b"),
        ];
        assert_eq!(told, expected);
        assert_eq!(watch.observe(&config, &first, start + PACE), []);
        let second = snapshot(&[(2, "10.20.0.1/24"), (3, "2001:db8:3::1/64")]);
        assert_eq!(watch.observe(&config, &second, start + PACE / 2), []);
        let told = watch.observe(&config, &second, start + PACE);
        let [resolver, in_a, in_none, gone @ ..] = &told[..] else { panic!("{told:?}") };
        assert!(matches!(resolver, Told::Warning(text) if text.contains("10.20.0.53 is on-link")));
        assert_eq!(*in_a, info("10.20.0.0/24 is on-link behind lan, in a"));
        assert!(
            matches!(in_none, Told::Warning(text) if text.contains("2001:db8:3::/64 is on-link behind lan.20, and in no group"))
        );
        assert_eq!(gone.len(), 3, "{gone:?}");
        assert_eq!(gone[0], info("2001:db8:1::/64 is no longer on-link behind lan"));
        assert_eq!(watch.observe(&config, &second, start + PACE * 3), []);
    }
}
