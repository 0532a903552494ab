//! Defines the lines between command and daemon: one of JSON each way, then one for each event.
//!
//! Every request and reply has the version of the protocol and the release of its sender. A request
//! with an unknown field is refused, since the field may change its meaning. Unknown fields of a
//! reply are ignored; fields that later releases add have a default. The shape of an error is the
//! same in every version.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    events::{EventFilter, denial_stats::Denials},
    names::SavedNames,
    report::{Changed, ConfigInForce, Confirmed, DaemonStatus, Preview},
};

/// Name of the socket in the runtime directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Version of the protocol, raised with every change that an earlier daemon or command would
/// misunderstand.
pub const VERSION: u32 = 1;

/// Request of a command to the daemon.
///
/// Commands without arguments have braces, since serde accepts unknown fields in unit variants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// State of the daemon: [`Reply::Status`].
    Status {},
    /// Table of names: [`Reply::Names`].
    Names {},
    /// Change to another configuration: [`Reply::Changed`], or [`Reply::Preview`].
    Apply {
        /// File that the configuration was read from, for messages.
        file: String,
        /// Text of the file, which the daemon may be unable to read.
        text: String,
        /// Seconds until the previous configuration returns, unless this one is confirmed.
        confirm_s: Option<u32>,
        /// Whether to report the changes without making them.
        #[serde(default)]
        dry_run: bool,
    },
    /// Reload of the configuration file: [`Reply::Changed`].
    Reload {},
    /// Configuration in force: [`Reply::Configuration`].
    Configuration {},
    /// Confirmation of the configuration that waits for one: [`Reply::Confirmed`].
    Confirm {},
    /// Clients with denials: [`Reply::Clients`].
    Clients {},
    /// Events: [`Reply::Events`], then a line of [`crate::report::EventLine`] for each.
    Events {
        /// Condition on the events.
        filter: EventFilter,
        /// Number of recent events at most.
        last: usize,
        /// Whether events to come follow.
        follow: bool,
    },
    /// Removal of all attachments and pins, and end of the daemon: [`Reply::Detached`].
    Detach {},
}

/// Reply of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// Refusal or failure of a request.
    Error {
        /// Message of the error.
        error: String,
        /// Whether the cause is an invalid configuration; the message then has a line for each
        /// fault.
        #[serde(default)]
        invalid: bool,
    },
    /// State of the daemon.
    Status(Box<DaemonStatus>),
    /// Table of names.
    Names(NamesTable),
    /// Change to a configuration that is now in force.
    Changed(Changed),
    /// Changes that a configuration would make.
    Preview(Preview),
    /// Configuration in force.
    Configuration(Box<ConfigInForce>),
    /// Configuration in force, confirmed.
    Confirmed(Confirmed),
    /// Clients with denials.
    Clients(DeniedClients),
    /// Start of a stream of events.
    Events(EventsFollow),
    /// End of all filtering.
    Detached(NothingFiltered),
}

/// Table of names, in a format with a version of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesTable {
    /// Names, addresses and rules.
    pub table: SavedNames,
}

/// Clients with denials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeniedClients {
    /// Denials by client, in no order.
    pub clients: Vec<Denials>,
}

/// Start of a stream of events, one per line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsFollow {}

/// Confirmation that everything is detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NothingFiltered {}

/// Error for a reply of another kind than the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexpected;

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the daemon's answer is one to another question")
    }
}

impl std::error::Error for Unexpected {}

macro_rules! expected {
    ($($variant:ident($content:ty),)+) => { $(
        impl TryFrom<Reply> for $content {
            type Error = Unexpected;

            fn try_from(reply: Reply) -> std::result::Result<Self, Unexpected> {
                match reply {
                    Reply::$variant(content) => Ok(content),
                    _ => Err(Unexpected),
                }
            }
        }
    )+ };
}

expected! {
    Status(Box<DaemonStatus>),
    Names(NamesTable),
    Changed(Changed),
    Preview(Preview),
    Configuration(Box<ConfigInForce>),
    Confirmed(Confirmed),
    Clients(DeniedClients),
    Events(EventsFollow),
    Detached(NothingFiltered),
}

/// Line on the socket: a request or reply with its sender.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    #[serde(flatten)]
    sender: Sender,
    #[serde(flatten)]
    message: T,
}

/// Sender of a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sender {
    /// Version of the sender's protocol; 0 for releases from before the protocol had a version.
    #[serde(default)]
    version: u32,
    /// Release of the sender; empty for releases from before the protocol had a version.
    #[serde(default)]
    release: String,
}

impl Sender {
    fn this() -> Self {
        Self { version: VERSION, release: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            0 => f.write_str("of a release whose control protocol has no version"),
            version => {
                write!(f, "of intune-filter {} with control protocol {version}", self.release)
            }
        }
    }
}

/// Formats a request or reply as a line.
pub(crate) fn to_line(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line { sender: Sender::this(), message })?;
    line.push(b'\n');
    Ok(line)
}

/// Parses a request; the error is the text of the reply.
pub(crate) fn request_of(line: &[u8]) -> std::result::Result<Request, String> {
    let sender: Sender =
        serde_json::from_slice(line).map_err(|error| format!("bad request: {error}"))?;
    let this = Sender::this();
    if sender.version != VERSION {
        return Err(format!("the command is {sender}, the daemon that runs {this}"));
    }
    let parsed = serde_json::from_slice::<Line<Request>>(line);
    parsed.map(|line| line.message).map_err(|error| {
        format!("bad request: {error}: the command is {sender}, the daemon that runs {this}")
    })
}

/// Parses a reply.
///
/// # Errors
/// The line is no reply, or is of another version.
pub(crate) fn reply_of(line: &str) -> Result<Reply> {
    /// Error in the shape that all versions share.
    #[derive(Deserialize)]
    struct AnyError {
        error: String,
    }

    let sender: Sender = serde_json::from_str(line).context("the daemon's answer is cut off")?;
    let versions = || format!("the daemon that runs is {sender}, this command {}", Sender::this());
    if sender.version != VERSION {
        match serde_json::from_str::<AnyError>(line) {
            Ok(AnyError { error }) => bail!("{}; the daemon says: {error}", versions()),
            Err(_) => bail!("{}", versions()),
        }
    }
    serde_json::from_str(line)
        .with_context(|| format!("the daemon's answer makes no sense: {}", versions()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        request_of(line.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_command_of_another_version_is_told_both() {
        let this = format!("the daemon that runs {}", Sender::this());
        let error = refused(r#"{"version":7,"release":"9.8.7","command":"status","as":"a table"}"#);
        assert!(error.starts_with("the command is of intune-filter 9.8.7 with control protocol 7"));
        assert!(error.ends_with(&this) && this.ends_with("with control protocol 1"), "{error}");
        let error = refused(r#"{"command":"status"}"#);
        assert!(error.starts_with("the command is of a release whose control protocol has no"));
        assert!(error.ends_with(&this), "{error}");
    }

    #[test]
    fn a_command_or_field_that_is_not_known_is_refused_and_both_releases_are_named() {
        for (request, why) in [
            (r#""command":"dance""#, "unknown variant `dance`"),
            (r#""command":"reload","dry_run":true"#, "unknown field `dry_run`"),
            (r#""command":"apply","file":"a","text":"b","later":1"#, "unknown field `later`"),
            (r#""command":"apply","file":"a""#, "missing field `text`"),
            (r#""file":"a""#, "missing field `command`"),
        ] {
            let error = refused(&format!(r#"{{"version":1,"release":"0.9.0",{request}}}"#));
            assert!(error.starts_with("bad request: ") && error.contains(why), "{error}");
            assert!(error.contains("the command is of intune-filter 0.9.0"), "{error}");
            assert!(
                error.contains(concat!("intune-filter ", env!("CARGO_PKG_VERSION"))),
                "{error}"
            );
        }
    }

    #[test]
    fn a_reply_may_say_more_than_the_command_knows() {
        let reply = r#"{"version":1,"release":"9.9.9","reply":"confirmed","schema":1,"file":"f",
            "generation":2,"digest":"d","overrides_file":true,"later":[1]}"#;
        let Reply::Confirmed(confirmed) = reply_of(reply).unwrap() else { panic!() };
        assert_eq!((confirmed.generation, confirmed.overrides_file), (2, true));
    }

    #[test]
    fn a_daemon_of_another_version_is_told_from_its_reply() {
        let error = |line: &str| format!("{:#}", reply_of(line).unwrap_err());
        let newer = error(r#"{"version":2,"release":"9.9.9","reply":"status","ready":true}"#);
        assert!(newer.starts_with("the daemon that runs is of intune-filter 9.9.9 with control "));
        assert!(newer.ends_with("with control protocol 1"), "{newer}");
        // The refusal that daemons before the first version send to every command of this release.
        let older = error(r#"{"error":"bad request: unknown field `version`","invalid":false}"#);
        assert!(older.contains("is of a release whose control protocol has no version"), "{older}");
        assert!(
            older.ends_with("the daemon says: bad request: unknown field `version`"),
            "{older}"
        );
        let strange = error(r#"{"version":1,"release":"9.9.9","reply":"tables"}"#);
        assert!(strange.contains("makes no sense") && strange.contains("9.9.9"), "{strange}");
        assert!(error("").starts_with("the daemon's answer is cut off"));
    }
}
