//! Finds a change of the configuration that allows a denied destination, and proves it by judging again.

use intune_filter_ebpf::abi::Reason;

use super::{
    fix::Fix,
    fragment::fragment,
    lookup::Lookup,
    nearest::{Near, Wanted, near},
    report::{DestinationReport, Judgement, Teaching},
    verdicts::{Question, explain},
};
use crate::{
    cli::{
        destination::{Protocol, Target},
        subject::Subject,
    },
    config::Config,
    daemon::reload::previous_bits,
    names::Names,
    policy::{self, Loaded, RuleBits, compile},
    report::{Judged, Remedy},
};

/// Changes one after the other at most.
const STEPS: usize = 4;

/// Names and answers that a destination is judged with.
pub(super) struct Known<'a> {
    /// Names that led to learned addresses.
    pub names: &'a Names,
    /// Answers of the resolvers.
    pub lookup: &'a mut Option<Lookup>,
}

/// Finds the nearest service and the remedy of a report, and writes them there.
pub(super) fn find(
    subject: &Subject,
    known: &mut Known<'_>,
    question: &Question<'_>,
    report: &mut DestinationReport,
) {
    let Some(loaded) = subject.loaded.as_ref().filter(|_| subject.is_configured) else { return };
    let Some(denied) = report.overall().filter(|one| one.policy_denies()) else { return };
    report.nearest =
        nearest(loaded, question, report, denied).into_iter().next().map(|one| one.nearest);
    match remedy(subject, loaded, known, question, report) {
        Ok(remedy) => report.remedy = remedy,
        Err(error) => log::debug!("no remedy was found: {error:#}"),
    }
}

/// Returns the services near to a denied destination, if it is denied for want of a rule.
fn nearest(
    loaded: &Loaded,
    question: &Question<'_>,
    report: &DestinationReport,
    denied: &Judgement,
) -> Vec<Near> {
    let Some(group) = denied.group.as_deref().filter(|_| is_for_want_of_a_rule(denied.reason))
    else {
        return Vec::new();
    };
    let names = report.name.iter().flat_map(|names| names.split(", ")).map(str::to_owned);
    let mut targets: Vec<Target> = names.map(Target::Name).collect();
    if let Target::Address(address) = question.destination.host {
        targets.push(Target::Address(address));
    }
    targets.extend(denied.address.map(Target::Address));
    let (port, protocol) = (question.destination.port, question.destination.protocol);
    near(&loaded.config, &loaded.catalogue, &Wanted { targets, port, protocol, group })
}

const fn is_for_want_of_a_rule(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Destination
            | Reason::Service
            | Reason::Port
            | Reason::Expired
            | Reason::DnsUnlisted
            | Reason::DnsOverHttps
            | Reason::DnsOverTls
    )
}

/// Changes the configuration step by step, and judges after each, until nothing denies.
fn remedy(
    subject: &Subject,
    loaded: &Loaded,
    known: &mut Known<'_>,
    question: &Question<'_>,
    report: &DestinationReport,
) -> anyhow::Result<Option<Remedy>> {
    let bits = subject.pins.as_ref().map_or_else(|| Ok(RuleBits::new()), previous_bits)?;
    let mut current = report.clone();
    let mut config = loaded.config.clone();
    for _ in 0..STEPS {
        let Some(denied) = current.overall().filter(|one| one.policy_denies()).cloned() else {
            break;
        };
        let mut better = None;
        for fixes in candidates(loaded, question, &current, &denied, &config) {
            let mut next = config.clone();
            if fixes.iter().try_for_each(|fix| fix.apply(&mut next)).is_none() {
                continue;
            }
            let Some(judged) = judge_again(subject, loaded, known, question, &next, &bits) else {
                continue;
            };
            let after = judged.overall().filter(|one| one.policy_denies());
            match after {
                None => return proven(&loaded.config, &next),
                // A step on the way: something else denies now.
                Some(after) if better.is_none() && is_elsewhere(&denied, after) => {
                    better = Some((next, judged));
                }
                Some(_) => {}
            }
        }
        let Some((next, judged)) = better else { break };
        (config, current) = (next, judged);
    }
    Ok(None)
}

fn is_elsewhere(before: &Judgement, after: &Judgement) -> bool {
    (before.deciding(), before.address) != (after.deciding(), after.address)
}

fn judge_again(
    subject: &Subject,
    loaded: &Loaded,
    known: &mut Known<'_>,
    question: &Question<'_>,
    config: &Config,
    bits: &RuleBits,
) -> Option<DestinationReport> {
    let policy = compile(config, &loaded.catalogue, bits).ok()?;
    let changed = Loaded { config: config.clone(), policy, ..loaded.clone() };
    let subject = Subject {
        judged: Judged::File,
        loaded: Some(changed),
        is_configured: true,
        pins: subject.pins.clone(),
        paths: subject.paths.clone(),
        notes: Vec::new(),
    };
    explain(&subject, known.names, question, known.lookup).ok()
}

/// Prints a remedy, if `check` accepts what is printed.
fn proven(before: &Config, after: &Config) -> anyhow::Result<Option<Remedy>> {
    let configuration = serde_yaml::to_string(after)?;
    let checked = policy::load_text("the remedy", &configuration, |_| {}, &RuleBits::new());
    Ok(match checked {
        Ok(_) => Some(Remedy { yaml: fragment(before, after)?, configuration }),
        Err(errors) => {
            log::debug!("{errors}");
            None
        }
    })
}

/// Returns changes that may help against a denial, each as a list that belongs together; the least first.
fn candidates(
    loaded: &Loaded,
    question: &Question<'_>,
    report: &DestinationReport,
    denied: &Judgement,
    config: &Config,
) -> Vec<Vec<Fix>> {
    let (port, protocol) = (question.destination.port, question.destination.protocol);
    let group = denied.group.clone();
    let deciding = denied.deciding();
    if !denied.reason.denies()
        && let Some(there) = &denied.arrival
        && let (Some(group), Protocol::Transport(protocol)) = (there.group.clone(), protocol)
    {
        return vec![vec![Fix::Inbound { group, from: question.client, port, protocol }]];
    }
    let mut all = Vec::new();
    match (deciding, group) {
        (Reason::UnlistedClient, _) => {
            let groups = config.clients.iter();
            let in_group = |group: String| vec![Fix::Client { group, address: question.client }];
            all.extend(groups.map(|group| in_group(group.name.clone())));
        }
        (Reason::Resolver, _) => {
            let address = match question.destination.host {
                Target::Address(address) => Some(address),
                Target::Name(_) => denied.address,
            };
            all.extend(address.map(|address| vec![Fix::Resolver(address)]));
        }
        (Reason::Icmp, _) => all.push(vec![Fix::Echo]),
        (reason, Some(group)) if is_for_want_of_a_rule(reason) => {
            if denied.teaching == Some(Teaching::Refused) {
                let every =
                    report.judgements.iter().filter(|one| one.teaching == Some(Teaching::Refused));
                let addresses = every.filter_map(|one| one.address);
                all.push(addresses.map(Fix::Private).collect());
            }
            let near = nearest(loaded, question, report, denied).into_iter();
            all.extend(near.map(|near| near.fixes).filter(|fixes| !fixes.is_empty()));
            let own = |target| vec![Fix::Own { group: group.clone(), target, port, protocol }];
            all.push(own(question.destination.host.clone()));
        }
        _ => {}
    }
    all
}
