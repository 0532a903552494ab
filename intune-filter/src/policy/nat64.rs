//! NAT64 prefixes of a site: which learned address a packet to an IPv6 address passes by.

use std::{
    iter,
    net::{IpAddr, Ipv4Addr},
};

use intune_filter_ebpf::abi::V6;
use ipnet::Ipv6Net;

use super::networks::embed;

/// NAT64 prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat64(Vec<Ipv6Net>);

impl Nat64 {
    /// Returns the prefixes, which have lengths that RFC 6052 defines.
    #[must_use]
    pub const fn new(prefixes: Vec<Ipv6Net>) -> Self {
        Self(prefixes)
    }

    /// Returns the prefixes.
    #[must_use]
    pub fn prefixes(&self) -> &[Ipv6Net] {
        &self.0
    }

    /// Returns the IPv4 address that an address reaches by NAT64, as the kernel reads it.
    #[must_use]
    pub fn within(&self, address: IpAddr) -> Option<IpAddr> {
        let IpAddr::V6(v6) = address else { return None };
        let holding = self.0.iter().filter(|prefix| prefix.contains(&v6));
        let prefix = holding.max_by_key(|prefix| prefix.prefix_len())?;
        let v4 = V6::from(v6).within_nat64(prefix.prefix_len().into())?;
        Some(IpAddr::V4(v4.into()))
    }

    /// Returns the learned addresses by which a packet to an address may pass: the address itself, and
    /// the IPv4 address that it reaches by NAT64.
    pub fn learned_as(&self, address: IpAddr) -> impl Iterator<Item = IpAddr> + use<> {
        iter::once(address).chain(self.within(address))
    }

    /// Returns the addresses by which NAT64 reaches an IPv4 address.
    pub fn forms(&self, address: Ipv4Addr) -> impl Iterator<Item = IpAddr> {
        self.0.iter().filter_map(move |prefix| Some(embed(*prefix, address.into())?.addr().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_learned_as_itself_and_as_what_it_reaches() {
        let prefixes = ["64:ff9b::/96", "2001:db8::/32", "2001:db8:64::/96", "fd64::/64"];
        let nat64 = Nat64::new(prefixes.map(|prefix| prefix.parse().unwrap()).into());
        let v4: Ipv4Addr = "192.0.2.33".parse().unwrap();
        let forms: Vec<IpAddr> = nat64.forms(v4).collect();
        assert_eq!(forms.len(), 4);
        for form in forms {
            assert!(nat64.learned_as(form).eq([form, v4.into()]), "{form}");
        }
        for alone in ["192.0.2.33", "2001:db9::1", "64:ff9b:1::192.0.2.33", "fd64::1"] {
            let alone: IpAddr = alone.parse().unwrap();
            assert!(nat64.learned_as(alone).eq([alone]), "{alone}");
        }
        assert_eq!(Nat64::default().within("64:ff9b::192.0.2.33".parse().unwrap()), None);
    }
}
