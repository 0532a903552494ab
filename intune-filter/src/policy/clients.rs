//! Compiles client groups into the elements of the tries that say which group a source belongs to.

use std::net::{Ipv4Addr, Ipv6Addr};

use intune_filter_ebpf::abi::{
    Client, ClientKey, MODE_AUDIT, MODE_ENFORCE, MODE_EXEMPT, RuleMask, V4, V6, client_flags,
    inbound_zone,
};
use intune_filter_ebpf::verdict::NO_GROUP;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{ClientPrefix, Prefix};
use crate::config::{ClientGroup, Config, GroupMode, Inbound, OnDeny};

/// Returns the elements of `CLIENTS4` and `CLIENTS6`.
pub(super) fn clients(
    config: &Config,
    masks: &[RuleMask],
    inbound: &[RuleMask],
) -> (Vec<ClientPrefix<V4>>, Vec<ClientPrefix<V6>>) {
    let (mut clients4, mut clients6) = links(config, masks);
    for (((number, group), mask), inbound) in (0..).zip(&config.clients).zip(masks).zip(inbound) {
        let zones = config.zones_of(group);
        let zones = zones.iter().filter_map(|zone| u16::try_from(zone.number).ok());
        let outward = zones.map(|zone| (zone, *mask));
        let inward = outward.clone().map(|(zone, _)| (inbound_zone(zone), *inbound));
        let inward = inward.filter(|_| !group.inbound.rules().is_empty());
        for (zone, rules) in outward.chain(inward) {
            let (zone, value) = (u32::from(zone), client(number, group, rules));
            if group.is_on_link() {
                // Behind every prefix: the kernel asks the routes whether it is on-link.
                let value = Client { flags: value.flags | client_flags::ON_LINK, ..value };
                let (length, v4, v6) = (u32::BITS, V4::default(), V6::default());
                clients4.push(Prefix { length, key: ClientKey { zone, address: v4 }, value });
                clients6.push(Prefix { length, key: ClientKey { zone, address: v6 }, value });
            }
            // Link-local prefixes belong to no group: see `links`.
            let prefixes = group.prefixes().map(|(_, prefix)| prefix);
            for network in prefixes.filter(|prefix| !is_of_link(prefix)) {
                let length = u32::BITS + u32::from(network.prefix_len());
                match network {
                    IpNet::V4(v4) => {
                        let key = ClientKey { zone, address: v4.addr().into() };
                        clients4.push(Prefix { length, key, value });
                    }
                    IpNet::V6(v6) => {
                        let key = ClientKey { zone, address: v6.addr().into() };
                        clients6.push(Prefix { length, key, value });
                    }
                }
            }
        }
    }
    (clients4, clients6)
}

/// What a zone's link-local sources may ask for: what some group of the zone may.
fn links(config: &Config, masks: &[RuleMask]) -> (Vec<ClientPrefix<V4>>, Vec<ClientPrefix<V6>>) {
    let zones = config.zones();
    let value = |zone: u32| {
        let groups = config.clients.iter().zip(masks);
        let of_zone = groups.filter(|(group, _)| {
            config.zones_of(group).iter().any(|its_zone| its_zone.number == zone)
        });
        let rules = of_zone.fold(RuleMask::EMPTY, |rules, (_, mask)| rules | *mask);
        Client { rules, group: u32::from(NO_GROUP), devices: 1, ..Client::default() }
    };
    let links4 = zones.iter().map(|zone| Prefix {
        length: u32::BITS + u32::from(LINK4.prefix_len()),
        key: ClientKey { zone: zone.number, address: LINK4.addr().into() },
        value: value(zone.number),
    });
    let links6 = zones.iter().map(|zone| Prefix {
        length: u32::BITS + u32::from(LINK6.prefix_len()),
        key: ClientKey { zone: zone.number, address: LINK6.addr().into() },
        value: value(zone.number),
    });
    (links4.collect(), links6.collect())
}

/// Link-local prefix of IPv4 (RFC 3927).
const LINK4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
/// Link-local prefix of IPv6 (RFC 4291).
const LINK6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);

/// Whether a prefix is link-local: its addresses belong to no group.
pub(super) fn is_of_link(network: &IpNet) -> bool {
    IpNet::V4(LINK4).contains(network) || IpNet::V6(LINK6).contains(network)
}

fn client(number: u32, group: &ClientGroup, rules: RuleMask) -> Client {
    let mode = match group.mode {
        GroupMode::Enforce => MODE_ENFORCE,
        GroupMode::Audit => MODE_AUDIT,
        GroupMode::Exempt => MODE_EXEMPT,
    };
    let reject = if group.on_deny == OnDeny::Reject { client_flags::REJECT } else { 0 };
    let inbound = match &group.inbound {
        Inbound::Deny => 0,
        Inbound::Allow => client_flags::INBOUND,
        Inbound::Rules(_) => client_flags::INBOUND_RULES,
    };
    let macs = if group.macs.is_empty() { 0 } else { client_flags::MACS };
    let flags = reject | inbound | macs;
    // A larger number was refused by the configuration's check.
    let devices = u16::try_from(group.devices_per_address).unwrap_or(u16::MAX);
    Client { rules, group: number, mode, flags, devices }
}
