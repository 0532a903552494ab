//! The policy as filters take it that know sets: ports that open the same rules are one class, with
//! all networks and learned addresses of these rules.

use std::{collections::BTreeMap, net::IpAddr};

use intune_filter::ports::PortRange;
use intune_filter_ebpf::abi::{RuleMask, TransportProtocol};
use ipnet::IpNet;

use super::site::Site;

/// Ports, and what they may be reached at.
#[derive(Clone, Debug, Default)]
pub struct Class {
    /// TCP ports.
    pub tcp: Vec<PortRange>,
    /// UDP ports.
    pub udp: Vec<PortRange>,
    /// Networks of IPv4 and of IPv6, none inside another.
    pub networks: [Vec<IpNet>; 2],
    /// Learned addresses of IPv4 and of IPv6.
    pub learned: [Vec<IpAddr>; 2],
}

/// The classes of a site's policy.
pub fn of(site: &Site) -> Vec<Class> {
    let mut classes: BTreeMap<RuleMask, Class> = BTreeMap::new();
    for protocol in [TransportProtocol::Tcp, TransportProtocol::Udp] {
        for (rules, range) in ranges(site, protocol) {
            let class = classes.entry(rules).or_insert_with(|| destinations(site, rules));
            let udp = protocol == TransportProtocol::Udp;
            if udp { &mut class.udp } else { &mut class.tcp }.push(range);
        }
    }
    classes.into_values().collect()
}

/// Ports in a row that open the same rules.
fn ranges(site: &Site, protocol: TransportProtocol) -> Vec<(RuleMask, PortRange)> {
    let rules = |port| site.policy.rules_of_port(protocol, port);
    let mut ranges: Vec<(RuleMask, PortRange)> = Vec::new();
    for port in (1..=u16::MAX).filter(|port| !rules(*port).is_empty()) {
        let first = match ranges.last() {
            Some((last, range)) if *last == rules(port) && range.last() + 1 == port => {
                let first = range.first();
                ranges.pop();
                first
            }
            _ => port,
        };
        ranges.extend(PortRange::new(first, port).ok().map(|range| (rules(port), range)));
    }
    ranges
}

fn destinations(site: &Site, rules: RuleMask) -> Class {
    let family = |v6: bool| {
        let networks = site.networks(v6).into_iter().filter(|(_, bit)| rules.contains(*bit));
        IpNet::aggregate(&networks.map(|(net, _)| net).collect())
    };
    let learned = |v6: bool| {
        let learned = site
            .learned
            .iter()
            .filter(|(address, bit)| rules.contains(*bit) && address.is_ipv6() == v6);
        learned.map(|(address, _)| *address).collect()
    };
    Class {
        networks: [family(false), family(true)],
        learned: [learned(false), learned(true)],
        ..Class::default()
    }
}
