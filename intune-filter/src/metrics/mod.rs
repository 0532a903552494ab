//! Serves the contents of the maps and the daemon's state as OpenMetrics.

pub(crate) mod configuration;
mod exposition;
mod server;

pub(crate) use exposition::Sources;
pub(crate) use server::MetricsServer;
