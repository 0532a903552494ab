//! Running nft, the command of nftables.

use std::{
    fmt, io,
    io::Write as _,
    process::{Command, Output, Stdio},
};

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// There is no such command.
    NotInstalled,
    /// It cannot be run.
    Run(io::Error),
    /// It refuses; the first line of what it says.
    Refused(String),
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("nft is not installed"),
            Self::Run(error) => write!(f, "cannot run nft: {error}"),
            Self::Refused(text) => write!(f, "nft says: {text}"),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotInstalled,
            _ => Self::Run(error),
        }
    }
}

/// What nft prints.
///
/// # Errors
/// Nft cannot be run, or refuses.
pub fn ask(arguments: &[&str]) -> Result<String, Error> {
    text(&Command::new("nft").args(arguments).stdin(Stdio::null()).output()?)
}

/// Loads a ruleset: all of it, in one step, or nothing.
///
/// # Errors
/// Nft cannot be run, or refuses; nothing has changed then.
pub fn load(ruleset: &str) -> Result<(), Error> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut nft = command.spawn()?;
    if let Some(mut stdin) = nft.stdin.take() {
        // What nft has against it, it says itself.
        let _ = stdin.write_all(ruleset.as_bytes());
    }
    text(&nft.wait_with_output()?).map(drop)
}

fn text(output: &Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(Error::Refused(text.lines().next().unwrap_or_default().to_owned()))
}
