//! PPP between two namespaces, by the daemon that gateways use: over a serial line, or over Ethernet with
//! an access concentrator (PPPoE).

use std::{
    net::Ipv4Addr,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::{directory::Directory, namespace::Namespace, process::Process};

/// Longest time until a link has come up, or has gone: the computer may be an emulated one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of both ends: nothing is compressed, nobody has a password, and lost requests are soon sent
/// again.
const OPTIONS: [&str; 11] = [
    "nodetach",
    "noauth",
    "nolock",
    "noipdefault",
    "nodefaultroute",
    "noccp",
    "novj",
    "+ipv6",
    "lcp-restart=1",
    "ipcp-restart=1",
    "ipv6cp-restart=1",
];

/// Words of a daemon on a kernel without PPP.
pub const LACKING: [&str; 2] = ["lacks kernel support for PPP", "open the /dev/ppp device"];

/// An end of a link.
#[derive(Clone, Copy, Debug)]
pub struct PppEnd<'a> {
    /// Namespace of the interface.
    pub namespace: &'a Namespace,
    /// Name of the interface.
    pub name: &'a str,
    /// Address of the interface.
    pub address: Ipv4Addr,
}

impl PppEnd<'_> {
    /// The daemon of this end, to whose command the line is to be added.
    fn daemon(&self, peer: Ipv4Addr, interfaces: &str, line: &[&str]) -> std::process::Command {
        let mut command = self.namespace.command("pppd");
        command.args(OPTIONS.iter().flat_map(|option| option.split('=')));
        command.args(["logfd", "2", "ifname", self.name, "ipv6", interfaces]);
        // Not those of the computer.
        command.args(["ip-up-script", "/bin/true", "ip-down-script", "/bin/true"]);
        command.arg(format!("{}:{peer}", self.address)).args(line);
        command
    }
}

/// Waits until a daemon has negotiated both families.
fn await_up(daemon: &Process) -> Result<()> {
    for last in ["remote IP address", "remote LL address"] {
        daemon.wait_for(last, PATIENCE)?;
    }
    Ok(())
}

/// Has a daemon tell its peer that it goes, and waits until its interface is gone.
fn hang_up(daemon: &mut Process) -> Result<()> {
    daemon.signal(Signal::SIGTERM)?;
    daemon.wait(PATIENCE).map(drop)
}

/// Two daemons on one serial line, each with an interface that is up; both are gone when it is dropped.
#[derive(Debug)]
pub struct PppLink {
    daemons: [Process; 2],
}

impl PppLink {
    /// Connects two namespaces.
    pub fn connect(ends: [PppEnd<'_>; 2]) -> Result<Self> {
        let (one, other) = UnixStream::pair()?;
        let start = |end: usize, line: OwnedFd, identifiers| {
            let peer = ends[1 - end].address;
            let mut command = ends[end].daemon(peer, identifiers, &["notty"]);
            Process::spawn_on("pppd", &mut command, line)
        };
        let daemons = [start(0, one.into(), "::1,::2")?, start(1, other.into(), "::2,::1")?];
        daemons.iter().try_for_each(await_up)?;
        Ok(Self { daemons })
    }

    /// Ends it from the first end, as a modem that hangs up.
    pub fn hang_up(mut self) -> Result<()> {
        let [one, other] = &mut self.daemons;
        hang_up(one)?;
        // It has been told.
        other.wait(PATIENCE).context("the other end").map(drop)
    }
}

/// An access concentrator on an Ethernet interface.
#[derive(Debug)]
pub struct Concentrator {
    process: Process,
}

impl Concentrator {
    /// Starts one, whose sessions have an interface of this name, one at a time.
    pub fn start(
        directory: &Directory,
        end: PppEnd<'_>,
        ethernet: &str,
        peer: Ipv4Addr,
    ) -> Result<Self> {
        let lines = OPTIONS.join("\n").replace('=', " ");
        let scripts = "ip-up-script /bin/true\nip-down-script /bin/true";
        let options = format!("{lines}\n{scripts}\nifname {}\n", end.name);
        let options = directory.write("pppoe-server", &options)?;
        let mut command = end.namespace.command("pppoe-server");
        command.arg("-F").args(["-I", ethernet, "-N", "1", "-x", "1", "-O"]).arg(&options);
        command.args(["-L", &end.address.to_string(), "-R", &peer.to_string()]);
        Ok(Self { process: Process::spawn("pppoe-server", &mut command)? })
    }
}

impl Drop for Concentrator {
    fn drop(&mut self) {
        // By itself it ends the daemons of its sessions too.
        let _ = self.process.signal(Signal::SIGTERM);
        let _ = self.process.wait(PATIENCE);
    }
}

/// A session with an access concentrator, whose interface is up.
#[derive(Debug)]
pub struct PppoeSession {
    daemon: Process,
}

impl PppoeSession {
    /// Dials, on an Ethernet interface.
    pub fn dial(end: PppEnd<'_>, ethernet: &str, peer: Ipv4Addr) -> Result<Self> {
        let line = ["plugin", "pppoe.so", ethernet, "mtu", "1492", "mru", "1492"];
        let mut command = end.daemon(peer, "::1,::2", &line);
        let session = Self { daemon: Process::spawn("pppd", &mut command)? };
        await_up(&session.daemon)?;
        Ok(session)
    }

    /// Ends it.
    pub fn hang_up(mut self) -> Result<()> {
        hang_up(&mut self.daemon)
    }
}
