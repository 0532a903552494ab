//! Checks what a site takes of the catalogue, and the patterns of its own services.

use super::Config;
use crate::{catalogue::Cloud, pattern::broad, yaml::FileError};

/// Returns the faults of what a site takes of the catalogue, and of patterns in its own services.
pub(super) fn faults(config: &Config) -> Vec<FileError> {
    let choice = &config.choice;
    let mut faults = Vec::new();
    for (at, domain) in choice.domains.iter().enumerate() {
        if !domain.contains('.') {
            let message = format!("{domain:?} is no domain, expected one such as contoso.com");
            faults.push(config.error(format!("domains[{at}]"), message));
        }
    }
    if choice.gcc && choice.cloud != Cloud::Worldwide {
        let message = format!(
            "GCC is in the cloud worldwide, expected that cloud in place of {}",
            choice.cloud
        );
        faults.push(config.error("gcc", message));
    }
    for (index, service) in config.services.iter().enumerate().filter(|(_, one)| !one.allow_broad) {
        let key = format!("services[{index}]");
        let rules = service.rules.iter().enumerate();
        let rules = rules.map(|(at, rule)| (format!("{key}.rules[{at}]"), &rule.parts));
        for (key, parts) in rules.chain([(key.clone(), &service.parts)]) {
            for (at, pattern) in parts.fqdns.iter().flatten().enumerate() {
                let Some(why) = broad(pattern) else { continue };
                let message = format!(
                    "{pattern} is over-broad: {why}; expected names, or allow_broad: true in the \
                     service"
                );
                faults.push(config.error(format!("{key}.fqdns[{at}]"), message));
            }
        }
    }
    faults
}
