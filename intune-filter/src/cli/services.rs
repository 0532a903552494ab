//! Implements `services`: shows the traffic of the services in force.

use std::collections::BTreeMap;

use intune_filter_ebpf::abi::RuleCounter;

use super::{
    args::Global,
    context,
    error::{ExitStatus, Failure},
    output,
};
use crate::{kernel::Pins, report::ServiceTraffic};

/// Runs the command.
pub(super) fn run(global: &Global) -> Result<(ExitStatus, String), Failure> {
    let paths = context::paths(global);
    let traffic = match Pins::open(&paths.pin_dir)? {
        Some(pins) => sum(pins.rules()?, &pins.rule_counters()?),
        None => Vec::new(),
    };
    let text = if global.json {
        output::json(&traffic)?
    } else if traffic.is_empty() {
        format!("nothing is enforced: no policy is pinned in {}\n", paths.pin_dir.display())
    } else {
        let rows: Vec<[String; 6]> = traffic
            .iter()
            .map(|service| {
                [
                    service.id.clone(),
                    service.packets.to_string(),
                    output::octets(service.bytes),
                    service.flows.to_string(),
                    service.denied.to_string(),
                    service.audited.to_string(),
                ]
            })
            .collect();
        output::table(["SERVICE", "PACKETS", "BYTES", "FLOWS", "DENIED", "AUDITED"], &rows)
    };
    Ok((ExitStatus::Yes, text))
}

fn sum(rules: Vec<Option<String>>, counters: &[RuleCounter]) -> Vec<ServiceTraffic> {
    let mut services: BTreeMap<String, ServiceTraffic> = BTreeMap::new();
    for (rule, counter) in rules.into_iter().zip(counters) {
        let Some(rule) = rule else { continue };
        let id = service_of(&rule).to_owned();
        let service = services.entry(id.clone()).or_default();
        service.id = id;
        service.packets += counter.packets;
        service.bytes += counter.bytes;
        service.flows += counter.flows;
        service.denied += counter.denied;
        service.audited += counter.audited;
    }
    services.into_values().collect()
}

/// Returns the service of a rule's id, `SERVICE/RULE`.
#[must_use]
pub(super) fn service_of(rule: &str) -> &str {
    rule.split_once('/').map_or(rule, |(service, _)| service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_rules_are_summed_up() {
        let counter = |packets| RuleCounter { packets, bytes: 10, flows: 1, denied: 2, audited: 3 };
        let rules = vec![Some("apple/store".into()), None, Some("apple/push".into())];
        let traffic = sum(rules, &[counter(1), counter(100), counter(3)]);
        assert_eq!(traffic.len(), 1);
        let apple = &traffic[0];
        assert_eq!((apple.id.as_str(), apple.packets, apple.bytes), ("apple", 4, 20));
        assert_eq!((apple.flows, apple.denied, apple.audited), (2, 4, 6));
    }
}
