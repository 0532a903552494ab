//! The scenarios of each set alone, end to end: a real resolver with the scenarios' names and aliases,
//! a daemon on the gateway, a client that asks and connects, over both families.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{DnsResponse, RecordType, ResponseCode, lookup},
    network::Network,
    probe::{ProbeResult, concurrently, probe},
    records::Records,
    resolver::Kind,
    scenarios::{Cloud, Destination, Family, Fixture, Step},
    site::{ANSWER, SILENCE, tcp, udp},
    testbed::{FOREIGN_PORT, Setup, Testbed},
};

use super::config;

/// Clients at once.
const WORKERS: usize = 16;

/// Names beside those of the scenarios, that no set may answer.
pub(super) const UNLISTED: [&str; 8] = [
    "www.unlisted.test",
    "stranger.azureedge.net",
    "stranger.blob.core.windows.net",
    "xztd.dds.microsoft.com",
    "ztd.dds.microsoft.com.unlisted.test",
    "push.apple.com.unlisted.test",
    "www.example.com",
    "mtalk.google.com.unlisted.test",
];

/// Addresses that no set may reach, and that answer.
const FOREIGN: [&str; 4] = ["192.0.2.80", "13.107.218.5", "2001:db8:80::1", "2620:1ec:3f::1"];

/// Everything that the steps lead to, once each.
#[derive(Debug, Default)]
pub(super) struct Ways {
    steps: BTreeMap<Destination, Step>,
}

impl Ways {
    /// Adds steps. Ports of steps that lead to one destination are put together.
    pub(super) fn add(&mut self, steps: Vec<Step>) {
        for step in steps {
            let known = self.steps.entry(step.destination.clone()).or_insert_with(|| step.clone());
            known.tcp.extend(&step.tcp);
            known.udp.extend(&step.udp);
            if known.via.is_empty() {
                known.via = step.via;
            }
        }
    }

    /// Records of the resolver.
    pub(super) fn records(&self) -> Records {
        let mut records = Records::default();
        for step in self.steps.values() {
            let Some(name) = step.name() else { continue };
            let via: Vec<String> =
                step.via.iter().map(|alias| alias.to_ascii_lowercase()).collect();
            match step.answers {
                Some(answers) => records.fix(name, Family::BOTH.map(|family| answers.of(family))),
                None => records.add_aliases(&name.to_ascii_lowercase(), &via),
            }
        }
        for name in UNLISTED {
            records.add(name);
        }
        records
    }

    fn ports(&self) -> [BTreeSet<u16>; 2] {
        let tcp = self.steps.values().flat_map(|step| step.tcp.iter().copied());
        let udp = self.steps.values().flat_map(|step| step.udp.iter().copied());
        [tcp.chain([FOREIGN_PORT]).collect(), udp.collect()]
    }

    /// Has the client go every way, over both families, and returns what fails.
    pub(super) fn walk(&self, network: &Network, servers: [IpAddr; 2]) -> Vec<String> {
        let both = self.steps.values().flat_map(|step| Family::BOTH.map(|family| (family, step)));
        let both: Vec<(Family, &Step)> = both.collect();
        let results = concurrently(&network.client, WORKERS, &both, |(family, step)| {
            go(*family, step, family.pick(servers), ANSWER).err()
        });
        let failed = both.iter().zip(results).filter_map(|((family, step), error)| {
            let (family, act, to) = (family.as_str(), &step.act, &step.destination);
            error.map(|error| format!("{act}: {to}: {family}: {error:#}"))
        });
        failed.collect()
    }

    /// Whether the way to a name is open to the client, by family.
    pub(super) fn is_open(&self, network: &Network, servers: [IpAddr; 2], name: &str) -> [bool; 2] {
        let step = self.steps.get(&Destination::Name(name.to_owned()));
        Family::BOTH.map(|family| {
            let server = family.pick(servers);
            let go = |step| network.client.run(|| go(family, step, server, SILENCE)).is_ok();
            step.is_some_and(go)
        })
    }
}

/// Asks, and connects to every port, each of which has this time to answer.
fn go(family: Family, step: &Step, server: IpAddr, patience: Duration) -> Result<()> {
    let to = match &step.destination {
        Destination::Address(address) if address.is_ipv4() == (family == Family::V4) => *address,
        Destination::Address(_) => return Ok(()),
        Destination::Name(name) => {
            let answer = ask(family, name, server)?;
            ensure!(answer.code == ResponseCode::NoError, "the answer is {}", answer.code);
            *answer.addresses.first().context("the answer has no address")?
        }
    };
    let targets = step.tcp.iter().map(|port| tcp(to, *port));
    for target in targets.chain(step.udp.iter().map(|port| udp(to, *port))) {
        let outcome = probe(target, patience);
        ensure!(outcome == ProbeResult::Reached, "{target} is {outcome:?}");
    }
    Ok(())
}

/// Asks for the address of a family.
fn ask(family: Family, name: &str, server: IpAddr) -> Result<DnsResponse> {
    let kind = match family {
        Family::V4 => RecordType::A,
        Family::V6 => RecordType::AAAA,
    };
    lookup(server, name, kind, ANSWER)
}

/// A testbed in which a set alone is in force at the worldwide cloud.
pub(super) fn testbed(ways: &Ways, config: String, resolver: Kind) -> Result<Testbed> {
    let [tcp, udp] = ways.ports();
    let mut testbed = Testbed::create(&Setup {
        config,
        resolver,
        records: ways.records(),
        tcp,
        udp,
        ..Setup::default()
    })?;
    testbed.filter.start()?;
    Ok(testbed)
}

/// Denied: what no set allows, and other ports of what it does.
fn expect_controls(testbed: &Testbed, ways: &Ways) -> Result<()> {
    let servers = testbed.resolver.addresses();
    for family in Family::BOTH {
        for name in UNLISTED {
            let answer = testbed.network.client.run(|| ask(family, name, family.pick(servers)))?;
            ensure!(answer.code != ResponseCode::NoError, "{name} is answered: {answer:?}");
        }
    }
    for address in FOREIGN {
        testbed.expect_denied(tcp(address.parse()?, 443))?;
    }
    // An address that is learned opens no port but the rule's.
    let learned = ways.steps.values().find(|step| step.name().is_some() && !step.tcp.is_empty());
    let name = learned.and_then(Step::name).context("a step with a name")?;
    for address in testbed.resolve(name)? {
        testbed.expect_denied(tcp(address, FOREIGN_PORT))?;
    }
    Ok(())
}

fn alone(set: &str, tenant: &str, resolver: Kind) -> Result<()> {
    let start = Instant::now();
    let fixture = Fixture::read()?;
    let mut ways = BTreeMap::new();
    let mut all = Ways::default();
    for cloud in Cloud::ALL {
        let tenant = (cloud == Cloud::Worldwide).then_some(tenant);
        let site = fixture.site(cloud, tenant, false);
        let mut here = Ways::default();
        for scenario in fixture.promised(set, cloud, false) {
            let promised = scenario.steps_at(&site, &fixture.tenants).into_iter();
            here.add(promised.filter(Step::is_promised).collect());
        }
        all.add(here.steps.values().cloned().collect());
        ways.insert(cloud, (site, here));
    }
    let first = ways.get(&Cloud::Worldwide).context("a cloud")?;
    let testbed = testbed(&all, config(set, &first.0), resolver)?;
    let mut went = 0;
    for (cloud, (site, here)) in &ways {
        if *cloud != Cloud::Worldwide {
            testbed.filter.configure(&config(set, site))?;
            testbed.filter.succeed(&["reload"])?;
        }
        let failed = here.walk(&testbed.network, testbed.resolver.addresses());
        ensure!(failed.is_empty(), "{set} alone, {site}:\n{}", failed.join("\n"));
        expect_controls(&testbed, here)?;
        went += here.steps.len();
    }
    println!("{set} alone: {went} destinations in three clouds, {:?}", start.elapsed());
    Ok(())
}

#[test]
fn a_windows_device_gets_through_with_windows_alone() -> Result<()> {
    alone("windows", "AMSUB0502", Kind::Dnsmasq)
}

#[test]
fn an_apple_device_gets_through_with_apple_alone() -> Result<()> {
    alone("apple", "AMSUA0101", Kind::Unbound)
}

#[test]
fn an_android_device_gets_through_with_android_alone() -> Result<()> {
    alone("android", "AMSUC0101", Kind::Dnsmasq)
}
