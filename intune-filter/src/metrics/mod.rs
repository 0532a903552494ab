//! Serves the contents of the maps and the daemon's state in Prometheus' formats.

mod classic;
pub(crate) mod configuration;
mod exposition;
mod process;
mod server;

pub(crate) use exposition::Sources;
pub(crate) use server::MetricsServer;
