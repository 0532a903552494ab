//! Tells for `check` what a configuration takes of its catalogue, and what the default edition changes.

use std::{fmt::Write as _, time::SystemTime};

use super::changes;
use crate::{
    catalogue::{Catalogue, LATEST_WORD},
    config::Config,
    policy::{Difference, Loaded, Policy, RuleBits, Services, compile, difference, taken},
    report::{CatalogueChecked, CatalogueStatus, EditionChange},
};

/// Returns what a loaded configuration takes of its catalogue.
pub(super) fn checked(loaded: &Loaded) -> CatalogueChecked {
    let Loaded { config, catalogue, policy, .. } = loaded;
    let (services, _) = Services::of(config, catalogue);
    let is_default = config.paths.catalogue.is_none() && config.choice.edition == LATEST_WORD;
    CatalogueChecked {
        status: CatalogueStatus::of(catalogue, SystemTime::now()),
        taken: taken(config, catalogue, services.selector(), policy),
        change: is_default.then(|| change(config, policy)).flatten(),
    }
}

/// Compares the policy with that of the first edition.
fn change(config: &Config, policy: &Policy) -> Option<EditionChange> {
    let against = Catalogue::editions().next()?;
    let first = Catalogue::edition_named(against)?;
    let before = of_edition(config, first)?;
    let Difference { opens, closes, .. } = difference((config, &before), (config, policy));
    Some(EditionChange { against: against.to_owned(), opens, closes })
}

/// Compiles a configuration with an earlier edition, without what that does not know.
fn of_edition(config: &Config, edition: &Catalogue) -> Option<Policy> {
    let mut config = config.clone();
    config.choice.catalogue.observed.retain(|id| !edition.named(id).is_empty());
    let is_known = |id: &str| edition.resolve(id).is_some();
    // What overrides a service of the later edition alone is no service of the earlier one.
    config
        .services
        .retain(|site| is_known(&site.id) || Catalogue::builtin().named(&site.id).is_empty());
    let own: Vec<String> = config.services.iter().map(|site| site.id.clone()).collect();
    for group in &mut config.clients {
        group.services.retain(|name| is_known(name) || own.contains(name));
    }
    compile(&config, edition, &RuleBits::new()).ok()
}

/// Formats it for people; what opens and closes is listed if asked for.
pub(super) fn text(checked: &CatalogueChecked, lists: bool) -> String {
    let mut text = format!("Catalogue: {}\n{}", checked.status, checked.taken);
    if let Some(EditionChange { against, opens, closes }) = &checked.change {
        let destinations = |grants: &[crate::policy::Grant]| {
            let mut all: Vec<&str> =
                grants.iter().map(|grant| grant.destination.as_str()).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        let _ = writeln!(
            text,
            "  against edition {against}: opens {} names and networks or ports of these, closes {}{}",
            destinations(opens),
            destinations(closes),
            if lists { "" } else { " (-v lists some, --json all)" }
        );
        if !lists {
            return text + "\n";
        }
        let difference =
            Difference { opens: opens.clone(), closes: closes.clone(), settings: Vec::new() };
        for line in changes::changes(&difference, &[], 0, 0).lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text.push('\n');
    text
}
