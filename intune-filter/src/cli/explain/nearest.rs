//! Finds the services that come nearest to a denied destination, and what keeps it from a group.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fix::Fix;
use crate::{
    catalogue::{Address, Catalogue, Datum, Status},
    cli::destination::{Protocol, Target},
    config::Config,
    pattern::Pattern,
    policy::{Origin, Service, Services},
    ports::Ports,
    report::Nearest,
};

/// Service near to a destination, with what would bring it to the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Near {
    /// Service, and the difference.
    pub nearest: Nearest,
    /// Changes that bring it to the group; empty if none in the configuration does.
    pub fixes: Vec<Fix>,
    rank: Rank,
}

/// Nearness, the nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Disabled,
    OffByDefault,
    OtherPort,
    OtherSite,
    OneLabelOff,
}

/// Destination that is compared.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    /// Names that lead to it, or addresses.
    pub targets: Vec<Target>,
    /// Port; 0 with ICMP.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Name of the client's group.
    pub group: &'a str,
}

impl Wanted<'_> {
    fn has_port(&self, ports: &Ports) -> bool {
        match self.protocol {
            Protocol::Transport(protocol) => ports[protocol]
                .iter()
                .any(|range| range.first() <= self.port && self.port <= range.last()),
            Protocol::Icmp => true,
        }
    }

    fn is_named(&self, pattern: &Pattern) -> bool {
        self.names().any(|name| pattern.matches(name))
    }

    fn is_in(&self, network: &IpNet) -> bool {
        self.addresses().any(|address| network.contains(&address))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter_map(|target| match target {
            Target::Name(name) => Some(name.as_str()),
            Target::Address(_) => None,
        })
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.targets.iter().filter_map(|target| match target {
            Target::Address(address) => Some(*address),
            Target::Name(_) => None,
        })
    }

    fn is_at(&self, address: &Address) -> bool {
        match address {
            Address::Fqdn(pattern) => self.is_named(pattern),
            Address::Template(template) => self.names().any(|name| template.may_be(name)),
            Address::Cidr(network) => self.is_in(network),
        }
    }

    fn is_one_label_off(&self, pattern: &Pattern) -> bool {
        self.names().any(|name| is_one_label_off(name, pattern.as_str()))
    }
}

/// Returns the services near to a destination, the nearest first.
pub(super) fn near(config: &Config, catalogue: &Catalogue, wanted: &Wanted<'_>) -> Vec<Near> {
    let (services, _) = Services::of(config, catalogue);
    let enabled = services.enabled(config.clients.iter().find(|group| group.name == wanted.group));
    let mut found = Vec::new();
    for service in services.all() {
        let is_enabled = enabled.contains(service.id.as_str());
        found.extend(of_service(service, is_enabled, wanted));
        if service.origin != Origin::Site {
            found.extend(of_catalogue(catalogue, &services, service, is_enabled, wanted));
        }
    }
    found.sort_by_key(|near| near.rank);
    found
}

fn enable(service: &str, is_enabled: bool, wanted: &Wanted<'_>) -> Option<Fix> {
    let fix = || Fix::Service { group: wanted.group.to_owned(), service: service.to_owned() };
    (!is_enabled).then(fix)
}

/// Compares what the site has of a service.
fn of_service(service: &Service, is_enabled: bool, wanted: &Wanted<'_>) -> Option<Near> {
    let near = |rank, why: &str, fixes: Vec<Fix>| Near {
        nearest: Nearest { service: service.id.clone(), why: why.to_owned() },
        fixes,
        rank,
    };
    let leads = service.rules.iter().filter(|rule| {
        rule.fqdns.iter().any(|pattern| wanted.is_named(pattern))
            || rule.cidrs.iter().any(|network| wanted.is_in(network))
    });
    let mut leads = leads.peekable();
    if leads.peek().is_some() {
        return if !leads.any(|rule| wanted.has_port(&rule.ports)) {
            Some(near(Rank::OtherPort, "other_port", Vec::new()))
        } else if is_enabled {
            None
        } else {
            let fixes = enable(&service.id, is_enabled, wanted).into_iter().collect();
            Some(near(Rank::Disabled, "disabled", fixes))
        };
    }
    let mut patterns = service.rules.iter().flat_map(|rule| &rule.fqdns);
    let is_near = patterns.any(|pattern| wanted.is_one_label_off(pattern));
    is_near.then(|| near(Rank::OneLabelOff, "one_label_off", Vec::new()))
}

/// Compares what the catalogue has of a service and the site leaves out.
fn of_catalogue(
    catalogue: &Catalogue,
    services: &Services<'_>,
    service: &Service,
    is_enabled: bool,
    wanted: &Wanted<'_>,
) -> Option<Near> {
    let of = catalogue.service(&service.id)?;
    let selector = services.selector();
    let left_out =
        |datum: &&Datum| !selector.takes(catalogue, &of.id, datum) && wanted.is_at(&datum.address);
    let data = of.rules.iter().filter(|rule| wanted.has_port(&rule.ports));
    let datum = data.flat_map(|rule| catalogue.data(rule)).find(left_out)?;
    let is_for = selector.is_for(catalogue, datum);
    let (rank, why, first) = match datum.status {
        Status::Legacy if is_for => {
            let month =
                datum.until.as_ref().map(|until| until.to_string().chars().take(7).collect());
            let why =
                month.map_or("retired".to_owned(), |month: String| format!("retired in {month}"));
            (Rank::OffByDefault, why, Some(Fix::Legacy))
        }
        Status::Observed if is_for => {
            (Rank::OffByDefault, "observed".to_owned(), Some(Fix::Observed(of.id.clone())))
        }
        _ => (Rank::OtherSite, other_site(datum, selector.gcc).to_owned(), None),
    };
    let enable = first.is_some().then(|| enable(&service.id, is_enabled, wanted)).flatten();
    Some(Near {
        nearest: Nearest { service: service.id.clone(), why },
        fixes: first.into_iter().chain(enable).collect(),
        rank,
    })
}

/// Returns the word for the site that a datum is for.
const fn other_site(datum: &Datum, gcc: bool) -> &'static str {
    let when = &datum.when;
    if !when.cloud.is_empty() {
        "other_cloud"
    } else if when.gcc && !gcc {
        "gcc_only"
    } else if !when.tenant.is_empty() {
        "other_tenant"
    } else if !when.region.is_empty() {
        "other_region"
    } else if !when.country.is_empty() {
        "other_country"
    } else {
        "other_site"
    }
}

/// Whether a name is the parent of a wildcard, one label longer than a pattern, or differs from it in one
/// label of at least three.
fn is_one_label_off(name: &str, pattern: &str) -> bool {
    if pattern.strip_prefix("*.") == Some(name) {
        return true;
    }
    if name.split_once('.').is_some_and(|(_, parent)| parent == pattern) {
        return true;
    }
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        (name.split('.').collect(), pattern.split('.').collect());
    let differ =
        ours.iter().zip(&theirs).filter(|(one, other)| one != other && !other.contains('*'));
    ours.len() >= 3 && ours.len() == theirs.len() && differ.count() == 1 && !pattern.contains('*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_makes_the_difference() {
        for (name, pattern) in [
            ("manage.example", "*.manage.example"),
            ("www.login.example", "login.example"),
            ("amsub0501.manage.example", "amsub0502.manage.example"),
        ] {
            assert!(is_one_label_off(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [
            ("login.example", "other.example"),
            ("a.b.login.example", "login.example"),
            ("a.b.example", "c.d.example"),
            ("login.example", "login.example"),
        ] {
            assert!(!is_one_label_off(name, pattern), "{name} {pattern}");
        }
    }
}
