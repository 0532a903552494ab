//! Runs a plan, and holds what came of it against what had to.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;
use intune_filter_ebpf::abi::Reason;

use super::plan::{Expected, ExpectedAnswer, Lookup, Part, Plan, Probe};
use intune_filter_tests::{
    counters::Counters,
    dns::{ADDRESS_TYPES, RecordType, ResponseCode, lookup},
    filter::FilterDaemon,
    network::Network,
    probe::{ProbeResult, concurrently, probe},
    testbed::Testbed,
};

/// Longest wait for an answer that has to come.
const ANSWER: Duration = Duration::from_secs(5);

/// Wait for an answer that must not come. Shorter than the second after which TCP tries again, so
/// that a denied connection is one denied packet.
const SILENCE: Duration = Duration::from_millis(300);

/// Probes under way at once.
const AT_ONCE: usize = 48;

/// Result of one probe or question.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Part of the demo.
    pub part: Part,
    /// Whether the attempt had to fail.
    pub denied: bool,
    /// Difference to the expected result, if any.
    pub surprise: Option<String>,
}

/// Carries out plans in a testbed whose filter runs.
#[derive(Debug)]
pub struct Runner<'a> {
    network: &'a Network,
    filter: &'a FilterDaemon,
    resolver: IpAddr,
}

impl<'a> Runner<'a> {
    /// The runner of a testbed. The client asks the resolver over IPv4.
    #[must_use]
    pub fn new(testbed: &'a Testbed) -> Self {
        let Testbed { network, filter, resolver, .. } = testbed;
        let [resolver, _] = resolver.addresses();
        Self { network, filter, resolver }
    }

    /// Does everything that is planned.
    pub fn run(&self, plan: &Plan) -> Result<Vec<Finding>> {
        let mut findings = self.denied(&plan.unresolved)?;
        findings.extend(self.lookups(&plan.lookups)?);
        findings.extend(self.allowed(&plan.allowed)?);
        findings.extend(self.denied(&plan.other_ports)?);
        findings.extend(self.denied(&plan.other_destinations)?);
        Ok(findings)
    }

    /// Probes that have to arrive; afterwards not one packet may have been denied.
    fn allowed(&self, probes: &[Probe]) -> Result<Vec<Finding>> {
        let before = self.filter.counters()?;
        let outcomes = concurrently(&self.network.client, AT_ONCE, probes, |planned| {
            probe(planned.target, ANSWER)
        });
        let mut findings: Vec<_> = probes.iter().zip(outcomes).map(compare).collect();
        let denials = self.filter.counters()?.since(&before).denials();
        findings.push(counted(&Counters::default(), &denials, "allowed probes"));
        Ok(findings)
    }

    /// Probes that must not arrive: each is counted for the expected reason, and none for another;
    /// and from the gateway, which is not filtered, the same destination is reached.
    fn denied(&self, probes: &[Probe]) -> Result<Vec<Finding>> {
        let before = self.filter.counters()?;
        let outcomes = concurrently(&self.network.client, AT_ONCE, probes, |planned| {
            probe(planned.target, SILENCE)
        });
        let denials = self.filter.counters()?.since(&before).denials();
        let controls = concurrently(&self.network.gateway, AT_ONCE, probes, |planned| {
            probe(planned.target, ANSWER)
        });
        let mut findings: Vec<_> = probes.iter().zip(outcomes).map(compare).collect();
        for (finding, (planned, control)) in findings.iter_mut().zip(probes.iter().zip(controls)) {
            if control != ProbeResult::Reached {
                finding.surprise = Some(format!(
                    "{} ({}) proves nothing: from the gateway it is {control:?} too",
                    planned.target, planned.subject,
                ));
            }
        }
        let mut expected = Counters::default();
        for planned in probes {
            if let Expected::Denied(reason) = planned.expected {
                expected.add(reason.as_str(), 1);
            }
        }
        findings.push(counted(&expected, &denials, "probes that have to be denied"));
        Ok(findings)
    }

    fn lookups(&self, lookups: &[Lookup]) -> Result<Vec<Finding>> {
        let before = self.filter.counters()?;
        let questions: Vec<(&Lookup, RecordType)> =
            lookups.iter().flat_map(|lookup| ADDRESS_TYPES.map(|kind| (lookup, kind))).collect();
        let ask = |(lookup, kind): &(&Lookup, RecordType)| self.ask(lookup, *kind);
        let mut findings = concurrently(&self.network.client, AT_ONCE, &questions, ask);
        let denials = self.filter.counters()?.since(&before).denials();
        let mut expected = Counters::default();
        for (lookup, _) in &questions {
            match lookup.answer {
                ExpectedAnswer::Addresses(_) => {}
                ExpectedAnswer::Refused => expected.add(Reason::DnsUnlisted.as_str(), 1),
                ExpectedAnswer::Silence(_) => expected.add(Reason::Resolver.as_str(), 1),
            }
        }
        findings.push(counted(&expected, &denials, "questions"));
        Ok(findings)
    }

    fn ask(&self, question: &Lookup, kind: RecordType) -> Finding {
        let Lookup { part, name, answer } = question;
        let (server, patience) = match answer {
            ExpectedAnswer::Addresses(_) | ExpectedAnswer::Refused => (self.resolver, ANSWER),
            ExpectedAnswer::Silence(other) => (*other, SILENCE),
        };
        let said = lookup(server, name, kind, patience);
        let surprise = match (answer, said) {
            (ExpectedAnswer::Addresses([v4, v6]), Ok(said)) => {
                let address = if kind == RecordType::A { v4 } else { v6 };
                let same = said.code == ResponseCode::NoError && said.addresses == [*address];
                (!same).then(|| format!("{name} {kind}: expected {address}, got {said:?}"))
            }
            (ExpectedAnswer::Refused, Ok(said)) => {
                // A name above a listed one exists, and has no address.
                let codes = [ResponseCode::NXDomain, ResponseCode::NoError];
                let refused = codes.contains(&said.code) && said.addresses.is_empty();
                (!refused).then(|| format!("{name} {kind}: expected NXDOMAIN, got {said:?}"))
            }
            (ExpectedAnswer::Silence(_), Ok(said)) => {
                Some(format!("{name} {kind}: {server} is not trusted, and answered {said:?}"))
            }
            (ExpectedAnswer::Silence(_), Err(_)) => self.control(server, name, kind),
            (_, Err(error)) => Some(format!("{name} {kind}: {error:#}")),
        };
        let denied = !matches!(answer, ExpectedAnswer::Addresses(_));
        Finding { part: *part, denied, surprise }
    }

    /// Whether the gateway, which is not filtered, has an answer where the client has none.
    fn control(&self, server: IpAddr, name: &str, kind: RecordType) -> Option<String> {
        let said = self.network.gateway.run(|| lookup(server, name, kind, ANSWER));
        said.err().map(|error| format!("{name} {kind} proves nothing: from the gateway: {error:#}"))
    }
}

fn compare((planned, outcome): (&Probe, ProbeResult)) -> Finding {
    let denied = matches!(planned.expected, Expected::Denied(_));
    let as_expected = match planned.expected {
        Expected::Reached => outcome == ProbeResult::Reached,
        Expected::Denied(_) => matches!(outcome, ProbeResult::Silent | ProbeResult::Refused),
    };
    let surprise = (!as_expected).then(|| {
        let expected = match planned.expected {
            Expected::Reached => "reached".to_owned(),
            Expected::Denied(reason) => format!("denied ({})", reason.description()),
        };
        format!("{} ({}): expected {expected}, found {outcome:?}", planned.target, planned.subject)
    });
    Finding { part: planned.part, denied, surprise }
}

/// A finding of its own: the kernel denied what it had to, for the right reasons and no others.
fn counted(expected: &Counters, counted: &Counters, what: &str) -> Finding {
    // More than one packet for a probe is a packet that a busy machine has sent again.
    let surprise = (!counted.covers(expected))
        .then(|| format!("{what}: the kernel denied {counted}, expected {expected}"));
    Finding { part: Part::Count, denied: true, surprise }
}
