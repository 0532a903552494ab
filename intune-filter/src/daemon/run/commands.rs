//! Answers the commands of the control socket.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::spawn_blocking};

use super::{RunError, state::Daemon};
use crate::{
    control::{DeniedClients, LoopReply, NamesTable, NothingFiltered, Reply, Request},
    daemon::config_source::config_override::Document,
    kernel,
    names::SavedNames,
    report::{DaemonStatus, FailedInterface},
    system::clock,
};

impl Daemon<'_> {
    /// Answers a command; returns true if the daemon has to end.
    pub(super) async fn answer(
        &mut self,
        request: Request,
        reply: oneshot::Sender<LoopReply>,
    ) -> bool {
        // Answers include all events so far, yet a flood of events delays no answer.
        if let Err(error) = self.poll_events() {
            log::error!("{error:#}");
        }
        let result = match request {
            Request::Events { filter, last, follow } => {
                let _ = reply.send(match self.intake.recorder.subscribe(filter, last, follow) {
                    Ok(events) => LoopReply::Events(events),
                    Err(error) => {
                        LoopReply::Reply(Reply::Error { error: error.to_owned(), invalid: false })
                    }
                });
                return false;
            }
            Request::Names {} => {
                // A large table takes its time, in which the loop goes on.
                let names = self.intake.learner.names().clone();
                spawn_blocking(move || {
                    let table = SavedNames::new(&names, clock::clocks());
                    let _ = reply.send(LoopReply::Reply(Reply::Names(NamesTable { table })));
                });
                return false;
            }
            Request::Clients {} => {
                let clients = self.intake.recorder.denials().cloned().collect();
                Ok(Reply::Clients(DeniedClients { clients }))
            }
            Request::Status {} => Ok(Reply::Status(Box::new(self.status()))),
            Request::Apply { file, text, dry_run: true, .. } => {
                self.preview(Document { file, text }).map(Reply::Preview)
            }
            Request::Apply { file, text, confirm_s, .. } => {
                let confirm_within = confirm_s.map(|seconds| Duration::from_secs(seconds.into()));
                let result = self.apply_document(Document { file, text }, confirm_within).await;
                result.map(Reply::Changed)
            }
            Request::Reload {} => self.reload().await.map(Reply::Changed),
            Request::Configuration {} => {
                Ok(Reply::Configuration(Box::new(self.shown_configuration())))
            }
            Request::Confirm {} => self.confirm().map(Reply::Confirmed).map_err(RunError::from),
            Request::Detach {} => {
                // A program that is being loaded is pinned, and would be again.
                if let Some(explain) = self.explain.take() {
                    let _ = explain.await;
                }
                kernel::remove_all(self.kernel.directory())
                    .and_then(|_| self.guard.open())
                    .map(|()| Reply::Detached(NothingFiltered {}))
                    .map_err(RunError::from)
            }
        };
        let detached = matches!(result, Ok(Reply::Detached(_)));
        if detached {
            log::info!("detached by a command; nothing is filtered any more");
        }
        let _ = reply.send(LoopReply::Reply(result.unwrap_or_else(|error| match error {
            RunError::Configuration(errors) => {
                Reply::Error { error: errors.to_string(), invalid: true }
            }
            RunError::Other(error) => Reply::Error { error: format!("{error:#}"), invalid: false },
        })));
        detached
    }

    fn status(&self) -> DaemonStatus {
        let missing = self
            .reconciler
            .status()
            .into_iter()
            .filter(|interface| interface.mode.is_none() && interface.error.is_none());
        DaemonStatus {
            ready: self.ready,
            problems: self.problems.iter().collect(),
            names: self.intake.learner.names().len(),
            missing_interfaces: missing.map(|interface| interface.name).collect(),
            failed_interfaces: self.failed_interfaces(),
            flows_evicted: self.intake.recorder.evicted().load(Ordering::Relaxed),
            configuration: self.configuration_status(),
            catalogue: Some(self.catalogue_status()),
            gate: self.gate_status(),
            resolution: self.resolution.status(Instant::now()),
        }
    }

    pub(super) fn failed_interfaces(&self) -> Vec<FailedInterface> {
        let failed = self.reconciler.status().into_iter().filter_map(|interface| {
            Some(FailedInterface { name: interface.name, error: interface.error? })
        });
        failed.collect()
    }
}
