//! Parses the destination of `explain`: `DST[:PORT[/PROTO]]`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use intune_filter_ebpf::abi::TransportProtocol;

use crate::ports::protocols;

/// A protocol of a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// One with ports: what opens a flow.
    Transport(TransportProtocol),
    /// ICMP or ICMPv6: an echo request.
    Icmp,
}

impl Protocol {
    /// TCP.
    pub(super) const TCP: Self = Self::Transport(TransportProtocol::Tcp);
    /// UDP.
    pub(super) const UDP: Self = Self::Transport(TransportProtocol::Udp);

    /// The word that commands use.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Transport(protocol) => protocol.as_str(),
            Self::Icmp => "icmp",
        }
    }
}

/// Address or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// IPv4 or IPv6 address.
    Address(IpAddr),
    /// Name of a host, in lower case.
    Name(String),
}

/// Destination of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// Address or name.
    pub host: Target,
    /// Port; 0 with ICMP.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Whether port and protocol were left out.
    pub assumed: bool,
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, protocol) = match text.rsplit_once('/') {
            Some((rest, word)) => (rest, Some(protocol(word)?)),
            None => (text, None),
        };
        let (host, port) = host_and_port(rest)?;
        let protocol = protocol.unwrap_or(Protocol::TCP);
        let assumed = port.is_none() && protocol == Protocol::TCP;
        let port = match (protocol, port) {
            (Protocol::Icmp, None) => 0,
            (Protocol::Icmp, Some(_)) => return Err("icmp has no ports, expected DST/icmp".into()),
            (Protocol::TCP, None) => 443,
            (Protocol::Transport(protocol), None) => {
                let word = protocol.as_str();
                return Err(format!("{word} without a port, expected for example DST:123/{word}"));
            }
            (_, Some(port)) => port,
        };
        Ok(Self { host, port, protocol, assumed })
    }
}

fn protocol(word: &str) -> Result<Protocol, String> {
    TransportProtocol::ALL
        .map(Protocol::Transport)
        .into_iter()
        .chain([Protocol::Icmp])
        .find(|protocol| protocol.as_str().eq_ignore_ascii_case(word))
        .ok_or_else(|| format!("unknown protocol {word:?}, expected {} or icmp", protocols(", ")))
}

fn host_and_port(text: &str) -> Result<(Target, Option<u16>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or_else(|| format!("no ] after {text:?}"))?;
        let address: Ipv6Addr =
            address.parse().map_err(|_| format!("bad IPv6 address {address:?}"))?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(port(digits)?),
            None if rest.is_empty() => None,
            None => return Err(format!("unexpected {rest:?} after the address")),
        };
        return Ok((Target::Address(address.into()), port));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok((Target::Address(address.into()), None));
    }
    let (host, port) = match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            return Err(format!("bad address {text:?}, expected [IPV6]:PORT"));
        }
        Some((host, digits)) => (host, Some(port(digits)?)),
        None => (text, None),
    };
    Ok((named(host)?, port))
}

fn named(host: &str) -> Result<Target, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Target::Address(address));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'*')
    };
    // A name of digits and dots is a mistyped address, never a host.
    let numeric = name.rsplit('.').next().is_some_and(|l| l.bytes().all(|o| o.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        return Err(format!("{host:?} is neither an address nor a name"));
    }
    Ok(Target::Name(name))
}

fn port(digits: &str) -> Result<u16, String> {
    let number = digits.parse().ok().filter(|port| *port != 0);
    number.ok_or_else(|| format!("bad port {digits:?}, expected a number from 1 to 65535"))
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Target::Address(IpAddr::V6(v6)) if self.port != 0 => write!(f, "[{v6}]")?,
            Target::Address(address) => write!(f, "{address}")?,
            Target::Name(name) => f.write_str(name)?,
        }
        if self.port != 0 {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}", self.protocol.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (text, shown) in [
            ("192.0.2.1", "192.0.2.1:443/tcp"),
            ("192.0.2.1:80", "192.0.2.1:80/tcp"),
            ("192.0.2.1:123/udp", "192.0.2.1:123/udp"),
            ("192.0.2.1/ICMP", "192.0.2.1/icmp"),
            ("2001:db8::1", "[2001:db8::1]:443/tcp"),
            ("[2001:db8::1]", "[2001:db8::1]:443/tcp"),
            ("[2001:db8::1]:5223/tcp", "[2001:db8::1]:5223/tcp"),
            ("2001:db8::1/icmp", "2001:db8::1/icmp"),
            ("Login.Example.", "login.example:443/tcp"),
            ("time.example:123/udp", "time.example:123/udp"),
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.to_string(), shown, "{text}");
            assert_eq!(shown.parse::<Destination>().unwrap().to_string(), shown);
        }
        assert!("a.example".parse::<Destination>().unwrap().assumed);
        assert!(!"a.example:443".parse::<Destination>().unwrap().assumed);
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            ":443",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:x",
            "a.example/sctp",
            "a.example/udp",
            "a.example:1/icmp",
            "[2001:db8::1",
            "[a]:1",
            "[::1]x",
            "2001:db8::1:x",
            "a:1:2",
            "192.0.2.256",
            "10.1",
            "a..example",
            "*.example",
            "a b.example",
        ] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
