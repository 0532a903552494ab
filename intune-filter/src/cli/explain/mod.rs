//! Implements `explain CLIENT DST`: shows whether a client may reach a destination, and the reason.

use std::{io, net::IpAddr, path::Path};

use intune_filter_ebpf::abi::{Matched, Reason};

mod arrival;
mod judge;
mod live;
mod offline;
mod packet;
mod report;

use judge::Judge;
use live::Pinned;
use offline::Unloaded;
use report::{DestinationReport, Judgement};

use super::{
    args::Global,
    context,
    destination::{Destination, Target},
    error::{ExitStatus, Failure},
    match_name, output, service_view,
};
use crate::{kernel::Pins, policy::over_https, report::PatternOf};

/// Opens the pins, if there are any and they may be read.
fn open(pin_directory: &Path) -> anyhow::Result<Option<Pins>> {
    Pins::open(pin_directory).or_else(|error| {
        let denied = error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if !denied {
            return Err(error);
        }
        log::warn!("what is enforced can be seen by root alone; judging by the policy");
        Ok(None)
    })
}

/// Runs the command.
pub(super) fn run(
    global: &Global,
    client: IpAddr,
    destination: &Destination,
    on: Option<&str>,
) -> Result<(ExitStatus, String), Failure> {
    if let Target::Address(address) = destination.host
        && address.is_ipv4() != client.is_ipv4()
    {
        let message = format!("{client} and {address} are not of one address family");
        return Err(Failure::Usage(message));
    }
    let (config, paths) = context::lenient(global);
    let loaded = match open(&paths.pin_dir)? {
        Some(pins) if pins.active()?.generation != 0 => Some(pins),
        _ => None,
    };
    if loaded.is_none() {
        // The configuration judges instead: it has to be valid, or absent.
        context::optional_config(global)?;
    }
    let catalogue = context::catalogue(config.as_ref())?;
    let names = context::names(&paths);
    let by_kernel = loaded.is_some();
    let judge: Box<dyn Judge + '_> = match &loaded {
        Some(pins) => Box::new(Pinned::new(pins, &names, client, on)?),
        None => Box::new(Unloaded::new(config.as_ref(), &catalogue, client, on)?),
    };
    let services = match service_view::services(config.as_ref(), &catalogue) {
        // The program judges, and the patterns only explain: the catalogue's are better than none.
        Err(error) if by_kernel => {
            log::warn!("{error}");
            service_view::services(None, &catalogue)?
        }
        services => services?,
    };
    let matches = match &destination.host {
        Target::Name(name) => match_name::matches(&services, &catalogue, name),
        Target::Address(_) => Vec::new(),
    };
    let (port, protocol) = (destination.port, destination.protocol);
    let mut judgements = Vec::new();
    for address in judge.addresses(&destination.host)? {
        judgements.push(judge.judge(address, port, protocol)?);
    }
    if judgements.is_empty() {
        let mut rules: Vec<String> = matches.iter().flat_map(|one| one.rules.clone()).collect();
        if let (true, Target::Name(name)) = (by_kernel, &destination.host) {
            rules.extend(names.of_target(name).flat_map(|(_, one)| one.rules.iter().cloned()));
        }
        let mut predicted = judge.predict(&rules, port, protocol)?;
        if predicted.reason == Reason::DnsUnlisted
            && let Target::Name(name) = &destination.host
            && over_https::has(name)
        {
            predicted.reason = Reason::DnsOverHttps;
        }
        // The future verdict would rest on the pattern.
        if predicted.matched == Matched::Name {
            let with_rule = matches
                .iter()
                .find(|one| predicted.rule.as_ref().is_some_and(|rule| one.rules.contains(rule)));
            predicted.value = with_rule.map(|one| one.pattern.to_string());
        }
        judgements.push(predicted);
    }
    let answer = DestinationReport {
        client,
        destination: destination.clone(),
        by_kernel,
        edition: catalogue.edition().name.clone(),
        sources: Vec::new(),
        patterns: matches
            .into_iter()
            .map(|one| PatternOf {
                id: one.id,
                pattern: one.pattern.to_string(),
                sources: one.sources,
            })
            .collect(),
        judgements,
    };
    let sources = answer.overall().and_then(|one| {
        let rule = one.rule.as_deref().filter(|_| !one.denies())?;
        Some(service_view::sources(&catalogue, rule, one.value.as_deref()))
    });
    let answer = DestinationReport { sources: sources.unwrap_or_default(), ..answer };
    let denied = answer.overall().is_none_or(Judgement::denies);
    let text = if global.json { output::json(&answer.to_json())? } else { answer.to_text() };
    Ok((if denied { ExitStatus::No } else { ExitStatus::Yes }, text))
}
