//! Implements `check [FILE]`: checks a configuration on this machine, and summarises its policy.

use std::path::Path;

use super::{
    args::Global,
    context, edition_change, environment,
    error::{ExitStatus, Failure},
    output, unjudged,
};
use crate::{
    attacks::OpenAttacks,
    config::{Config, Finding, Severity, check_environment, writable_by_others},
    control::Client,
    kernel::{PinDirectory, Pins, named_snapshot},
    policy::{self, RuleBits, summarize},
    report::{Checked, OnLinkPrefix, SCHEMA},
};

/// Runs the command.
pub(super) fn run(global: &Global, file: Option<&Path>) -> Result<(ExitStatus, String), Failure> {
    let path = file.map_or_else(|| context::config_path(global), Path::to_owned);
    let adjust = |paths: &mut crate::config::Paths| *paths = global.paths(paths);
    // The bits of the policy in force decide which bits are free.
    let bits = previous_bits(global);
    let mut loaded = policy::load(&path, adjust, &bits)?;
    let facts = environment::gather(&loaded.config)?;
    let findings = check_environment(&loaded.config, &facts.environment);
    let (errors, mut warnings): (Vec<Finding>, Vec<Finding>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Error);
    if !errors.is_empty() {
        let errors = errors.into_iter().map(|finding| finding.error).collect();
        return Err(loaded.config.errors(errors).into());
    }
    // The policy warns of the configuration's own contents; the findings add the machine's.
    let said = |finding: &Finding| loaded.policy.warnings.contains(&finding.error);
    warnings.retain(|finding| !said(finding));
    let open_attacks = OpenAttacks::find(&loaded.config, &loaded.policy, &facts.environment);
    // An attack says who can do what the warning of its key is about.
    loaded.policy.warnings.retain(|warning| !open_attacks.tell_of(&warning.key));
    let mut summary = summarize(&loaded.config, &loaded.policy, facts.cpus);
    summary.warnings.extend(warnings.iter().map(|finding| finding.error.to_string()));
    summary.warnings.extend(facts.notes);
    summary.warnings.extend(writable_by_others(&path));
    summary.warnings.extend(open_gate(&loaded.config)?);
    let catalogue = edition_change::checked(&loaded);
    summary.warnings.extend(catalogue.status.warning());
    let on_link = loaded.config.told(&facts.environment.on_link);
    let text = if global.json {
        output::json(&Checked { schema: SCHEMA, summary, catalogue, on_link, open_attacks })?
    } else {
        let (configuration, here) = (summary.defaults(), on_link_text(&on_link));
        let catalogue = edition_change::text(&catalogue, global.verbose > 0);
        format!(
            "{}: valid\n\n{summary}\n{catalogue}{here}{open_attacks}\n{configuration}",
            path.display()
        )
    };
    Ok((ExitStatus::Yes, text))
}

/// Lists what is on-link, with its groups.
fn on_link_text(on_link: &[OnLinkPrefix]) -> String {
    if on_link.is_empty() {
        return String::new();
    }
    let line = |prefix: &OnLinkPrefix| {
        let OnLinkPrefix { zone, network, groups } = prefix;
        let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
        format!("  {network} on {zone}: {groups}\n")
    };
    format!("On-link now\n{}\n", on_link.iter().map(line).collect::<String>())
}

/// Returns a warning if `boot: closed` does not keep out traffic that it should.
fn open_gate(config: &Config) -> anyhow::Result<Option<String>> {
    let pins = Pins::open(&config.paths.pin_dir)?;
    let directory = PinDirectory::new(&config.paths.pin_dir);
    let snapshot = named_snapshot(&directory, &config.interface_names())?;
    let gate = unjudged::gate(config, pins.as_ref(), &snapshot)?;
    let daemon_runs = Client::connect(&config.paths.runtime_dir).is_some();
    Ok(gate.and_then(|gate| unjudged::open(&gate, daemon_runs)))
}

fn previous_bits(global: &Global) -> RuleBits {
    let paths = context::quiet_paths(global);
    match Pins::open(&paths.pin_dir) {
        Ok(Some(pins)) => crate::daemon::reload::previous_bits(&pins).unwrap_or_default(),
        _ => RuleBits::new(),
    }
}
