//! The laboratory's resolvers: dnsmasq on the gateway, unbound beyond it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    directory::Directory,
    namespace::Namespace,
    network::{GATEWAY, LAN, Network},
    process::Process,
    records::Records,
    responder::RESPONDER,
};

/// Where unbound answers.
pub const UNBOUND: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 53)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x53)),
];

/// Below this name every name has a fresh address: the resolvers ask the [responder] for it.
///
/// [responder]: crate::responder
pub const FRESH: &str = "fresh.web.test";

/// Which resolver the client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// dnsmasq on the gateway: it sends the answers itself
    #[default]
    Dnsmasq,
    /// unbound in the internet: the gateway forwards its answers
    Unbound,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
        })
    }
}

impl Kind {
    /// Where the client asks.
    #[must_use]
    pub const fn addresses(self) -> [IpAddr; 2] {
        match self {
            Self::Dnsmasq => GATEWAY,
            Self::Unbound => UNBOUND,
        }
    }
}

/// A resolver that runs; stopped on drop.
#[derive(Debug)]
pub struct Resolver {
    kind: Kind,
    processes: Vec<Process>,
}

impl Resolver {
    /// Starts a resolver that knows `records`, and returns when it answers.
    pub fn start(
        kind: Kind,
        network: &Network,
        directory: &Directory,
        records: &Records,
    ) -> Result<Self> {
        let processes = match kind {
            Kind::Dnsmasq => {
                // Also announces the router: clients of a real network rely on it.
                let lan = format!(
                    "interface={LAN}\nexcept-interface=lo\nbind-interfaces\nenable-ra\n\
                     dhcp-range=::,constructor:{LAN},ra-only\n",
                );
                vec![dnsmasq(&network.gateway, directory, &format!("{lan}{}", records.dnsmasq()))?]
            }
            Kind::Unbound => {
                network
                    .internet
                    .ip(&UNBOUND.map(|address| format!("address add {address} dev lo")))?;
                let authority = "listen-address=127.0.0.1\nbind-interfaces\nport=5300\n";
                let authority = format!("{authority}{}", records.dnsmasq());
                vec![
                    dnsmasq(&network.internet, directory, &authority)?,
                    unbound(&network.internet, directory)?,
                ]
            }
        };
        Ok(Self { kind, processes })
    }

    /// Where it answers.
    #[must_use]
    pub const fn addresses(&self) -> [IpAddr; 2] {
        self.kind.addresses()
    }

    /// Waits until it logs a line with this text.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        let process = self.processes.last().context("the resolver does not run")?;
        process.wait_for(text, STARTED).map(drop)
    }
}

const STARTED: Duration = Duration::from_secs(20);

fn dnsmasq(namespace: &Namespace, directory: &Directory, settings: &str) -> Result<Process> {
    let common = "no-resolv\nno-hosts\nno-poll\nuser=root\nlocal-ttl=300\n";
    let [responder, _] = RESPONDER;
    let fresh = format!("server=/{FRESH}/{responder}\n");
    let file = directory.write("dnsmasq.conf", &format!("{common}{fresh}{settings}"))?;
    let mut command = namespace.command("dnsmasq");
    command.args(["--keep-in-foreground", "--log-facility=-", "--pid-file="]);
    // It keeps leases only where the router is announced, and would keep them in /var/lib.
    command.arg(path_option("--dhcp-leasefile", &directory.path().join("dnsmasq.leases")));
    command.arg(path_option("--conf-file", &file));
    let process = Process::spawn("dnsmasq", &mut command)?;
    process.wait_for("started, version", STARTED)?;
    Ok(process)
}

fn unbound(namespace: &Namespace, directory: &Directory) -> Result<Process> {
    let [v4, v6] = UNBOUND;
    let settings = format!(
        "server:
  interface: {v4}
  interface: {v6}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  use-syslog: no
  logfile: \"\"
  username: \"\"
  chroot: \"\"
  directory: \"\"
  pidfile: \"\"
  do-daemonize: no
  do-not-query-localhost: no
  module-config: iterator
  num-threads: 1
  verbosity: 1
  prefetch: no
  edns-buffer-size: 4096
  max-udp-size: 4096
  local-zone: test. nodefault
remote-control:
  control-enable: no
forward-zone:
  name: .
  forward-addr: 127.0.0.1@5300
"
    );
    let file = directory.write("unbound.conf", &settings)?;
    let process =
        Process::spawn("unbound", namespace.command("unbound").arg("-d").arg("-c").arg(file))?;
    process.wait_for("start of service", STARTED)?;
    Ok(process)
}

fn path_option(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push("=");
    argument.push(path);
    argument
}
