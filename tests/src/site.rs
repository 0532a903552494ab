//! A small site: three services of its own, for tests that do not need the catalogue.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    dns::{ADDRESS_TYPES, ResponseCode, lookup},
    probe::{ProbeResult, Target, Transport, probe},
    records::Records,
    testbed::{FOREIGN_PORT, Setup, Testbed},
};

/// The site's configuration. It trusts every resolver of the testbed, and knows no address before
/// its client asks. That client does the work of many, and has no limits.
pub const CONFIG: &str = r#"interfaces:
  - name: eth1
clients:
  - name: devices
    networks: [10.20.0.0/24, "fd00:20::/64"]
    services: [web, clock, printer]
dns:
  resolvers:
    - 10.20.0.1
    - "fd00:20::1"
    - 203.0.113.53
    - "2001:db8:53::53"
    - 203.0.113.54
    - "2001:db8:53::54"
  resolve: false
  allow_private: [198.18.0.0/15, "2001:2::/48"]
limits: {queries: off, flows: off}
services:
  - id: web
    title: Web
    fqdns: ["*.web.test"]
    tcp: [80, 443]
    udp: [443]
  - id: clock
    title: Clock
    fqdns: [clock.test]
    udp: [123]
  - id: printer
    title: Printer
    cidrs: [192.0.2.0/28, "2001:db8:9100::/64"]
    tcp: [631]
"#;

/// The modes that an interface can be enforced in.
pub const MODES: [&str; 3] = ["native", "generic", "tc"];

/// A configuration of the site with another mode.
#[must_use]
pub fn in_mode(config: &str, mode: &str) -> String {
    config.replace("  - name: eth1\n", &format!("  - name: eth1\n    mode: {mode}\n"))
}

/// Names of the service `web` that the resolver knows.
pub const WEB: [&str; 3] = ["www.web.test", "static.web.test", "deep.under.web.test"];

/// The name of the service `clock`.
pub const CLOCK: &str = "clock.test";

/// A name of no service, which the resolver knows.
pub const UNLISTED: &str = "www.unlisted.test";

/// Longest wait for an answer that has to come.
pub const ANSWER: Duration = Duration::from_secs(5);

/// Wait for an answer that must not come.
pub const SILENCE: Duration = Duration::from_millis(300);

/// A testbed for this site.
#[must_use]
pub fn setup() -> Setup {
    let mut records = Records::default();
    for name in WEB.into_iter().chain([CLOCK, UNLISTED]) {
        records.add(name);
    }
    Setup {
        config: CONFIG.to_owned(),
        records,
        tcp: [80, 443, 631, FOREIGN_PORT].into(),
        udp: [123, 443, 5000].into(),
        ..Setup::default()
    }
}

/// A TCP target.
#[must_use]
pub const fn tcp(address: IpAddr, port: u16) -> Target {
    Target { address, port, transport: Transport::Tcp }
}

/// A UDP target.
#[must_use]
pub const fn udp(address: IpAddr, port: u16) -> Target {
    Target { address, port, transport: Transport::Udp }
}

/// Asks again until it is so: for what a daemon does on its own time.
pub fn eventually(what: &str, is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    eventually_within(ANSWER * 4, what, is_so)
}

/// Asks again until it is so, for what a daemon does in its own time and may take longer for.
pub fn eventually_within(
    time: Duration,
    what: &str,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + time;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "waited in vain until {what}");
    }
    Ok(())
}

/// The client's resolutions and probes.
impl Testbed {
    /// Resolves a name from the client, both types of address, over IPv4.
    pub fn resolve(&self, name: &str) -> Result<[IpAddr; 2]> {
        let [server, _] = self.resolver.addresses();
        self.resolve_at(server, name)
    }

    /// Resolves a name by another resolver.
    pub fn resolve_at(&self, server: IpAddr, name: &str) -> Result<[IpAddr; 2]> {
        let ask = |kind| {
            let answer = self.network.client.run(|| lookup(server, name, kind, ANSWER))?;
            ensure!(answer.code == ResponseCode::NoError, "{name} {kind}: {answer:?}");
            answer.addresses.first().copied().with_context(|| format!("{name} has no {kind}"))
        };
        let [v4, v6] = ADDRESS_TYPES.map(ask);
        Ok([v4?, v6?])
    }

    /// Waits until addresses are learned that the kernel has left to the daemon: more than a held
    /// packet waits for.
    pub fn await_learned(&self, addresses: &[IpAddr]) -> Result<()> {
        eventually("the daemon has learned all addresses", || {
            let names = self.filter.json(&["names"])?;
            let names = names.as_array().context("a list")?;
            let known: Vec<&str> = names.iter().filter_map(|one| one["address"].as_str()).collect();
            Ok(addresses.iter().all(|address| known.contains(&address.to_string().as_str())))
        })
    }

    /// Checks that the client reaches a target.
    pub fn expect_reached(&self, target: Target) -> Result<()> {
        let outcome = self.network.client.run(|| probe(target, ANSWER));
        ensure!(outcome == ProbeResult::Reached, "{target}: expected reached, found {outcome:?}");
        Ok(())
    }

    /// Checks that the client does not reach a target, and that this is the filter's doing.
    pub fn expect_denied(&self, target: Target) -> Result<()> {
        let outcome = self.network.client.run(|| probe(target, SILENCE));
        let denied = matches!(outcome, ProbeResult::Refused | ProbeResult::Silent);
        ensure!(denied, "{target}: expected denied, found {outcome:?}");
        let control = self.network.gateway.run(|| probe(target, ANSWER));
        ensure!(control == ProbeResult::Reached, "{target}: from the gateway {control:?} too");
        Ok(())
    }

    /// Checks the site's verdicts: what each service allows, and nothing else. Resolves names.
    pub fn expect_verdicts(&self) -> Result<()> {
        let (web, clock) = (self.resolve(WEB[0])?, self.resolve(CLOCK)?);
        let printer: [IpAddr; 2] = ["192.0.2.5".parse()?, "2001:db8:9100::5".parse()?];
        for family in 0..2 {
            self.expect_reached(tcp(web[family], 80))?;
            self.expect_reached(tcp(web[family], 443))?;
            self.expect_reached(udp(web[family], 443))?;
            self.expect_reached(udp(clock[family], 123))?;
            self.expect_reached(tcp(printer[family], 631))?;
            self.expect_denied(tcp(web[family], FOREIGN_PORT))?;
            self.expect_denied(tcp(web[family], 631))?;
            self.expect_denied(udp(web[family], 123))?;
            self.expect_denied(tcp(clock[family], 443))?;
            self.expect_denied(tcp(printer[family], 80))?;
        }
        let [server, _] = self.resolver.addresses();
        let [kind, _] = ADDRESS_TYPES;
        let answer = self.network.client.run(|| lookup(server, UNLISTED, kind, ANSWER))?;
        ensure!(answer.code == ResponseCode::NXDomain, "{UNLISTED}: {answer:?}");
        self.expect_denied(tcp("192.0.2.80".parse()?, 443))?;
        self.expect_denied(udp("2001:db8:80::1".parse()?, 5000))
    }
}
