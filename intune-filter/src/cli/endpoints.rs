//! Implements `endpoints`: shows the catalogue with the site's overrides.

use std::fmt::Write as _;

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    output, service_view,
};
use crate::{
    ports::PerProtocol,
    report::{CatalogueService, Endpoints},
};

/// Runs `endpoints list`.
pub(super) fn list(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let config = context::optional_config(global)?;
    let catalogue = context::catalogue(config.as_ref())?;
    let services = service_view::services(config.as_ref(), &catalogue)?;
    let text = if global.json {
        let all: Vec<Endpoints> = services.into_iter().map(endpoints).collect();
        output::json(&all)?
    } else {
        text(&services)
    };
    Ok((ExitStatus::Yes, text))
}

/// Combines the destinations and ports of a service's rules, each once.
fn endpoints(service: CatalogueService) -> Endpoints {
    let rules = &service.rules;
    Endpoints {
        fqdns: rules.iter().flat_map(|rule| rule.fqdns.iter().cloned()).collect(),
        cidrs: rules.iter().flat_map(|rule| rule.cidrs.iter().copied()).collect(),
        ports: PerProtocol::from_fn(|protocol| {
            rules.iter().flat_map(|rule| rule.ports[protocol].iter().copied()).collect()
        }),
        service,
    }
}

fn text(services: &[CatalogueService]) -> String {
    let mut text = String::new();
    for service in services {
        let enabled = if service.enabled { "" } else { " (off)" };
        let _ = writeln!(text, "{}{enabled}: {}", service.id, service.title);
        let _ = writeln!(text, "  source: {}", service.source);
        if let Some(risk) = &service.risk {
            let _ = writeln!(text, "  risk: {risk}");
        }
        for note in &service.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        for rule in &service.rules {
            let _ = writeln!(text, "  {}: {}", rule.id, service_view::ports(&rule.ports));
            for fqdn in &rule.fqdns {
                let _ = writeln!(text, "    {fqdn}");
            }
            for cidr in &rule.cidrs {
                let _ = writeln!(text, "    {cidr}");
            }
            if rule.fqdns.is_empty() && rule.cidrs.is_empty() {
                let _ = writeln!(text, "    (the site has to name its networks)");
            }
        }
        text.push('\n');
    }
    text
}
