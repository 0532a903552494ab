//! Answers questions about a configuration that the attacks depend on.

use std::collections::BTreeMap;

use crate::{
    config::{ClientGroup, Config, Environment, GroupMode, Zone},
    policy::{Policy, Rule, Service},
};

/// Configuration on a machine, with its policy.
pub(super) struct Site<'a> {
    pub(super) config: &'a Config,
    pub(super) policy: &'a Policy,
    pub(super) environment: &'a Environment,
}

/// Group with its place in the configuration.
#[derive(Clone, Copy)]
pub(super) struct GroupAt<'a> {
    pub(super) index: usize,
    pub(super) group: &'a ClientGroup,
}

impl GroupAt<'_> {
    /// Returns the key of one of the group's options.
    pub(super) fn key(self, option: &str) -> String {
        format!("clients[{}].{option}", self.index)
    }

    /// Whether other devices of its network can take the group's addresses.
    pub(super) const fn can_be_taken(self) -> bool {
        self.group.macs.is_empty()
    }

    pub(super) fn is_exempt(self) -> bool {
        self.group.mode == GroupMode::Exempt
    }
}

impl<'a> Site<'a> {
    /// Returns the groups for which `chosen` holds.
    pub(super) fn groups(&self, chosen: impl Fn(GroupAt<'a>) -> bool) -> Vec<GroupAt<'a>> {
        let all = self.config.clients.iter().enumerate();
        all.map(|(index, group)| GroupAt { index, group }).filter(|at| chosen(*at)).collect()
    }

    /// Returns the names of the zones of some groups.
    pub(super) fn zones_of(&self, groups: &[GroupAt<'a>]) -> String {
        let mut zones: Vec<Zone> =
            groups.iter().flat_map(|at| self.config.zones_of(at.group)).collect();
        zones.sort_by_key(|zone| zone.number);
        zones.dedup();
        listed(zones)
    }

    /// Returns the names of all zones.
    pub(super) fn zones(&self) -> String {
        listed(self.config.zones())
    }

    /// Returns the rules of a group.
    pub(super) fn rules(&self, at: GroupAt<'a>) -> impl Iterator<Item = &'a Rule> {
        let group = self.policy.groups.get(at.index);
        self.policy.rules_of(group.map(|group| group.rules).unwrap_or_default())
    }

    /// Whether a group may reach something that another may not.
    pub(super) fn reaches_more(&self, one: GroupAt<'a>, other: GroupAt<'a>) -> bool {
        if one.group.mode != GroupMode::Enforce {
            return other.group.mode == GroupMode::Enforce;
        }
        let others: Vec<_> = self.rules(other).map(|rule| &rule.id).collect();
        other.group.mode == GroupMode::Enforce
            && self.rules(one).any(|rule| !others.contains(&&rule.id))
    }

    /// Whether a group has a rule of which this holds.
    pub(super) fn has_rule(&self, at: GroupAt<'a>, of: impl Fn(&Rule) -> bool) -> bool {
        self.rules(at).any(of)
    }

    /// Returns a line for each set of services of which this holds, with the groups that have it.
    pub(super) fn by_services(&self, chosen: impl Fn(&Service) -> bool) -> Vec<String> {
        let mut groups: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
        for at in self.groups(|at| !at.is_exempt()) {
            let has = |service: &&Service| {
                chosen(service) && self.has_rule(at, |rule| rule.id.service == service.id)
            };
            let services: Vec<&str> =
                self.policy.services.iter().filter(has).map(|service| &*service.id).collect();
            if !services.is_empty() {
                groups.entry(services).or_default().push(&at.group.name);
            }
        }
        let line = |(services, groups): (Vec<&str>, Vec<&str>)| {
            format!("clients of {}, by {}", groups.join(", "), services.join(", "))
        };
        groups.into_iter().map(line).collect()
    }
}

/// Returns the names of groups.
pub(super) fn names(groups: &[GroupAt<'_>]) -> String {
    listed(groups.iter().map(|at| &at.group.name))
}

/// Returns texts with commas between them.
pub(super) fn listed(all: impl IntoIterator<Item = impl ToString>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// Whether a rule has a pattern that is more than one name.
pub(super) fn has_wildcard(rule: &Rule) -> bool {
    rule.fqdns.iter().any(|pattern| pattern.as_str().contains('*'))
}
