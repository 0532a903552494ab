//! Moves the metrics endpoint to the configured address at once.

use std::net::SocketAddr;

use tokio::sync::watch;

use super::state::Daemon;
use crate::{
    daemon::problems::Code,
    events::recorder::EventRecorder,
    kernel::Pins,
    metrics::{MetricsServer, Sources},
    names::resolution::Counts,
};

/// Returns the server, which does not listen yet.
pub(super) fn server(
    pins: Pins,
    recorder: &EventRecorder,
    resolution: &watch::Sender<Counts>,
) -> MetricsServer {
    let evicted = recorder.evicted();
    MetricsServer::new(Sources { pins, evicted, resolution: resolution.subscribe() })
}

impl Daemon<'_> {
    /// Serves the metrics at an address, or not at all.
    pub(super) async fn listen_for_metrics(&mut self, address: Option<SocketAddr>) {
        match self.metrics.listen(address).await {
            Ok(()) => {
                self.problems.clear(Code::MetricsNotServed);
            }
            // Enforcement does not depend on monitoring.
            Err(error) => {
                let text = format!("{error:#}");
                if self.problems.add(Code::MetricsNotServed, text.clone()) {
                    log::warn!("{text}");
                }
            }
        }
    }

    /// Retries an address that could not be bound and may be available by now.
    pub(super) async fn retry_metrics(&mut self) {
        if self.problems.has(Code::MetricsNotServed) {
            self.listen_for_metrics(self.in_force.config.metrics.listen).await;
        }
    }
}
