//! Defines the JSON of commands with `--json`: a contract, held by the files in `tests/json`.
//!
//! [`crate::control`] carries the daemon's part of it.

mod capture;
mod catalogue;
mod change;
mod clients;
mod configuration;
mod events;
mod explain;
mod exported;
mod failed;
mod flows;
#[cfg(test)]
mod golden;
mod names;
mod on_link;
mod services;
mod status;

pub use capture::{CaptureExplained, CapturedTotals, CapturedTraffic, CapturedVerdicts};
pub use catalogue::{
    CatalogueRule, CatalogueService, CatalogueStatus, DatumReport, EditionsCompared, Endpoints,
    Match, Matches,
};
pub use change::{Changed, Confirmed, Detached, FailedInterface, LostName, Preview};
pub use clients::{Client, LastDenied};
pub use configuration::{CatalogueChecked, Checked, ConfigInForce, EditionChange, Origin};
pub use events::EventLine;
pub use explain::{Explained, Judged, MatchedBy, Nearest, PatternOf, Remedy, Side, Verdict};
pub use exported::{Exported, ExportedFile, Imported};
pub use failed::{Failed, FailedLine};
pub use flows::LiveFlow;
pub use names::LearnedAddress;
pub use on_link::OnLinkPrefix;
pub use services::ServiceTraffic;
pub use status::{
    BootGate, ConfigurationStatus, Daemon, DaemonStatus, GateStatus, Interface, LastReload,
    MapUsage, OtherDns, Problem, ReloadResult, Status, Waiting,
};

/// Version of the contract: `schema` of every object at the top level.
pub const SCHEMA: u32 = 1;

/// Formats a value as `--json` prints it.
pub(crate) fn to_text(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    Ok(text)
}
