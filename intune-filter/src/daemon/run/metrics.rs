//! Where the metrics are served: it follows the configuration at once.

use std::net::SocketAddr;

use super::Daemon;
use crate::daemon::{metrics, problems::Code};

impl Daemon<'_> {
    /// Serves the metrics at this address, or not at all.
    pub(super) async fn listen_for_metrics(&mut self, address: Option<SocketAddr>) {
        if self.metrics.as_ref().map(|(at, _)| *at) == address {
            return;
        }
        let served = match address {
            None => Ok(None),
            Some(address) => metrics::bind(address).await.map(|listener| {
                let (pins, evicted) = (self.kernel.pins(), self.chronicle.evicted());
                let resolution = self.resolution_told.subscribe();
                let task = tokio::spawn(metrics::serve(listener, pins, evicted, resolution));
                Some((address, task))
            }),
        };
        if let Some((_, task)) = self.metrics.take() {
            task.abort();
        }
        match (served, address) {
            (Ok(served), _) => {
                self.metrics = served;
                self.problems.clear(Code::MetricsNotServed);
            }
            // Enforcement does not depend on who watches it.
            (Err(error), address) => {
                let address = address.map(|address| address.to_string()).unwrap_or_default();
                let text = format!("no metrics at {address}: {error}");
                log::warn!("{text}");
                self.problems.add(Code::MetricsNotServed, text);
            }
        }
    }
}
