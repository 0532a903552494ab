//! The testbed's resolvers: each on the gateway or beyond it.

mod settings;

pub use settings::UNBOUND_IN_A_TEST;

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use nix::sys::signal::Signal;

use crate::{
    directory::Directory,
    namespace::Namespace,
    network::{GATEWAY, LAN, Network},
    process::Process,
    records::Records,
    responder::RESPONDER,
};

/// Addresses of a resolver beyond the gateway.
pub const BEYOND: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 53)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x53)),
];

/// Below this name every name has a fresh address: the resolvers ask the [responder] for it.
///
/// [responder]: crate::responder
pub const FRESH: &str = "fresh.web.test";

/// Resolver that the client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// dnsmasq on the gateway: it sends the answers itself
    #[default]
    Dnsmasq,
    /// unbound in the internet: the gateway forwards its answers
    Unbound,
    /// BIND in the internet
    Bind,
    /// Knot Resolver in the internet
    Knot,
}

/// Location of a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolverLocation {
    /// On the gateway, which sends its answers itself.
    Gateway,
    /// Beyond the gateway, which forwards its answers.
    Beyond,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dnsmasq => "dnsmasq",
            Self::Unbound => "unbound",
            Self::Bind => "bind",
            Self::Knot => "knot",
        })
    }
}

impl Kind {
    /// All.
    pub const ALL: [Self; 4] = [Self::Dnsmasq, Self::Unbound, Self::Bind, Self::Knot];

    /// Usual location of the resolver.
    #[must_use]
    pub const fn place(self) -> ResolverLocation {
        match self {
            Self::Dnsmasq => ResolverLocation::Gateway,
            Self::Unbound | Self::Bind | Self::Knot => ResolverLocation::Beyond,
        }
    }

    /// Addresses at which the client asks a resolver of this kind in its usual location.
    #[must_use]
    pub const fn addresses(self) -> [IpAddr; 2] {
        self.place().addresses()
    }
}

impl ResolverLocation {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gateway, Self::Beyond];

    /// Addresses at which the client asks a resolver in this location.
    #[must_use]
    pub const fn addresses(self) -> [IpAddr; 2] {
        match self {
            Self::Gateway => GATEWAY,
            Self::Beyond => BEYOND,
        }
    }

    fn namespace(self, network: &Network) -> &Namespace {
        match self {
            Self::Gateway => &network.gateway,
            Self::Beyond => &network.internet,
        }
    }
}

/// A resolver that runs; stopped on drop.
#[derive(Debug)]
pub struct Resolver {
    place: ResolverLocation,
    processes: Vec<Process>,
}

impl Resolver {
    /// Starts a resolver that knows `records`, where that kind usually is, and returns when it
    /// answers.
    pub fn start(
        kind: Kind,
        network: &Network,
        directory: &Directory,
        records: &Records,
    ) -> Result<Self> {
        Self::start_at(kind.place(), kind, network, directory, records, "")
    }

    /// Starts dnsmasq on the gateway, with further settings.
    pub fn on_gateway(
        network: &Network,
        directory: &Directory,
        records: &Records,
        settings: &str,
    ) -> Result<Self> {
        let place = ResolverLocation::Gateway;
        // Also announces the router: clients of a real network rely on it.
        let listen = format!(
            "interface={LAN}\nexcept-interface=lo\nbind-interfaces\nenable-ra\n\
             dhcp-range=::,constructor:{LAN},ra-only\n",
        );
        let settings = format!("{listen}{}{settings}", records.dnsmasq());
        let process = dnsmasq(place.namespace(network), directory, &settings)?;
        Ok(Self { place, processes: vec![process] })
    }

    /// Starts a resolver at a location, with further settings of dnsmasq, which the others ask.
    pub fn start_at(
        place: ResolverLocation,
        kind: Kind,
        network: &Network,
        directory: &Directory,
        records: &Records,
        settings: &str,
    ) -> Result<Self> {
        let namespace = place.namespace(network);
        if place == ResolverLocation::Beyond {
            namespace.ip(&BEYOND.map(|address| format!("address add {address} dev lo")))?;
        }
        if (kind, place) == (Kind::Dnsmasq, ResolverLocation::Gateway) {
            return Self::on_gateway(network, directory, records, settings);
        }
        let records = format!("{}{settings}", records.dnsmasq());
        if kind == Kind::Dnsmasq {
            let [v4, v6] = BEYOND;
            let listen =
                format!("listen-address={v4},{v6}\nbind-interfaces\nedns-packet-max=4096\n");
            let process = dnsmasq(namespace, directory, &format!("{listen}{records}"))?;
            return Ok(Self { place, processes: vec![process] });
        }
        // What the others know they have from one that is told of every record.
        let authority = "listen-address=127.0.0.1\nbind-interfaces\nport=5300\n";
        let authority = dnsmasq(namespace, directory, &format!("{authority}{records}"))?;
        let process = match kind {
            Kind::Bind => bind(place, namespace, directory)?,
            Kind::Knot => knot(place, namespace, directory)?,
            Kind::Unbound | Kind::Dnsmasq => unbound(place, namespace, directory)?,
        };
        Ok(Self { place, processes: vec![authority, process] })
    }

    /// Addresses of the resolver.
    #[must_use]
    pub const fn addresses(&self) -> [IpAddr; 2] {
        self.place.addresses()
    }

    /// Waits until it logs a line with this text.
    pub fn wait_for(&self, text: &str) -> Result<()> {
        let process = self.processes.last().context("the resolver does not run")?;
        process.wait_for(text, STARTED).map(drop)
    }

    /// Has it do nothing until [`Self::resume`]: what it is asked waits.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Has it go on after [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        self.processes.last().context("the resolver does not run")?.signal(signal)
    }

    /// Log of the resolver.
    #[must_use]
    pub fn output(&self) -> String {
        self.processes.last().map(Process::output).unwrap_or_default()
    }
}

/// Longest time of a resolver's start.
pub(crate) const STARTED: Duration = Duration::from_secs(60);

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

fn unbound(
    place: ResolverLocation,
    namespace: &Namespace,
    directory: &Directory,
) -> Result<Process> {
    let file = directory.write("unbound.conf", &settings::unbound(place.addresses()))?;
    let mut command = namespace.command(unconfined("unbound", directory)?);
    let process = Process::spawn("unbound", command.arg("-d").arg("-c").arg(file))?;
    process.wait_for("start of service", STARTED)?;
    Ok(process)
}

fn bind(place: ResolverLocation, namespace: &Namespace, directory: &Directory) -> Result<Process> {
    let home = home(directory, "bind")?;
    let file = directory.write("named.conf", &settings::bind(place.addresses(), &home))?;
    let mut command = namespace.command(unconfined("named", directory)?);
    let process = Process::spawn("named", command.arg("-g").arg("-c").arg(file))?;
    process.wait_for(" running", STARTED)?;
    Ok(process)
}

/// The program itself, not the service that starts several of them: so it is the same in every
/// release.
fn knot(place: ResolverLocation, namespace: &Namespace, directory: &Directory) -> Result<Process> {
    let home = home(directory, "knot")?;
    let file = directory.write("kresd.conf", &settings::knot(place.addresses()))?;
    let mut command = namespace.command("kresd");
    command.arg("--noninteractive").arg("--config").arg(file).arg(home);
    let process = Process::spawn("kresd", &mut command)?;
    process.wait_for(settings::KNOT_READY, STARTED)?;
    Ok(process)
}

/// A program that AppArmor, where it is enabled, lets read nothing but its usual files: then a copy,
/// which none of the distribution's profiles is for.
pub(crate) fn unconfined(program: &str, directory: &Directory) -> Result<PathBuf> {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if enabled.is_ok_and(|text| text.trim() == "Y") {
        copied(program, directory)
    } else {
        Ok(program.into())
    }
}

/// A copy of a program in the testbed's directory.
fn copied(program: &str, directory: &Directory) -> Result<PathBuf> {
    let copy = directory.path().join(program);
    // It may run already, and cannot be written then.
    if !copy.exists() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut paths = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
        let found = paths.find_map(|path| Some(path.join(program)).filter(|file| file.is_file()));
        let found = found.with_context(|| format!("{program} is not installed"))?;
        fs::copy(found, &copy).with_context(|| format!("cannot copy {program}"))?;
    }
    Ok(copy)
}

/// A directory for what a resolver writes.
fn home(directory: &Directory, name: &str) -> Result<PathBuf> {
    let path = directory.path().join(name);
    fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// An option that a program wants in one word with its value.
pub(crate) fn path_option(option: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(option);
    argument.push("=");
    argument.push(path);
    argument
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn a_copy_of_a_program_runs() -> Result<()> {
        let directory = Directory::create()?;
        for program in ["unbound", "named"] {
            let copy = copied(program, &directory)?;
            ensure!(copied(program, &directory)? == copy, "one copy is enough");
            let mut command = std::process::Command::new(&copy);
            let output = command.arg("-V").output().with_context(|| program.to_owned())?;
            ensure!(output.status.success(), "{program}: {output:?}");
        }
        Ok(())
    }
}
