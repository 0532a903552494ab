//! Runs errands that need files: the files are read ahead while the loop goes on.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{errand::Errand, state::Daemon};
use crate::{
    control::{Call, Request},
    daemon::config_source::ahead::{Ahead, ReadRequest},
};

/// Time limit for the last answer.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

impl Daemon<'_> {
    /// Answers a command, now or when its files have been read. Returns true if the daemon has to
    /// end.
    pub(super) async fn take_call(&mut self, call: Call) -> bool {
        let text = match &call.request {
            Request::Status {}
            | Request::Names {}
            | Request::Clients {}
            | Request::Events { .. }
            | Request::Configuration {}
            | Request::Detach {} => return self.answer_call(call).await,
            Request::Apply { text, .. } => Some(text.clone()),
            Request::Reload {} | Request::Confirm {} => None,
        };
        self.read_ahead(Errand::Call(call), text);
        false
    }

    /// Reads the configuration file, and the catalogue of its configuration or of `text`.
    pub(super) fn read_ahead(&mut self, errand: Errand, text: Option<String>) {
        self.reader.begin(errand, ReadRequest { file: self.source.path.to_owned(), text });
    }

    /// Returns the time at which the previous configuration has to return, unless the rollback has
    /// begun.
    pub(super) fn roll_back_due(&self) -> Option<Instant> {
        let begun = self.reader.has(|errand| matches!(errand, Errand::RollBack));
        self.confirmation.due().filter(|_| !begun)
    }

    /// Runs an errand whose files have been read. Returns true if the daemon has to end.
    pub(super) async fn run_errand(&mut self, errand: Errand, ahead: Ahead) -> bool {
        self.source.ahead.replace(Some(ahead));
        let ends = match errand {
            Errand::Reload => {
                drop(self.reload().await);
                false
            }
            Errand::Mended => {
                // The last good configuration may have been replaced meanwhile.
                if self.watched.is_some() {
                    drop(self.reload().await);
                }
                false
            }
            Errand::RollBack => {
                // The configuration may have been confirmed or replaced meanwhile.
                if self.confirmation.due().is_some_and(|due| due <= Instant::now()) {
                    self.roll_back().await;
                }
                false
            }
            Errand::Call(call) => self.answer_call(call).await,
        };
        self.source.ahead.take();
        ends
    }

    async fn answer_call(&mut self, call: Call) -> bool {
        if !self.answer(call.request, call.reply).await {
            return false;
        }
        // The answer has to reach the command before this process ends.
        let _ = timeout(SHUTDOWN_GRACE, call.written).await;
        true
    }
}
