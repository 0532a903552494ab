//! Compares what is on-link behind the filtered interfaces with the configuration: prefixes in no group,
//! and resolvers among the clients.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::{ClientGroup, Config, UnlistedClients, Zone};
use crate::report::OnLinkPrefix;

/// Prefix that is on-link behind an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnLink {
    /// Name of the interface.
    pub interface: String,
    /// VLAN id, 0 for untagged frames.
    pub vlan: u16,
    /// On-link prefix.
    pub network: IpNet,
}

impl OnLink {
    /// Returns the name of the zone.
    #[must_use]
    pub fn zone(&self) -> String {
        match self.vlan {
            0 => self.interface.clone(),
            vlan => format!("{}.{vlan}", self.interface),
        }
    }

    fn is_behind(&self, zone: &Zone) -> bool {
        zone.interface == self.interface && zone.vlan == self.vlan
    }
}

impl fmt::Display for OnLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is on-link behind {}", self.network, self.zone())
    }
}

impl Config {
    /// Returns the groups that may have clients in an on-link prefix.
    fn sharing<'c>(&'c self, link: &'c OnLink) -> impl Iterator<Item = &'c ClientGroup> {
        let groups = self.clients.iter();
        groups.filter(|group| self.zones_of(group).iter().any(|zone| link.is_behind(zone)))
    }

    /// Returns the names of the groups that have addresses of an on-link prefix: by `on-link`, or by
    /// prefixes around it or in it.
    #[must_use]
    pub fn groups_on_link<'c>(&'c self, link: &'c OnLink) -> Vec<&'c str> {
        let contains = |prefix: &IpNet| prefix.contains(&link.network);
        let whole = self.sharing(link).any(|group| group.prefixes().any(|(_, net)| contains(&net)));
        let has = |group: &&ClientGroup| {
            let mut prefixes = group.prefixes().map(|(_, prefix)| prefix);
            // What a prefix has is not on-link's.
            group.is_on_link() && !whole
                || prefixes.any(|prefix| contains(&prefix) || link.network.contains(&prefix))
        };
        self.sharing(link).filter(has).map(|group| group.name.as_str()).collect()
    }

    /// Returns on-link prefixes with their groups, for people and programs.
    #[must_use]
    pub fn told(&self, links: &[OnLink]) -> Vec<OnLinkPrefix> {
        let told = |link: &OnLink| OnLinkPrefix {
            zone: link.zone(),
            network: link.network.to_string(),
            groups: self.groups_on_link(link).into_iter().map(str::to_owned).collect(),
        };
        links.iter().map(told).collect()
    }

    /// Returns the zones of groups with `on-link` whose prefixes are not known, since their interface
    /// is not there.
    #[must_use]
    pub fn unknown_on_link(&self, is_there: impl Fn(&Zone) -> bool) -> Vec<String> {
        let groups = self.clients.iter().filter(|group| group.is_on_link());
        let zones = groups.flat_map(|group| self.zones_of(group));
        zones.filter(|zone| !is_there(zone)).map(|zone| zone.to_string()).collect()
    }

    /// Says what becomes of the clients of a prefix that is in no group.
    #[must_use]
    pub fn in_no_group(&self, link: &OnLink) -> String {
        let fate = match self.unlisted_clients {
            UnlistedClients::Deny => "its clients are denied",
            UnlistedClients::Allow => "its clients pass unjudged",
        };
        format!("{link}, and in no group: {fate}; expected it, or on-link, in networks of a group")
    }

    /// Says which on-link prefixes no group has, and which a group with `on-link` does not get.
    #[must_use]
    pub fn left_out(&self, links: &[OnLink]) -> Vec<String> {
        let mut texts = Vec::new();
        for link in links.iter().filter(|link| self.zones().iter().any(|zone| link.is_behind(zone)))
        {
            if self.groups_on_link(link).is_empty() {
                texts.push(self.in_no_group(link));
            }
            let Some(group) = self.sharing(link).find(|group| group.is_on_link()) else { continue };
            let others = self.sharing(link).filter(|other| other.name != group.name);
            let wider = others.flat_map(|other| other.prefixes().map(move |(_, net)| (other, net)));
            if let Some((other, net)) =
                wider.into_iter().find(|(_, net)| net.contains(&link.network))
            {
                texts.push(format!(
                    "{link}, and {net} of group {:?} has it: on-link of group {:?} comes behind every \
                     prefix",
                    other.name, group.name
                ));
            }
        }
        texts
    }
}

/// Finds the resolvers that are neighbours of the clients, by their places in the list: their answers
/// never cross the gateway, so that nothing would be learned from them. One whose `via` names another
/// interface than the clients' is behind that: another port of their bridge, or a link whose hosts the
/// gateway answers ARP for.
#[must_use]
pub fn on_link_resolvers(
    config: &Config,
    own: &[IpAddr],
    links: &[OnLink],
) -> Vec<(usize, String)> {
    let zones = config.zones();
    let among = |address: IpAddr| {
        let judged = |link: &&OnLink| zones.iter().any(|zone| link.is_behind(zone));
        links.iter().filter(judged).find(|link| link.network.contains(&address))
    };
    config
        .dns
        .resolvers
        .iter()
        .enumerate()
        .filter(|(_, resolver)| !own.contains(&resolver.address))
        .filter_map(|(index, resolver)| {
            let address = resolver.address;
            let link = among(address)?;
            if !resolver.via.is_empty() && !resolver.via.contains(&link.interface) {
                return None;
            }
            let text = format!(
                "{address} is on-link ({}) behind {}: its answers never cross the gateway; expected \
                 the gateway itself, a resolver beyond it, or one behind another interface of the \
                 gateway, which `via` names",
                link.network, link.interface
            );
            Some((index, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(clients: &str) -> Config {
        let text = format!(
            "interfaces: [{{name: lan}}, {{name: guests}}]\nclients: {clients}\n\
             dns: {{resolvers: [192.0.2.53]}}\n"
        );
        Config::parse("config.yaml", &text).unwrap()
    }

    fn link(interface: &str, network: &str) -> OnLink {
        OnLink { interface: interface.into(), vlan: 0, network: network.parse().unwrap() }
    }

    #[test]
    fn a_prefix_is_in_the_groups_that_share_addresses_with_it() {
        let config = config(
            "[{name: a, on: lan, networks: [on-link]}, {name: b, on: lan, networks: [10.9.0.0/16]},\n  \
             {name: c, on: guests, networks: [10.1.0.0/24]}]",
        );
        for (interface, network, groups) in [
            ("lan", "2001:db8::/64", &["a"][..]),
            ("lan", "10.9.1.0/24", &["b"]),
            ("lan", "10.0.0.0/8", &["a", "b"]),
            ("guests", "10.1.0.0/16", &["c"]),
            ("guests", "10.1.0.0/25", &["c"]),
            ("guests", "2001:db8::/64", &[]),
            ("wan", "2001:db8::/64", &[]),
        ] {
            let link = link(interface, network);
            assert_eq!(config.groups_on_link(&link), groups, "{link}");
        }
    }

    #[test]
    fn what_is_left_out_is_said_with_the_remedy() {
        let config = config(
            "[{name: a, on: lan, networks: on-link}, {name: b, on: lan, networks: [10.0.0.0/8]}]",
        );
        let links = [
            link("guests", "2001:db8:2::/64"),
            link("lan", "10.20.0.0/24"),
            link("lan", "2001:db8:1::/64"),
            link("wan", "2001:db8:3::/64"),
        ];
        let said = config.left_out(&links);
        let [none, behind] = &said[..] else { panic!("{said:?}") };
        let expected = "2001:db8:2::/64 is on-link behind guests, and in no group: its clients are \
                        denied; expected it, or on-link, in networks of a group";
        assert_eq!(none, expected);
        assert!(
            behind.starts_with("10.20.0.0/24 is on-link behind lan, and 10.0.0.0/8 of group \"b\"")
        );
    }
}
