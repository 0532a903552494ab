//! The policy that every filter enforces: the built-in catalogue, all of it, and addresses that its
//! names have led to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use intune_filter::policy::{Loaded, Policy, RuleBits, load_text};
use intune_filter_ebpf::abi::{RuleMask, TransportProtocol};
use ipnet::IpNet;

use crate::programs::tables::spread;

/// Learned addresses of each family.
const LEARNED: u32 = 1_000;
/// Networks of IPv6.
const OWN: u32 = 50;

/// The site.
pub struct Site {
    /// Compiled policy.
    pub policy: Policy,
    /// Learned addresses, each with the bit of the rule that its name belongs to.
    pub learned: Vec<(IpAddr, u8)>,
}

impl Site {
    /// Reads it from the built-in catalogue.
    pub fn new() -> Result<Self> {
        let loaded = load_text("bench.yaml", &config("native"), |_| {}, &RuleBits::new());
        let Loaded { policy, .. } = loaded.map_err(anyhow::Error::new)?;
        let named: Vec<u8> = policy
            .rules
            .iter()
            .filter(|(_, rule)| !rule.fqdns.is_empty())
            .map(|(bit, _)| *bit)
            .collect();
        ensure!(!named.is_empty(), "no rule has names");
        let mut learned = Vec::new();
        for index in 0..LEARNED {
            let bit = named[index as usize % named.len()];
            learned.push((somewhere4(45, index), bit));
            learned.push((somewhere6(0x2a02, index), bit));
        }
        let site = Self { policy, learned };
        for (address, _) in &site.learned {
            ensure!(
                site.networks_of(*address).is_empty(),
                "{address} is in a network of the policy"
            );
        }
        Ok(site)
    }

    /// The rules that have an address in one of their networks.
    pub fn networks_of(&self, address: IpAddr) -> RuleMask {
        let rules = self.policy.rules.iter();
        let holding = rules.filter(|(_, rule)| rule.cidrs.iter().any(|net| net.contains(&address)));
        holding.map(|(bit, _)| *bit).collect()
    }

    /// Networks of a family, each with its rule's bit.
    pub fn networks(&self, v6: bool) -> Vec<(IpNet, u8)> {
        let rules = self.policy.rules.iter();
        let networks = rules.flat_map(|(bit, rule)| rule.cidrs.iter().map(|net| (*net, *bit)));
        networks.filter(|(net, _)| net.addr().is_ipv6() == v6).collect()
    }

    /// A destination's TCP port of a rule that has one.
    pub fn tcp_port(&self, bit: u8) -> Result<Option<u16>> {
        let rule = self.policy.rules.get(&bit).context("a rule has this bit")?;
        Ok(rule.ports[TransportProtocol::Tcp].first().map(|range| range.first()))
    }
}

/// The configuration. Its clients do the work of many, and have no limits. The catalogue knows no
/// network of IPv6.
pub fn config(mode: &str) -> String {
    let own = (0..OWN).map(|index| format!("'2a01:{index:x}::/32'")).collect::<Vec<_>>().join(", ");
    format!(
        "interfaces: [{{name: eth1, mode: {mode}}}]\n\
         region: all\n\
         clients: [{{name: lan, networks: [10.20.0.0/25, 'fd00:20::/121'], services: [all, own], \
         on_deny: drop}}]\n\
         dns: {{resolvers: [192.0.2.53], resolve: false}}\n\
         icmp_echo: false\n\
         limits: {{queries: off, flows: off}}\n\
         services: [{{id: own, title: Own, cidrs: [{own}], tcp: [443], udp: [443]}}]\n"
    )
}

/// The networks of [`config`]'s clients.
pub const CLIENTS: [&str; 2] = ["10.20.0.0/25", "fd00:20::/121"];

/// An address that begins so, spread over what begins so.
pub fn somewhere4(first: u8, index: u32) -> IpAddr {
    let [_, high, middle, low] = spread(index).to_be_bytes();
    Ipv4Addr::new(first, high, middle, low).into()
}

/// The counterpart for IPv6.
pub fn somewhere6(first: u16, index: u32) -> IpAddr {
    let spread = spread(index);
    Ipv6Addr::new(first, (spread >> 16) as u16, spread as u16, 0, 0, 0, 0, 1).into()
}
