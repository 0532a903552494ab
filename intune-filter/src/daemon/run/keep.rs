//! Stores the state that survives this process: the last good configuration, the guard's state and
//! the override. Reports problems to `status`.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};

use super::{last_reload::LastReload, state::Daemon, watched::Watched};
use crate::{
    boot_guard::GuardState,
    daemon::{
        config_source::{
            config_override::{self, ConfigOverride},
            last_good::LastGood,
            mended::Watch,
        },
        problems::Code,
    },
    metrics::configuration,
    report::{
        CatalogueStatus, ConfigInForce, ConfigurationStatus, Origin, ReloadResult, SCHEMA, Waiting,
    },
    system::atomic_file,
    yaml::FileErrors,
};

impl Daemon<'_> {
    /// Reports the findings of a start: the reason why the file is not in force, and files that are
    /// set aside.
    pub(super) fn tell_of_start(
        &mut self,
        refused: Option<&FileErrors>,
        damaged: Vec<(PathBuf, String)>,
    ) {
        let mut lines = Vec::new();
        for (path, why) in damaged {
            lines.push(match atomic_file::set_aside(&path) {
                Ok(kept) => format!("{why}; it is kept as {}", kept.display()),
                Err(error) => format!("{why}; it cannot be set aside: {error}"),
            });
        }
        if !lines.is_empty() {
            let text = lines.join("\n");
            log::error!("{text}");
            self.problems.add(Code::StateSetAside, text);
        }
        if let Some(errors) = refused {
            let file = self.source.path.display();
            log::error!("{file} cannot be used: what was last in force runs instead:\n{errors}");
            self.problems.add(Code::ConfigurationRefused, errors.to_string());
        }
    }

    /// Settles the state after a start: ends a pending confirmation, and drops an override that the
    /// file has replaced.
    pub(super) fn settle(&mut self) {
        if let Some(saved) = self.saved.clone() {
            let (file, kept) = (self.source.path.display(), &saved.kept.file);
            let loaded_kept = saved.kept == self.in_force.document;
            if let Some(unconfirmed) = &saved.unconfirmed {
                log::warn!(
                    "{} was not confirmed before the daemon ended: {kept} is in force again",
                    unconfirmed.file
                );
            } else if loaded_kept && self.in_force.origin == Origin::Applied {
                log::info!("{kept} is in force, which was applied, and not what {file} says");
            }
            // A file that cannot be used has not replaced anything.
            let stays = loaded_kept || self.in_force.origin == Origin::LastGood;
            let saved = stays.then(|| {
                let on_disk = self.source.read().ok().map(|document| document.text);
                match saved.unconfirmed {
                    Some(_) => saved.rolled_back(on_disk.as_deref()),
                    None => saved,
                }
            });
            self.store_or_tell(saved);
        }
        self.keep_good();
        self.watch_file();
    }

    /// Stores a configuration that is in force for good, and clears the problems of earlier ones.
    pub(super) fn settled(&mut self) {
        self.problems.clear(Code::ReloadRefused);
        self.keep_good();
        self.watch_file();
    }

    /// Settles the state after a rollback. A reload that was refused only for the pending
    /// confirmation is no longer a problem.
    pub(super) fn went_back(&mut self) {
        if self.last_reload.as_ref().is_some_and(|last| last.waited) {
            self.problems.clear(Code::ReloadRefused);
        }
        self.keep_good();
        self.watch_file();
    }

    /// Records the result of a reload.
    pub(super) fn note_reload(&mut self, mut last: LastReload) {
        let stood_before = self.problems.has(Code::ReloadRefused)
            && !self.last_reload.as_ref().is_some_and(|last| last.waited);
        last.waited = last.told.error.is_some() && self.confirmation.is_awaited() && !stood_before;
        match &last.told.error {
            None => {
                let what = match last.told.result {
                    ReloadResult::Unchanged => "comes to what is in force already",
                    _ => "is in force",
                };
                log::info!("{} {what}", self.in_force.document.file);
                self.problems.clear(Code::ReloadRefused);
            }
            Some(error) => {
                let runs_last_good = self.in_force.origin == Origin::LastGood;
                let code =
                    if runs_last_good { Code::ConfigurationRefused } else { Code::ReloadRefused };
                // The same error, after another change of the file, is not logged again.
                if self.problems.add(code, error.clone()) || !runs_last_good {
                    log::error!(
                        "the new configuration is not used, the old one stays in force:\n{error}"
                    );
                }
            }
        }
        configuration::reloaded(last.told.at, last.told.error.is_none());
        self.last_reload = Some(last);
        self.watch_file();
    }

    /// Watches the file while it cannot be used, and only then.
    pub(super) fn watch_file(&mut self) {
        let runs_last_good = self.in_force.origin == Origin::LastGood;
        configuration::runs_last_good(runs_last_good);
        self.tell_of_edition();
        self.look_at_owner();
        if !runs_last_good {
            self.problems.clear(Code::ConfigurationRefused);
            self.watched = None;
            return;
        }
        let paths = self.source.depends_on();
        if self.watched.as_ref().is_some_and(|watched| watched.paths == paths) {
            return;
        }
        match Watch::start(paths.clone()) {
            Ok(watch) => self.watched = Some(Watched { paths, watch }),
            Err(error) => log::error!("cannot watch the configuration file: {error}"),
        }
    }

    /// Checks who can write the configuration file.
    fn look_at_owner(&mut self) {
        match self.source.writable_by_others() {
            None => {
                self.problems.clear(Code::FileWritable);
            }
            Some(text) => {
                if self.problems.add(Code::FileWritable, text.clone()) {
                    log::warn!("{text}");
                }
            }
        }
    }

    /// Stores the configuration in force for good, unless it is stored already. A failure is a
    /// problem and is retried; no filtering depends on it.
    pub(super) fn keep_good(&mut self) {
        let result = self.try_keep_good();
        self.tell_of_state(result);
    }

    fn try_keep_good(&mut self) -> Result<()> {
        self.make_state_directory()?;
        let good = self.confirmed.as_ref().unwrap_or(&self.in_force);
        let directory = &self.paths.state_dir;
        let is_lost = self.saved.is_some() && !directory.join(config_override::FILE_NAME).exists();
        if self.saved_unwritten || is_lost {
            ConfigOverride::store(self.saved.as_ref(), directory)?;
            self.saved_unwritten = false;
        }
        // A start with this configuration would fail.
        if self.confirmed.is_none() && !self.failed_interfaces().is_empty() {
            return Ok(());
        }
        GuardState::of(&good.config).store(directory)?;
        let good = LastGood {
            document: good.document.clone(),
            catalogue: good.files.as_deref().cloned(),
            digest: good.digest.clone(),
        };
        good.store(directory)
    }

    /// Makes the state directory, which others may have removed while it was in use.
    pub(super) fn make_state_directory(&self) -> Result<()> {
        let directory = &self.paths.state_dir;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.with_context(|| format!("cannot make {}", directory.display()))
    }

    fn tell_of_state(&mut self, result: Result<()>) {
        match result {
            Ok(()) => {
                if self.problems.clear(Code::StateNotSaved) {
                    log::info!("the state directory is written again");
                }
            }
            Err(error) => {
                let text = format!("not kept over a restart: {error:#}");
                if self.problems.add(Code::StateNotSaved, text.clone()) {
                    log::error!("{text}");
                }
            }
        }
    }

    /// Replaces the override in the state directory.
    pub(super) fn store(&mut self, saved: Option<ConfigOverride>) -> Result<()> {
        if saved != self.saved || self.saved_unwritten {
            self.make_state_directory()?;
            ConfigOverride::store(saved.as_ref(), &self.paths.state_dir)?;
            (self.saved, self.saved_unwritten) = (saved, false);
        }
        Ok(())
    }

    /// Replaces the override, in memory alone if it cannot be written now.
    pub(super) fn store_or_tell(&mut self, saved: Option<ConfigOverride>) {
        if let Err(error) = self.store(saved.clone()) {
            (self.saved, self.saved_unwritten) = (saved, true);
            self.tell_of_state(Err(error));
        }
    }

    /// Returns the state of the configuration for `status`.
    pub(super) fn configuration_status(&self) -> ConfigurationStatus {
        let waiting = self.confirmation.status(Instant::now()).map(|waiting| Waiting {
            confirm_within_s: waiting.seconds_left,
            rollback_error: waiting.error,
        });
        ConfigurationStatus {
            file: self.in_force.document.file.clone(),
            digest: self.in_force.digest.clone(),
            origin: self.in_force.origin,
            overrides_file: self.in_force.origin != Origin::File,
            reload: self.last_reload.as_ref().map(|last| last.told.clone()),
            waiting,
        }
    }

    /// Returns the edition of the catalogue for `status`.
    pub(super) fn catalogue_status(&self) -> CatalogueStatus {
        CatalogueStatus::of(&self.in_force.catalogue, SystemTime::now())
    }

    /// Records the edition for the metrics, and warns of an old one when it is put into force.
    fn tell_of_edition(&self) {
        let edition = self.in_force.catalogue.edition();
        let date = edition.date().map(|date| date.unix_seconds());
        if configuration::edition(&edition.name, date)
            && let Some(warning) = self.catalogue_status().warning()
        {
            log::warn!("{warning}");
        }
    }

    /// Returns the configuration for `config show`.
    pub(super) fn shown_configuration(&self) -> ConfigInForce {
        let in_force = &self.in_force;
        ConfigInForce {
            schema: SCHEMA,
            file: in_force.document.file.clone(),
            origin: in_force.origin,
            digest: in_force.digest.clone(),
            generation: self.generation,
            configuration: in_force.config.clone(),
            text: in_force.document.text.clone(),
        }
    }
}
