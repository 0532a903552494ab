//! Commands that come through the control socket, answered.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Daemon, RunError};
use crate::{
    control::{Answer, Reply, Request},
    daemon::config_source::config_override::Document,
    kernel, names,
    system::clock,
};

impl Daemon<'_> {
    /// Answers a command; true if the daemon is to end.
    pub(super) async fn answer(
        &mut self,
        request: Request,
        reply: oneshot::Sender<Answer>,
    ) -> bool {
        // Whoever asks is told of what has happened, and waits for no flood to end.
        if let Err(error) = self.poll_events() {
            log::error!("{error:#}");
        }
        if let Request::Events { filter, last, follow } = request {
            let _ = reply.send(match self.recorder.subscribe(filter, last, follow) {
                Ok(events) => Answer::Events(events),
                Err(error) => {
                    Answer::Reply(Reply::Error { error: error.to_owned(), invalid: false })
                }
            });
            return false;
        }
        if request == Request::Names {
            // A large table takes its time, in which the loop goes on.
            let names = self.learner.names().clone();
            spawn_blocking(move || {
                let table = names::to_json(&names, clock::clocks());
                let _ = reply.send(Answer::Reply(match table {
                    Ok(table) => Reply::Ok(table),
                    Err(error) => Reply::Error { error: format!("{error:#}"), invalid: false },
                }));
            });
            return false;
        }
        let detach = request == Request::Detach;
        let result = match request {
            Request::Events { .. } | Request::Names => return false,
            Request::Clients => {
                let denials: Vec<_> = self.recorder.denials().collect();
                serde_json::to_value(denials).map_err(|error| RunError::Other(error.into()))
            }
            Request::Status => Ok(self.status()),
            Request::Apply { file, text, dry_run: true, .. } => {
                self.preview(Document { file, text })
            }
            Request::Apply { file, text, confirm_s, .. } => {
                let patience = confirm_s.map(|seconds| Duration::from_secs(seconds.into()));
                self.apply_document(Document { file, text }, patience).await
            }
            Request::Reload => self.reload().await,
            Request::Configuration => Ok(self.shown_configuration()),
            Request::Confirm => self.confirm().map_err(RunError::from),
            Request::Detach => kernel::remove_all(self.kernel.directory())
                .and_then(|_| self.guard.open())
                .map(|()| Value::Null)
                .map_err(RunError::from),
        };
        let detached = detach && result.is_ok();
        if detached {
            log::info!("detached by a command; nothing is filtered any more");
        }
        let _ = reply.send(Answer::Reply(match result {
            Ok(value) => Reply::Ok(value),
            Err(RunError::Configuration(errors)) => {
                Reply::Error { error: errors.to_string(), invalid: true }
            }
            Err(RunError::Other(error)) => {
                Reply::Error { error: format!("{error:#}"), invalid: false }
            }
        }));
        detached
    }

    fn status(&self) -> Value {
        let interfaces = self.reconciler.status();
        let missing: Vec<&str> = interfaces
            .iter()
            .filter(|interface| interface.mode.is_none() && interface.error.is_none())
            .map(|interface| interface.name.as_str())
            .collect();
        serde_json::json!({
            "ready": self.ready,
            "problems": self.problems.iter().collect::<Vec<_>>(),
            "names": self.learner.names().len(),
            "missing_interfaces": missing,
            "failed_interfaces": self.failed_interfaces(),
            "flows_evicted": self.recorder.evicted().load(Ordering::Relaxed),
            "configuration": self.configuration_status(),
            "gate": self.gate_status(),
            "resolution": self.resolution.status(Instant::now()),
        })
    }

    pub(super) fn failed_interfaces(&self) -> Vec<Value> {
        let failed = self.reconciler.status().into_iter().filter_map(|interface| {
            Some(serde_json::json!({"name": interface.name, "error": interface.error?}))
        });
        failed.collect()
    }
}
