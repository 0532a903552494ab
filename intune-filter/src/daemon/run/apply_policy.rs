//! Puts a policy into force in the kernel, and hands it to everything that depends on it.

use anyhow::Result;

use super::state::Daemon;
use crate::{
    config::Config,
    daemon::{
        interfaces::{resolver_devices, zones_of},
        reload,
        ring_buffer::RingReports,
        setup::wanted,
    },
    policy::Policy,
    system::{clock, heap, netlink::Snapshot},
};

/// Flows and names that a policy has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    pub(super) flows_ended: usize,
    pub(super) names_forgotten: usize,
}

impl Daemon<'_> {
    /// Puts a policy into force; the caller attaches its interfaces afterwards. An error leaves the
    /// old policy.
    pub(super) fn apply(
        &mut self,
        config: &Config,
        mut policy: Policy,
        snapshot: &Snapshot,
    ) -> Result<Effects> {
        let warm_up = self.warm_up.under(config.warm_up, clock::boot_time());
        policy.settings.warm_up_until = warm_up.until();
        let linked = self.kernel.directory().linked_interfaces()?;
        let wanted = wanted(config, &policy);
        let zones = zones_of(&wanted, snapshot);
        self.kernel.add_resolver_devices(&resolver_devices(
            &config.dns.resolvers,
            &wanted,
            snapshot,
        ))?;
        // What was learned until now is read by the policy that it was learned by: flows may have been
        // opened by it.
        self.catch_up();
        let before = self.intake.learner.policy().clone();
        self.intake.learner.set_policy(policy.clone());
        self.intake.recorder.set_policy(&policy);
        let (kernel, events, state) = (&self.kernel, &mut self.events, &self.paths.state_dir);
        let mut reports = RingReports::during_change(events, &mut self.intake, kernel);
        let result = reload::apply(kernel, &policy, &zones, &mut reports, state);
        let ended = self.kernel.take_revoked();
        self.intake.recorder.revoked(&ended, self.intake.learner.names());
        let effects = match result {
            Ok(applied) => {
                self.generation = applied.generation;
                if let Some(error) = applied.unsaved {
                    log::warn!("{error:#}");
                }
                Effects { flows_ended: ended.len(), names_forgotten: applied.names_forgotten }
            }
            Err(error) => {
                self.intake.recorder.set_policy(&before);
                self.intake.learner.set_policy(before);
                self.kernel.set_zones(&self.reconciler.zones(snapshot))?;
                return Err(error);
            }
        };
        self.reconciler.want_resolvers(config.dns.resolvers.clone());
        let commands = self.reconciler.want(wanted, &linked);
        for command in commands {
            self.execute(command);
        }
        self.want_names(config);
        self.warm_up_is(warm_up);
        log::info!(
            "policy {} is in force: {} rules, {} groups",
            self.generation,
            policy.rules.len(),
            policy.groups.len()
        );
        for warning in &policy.warnings {
            log::warn!("{warning}");
        }
        heap::trim_heap();
        Ok(effects)
    }
}
