//! Name resolution as programs of the client have it: by glibc, which reads `resolv.conf`.

use std::{ffi::OsStr, net::IpAddr, process::Command};

use anyhow::{Context as _, Result};

use crate::{namespace::run, testbed::Testbed};

/// A command of the client's that finds this resolver, and these lines, in its `resolv.conf`.
pub fn command(
    testbed: &Testbed,
    server: &str,
    options: &str,
    words: &[impl AsRef<OsStr>],
) -> Result<Command> {
    let directory = &testbed.directory;
    let mounts = [
        ("resolv.conf", format!("nameserver {server}\n{options}")),
        ("hosts", "127.0.0.1 localhost\n".to_owned()),
        ("nsswitch.conf", "hosts: files dns\n".to_owned()),
    ];
    let mut script = String::new();
    for (name, text) in mounts {
        let file = directory.write(name, &text)?;
        script += &format!("mount --bind {} /etc/{name} && ", file.display());
    }
    // In a mount namespace of its own: the files are seen by this command alone.
    let mut command = testbed.network.client.command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("{script}exec \"$@\"")).arg("sh").args(words);
    Ok(command)
}

/// The addresses that `getaddrinfo` finds, each once.
pub fn getaddrinfo(
    testbed: &Testbed,
    server: &str,
    options: &str,
    name: &str,
) -> Result<Vec<IpAddr>> {
    let output = run(&mut command(testbed, server, options, &["getent", "ahosts", name])?)?;
    let mut addresses: Vec<IpAddr> = output
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|word| word.parse().with_context(|| output.clone()))
        .collect::<Result<_>>()?;
    addresses.sort();
    addresses.dedup();
    Ok(addresses)
}
