//! Formats events as lines of text for people.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use intune_filter_ebpf::abi::TransportProtocol;
use jiff::tz::TimeZone;

use super::{Closed, Denied, Event, Flow, Learned, Traffic, What, ZoneName};

/// Returns the name of an IP protocol, or its number.
#[must_use]
pub fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        58 => "icmpv6".to_owned(),
        number => match TransportProtocol::of(number) {
            Some(protocol) => protocol.as_str().to_owned(),
            None => number.to_string(),
        },
    }
}

/// Returns the name of a type of DNS records, or `TYPE` and its number (RFC 3597 section 5).
#[must_use]
pub(super) fn record_type(number: u16) -> String {
    let name = match number {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        255 => "ANY",
        number => return format!("TYPE{number}"),
    };
    name.to_owned()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time.to_zoned_datetime(TimeZone::system());
        write!(f, "{} {}", time.strftime("%b %d %H:%M:%S%.3f"), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::Learned(learned) => write!(f, "learned  {learned}"),
            Self::Full(learned) => write!(f, "no room  {learned}"),
            Self::Conflict(learned) => write!(f, "disputed {learned}"),
            Self::Opened(flow) => write!(f, "opened   {flow}"),
            Self::Closed(closed) => closed.fmt(f),
            Self::Lost { count } => write!(f, "lost     {count} events: too slow for them"),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.audited { "audited  " } else { "denied   " })?;
        if let (Some(client), Some(destination)) = (self.client, self.destination) {
            let arrow = if self.inbound { "<-" } else { "->" };
            write!(f, "{client} {arrow} {}", end(destination, self.port, &self.protocol))?;
            match (&self.name, &self.qtype) {
                (Some(name), Some(qtype)) => write!(f, " asks for {name} {qtype}")?,
                (name, _) => named(f, name.as_deref())?,
            }
        } else {
            f.write_str("a frame")?;
        }
        write!(f, "  reason {}", self.reason)?;
        if let Some(service) = &self.service {
            write!(f, "  nearest {service}")?;
        }
        write!(f, "  {}", OfGroup(self.group.as_deref(), &self.place))
    }
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(IpAddr::to_string);
        let all: Vec<_> = addresses.chain(self.targets.iter().cloned()).collect();
        write!(
            f,
            "{} has {} for {} s  {}  asked by {}",
            self.name,
            all.join(", "),
            self.expires_in_s,
            self.services.join(", "),
            self.client
        )
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.inbound { "<-" } else { "->" };
        write!(f, "{} {arrow} {}", self.client, end(self.destination, self.port, &self.protocol))?;
        named(f, self.name.as_deref())?;
        if let Some(service) = &self.service {
            write!(f, "  {service}")?;
        }
        if self.audited {
            f.write_str("  audited")?;
        }
        write!(f, "  {}", OfGroup(self.group.as_deref(), &self.place))
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { packets_out, bytes_out, packets_in, bytes_in } = self.traffic;
        write!(
            f,
            "closed   {}  {} after {:.1} s: {packets_out} packets, {bytes_out} octets out, \
             {packets_in} packets, {bytes_in} octets in",
            self.flow, self.ending, self.duration_s
        )
    }
}

struct OfGroup<'a>(Option<&'a str>, &'a ZoneName);

impl fmt::Display for OfGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(group, place) = self;
        write!(f, "[{place}")?;
        match group {
            Some(group) => write!(f, " {group}]"),
            None => f.write_str("]"),
        }
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.interface.as_deref().unwrap_or("?"))?;
        if self.vlan == 0 { Ok(()) } else { write!(f, ".{}", self.vlan) }
    }
}

fn named(f: &mut fmt::Formatter<'_>, name: Option<&str>) -> fmt::Result {
    name.map_or(Ok(()), |name| write!(f, " ({name})"))
}

/// Formats the remote side in the notation that `explain` reads.
fn end(address: IpAddr, port: Option<u16>, protocol: &str) -> String {
    match port {
        Some(port) => format!("{}/{protocol}", SocketAddr::new(address, port)),
        None => format!("{address}/{protocol}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_denied_and_why() {
        let denied = Denied {
            client: Some("10.20.0.10".parse().unwrap()),
            destination: Some("2001:db8::1".parse().unwrap()),
            protocol: "tcp".into(),
            port: Some(8443),
            client_port: Some(40000),
            reason: "port".into(),
            name: Some("www.example".into()),
            qtype: None,
            service: Some("sign-in".into()),
            group: Some("devices".into()),
            audited: false,
            inbound: false,
            place: ZoneName { interface: Some("eth1".into()), vlan: 20 },
        };
        assert_eq!(
            denied.to_string(),
            "denied   10.20.0.10 -> [2001:db8::1]:8443/tcp (www.example)  reason port  nearest \
             sign-in  [eth1.20 devices]"
        );
        let query = Denied {
            port: Some(53),
            protocol: "udp".into(),
            qtype: Some("AAAA".into()),
            reason: "dns_unlisted".into(),
            service: None,
            audited: true,
            ..denied.clone()
        };
        assert_eq!(
            query.to_string(),
            "audited  10.20.0.10 -> [2001:db8::1]:53/udp asks for www.example AAAA  reason \
             dns_unlisted  [eth1.20 devices]"
        );
        let frame = Denied {
            client: None,
            destination: None,
            name: None,
            service: None,
            group: None,
            place: ZoneName::default(),
            reason: "ethertype".into(),
            ..denied
        };
        assert_eq!(frame.to_string(), "denied   a frame  reason ethertype  [?]");
    }

    #[test]
    fn events_are_read_back_from_their_json() {
        let flow = Flow {
            client: "10.20.0.10".parse().unwrap(),
            client_port: 7,
            destination: "192.0.2.1".parse().unwrap(),
            protocol: "icmp".into(),
            port: None,
            name: None,
            service: Some("web".into()),
            group: None,
            audited: true,
            inbound: false,
            place: ZoneName { interface: Some("eth1".into()), vlan: 0 },
        };
        assert_eq!(flow.to_string(), "10.20.0.10 -> 192.0.2.1/icmp  web  audited  [eth1]");
        let closed = Closed {
            flow: flow.clone(),
            traffic: Traffic { packets_out: 1, bytes_out: 2, packets_in: 3, bytes_in: 4 },
            ending: "expired".into(),
            duration_s: 1.5,
        };
        for what in [What::Opened(flow), What::Closed(closed), What::Lost { count: 3 }] {
            let event = Event { time: "2026-11-23T23:00:00.5Z".parse().unwrap(), what };
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event, "{text}");
        }
    }
}
