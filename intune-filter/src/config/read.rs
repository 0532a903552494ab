//! Reads each part of the configuration from the document's tree.

use std::path::PathBuf;

use ipnet::{IpNet, Ipv6Net};

use super::{
    Choice, ClientGroup, Config, Dns, DnsUnlisted, GroupMode, Inbound, Interface, MapSizes, Mode,
    OnDeny, Parts, Paths, SiteRule, SiteService, SourceCheck, Ttl, network::Networks,
};
use crate::yaml::{Fields, Findings, Place, Read, word};

impl Read for Config {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let interfaces = fields.required("interfaces", "a list of interfaces on the LAN side");
        let clients = fields.required("clients", "a list of client groups");
        let dns = fields.required("dns", "a map with the resolvers that clients use");
        let default = Self::default();
        let config = Self {
            interfaces: interfaces.unwrap_or_default(),
            clients: clients.unwrap_or_default(),
            dns: dns.unwrap_or_default(),
            manage_offloads: fields.or("manage_offloads", default.manage_offloads),
            unlisted_clients: fields.or("unlisted_clients", default.unlisted_clients),
            to_gateway: fields.or("to_gateway", default.to_gateway),
            other_vlans: fields.or("other_vlans", default.other_vlans),
            boot: fields.or("boot", default.boot),
            icmp_echo: fields.or("icmp_echo", default.icmp_echo),
            dhcp_servers: fields.or("dhcp_servers", default.dhcp_servers),
            nat64: fields.or("nat64", default.nat64),
            warm_up: fields.or("warm_up", default.warm_up),
            tenant: fields.optional("tenant"),
            region: fields.optional("region"),
            choice: Choice::read(&mut fields),
            services: fields.or("services", default.services),
            limits: fields.or("limits", default.limits),
            maps: fields.or("maps", default.maps),
            paths: fields.or("paths", default.paths),
            metrics: fields.or("metrics", default.metrics),
            source: default.source,
        };
        fields.close();
        Some(config)
    }
}

impl Read for Interface {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let name = fields.required("name", "the interface's name");
        let mode = fields.or("mode", Mode::default());
        let vlans: Vec<VlanId> = fields.or("vlans", Vec::new());
        let source_check = fields.or("source_check", SourceCheck::default());
        fields.close();
        let vlans = vlans.into_iter().map(|id| id.0).collect();
        Some(Self { name: name?, mode, vlans, source_check })
    }
}

/// VLAN id, or 0 for untagged frames.
struct VlanId(u16);

impl Read for VlanId {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match word(place).map(str::parse) {
            Some(Ok(id @ 0..=4094)) => Some(Self(id)),
            _ => findings.expected(place, "a VLAN id from 1 to 4094, or 0 for untagged frames"),
        }
    }
}

impl Read for ClientGroup {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let name = fields.required("name", "the group's name");
        let networks = fields.required("networks", "on-link, or a list of prefixes");
        let group = Self {
            // A group without a name is refused; its other keys are checked all the same.
            name: name.unwrap_or_default(),
            on: fields.optional("on"),
            networks: networks.map_or_else(Vec::new, |Networks(networks)| networks),
            services: fields.or("services", vec!["default".to_owned()]),
            mode: fields.or("mode", GroupMode::default()),
            on_deny: fields.or("on_deny", OnDeny::default()),
            inbound: fields.or("inbound", Inbound::default()),
            devices_per_address: fields.or("devices_per_address", 1),
            macs: fields.or("macs", Vec::new()),
        };
        fields.close();
        Some(group)
    }
}

impl Read for Dns {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let resolvers = fields.required("resolvers", "a list of the resolvers' addresses");
        let dns = Self {
            resolvers: resolvers.unwrap_or_default(),
            unlisted: fields.or("unlisted", DnsUnlisted::default()),
            resolve: fields.or("resolve", true),
            allow_private: fields.or("allow_private", Vec::new()),
            ttl: fields.or("ttl", Ttl::default()),
        };
        fields.close();
        Some(dns)
    }
}

impl Read for Ttl {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let default = Self::default();
        let mut fields = Fields::open(place, findings)?;
        let ttl = Self {
            min: fields.or("min", default.min),
            max: fields.or("max", default.max),
            grace: fields.or("grace", default.grace),
        };
        fields.close();
        Some(ttl)
    }
}

impl Read for SiteService {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let id = fields.required("id", "the service's id");
        let service = Self {
            id: id.unwrap_or_default(),
            title: fields.optional("title"),
            parts: parts(&mut fields),
            rules: fields.or("rules", Vec::new()),
            allow_broad: fields.or("allow_broad", false),
        };
        if fields.has("rules") && !service.parts.is_empty() {
            let message = "both rules and destinations or ports of a single rule, expected one";
            fields.findings.report(place, message);
        }
        fields.close();
        Some(service)
    }
}

impl Read for SiteRule {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let mut fields = Fields::open(place, findings)?;
        let id = fields.required("id", "the rule's id");
        let rule = Self { id: id.unwrap_or_default(), parts: parts(&mut fields) };
        fields.close();
        Some(rule)
    }
}

fn parts(fields: &mut Fields<'_, '_>) -> Parts {
    Parts {
        fqdns: fields.optional("fqdns"),
        cidrs: fields.optional("cidrs"),
        ports: fields.ports(),
    }
}

impl Read for MapSizes {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let default = Self::default();
        let mut fields = Fields::open(place, findings)?;
        let maps = Self {
            hosts4: fields.or("hosts4", default.hosts4),
            hosts6: fields.or("hosts6", default.hosts6),
            flows4: fields.or("flows4", default.flows4),
            flows6: fields.or("flows6", default.flows6),
            new_flows: fields.or("new_flows", default.new_flows),
            pending: fields.or("pending", default.pending),
            clients: fields.or("clients", default.clients),
            fragments: fields.or("fragments", default.fragments),
            events: fields.or("events", default.events),
        };
        fields.close();
        Some(maps)
    }
}

impl Read for Paths {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let default = Self::default();
        let mut fields = Fields::open(place, findings)?;
        let paths = Self {
            state_dir: fields.or("state_dir", default.state_dir),
            runtime_dir: fields.or("runtime_dir", default.runtime_dir),
            pin_dir: fields.or("pin_dir", default.pin_dir),
            catalogue: fields.optional("catalogue"),
        };
        fields.close();
        Some(paths)
    }
}

impl Read for PathBuf {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        let path = Self::from(String::read(place, findings)?);
        if path.is_absolute() { Some(path) } else { findings.expected(place, "an absolute path") }
    }
}

impl Read for Ipv6Net {
    fn read(place: Place<'_>, findings: &mut Findings) -> Option<Self> {
        match IpNet::read(place, findings)? {
            IpNet::V6(prefix) => Some(prefix),
            IpNet::V4(_) => findings.expected(place, "an IPv6 prefix such as \"64:ff9b::/96\""),
        }
    }
}
