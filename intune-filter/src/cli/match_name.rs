//! Implements `match NAME`: lists the services whose patterns match a name.

use std::collections::BTreeMap;

use super::{
    args::Global,
    error::{ExitStatus, Failure},
    output, service_view, subject,
};
use crate::{
    catalogue::Catalogue,
    pattern::Pattern,
    ports::{self, PerProtocol},
    report::{CatalogueService, Match, Matches, SCHEMA},
};

/// Runs the command.
pub(super) fn run(global: &Global, name: &str) -> Result<(ExitStatus, String), Failure> {
    let subject = subject::find(global)?;
    let catalogue = subject.catalogue();
    let services = service_view::services(subject.config(), catalogue)?;
    let answer = Matches {
        schema: SCHEMA,
        name: name.to_owned(),
        judged: subject.judged,
        edition: catalogue.edition().name.clone(),
        services: matches(&services, catalogue, name),
    };
    let outcome = if answer.services.is_empty() { ExitStatus::No } else { ExitStatus::Yes };
    let text = if global.json {
        output::json(&answer)?
    } else if answer.services.is_empty() {
        format!(
            "no service has a pattern that matches {name} (edition {}, {})\n",
            answer.edition,
            answer.judged.of()
        )
    } else {
        let row = |one: &Match| {
            let ports = ports::text(&one.ports);
            [one.id.clone(), one.pattern.to_string(), ports, one.sources.join("; ")]
        };
        let rows: Vec<[String; 4]> = answer.services.iter().map(row).collect();
        let table = output::table(["SERVICE", "PATTERN", "PORTS", "SOURCE"], &rows);
        format!("edition {}, {}\n{table}", answer.edition, answer.judged.of())
    };
    Ok((outcome, text))
}

/// Returns every matching pattern, by service.
#[must_use]
pub(super) fn matches(
    services: &[CatalogueService],
    catalogue: &Catalogue,
    name: &str,
) -> Vec<Match> {
    let mut found = Vec::new();
    for service in services {
        let mut patterns: BTreeMap<&Pattern, Match> = BTreeMap::new();
        for rule in &service.rules {
            for pattern in rule.fqdns.iter().filter(|pattern| pattern.matches(name)) {
                let one = patterns.entry(pattern).or_insert_with(|| Match {
                    id: service.id.clone(),
                    pattern: pattern.clone(),
                    ports: PerProtocol::default(),
                    rules: Vec::new(),
                    sources: Vec::new(),
                });
                for (protocol, ports) in rule.ports.iter() {
                    one.ports[protocol].extend(ports);
                }
                for source in service_view::sources(catalogue, &rule.id, Some(pattern.as_str())) {
                    if !one.sources.contains(&source) {
                        one.sources.push(source);
                    }
                }
                one.rules.push(rule.id.clone());
            }
        }
        found.extend(patterns.into_values());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOGUE: &str = r#"
services:
  - id: apple
    title: Apple
    source: {document: D, section: S}
    default: true
    rules:
      - {id: store, fqdns: ["*.apple.example", both.apple.example], tcp: [80]}
      - {id: push, fqdns: [both.apple.example], tcp: [443, "5223-5224"]}
"#;

    #[test]
    fn a_pattern_has_the_ports_of_its_own_rules_alone() {
        let catalogue = Catalogue::parse([("c", CATALOGUE)]).unwrap();
        let services = service_view::services(None, &catalogue).unwrap();
        let json =
            serde_json::to_value(matches(&services, &catalogue, "Both.Apple.Example")).unwrap();
        assert_eq!(
            json,
            serde_json::json!([
                {"id": "apple", "pattern": "*.apple.example", "tcp": ["80"], "udp": [],
                 "rules": ["apple/store"], "sources": ["D, S"]},
                {"id": "apple", "pattern": "both.apple.example",
                 "tcp": ["80", "443", "5223-5224"], "udp": [],
                 "rules": ["apple/store", "apple/push"], "sources": ["D, S"]},
            ])
        );
        assert!(matches(&services, &catalogue, "apple.example").is_empty());
    }
}
