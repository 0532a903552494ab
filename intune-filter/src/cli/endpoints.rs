//! `endpoints`: the catalogue as this site has it.

use std::{collections::BTreeSet, fmt::Write as _};

use ipnet::IpNet;
use serde::Serialize;

use super::{
    args::Global,
    context,
    error::{Failure, Outcome},
    output,
    service_view::{self, Service},
};
use crate::{pattern::Pattern, ports::PortRange};

/// A service with the destinations and ports of all its rules, and the rules.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    fqdns: BTreeSet<&'a Pattern>,
    cidrs: BTreeSet<IpNet>,
    tcp: BTreeSet<PortRange>,
    udp: BTreeSet<PortRange>,
    #[serde(flatten)]
    service: &'a Service,
}

/// Runs `endpoints list`.
pub fn list(global: &Global) -> Result<(Outcome, String), Failure> {
    let config = context::optional_config(global)?;
    let paths = config.as_ref().map(|config| config.paths.clone()).unwrap_or_default();
    let services = service_view::services(config.as_ref(), &*context::catalogue(&paths)?)?;
    let text = if global.json {
        let entries: Vec<Entry<'_>> = services
            .iter()
            .map(|service| Entry {
                fqdns: service.fqdns(),
                cidrs: service.cidrs(),
                tcp: service.tcp(),
                udp: service.udp(),
                service,
            })
            .collect();
        output::json(&entries)?
    } else {
        text(&services)
    };
    Ok((Outcome::Yes, text))
}

fn text(services: &[Service]) -> String {
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
            let tcp = rule.tcp.iter().copied().collect();
            let udp = rule.udp.iter().copied().collect();
            let _ = writeln!(text, "  {}: {}", rule.id, service_view::ports(&tcp, &udp));
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
