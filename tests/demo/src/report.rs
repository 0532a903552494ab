//! Tells what the demo has found: a table for people, or JSON.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    plan::Part,
    run::Finding,
    services::{Rule, Service},
};
use intune_filter_tests::resolver::Kind;

/// Findings of the demo, sorted.
#[derive(Debug)]
pub struct Report<'a> {
    services: &'a [Service],
    resolver: Kind,
    took: Duration,
    tallies: BTreeMap<Part, Tally>,
    surprises: Vec<String>,
    total: usize,
}

/// Expectations of one part, and how many of them were met.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    allowed: Count,
    denied: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    met: usize,
    all: usize,
}

impl Count {
    const fn add(&mut self, met: bool) {
        self.all += 1;
        self.met += met as usize;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.met, self.all))
    }
}

impl<'a> Report<'a> {
    /// Sorts the findings.
    #[must_use]
    pub fn new(
        services: &'a [Service],
        findings: Vec<Finding>,
        resolver: Kind,
        took: Duration,
    ) -> Self {
        let mut tallies = BTreeMap::<Part, Tally>::new();
        let mut surprises = Vec::new();
        let total = findings.len();
        for finding in findings {
            let tally = tallies.entry(finding.part).or_default();
            let count = if finding.denied { &mut tally.denied } else { &mut tally.allowed };
            count.add(finding.surprise.is_none());
            surprises.extend(finding.surprise);
        }
        for (number, service) in services.iter().enumerate() {
            let tally = tallies.get(&Part::Service(number)).copied().unwrap_or_default();
            let lacking = service.rules.iter().any(Rule::has_no_destinations);
            if lacking || tally.allowed.all == 0 || tally.denied.all == 0 {
                surprises.push(format!("{} was not probed whole: no destinations", service.id));
            }
        }
        Self { services, resolver, took, tallies, surprises, total }
    }

    /// Whether every result was the expected one.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.surprises.is_empty()
    }

    /// Report for scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let count = |count: Count| json!({"expected": count.all, "met": count.met});
        let services = self.services.iter().enumerate().map(|(number, service)| {
            let tally = self.tally(Part::Service(number));
            json!({
                "id": service.id, "title": service.title, "ports": ports(service),
                "allowed": count(tally.allowed), "denied": count(tally.denied),
            })
        });
        let others = OTHERS.iter().map(|(part, verdict, what)| {
            let tally = self.tally(*part);
            json!({"what": what, "verdict": verdict, "allowed": count(tally.allowed), "denied": count(tally.denied)})
        });
        json!({
            "resolver": self.resolver.to_string(),
            "seconds": self.took.as_secs_f64(),
            "services": services.collect::<Vec<_>>(),
            "others": others.collect::<Vec<_>>(),
            "probes": self.total,
            "surprises": self.surprises,
        })
    }

    fn tally(&self, part: Part) -> Tally {
        self.tallies.get(&part).copied().unwrap_or_default()
    }

    fn services(&self, text: &mut String) -> fmt::Result {
        let width = self.services.iter().map(|service| service.id.len()).max().unwrap_or(0);
        writeln!(
            text,
            "{:width$}  {:>5}  {:>8}  {:>9}  {:>9}  allowed on",
            "SERVICE", "names", "networks", "reached", "denied",
        )?;
        for (number, service) in self.services.iter().enumerate() {
            let tally = self.tally(Part::Service(number));
            writeln!(
                text,
                "{:width$}  {:>5}  {:>8}  {:>9}  {:>9}  {}",
                service.id,
                service.rules.iter().map(|rule| rule.fqdns.len()).sum::<usize>(),
                service.rules.iter().map(|rule| rule.cidrs.len()).sum::<usize>(),
                tally.allowed,
                tally.denied,
                ports(service),
            )?;
        }
        Ok(())
    }

    fn others(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "\nEVERYTHING ELSE")?;
        for (part, verdict, what) in OTHERS {
            let Tally { allowed, denied } = self.tally(*part);
            let count = if denied.all == 0 { allowed } else { denied };
            writeln!(text, "{count:>9} {verdict:8}  {what}")?;
        }
        Ok(())
    }

    fn ending(&self, text: &mut String) -> fmt::Result {
        for surprise in &self.surprises {
            writeln!(text, "SURPRISE  {surprise}")?;
        }
        writeln!(
            text,
            "{} expectations, {} surprises, in {:.1} s",
            self.total,
            self.surprises.len(),
            self.took.as_secs_f64(),
        )
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.services(&mut text)?;
        writeln!(
            text,
            "\nnames     patterns of host names; one or two names of each were resolved\n\
             reached   what these led to, and the ends of each network, on each port in the last \
             column\n\
             denied    the same destinations on ports that are not theirs, where something listens \
             all the same",
        )?;
        self.others(&mut text)?;
        writeln!(text)?;
        self.ending(&mut text)?;
        f.write_str(&text)
    }
}

/// Rows of the second table: what has to come of each part.
const OTHERS: &[(Part, &str, &str)] = &[
    (Part::Unresolved, "denied", "a service's own address, before its name was asked for"),
    (Part::Unlisted, "refused", "a name on no list, however like a listed one"),
    (Part::OtherResolver, "denied", "a resolver that the configuration does not trust"),
    (Part::Unnamed, "denied", "an address that no name leads to"),
    (Part::Beside, "denied", "an address next to an allowed network"),
    (Part::Gateway, "reached", "the gateway itself"),
    (Part::Count, "agree", "the kernel's own counters, for each round of probes"),
];

/// A service's ports, as the catalogue writes them.
fn ports(service: &Service) -> String {
    let of = |protocol: &str, ranges: Vec<String>| {
        let mut ranges = ranges;
        ranges.dedup();
        (!ranges.is_empty()).then(|| format!("{protocol} {}", ranges.join(", ")))
    };
    let mut tcp: Vec<_> = service.rules.iter().flat_map(|rule| &rule.tcp).collect();
    let mut udp: Vec<_> = service.rules.iter().flat_map(|rule| &rule.udp).collect();
    tcp.sort();
    udp.sort();
    let texts = |ranges: Vec<_>| ranges.into_iter().map(ToString::to_string).collect();
    let both = [of("tcp", texts(tcp)), of("udp", texts(udp))];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
