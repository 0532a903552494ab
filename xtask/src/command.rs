//! Running other programs: each is shown before it runs, and a failure is one sentence.

use std::{
    env, fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Says what is about to happen.
pub(crate) fn say(what: &str) {
    eprintln!("==> {what}");
}

/// Runs `command` to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    say(&line);
    let status = command.status().with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Whether `command` succeeds; what it prints is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The program's path, looked for where administrators' programs are too.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let further = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(further)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // The owner of /proc/self is the effective user: no libc is needed to ask.
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Words before a command that runs as root: none, or sudo, which asks for a password only on a
/// terminal.
pub(crate) fn as_root(purpose: &str) -> Result<Vec<&'static str>> {
    if is_root() {
        return Ok(Vec::new());
    }
    if find("sudo").is_none() {
        bail!("{purpose} takes root, and there is no sudo: run the command as root");
    }
    if io::stdin().is_terminal() {
        return Ok(vec!["sudo"]);
    }
    if !succeeds(Command::new("sudo").args(["-n", "true"])) {
        bail!("{purpose} takes root, and sudo asks for a password without a terminal to ask on");
    }
    Ok(vec!["sudo", "-n"])
}

/// A command that runs `program` as root.
pub(crate) fn root_command(purpose: &str, program: impl AsRef<Path>) -> Result<Command> {
    let program = program.as_ref();
    Ok(match as_root(purpose)?.split_first() {
        None => Command::new(program),
        Some((sudo, flags)) => {
            let mut command = Command::new(sudo);
            command.args(flags).arg(program);
            command
        }
    })
}
