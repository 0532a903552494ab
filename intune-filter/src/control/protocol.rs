//! What command and daemon say to each other: one JSON request a line, one JSON reply a line.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::Filter;

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "control.sock";

/// What a command asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How it is.
    Status,
    /// Its table of names.
    Names,
    /// Put another configuration into force.
    Apply {
        /// The file that it was read from, for messages.
        file: String,
        /// What the file says: the daemon may not be able to read it.
        text: String,
        /// Seconds after which the configuration before comes back, unless confirmed.
        confirm_s: Option<u32>,
        /// Whether only to tell what that would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Load the configuration file again.
    Reload,
    /// The configuration in force.
    Configuration,
    /// Keep the configuration that waits for this.
    Confirm,
    /// The clients that were denied something.
    Clients,
    /// Events: a stream of them, and no reply, unless it is an error.
    Events {
        /// Which.
        filter: Filter,
        /// How many of those that are kept, at most.
        last: usize,
        /// Whether to go on with those to come.
        follow: bool,
    },
    /// Detach everything, remove the pins, and end.
    Detach,
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// It was not done.
    Error {
        /// Why.
        error: String,
        /// Whether a configuration is not valid: the text then has a line for each fault.
        #[serde(default)]
        invalid: bool,
    },
    /// What was asked for.
    Ok(Value),
}
