//! Judges a destination: the query for its name, and a first packet to each of its addresses.

use std::net::IpAddr;

use intune_filter_ebpf::abi::{Matched, RuleMask};

use super::{
    judge::Judge,
    lookup::{self, Lookup},
    report::{DestinationReport, Judgement, Teaching},
};
use crate::{
    cli::{
        destination::{Destination, Target},
        error::Failure,
        match_name, service_view,
        subject::Subject,
    },
    kernel::Pins,
    names::{Names, resolution::Kind},
    report::{Judged, PatternOf},
    simulation::{Simulation, Site},
};

/// Packet to explain, and how.
pub(in crate::cli) struct Question<'a> {
    /// Address of the client.
    pub client: IpAddr,
    /// Destination with port and protocol.
    pub destination: &'a Destination,
    /// Interface, or `INTERFACE.VLAN`, of the client.
    pub on: Option<&'a str>,
    /// Whether the exit code follows the policy, without audit and warm-up.
    pub strict: bool,
    /// Whether the resolvers are not asked for a name.
    pub no_dns: bool,
}

/// Judges a destination. The resolvers are asked once: `lookup` keeps their answers.
pub(super) fn explain(
    subject: &Subject,
    names: &Names,
    question: &Question<'_>,
    lookup: &mut Option<Lookup>,
) -> Result<DestinationReport, Failure> {
    let mut judge = judge_of(subject, names, question)?;
    let (port, protocol) = (question.destination.port, question.destination.protocol);
    let mut notes = subject.notes.clone();
    if judge.needs_mac() {
        notes.push(format!(
            "the group lists hardware addresses, and that of {} is not known: none of these is taken",
            question.client
        ));
    }
    let mut query = None;
    let mut judgements = Vec::new();
    match &question.destination.host {
        Target::Address(address) => {
            let addresses = judge.reached_as(*address);
            if addresses.is_empty() {
                let client = question.client;
                let message = format!("{client} and {address} are not of one address family");
                return Err(Failure::Usage(message));
            }
            judge.prepare(&addresses)?;
            for address in addresses {
                judgements.push(judge.judge(address, port, protocol, true)?);
            }
        }
        Target::Name(name) => {
            query =
                judge.query(name, if question.client.is_ipv4() { Kind::A } else { Kind::Aaaa })?;
            judgements = of_name(&mut judge, name, question, lookup, &mut notes)?;
        }
    }
    let catalogue = subject.catalogue();
    let services = match service_view::services(subject.config(), catalogue) {
        // The maps judge, and the patterns only explain: the catalogue's are better than none.
        Err(error) if subject.judged == Judged::InForce => {
            log::warn!("{error}");
            service_view::services(None, catalogue)?
        }
        services => services?,
    };
    let matches = match &question.destination.host {
        Target::Name(name) => match_name::matches(&services, catalogue, name),
        Target::Address(_) => Vec::new(),
    };
    // The future verdict would rest on the pattern.
    for one in judgements.iter_mut().filter(|one| one.address.is_none()) {
        if one.matched == Matched::Name {
            let has = |rules: &[String]| one.rule.as_ref().is_some_and(|rule| rules.contains(rule));
            let with_rule = matches.iter().find(|found| has(&found.rules));
            one.value = with_rule.map(|found| found.pattern.to_string());
        }
    }
    let name = match &question.destination.host {
        Target::Name(name) => Some(name.clone()),
        Target::Address(address) => {
            let names = judge.names_of(*address);
            (!names.is_empty()).then(|| names.join(", "))
        }
    };
    let mut report = DestinationReport {
        client: question.client,
        destination: question.destination.clone(),
        judged: subject.judged,
        edition: catalogue.edition().name.clone(),
        name,
        sources: Vec::new(),
        patterns: matches
            .into_iter()
            .map(|one| PatternOf {
                id: one.id,
                pattern: one.pattern.to_string(),
                sources: one.sources,
            })
            .collect(),
        nearest: None,
        remedy: None,
        notes,
        query,
        judgements,
    };
    let sources = report.overall().and_then(|one| {
        let rule = one.rule.as_deref().filter(|_| !one.policy_denies())?;
        Some(service_view::sources(catalogue, rule, one.value.as_deref()))
    });
    report.sources = sources.unwrap_or_default();
    Ok(report)
}

/// Returns the subject's policy at its site, the pins if the loaded program judges, and the rules that
/// learned addresses keep.
pub(super) fn simulation_of(
    subject: &Subject,
) -> Result<(Simulation, Option<&Pins>, RuleMask), Failure> {
    let pins = subject.pins.as_ref();
    Ok(match (subject.judged, pins, &subject.loaded) {
        (Judged::InForce, Some(pins), _) => {
            (Simulation::in_force(pins)?, Some(pins), RuleMask::ALL)
        }
        (_, pins, Some(loaded)) => {
            let site = pins.map_or(Site::Elsewhere, Site::Here);
            let simulation = Simulation::of_policy(&loaded.config, &loaded.policy, &site)?;
            (simulation, None, !(loaded.policy.freed | loaded.policy.reused))
        }
        _ => return Err(anyhow::anyhow!("there is no policy to judge by").into()),
    })
}

/// Returns the judge of a client under the subject's policy.
fn judge_of<'a>(
    subject: &'a Subject,
    names: &'a Names,
    question: &Question<'_>,
) -> Result<Judge<'a>, Failure> {
    let (simulation, kernel, kept) = simulation_of(subject)?;
    let learned = subject.pins.as_ref().map(|pins| (pins, kept));
    Ok(Judge::new(simulation, kernel, learned, names, question.client, question.on)?)
}

/// Judges the addresses of a name: those that are known, and those that the next answers have.
fn of_name(
    judge: &mut Judge<'_>,
    name: &str,
    question: &Question<'_>,
    lookup: &mut Option<Lookup>,
    notes: &mut Vec<String>,
) -> Result<Vec<Judgement>, Failure> {
    let (port, protocol) = (question.destination.port, question.destination.protocol);
    let rules = judge.rules_of_name(name);
    let known = judge.known(name)?;
    judge.prepare(&known)?;
    let mut judgements: Vec<Judgement> = Vec::new();
    for address in &known {
        let judged = judge.judge(*address, port, protocol, true)?;
        judgements.push(Judgement { teaching: Some(Teaching::Learned), ..judged });
    }
    // What no rule has is asked for in vain.
    if !question.no_dns && !rules.is_empty() && lookup.is_none() {
        let nat64 = !judge.simulation.nat64.prefixes().is_empty();
        let kinds: &[Kind] = match question.client {
            IpAddr::V4(_) => &[Kind::A],
            IpAddr::V6(_) if nat64 => &[Kind::Aaaa, Kind::A],
            IpAddr::V6(_) => &[Kind::Aaaa],
        };
        *lookup = Some(lookup::ask(&judge.simulation.resolvers(), name, kinds));
    }
    let found = lookup.clone().unwrap_or_default();
    if found.is_nowhere {
        notes.push(format!("the resolver says that there is no {name}"));
    }
    for failure in &found.failures {
        notes
            .push(format!("no resolver has answered, so that only the rules are known: {failure}"));
    }
    let taught = judge.taught(name, &found.messages);
    for (address, rules, expires) in taught.learned {
        for reached in judge.reached_as(address) {
            if known.contains(&reached) {
                continue;
            }
            judge.prepare(&[reached])?;
            judge.teach(address, rules, expires);
            let judged = judge.judge(reached, port, protocol, false)?;
            judgements.push(Judgement { teaching: Some(Teaching::Answered), ..judged });
        }
    }
    for address in taught.refused {
        for reached in judge.reached_as(address) {
            judge.prepare(&[reached])?;
            let judged = judge.judge(reached, port, protocol, true)?;
            judgements.push(Judgement { teaching: Some(Teaching::Refused), ..judged });
        }
    }
    if taught.is_cut || judgements.is_empty() {
        // In place of an address that is not known.
        let any = judge.any_destination();
        judge.prepare(&[any])?;
        if !taught.is_cut {
            judge.teach(any, rules, u64::MAX);
        }
        let judged = judge.judge(any, port, protocol, false)?;
        let teaching = taught.is_cut.then_some(Teaching::Cut);
        judgements.push(Judgement { address: None, teaching, ..judged });
    }
    Ok(judgements)
}
