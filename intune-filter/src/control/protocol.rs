//! What command and daemon say to each other: one JSON line each way, then a line for each event.
//!
//! Every request and reply has the version of the protocol and the release of its sender. A request
//! is refused for a field that the daemon does not know: what it asks for might be meant otherwise.
//! A reply may say more than the command knows, which is passed over; what a later release adds to
//! it has a default. The shape of an error is the same in every version.

use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    events::{Filter, denial_stats::Denials},
    names::SavedNames,
    report::{Changed, ConfigInForce, Confirmed, DaemonStatus, Preview},
};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "control.sock";

/// Version of the protocol. It is raised by what a daemon or a command before would misunderstand.
pub const VERSION: u32 = 1;

/// What a command asks of the daemon.
///
/// Commands without arguments have braces: serde lets unknown fields of plain variants pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How it is: [`Reply::Status`].
    Status {},
    /// Its table of names: [`Reply::Names`].
    Names {},
    /// Put another configuration into force: [`Reply::Changed`], or [`Reply::Preview`].
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
    /// Load the configuration file again: [`Reply::Changed`].
    Reload {},
    /// The configuration in force: [`Reply::Configuration`].
    Configuration {},
    /// Keep the configuration that waits for this: [`Reply::Confirmed`].
    Confirm {},
    /// The clients that were denied something: [`Reply::Clients`].
    Clients {},
    /// Events: [`Reply::Events`], then a line of [`crate::report::EventLine`] each.
    Events {
        /// Which.
        filter: Filter,
        /// How many of those that are kept, at most.
        last: usize,
        /// Whether to go on with those to come.
        follow: bool,
    },
    /// Detach everything, remove the pins, and end: [`Reply::Detached`].
    Detach {},
}

/// The daemon's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// It was not done.
    Error {
        /// Why.
        error: String,
        /// Whether a configuration is not valid: the text then has a line for each fault.
        #[serde(default)]
        invalid: bool,
    },
    /// How the daemon is.
    Status(Box<DaemonStatus>),
    /// The table of names.
    Names(NamesTable),
    /// A configuration is in force.
    Changed(Changed),
    /// What a configuration would change.
    Preview(Preview),
    /// The configuration in force.
    Configuration(Box<ConfigInForce>),
    /// The configuration in force is kept.
    Confirmed(Confirmed),
    /// The clients that were denied something.
    Clients(DeniedClients),
    /// Events follow.
    Events(EventsFollow),
    /// Nothing is filtered any more.
    Detached(NothingFiltered),
}

/// The table of names, whose format has a version of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamesTable {
    /// The table.
    pub table: SavedNames,
}

/// The clients that were denied something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeniedClients {
    /// In no order.
    pub clients: Vec<Denials>,
}

/// Events follow, a line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsFollow {}

/// Everything is detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NothingFiltered {}

/// A reply of another kind than was asked for.
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

/// A request or reply on the socket.
#[derive(Serialize, Deserialize)]
struct Line<T> {
    #[serde(flatten)]
    sender: Sender,
    #[serde(flatten)]
    message: T,
}

/// Who has sent a line.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sender {
    /// Version of its protocol; 0 of releases before the protocol had one.
    #[serde(default)]
    version: u32,
    /// Its release; nothing of those.
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

/// A request or reply as a line.
pub(crate) fn to_line(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(&Line { sender: Sender::this(), message })?;
    line.push(b'\n');
    Ok(line)
}

/// The request of a line, or why it cannot be answered.
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

/// The reply of a line.
///
/// # Errors
/// It is no reply, or of another version.
pub(crate) fn reply_of(line: &str) -> Result<Reply> {
    /// An error as every version has it.
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
        // As daemons before the first version refuse every command of this release.
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
