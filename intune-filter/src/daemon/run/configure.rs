//! Another configuration in the place of the one in force: by a reload, by `apply`, and back.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Daemon, RunError, reload};
use crate::{
    catalogue::Catalogue,
    config::Config,
    daemon::saved::{Document, Saved},
    policy::{self, Loaded, Policy},
};

/// A configuration that is in force, or was, with all that it takes to put it back.
pub(super) struct Standing {
    pub(super) document: Document,
    pub(super) config: Config,
    pub(super) catalogue: Cow<'static, Catalogue>,
}

impl Daemon<'_> {
    /// Loads the file again; whatever is wrong is logged, and leaves everything as it is.
    pub(super) async fn reload(&mut self) {
        let result = async {
            self.confirmation.may_reload(Instant::now()).map_err(anyhow::Error::msg)?;
            let document = self.source.read().map_err(anyhow::Error::new)?;
            if let Some(saved) = self.saved.as_ref().filter(|s| s.passes_over(&document.text)) {
                bail!(
                    "{} has not changed since {} took its place: `intune-filter apply` loads it \
                     all the same",
                    document.file,
                    saved.kept.file
                );
            }
            let (standing, policy) = self.compile(document).map_err(RunError::into_error)?;
            self.put(standing, policy).await?;
            self.store(None)
        };
        if let Err(error) = result.await {
            log::error!(
                "the new configuration is not used, the old one stays in force:\n{error:#}"
            );
        }
    }

    /// Puts a configuration into force, for good or until `patience` has passed without a
    /// confirmation. An error leaves everything as it was.
    pub(super) async fn apply_document(
        &mut self,
        document: Document,
        patience: Option<Duration>,
    ) -> Result<Value, RunError> {
        let may = self.confirmation.may_apply(patience.is_some(), Instant::now());
        may.map_err(anyhow::Error::msg)?;
        let (standing, policy) = self.compile(document)?;
        // On disk first: whenever this process ends, the next one knows what to load.
        let before = self.saved.clone();
        self.store(match patience {
            Some(_) => {
                let kept = self.confirmed.as_ref().unwrap_or(&self.in_force);
                Some(Saved::awaiting(kept.document.clone(), standing.document.clone()))
            }
            None => self.kept_as_final(&standing.document),
        })?;
        let replaced = match self.put(standing, policy).await {
            Ok(replaced) => replaced,
            Err(error) => {
                self.store(before)?;
                return Err(error.into());
            }
        };
        let file = &self.in_force.document.file;
        match patience {
            Some(patience) => {
                self.confirmed.get_or_insert(replaced);
                self.confirmation.begin(patience, Instant::now());
                let seconds = patience.as_secs();
                log::info!("{file} is in force, and waits {seconds} s for its confirmation");
            }
            None => {
                self.confirmed = None;
                self.confirmation.end();
                log::info!("{file} is in force");
            }
        }
        Ok(json!({
            "file": file,
            "generation": self.generation,
            "confirm_within_s": patience.map(|patience| patience.as_secs()),
            "overrides_file": self.saved.is_some(),
            "failed_interfaces": self.failed_interfaces(),
        }))
    }

    /// Keeps the configuration that waits for it.
    pub(super) fn confirm(&mut self) -> Result<Value> {
        self.confirmation.may_confirm(Instant::now()).map_err(anyhow::Error::msg)?;
        self.store(self.kept_as_final(&self.in_force.document))?;
        self.confirmed = None;
        self.confirmation.end();
        let file = &self.in_force.document.file;
        log::info!("{file} is confirmed");
        Ok(json!({
            "file": file,
            "generation": self.generation,
            "overrides_file": self.saved.is_some(),
        }))
    }

    /// Puts the configuration back that was in force before the one that waits. Where that fails,
    /// it is tried again.
    pub(super) async fn roll_back(&mut self) {
        let Some(confirmed) = self.confirmed.take() else { return };
        let (back, dropped) =
            (confirmed.document.file.clone(), self.in_force.document.file.clone());
        match self.put_back(&confirmed).await {
            Ok(()) => {
                self.in_force = confirmed;
                self.confirmation.end();
                self.look().await;
                self.look().await;
                log::warn!("{dropped} was not confirmed in time: {back} is in force again");
                let on_disk = self.source.read().ok().map(|document| document.text);
                let saved = self.saved.clone().map(|saved| saved.rolled_back(on_disk.as_deref()));
                // What is on disk already leads to the same configuration.
                if let Err(error) = self.store(saved) {
                    log::error!("{error:#}");
                }
            }
            Err(error) => {
                self.confirmed = Some(confirmed);
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

    /// What `status` tells of the configuration.
    pub(super) fn configuration_status(&self) -> Value {
        let mut status = json!({
            "file": self.in_force.document.file,
            "overrides_file": self.saved.is_some(),
        });
        if let Some(waiting) = self.confirmation.status(Instant::now()) {
            status["confirm_within_s"] = waiting.seconds_left.into();
            status["rollback_error"] = waiting.error.into();
        }
        status
    }

    /// Replaces what a start finds in the state directory.
    pub(super) fn store(&mut self, saved: Option<Saved>) -> Result<()> {
        if saved != self.saved {
            Saved::store(saved.as_ref(), &self.paths.state_dir)?;
            self.saved = saved;
        }
        Ok(())
    }

    fn kept_as_final(&self, document: &Document) -> Option<Saved> {
        let on_disk = self.source.read().ok().map(|document| document.text);
        Saved::applied(document, on_disk.as_deref())
    }

    fn compile(&self, document: Document) -> Result<(Standing, Policy), RunError> {
        let bits = reload::previous_bits(&self.kernel.pins())?;
        let Loaded { config, catalogue, policy } = self.source.load(&document, &bits)?;
        Ok((Standing { document, config, catalogue }, policy))
    }

    /// Puts a configuration into force and looks at its interfaces. Returns the one before.
    async fn put(&mut self, standing: Standing, policy: Policy) -> Result<Standing> {
        self.put_config(&standing.config, policy).await?;
        let before = std::mem::replace(&mut self.in_force, standing);
        // The gate is the new configuration's.
        self.look().await;
        Ok(before)
    }

    async fn put_back(&mut self, standing: &Standing) -> Result<()> {
        // Neither the file nor a directory of catalogues is asked again: they may have changed.
        let bits = reload::previous_bits(&self.kernel.pins())?;
        let policy = policy::compile(&standing.config, &standing.catalogue, &bits)
            .map_err(anyhow::Error::new)?;
        self.put_config(&standing.config, policy).await
    }

    async fn put_config(&mut self, config: &Config, policy: Policy) -> Result<()> {
        if config.maps != self.maps {
            bail!("the sizes of maps cannot change while they are in use: detach, and run again");
        }
        let (new, old) = (&config.paths, &self.paths);
        if (&new.state_dir, &new.runtime_dir, &new.pin_dir)
            != (&old.state_dir, &old.runtime_dir, &old.pin_dir)
        {
            bail!(
                "the directories under `paths` cannot change while they are in use: detach, and \
                 run again"
            );
        }
        let snapshot = self.netlink.snapshot().await?;
        self.apply(config, policy, &snapshot)?;
        self.listen_for_metrics(config.metrics.listen).await;
        self.look_at(&snapshot);
        Ok(())
    }
}
