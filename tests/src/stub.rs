//! Stub resolvers of the client's own, other than a library's: programs that answer on the client's
//! loopback address what they have asked the network's resolver.

use std::net::IpAddr;

use anyhow::Result;

use crate::{
    directory::Directory,
    namespace::Namespace,
    process::Process,
    resolver::{STARTED, UNBOUND_IN_A_TEST, path_option, unconfined},
};

/// Address of the stubs, on the client.
pub const STUB: &str = "127.0.0.1";

/// A program that forwards what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stub {
    /// dnsmasq, which asks over UDP from a new port each time.
    Dnsmasq,
    /// unbound, which asks in letters of random case and wants them back (0x20).
    Unbound,
    /// unbound over TCP alone.
    UnboundOverTcp,
}

impl Stub {
    /// All.
    pub const ALL: [Self; 3] = [Self::Dnsmasq, Self::Unbound, Self::UnboundOverTcp];

    /// Whether the stub asks for the target of every alias itself, whatever the answer has told.
    #[must_use]
    pub const fn asks_for_aliases(self) -> bool {
        matches!(self, Self::Unbound | Self::UnboundOverTcp)
    }

    /// Starts it on the client, and returns when it listens. It asks `server`.
    pub fn start(
        self,
        client: &Namespace,
        directory: &Directory,
        server: IpAddr,
    ) -> Result<Process> {
        let (name, settings, started) = match self {
            Self::Dnsmasq => ("dnsmasq", dnsmasq(server), "started, version"),
            Self::Unbound => ("unbound", unbound(server, false), "start of service"),
            Self::UnboundOverTcp => ("unbound", unbound(server, true), "start of service"),
        };
        let file = directory.write("stub.conf", &settings)?;
        let mut command = client.command(unconfined(name, directory)?);
        if self == Self::Dnsmasq {
            command.args(["--keep-in-foreground", "--log-facility=-", "--pid-file="]);
            command.arg(path_option("--conf-file", &file));
        } else {
            command.arg("-d").arg("-c").arg(file);
        }
        let process = Process::spawn("the client's stub", &mut command)?;
        process.wait_for(started, STARTED)?;
        Ok(process)
    }
}

fn dnsmasq(server: IpAddr) -> String {
    format!(
        "no-resolv
no-hosts
no-poll
user=root
cache-size=0
listen-address={STUB}
bind-interfaces
server={server}
"
    )
}

fn unbound(server: IpAddr, tcp: bool) -> String {
    let tcp = if tcp { "yes" } else { "no" };
    format!(
        "server:
  interface: {STUB}
{UNBOUND_IN_A_TEST}
  num-threads: 1
  verbosity: 1
  use-caps-for-id: yes
  tcp-upstream: {tcp}
  cache-max-ttl: 0
remote-control:
  control-enable: no
forward-zone:
  name: .
  forward-addr: {server}
"
    )
}
