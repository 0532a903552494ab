//! What the maps hold and the daemon knows, as numbers for OpenMetrics.

pub(crate) mod configuration;
mod exposition;
mod server;

pub(crate) use exposition::Sources;
pub(crate) use server::MetricsServer;
