//! Replaces the configuration in force: by a reload, by `apply`, and by a rollback.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{
    RunError, active_config::ActiveConfig, apply_policy::Effects, last_reload::LastReload, preview,
    state::Daemon,
};
use crate::{
    config::{Config, OtherVlan},
    daemon::{
        config_source::config_override::{ConfigOverride, Document},
        interfaces::cut_off,
        problems::Code,
        reload, setup,
    },
    policy::{self, Difference, Policy},
    report::{Changed, Confirmed, Origin, Preview, SCHEMA},
    system::netlink::Snapshot,
};

/// Result of a change of the configuration.
#[derive(Default)]
struct Change {
    changed: bool,
    difference: Difference,
    denied_vlans: Vec<OtherVlan>,
    effects: Effects,
}

impl Daemon<'_> {
    /// Loads the configuration file again. An error is logged, shown by `status` and returned, and
    /// changes nothing.
    pub(super) async fn reload(&mut self) -> Result<Changed, RunError> {
        let result = self.load_file().await;
        self.note_reload(LastReload::new(result.as_ref()));
        result
    }

    async fn load_file(&mut self) -> Result<Changed, RunError> {
        self.confirmation.may_reload(Instant::now()).map_err(anyhow::Error::msg)?;
        let document = self.source.read()?;
        if let Some(saved) = self.saved.as_ref().filter(|s| s.passes_over(&document.text)) {
            let (file, kept) = (&document.file, &saved.kept);
            let error = anyhow::anyhow!(
                "{file} has not changed since {} took its place: `intune-filter apply` loads it all \
                 the same",
                kept.file
            );
            if self.in_force.origin == Origin::LastGood && *kept == self.in_force.document {
                self.in_force.origin = Origin::Applied;
            }
            return Err(error.into());
        }
        let (next, policy) = self.compile(document, Origin::File)?;
        let change = self.take(next, policy).await?;
        // If this fails, the file still takes precedence, since it has changed.
        self.store_or_tell(None);
        self.keep_good();
        Ok(self.outcome(change, None))
    }

    /// Puts a configuration into force, for good or until `confirm_within` has passed without a
    /// confirmation. An error changes nothing.
    pub(super) async fn apply_document(
        &mut self,
        document: Document,
        confirm_within: Option<Duration>,
    ) -> Result<Changed, RunError> {
        let may = self.confirmation.may_apply(confirm_within.is_some(), Instant::now());
        may.map_err(anyhow::Error::msg)?;
        let origin = self.origin_of(&document);
        let (next, policy) = self.compile(document, origin)?;
        // An equivalent configuration needs no confirmation, unless the one in force waits for one.
        let is_same = self.in_force.is_same(&next);
        let waits = confirm_within.is_some() && (!is_same || self.confirmed.is_some());
        let confirm_within = confirm_within.filter(|_| !is_same);
        // Stored first, so that the next process knows what to load whenever this one ends.
        let before = self.saved.clone();
        self.store(match waits {
            true => {
                let kept = self.confirmed.as_ref().unwrap_or(&self.in_force);
                Some(ConfigOverride::awaiting(kept.document.clone(), next.document.clone()))
            }
            false => self.kept_as_final(&next.document),
        })?;
        let (change, replaced) = match self.replace(next, policy).await {
            Ok(done) => done,
            Err(error) => {
                self.store(before)?;
                return Err(error.into());
            }
        };
        let file = &self.in_force.document.file;
        if let Some(confirm_within) = confirm_within {
            self.confirmed.get_or_insert(replaced);
            // No reload happens while a confirmation is pending; its end restarts the watch.
            self.watched = None;
            self.confirmation.begin(confirm_within, Instant::now());
            let seconds = confirm_within.as_secs();
            log::info!("{file} is in force, and waits {seconds} s for its confirmation");
        } else if !waits {
            self.confirmed = None;
            self.confirmation.end();
            log::info!("{file} is in force");
            self.settled();
        }
        let seconds = confirm_within.map(|confirm_within| confirm_within.as_secs());
        Ok(self.outcome(change, seconds))
    }

    /// Computes the changes that a configuration would make, without making them.
    pub(super) fn preview(&mut self, document: Document) -> Result<Preview, RunError> {
        let origin = self.origin_of(&document);
        let (next, policy) = self.compile(document, origin)?;
        self.may_follow(&next)?;
        refuse_links(&next.config, &policy, &self.seen)?;
        let difference = self.difference(&next, &policy);
        let changed = !self.in_force.is_same(&next);
        let denied_vlans = cut_off(&self.in_force.config, &next.config, &self.seen);
        let loses = preview::losses(self, &policy).map_err(RunError::Other)?;
        Ok(Preview {
            schema: SCHEMA,
            file: next.document.file,
            in_force: self.in_force.document.file.clone(),
            changed,
            generation: self.generation,
            digest: next.digest,
            difference,
            denied_vlans,
            flows_ended: loses.flows_ended,
            flows: loses.flows,
            names_forgotten: loses.names_forgotten,
            names: loses.names,
        })
    }

    /// Confirms the configuration that waits for it.
    pub(super) fn confirm(&mut self) -> Result<Confirmed> {
        self.confirmation.may_confirm(Instant::now()).map_err(anyhow::Error::msg)?;
        self.store(self.kept_as_final(&self.in_force.document))?;
        self.in_force.origin = self.origin_of(&self.in_force.document);
        self.confirmed = None;
        self.confirmation.end();
        let file = &self.in_force.document.file;
        log::info!("{file} is confirmed");
        self.settled();
        Ok(Confirmed {
            schema: SCHEMA,
            file: self.in_force.document.file.clone(),
            generation: self.generation,
            digest: self.in_force.digest.clone(),
            overrides_file: self.in_force.origin != Origin::File,
        })
    }

    /// Returns to the configuration before the one that waits. A failure leads to another attempt.
    pub(super) async fn roll_back(&mut self) {
        let Some(mut confirmed) = self.confirmed.take() else { return };
        let (back, dropped) =
            (confirmed.document.file.clone(), self.in_force.document.file.clone());
        match self.put_back(&confirmed).await {
            Ok(()) => {
                // The file may have changed meanwhile.
                confirmed.origin = match (self.origin_of(&confirmed.document), confirmed.origin) {
                    (Origin::Applied, Origin::LastGood) => Origin::LastGood,
                    (now, _) => now,
                };
                self.in_force = confirmed;
                self.in_force.in_doubt = false;
                self.problems.clear(Code::PolicyInDoubt);
                self.confirmation.end();
                self.look().await;
                self.look().await;
                log::warn!("{dropped} was not confirmed in time: {back} is in force again");
                let on_disk = self.on_disk();
                let saved = self.saved.clone().map(|saved| saved.rolled_back(on_disk.as_deref()));
                // The override on disk already leads to the same configuration.
                self.store_or_tell(saved);
                self.went_back();
            }
            Err(error) => {
                self.confirmed = Some(confirmed);
                self.in_force.in_doubt |= self.is_replaced();
                let error = format!("{error:#}");
                if self.confirmation.failed(error.clone(), Instant::now()) {
                    log::error!(
                        "{dropped} was not confirmed in time, and {back} CANNOT be put back; \
                         trying again:\n{error}"
                    );
                }
            }
        }
    }

    /// Returns the origin of a document that is put into force now.
    pub(super) fn origin_of(&self, document: &Document) -> Origin {
        match self.on_disk().as_deref() == Some(&document.text) {
            true => Origin::File,
            false => Origin::Applied,
        }
    }

    fn on_disk(&self) -> Option<String> {
        self.source.read().ok().map(|document| document.text)
    }

    fn kept_as_final(&self, document: &Document) -> Option<ConfigOverride> {
        ConfigOverride::applied(document, self.on_disk().as_deref())
    }

    fn compile(
        &self,
        document: Document,
        origin: Origin,
    ) -> Result<(ActiveConfig, Policy), RunError> {
        let bits = reload::previous_bits(&self.kernel.pins())?;
        let loaded = self.source.load(&document, &bits)?;
        Ok(ActiveConfig::new(document, origin, loaded))
    }

    fn difference(&self, next: &ActiveConfig, policy: &Policy) -> Difference {
        let before = (&self.in_force.config, self.intake.learner.policy());
        policy::difference(before, (&next.config, policy))
    }

    async fn take(&mut self, next: ActiveConfig, policy: Policy) -> Result<Change> {
        self.replace(next, policy).await.map(|(change, _)| change)
    }

    /// Replaces the configuration in force, and returns the old one. An equivalent configuration
    /// replaces the document alone.
    async fn replace(
        &mut self,
        next: ActiveConfig,
        policy: Policy,
    ) -> Result<(Change, ActiveConfig)> {
        self.may_follow(&next)?;
        refuse_links(&next.config, &policy, &self.seen)?;
        if self.in_force.is_same(&next) {
            let before = std::mem::replace(&mut self.in_force, next);
            self.retry_metrics().await;
            return Ok((Change::default(), before));
        }
        let difference = self.difference(&next, &policy);
        let denied_vlans = cut_off(&self.in_force.config, &next.config, &self.seen);
        let effects = match self.put_config(&next.config, policy).await {
            Ok(effects) => effects,
            Err(error) => {
                self.restore_in_force().await;
                return Err(error);
            }
        };
        let before = std::mem::replace(&mut self.in_force, next);
        self.problems.clear(Code::PolicyInDoubt);
        // The guard follows the new configuration.
        self.look().await;
        Ok((Change { changed: true, difference, denied_vlans, effects }, before))
    }

    /// Puts the configuration in force into the kernel again, which may have received a part of
    /// another.
    pub(super) async fn restore_in_force(&mut self) {
        let in_force = self.in_force.clone();
        let result = self.put_back(&in_force).await;
        self.in_force.in_doubt = result.is_err();
        let file = &in_force.document.file;
        match result {
            Ok(()) => {
                self.problems.clear(Code::PolicyInDoubt);
                log::warn!("{file} is put back, since a change has failed half-way");
            }
            Err(error) => {
                let text = format!(
                    "a change has failed half-way, and {file} CANNOT be put back; it is not known \
                     which policy judges: {error:#}"
                );
                if self.problems.add(Code::PolicyInDoubt, text.clone()) {
                    log::error!("{text}");
                }
            }
        }
    }

    /// Whether the kernel has a policy other than the one in force.
    fn is_replaced(&self) -> bool {
        let active = self.kernel.pins().active();
        active.map_or(true, |active| active.generation != self.generation)
    }

    async fn put_back(&mut self, before: &ActiveConfig) -> Result<()> {
        // Neither the file nor a catalogue's directory is read again, since they may have changed.
        let bits = reload::previous_bits(&self.kernel.pins())?;
        let policy = policy::compile(&before.config, &before.catalogue, &bits)
            .map_err(anyhow::Error::new)?;
        self.put_config(&before.config, policy).await.map(drop)
    }

    async fn put_config(&mut self, config: &Config, policy: Policy) -> Result<Effects> {
        if let Err(error) = self.make_state_directory() {
            log::warn!("{error:#}");
        }
        let mut snapshot = self.netlink.snapshot().await?;
        self.follow_names(config, &mut snapshot);
        let effects = self.apply(config, policy, &snapshot)?;
        self.listen_for_metrics(config.metrics.listen).await;
        self.look_at(snapshot);
        Ok(effects)
    }

    /// Checks that a configuration changes no key that is fixed while in use.
    fn may_follow(&self, next: &ActiveConfig) -> Result<()> {
        let (old, new) = (policy::leaves(&self.in_force.config), policy::leaves(&next.config));
        let is_fixed = |key: &String| {
            let path = key.strip_prefix("paths.");
            key.starts_with("maps.") || path.is_some_and(|path| path != "catalogue")
        };
        let changed = new.iter().filter(|(key, to)| is_fixed(key) && old.get(*key) != Some(*to));
        let lines: Vec<String> = changed
            .map(|(key, to)| {
                let from = old.get(key).cloned().unwrap_or_default();
                format!("{}: {key}: {to}, and {from} is in use", next.document.file)
            })
            .collect();
        if lines.is_empty() {
            return Ok(());
        }
        bail!(
            "the sizes of maps and the directories under `paths` cannot change while they are in \
             use: detach, and run again\n{}",
            lines.join("\n")
        )
    }

    fn outcome(&self, change: Change, confirm_within_s: Option<u64>) -> Changed {
        let waiting = self.confirmation.status(Instant::now()).map(|waiting| waiting.seconds_left);
        Changed {
            schema: SCHEMA,
            file: self.in_force.document.file.clone(),
            changed: change.changed,
            generation: self.generation,
            digest: self.in_force.digest.clone(),
            difference: change.difference,
            denied_vlans: change.denied_vlans,
            flows_ended: change.effects.flows_ended,
            names_forgotten: change.effects.names_forgotten,
            confirm_within_s: confirm_within_s.or(waiting),
            overrides_file: self.in_force.origin != Origin::File,
            failed_interfaces: self.failed_interfaces(),
        }
    }
}

/// Refuses a configuration with an interface of the machine that cannot be enforced as it wants.
fn refuse_links(config: &Config, policy: &Policy, snapshot: &Snapshot) -> Result<()> {
    for wanted in setup::wanted(config, policy) {
        let interface = snapshot.interface(&wanted.name);
        if let Some(why) = interface.and_then(|interface| wanted.refusal(interface)) {
            bail!("{}: {why}", wanted.name);
        }
    }
    Ok(())
}
