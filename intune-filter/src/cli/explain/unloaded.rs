//! Judging by the policy alone, where nothing is loaded.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use intune_filter_ebpf::abi::{
    Client, Explanation, MODE_AUDIT, MODE_EXEMPT, Matched, Reason, SERVER_RESOLVER, V6,
};

use super::{
    Judge,
    destination::{Host, Protocol},
    judgement::Judgement,
    pinned::would_be,
};
use crate::{
    catalogue::Catalogue,
    cli::failure::Failure,
    config::Config,
    policy::{Policy, RuleBits, compile},
};

/// What stands for a configuration where there is none: everyone may use the whole catalogue.
const EVERYTHING: &str = "
interfaces: [{name: any}]
clients: [{name: everyone, networks: [0.0.0.0/0, '::/0'], services: [all]}]
dns: {resolvers: ['192.0.2.53']}
";

/// A compiled policy, and where the client is in it.
pub struct Unloaded {
    policy: Policy,
    client: Option<Client>,
    rules: Vec<Option<String>>,
    groups: Vec<Option<String>>,
}

impl Unloaded {
    /// Compiles the configuration, or without one the whole catalogue.
    pub fn new(
        config: Option<&Config>,
        catalogue: &Catalogue,
        client: IpAddr,
        on: Option<&str>,
    ) -> Result<Self, Failure> {
        let everything;
        let config = match config {
            Some(config) => config,
            None => {
                everything = Config::parse("the built-in configuration", EVERYTHING)?;
                &everything
            }
        };
        let policy = compile(config, catalogue, &RuleBits::new())?;
        let behind = |interface: &str, vlan: u16| {
            on.is_none_or(|on| on == interface || on == format!("{interface}.{vlan}"))
        };
        let mut zones = policy.zones.iter().filter(|zone| behind(&zone.interface, zone.vlan));
        let first = zones.clone().next();
        if let (Some(on), None) = (on, first) {
            return Err(anyhow::anyhow!("the configuration has no zone on {on}").into());
        }
        let client = zones.find_map(|zone| policy.client(zone.number, client));
        Ok(Self {
            client,
            rules: (0..64).map(|bit| Some(policy.rule(bit)?.id.to_string())).collect(),
            groups: policy.groups.iter().map(|group| Some(group.name.clone())).collect(),
            policy,
        })
    }

    /// The AND of client, destination and port, as the kernel's programs take it.
    fn explain(&self, address: IpAddr, port: u16, protocol: Protocol) -> Explanation {
        let nothing =
            |reason| Explanation { reason, rule: None, matched: Matched::Nothing, group: None };
        let Some(client) = self.client else {
            return nothing(if self.policy.settings.allow_unlisted_clients != 0 {
                Reason::UnlistedAllowed
            } else {
                Reason::UnlistedClient
            });
        };
        let group = u8::try_from(client.group).ok();
        if client.mode == MODE_EXEMPT {
            return Explanation { matched: Matched::Control, group, ..nothing(Reason::Exempt) };
        }
        let destination = self.policy.rules_of_address(address);
        let granted = destination & client.rules;
        let ports = self.ports(port, protocol);
        let allowed = granted & ports;
        let asks_resolver = port == 53 && protocol != Protocol::Icmp;
        let server = self.policy.servers.get(&V6::from(address)).copied().unwrap_or_default();
        let (reason, nearest, matched) = if asks_resolver && server & SERVER_RESOLVER != 0 {
            (Reason::DnsQuery, 0, Matched::Control)
        } else if asks_resolver {
            (Reason::Resolver, 0, Matched::Nothing)
        } else if allowed != 0 {
            (Reason::Policy, allowed, Matched::Cidr)
        } else if protocol == Protocol::Icmp && self.policy.settings.icmp_echo == 0 {
            (Reason::Icmp, 0, Matched::Nothing)
        } else if granted != 0 {
            (Reason::Port, granted, Matched::Nothing)
        } else if destination != 0 {
            (Reason::Service, destination, Matched::Nothing)
        } else {
            (Reason::Destination, 0, Matched::Nothing)
        };
        let audited = reason.denies() && client.mode == MODE_AUDIT;
        Explanation {
            reason: if audited { Reason::Audit } else { reason },
            rule: (nearest != 0).then(|| nearest.trailing_zeros() as u8),
            matched,
            group,
        }
    }

    fn ports(&self, port: u16, protocol: Protocol) -> u64 {
        match protocol {
            Protocol::Tcp => self.policy.rules_of_port(false, port),
            Protocol::Udp => self.policy.rules_of_port(true, port),
            Protocol::Icmp if self.policy.settings.icmp_echo != 0 => u64::MAX,
            Protocol::Icmp => 0,
        }
    }
}

impl Judge for Unloaded {
    /// Nothing is learned where nothing is loaded.
    fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>> {
        Ok(match host {
            Host::Address(address) => vec![*address],
            Host::Name(_) => Vec::new(),
        })
    }

    fn judge(&self, address: IpAddr, port: u16, protocol: Protocol) -> Result<Judgement> {
        let explanation = self.explain(address, port, protocol);
        let mut judgement = Judgement::new(address, explanation, &self.rules, &self.groups);
        judgement.value = match explanation.matched {
            Matched::Control => Some(explanation.reason.as_str().to_owned()),
            Matched::Cidr => {
                let rule = explanation.rule.context("a network without a rule")?;
                let networks = self.policy.rule(rule).map(|rule| &rule.cidrs[..]);
                let holding =
                    networks.unwrap_or_default().iter().find(|net| net.contains(&address));
                holding.map(ToString::to_string)
            }
            _ => None,
        };
        Ok(judgement)
    }

    fn predict(&self, rules: &[String], port: u16, protocol: Protocol) -> Result<Judgement> {
        let named = |id: &Option<String>| id.as_ref().is_some_and(|id| rules.contains(id));
        let bits = (0..).zip(&self.rules).filter(|(_, id)| named(id));
        let bits = bits.fold(0, |mask, (bit, _)| mask | 1_u64 << bit);
        let unlisted = self.policy.settings.allow_unlisted_clients != 0;
        let ports = self.ports(port, protocol);
        let (reason, nearest) = would_be(self.client.as_ref(), unlisted, bits, ports, protocol);
        Ok(Judgement::predicted(reason, nearest, self.client.as_ref(), &self.rules, &self.groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everyone(on: Option<&str>) -> Unloaded {
        let client = "10.0.0.5".parse().unwrap();
        Unloaded::new(None, Catalogue::builtin(), client, on).unwrap()
    }

    #[test]
    fn without_a_configuration_the_whole_catalogue_is_allowed() {
        let unloaded = everyone(None);
        let judge = |address: &str, port| {
            let address = address.parse().unwrap();
            unloaded.judge(address, port, Protocol::Tcp).unwrap()
        };
        // Microsoft's own ranges for Intune.
        let inside = judge("13.67.13.177", 443);
        assert_eq!(inside.reason, Reason::Policy);
        assert_eq!(inside.rule.as_deref(), Some("intune-core/core"));
        assert_eq!(inside.group.as_deref(), Some("everyone"));
        assert_eq!(judge("13.67.13.177", 22).reason, Reason::Port);
        assert_eq!(judge("8.8.8.8", 443).reason, Reason::Destination);
        assert_eq!(judge("8.8.8.8", 53).reason, Reason::Resolver);
        assert_eq!(judge("192.0.2.53", 53).reason, Reason::DnsQuery);
    }

    #[test]
    fn a_zone_that_is_not_configured_is_an_error() {
        let client = "10.0.0.5".parse().unwrap();
        assert!(Unloaded::new(None, Catalogue::builtin(), client, Some("eth9")).is_err());
        assert!(everyone(Some("any")).client.is_some());
    }
}
