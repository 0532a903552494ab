//! Revocation: revoked names, addresses and flows are gone when `apply` says that the configuration
//! is in force, and the others go on.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket},
};

use anyhow::{Context as _, Result, bail, ensure};
use intune_filter_tests::{
    network::CLIENT,
    responder::RESPONDER,
    site::{self, ANSWER, CLOCK, CONFIG, SILENCE, eventually, tcp},
    testbed::{FOREIGN_PORT, Testbed},
};

/// The site's configuration with two patterns for the web, and without resolvers' delays.
fn two_patterns() -> String {
    CONFIG.replace("fqdns: [\"*.web.test\"]", "fqdns: [\"*.web.test\", \"*.shop.test\"]")
}

struct Site(Testbed);

impl Site {
    fn start(config: String) -> Result<Self> {
        let setup = intune_filter_tests::testbed::Setup { config, ..site::setup() };
        let mut testbed = Testbed::create(&setup)?;
        testbed.filter.start()?;
        Ok(Self(testbed))
    }

    /// Puts a configuration into force. When this returns, it is.
    fn apply(&self, config: &str) -> Result<()> {
        self.0.filter.configure(config)?;
        self.0.filter.succeed(&["apply"]).map(drop)
    }

    /// Resolves a name of the responder's, whose address is its number's, and waits until the
    /// daemon knows of it.
    fn resolve(&self, name: &str) -> Result<[IpAddr; 2]> {
        let addresses = self.0.resolve_at(RESPONDER[0], name)?;
        eventually("the daemon has the name", || Ok(self.names()?.contains(name)))?;
        Ok(addresses)
    }

    fn names(&self) -> Result<BTreeSet<String>> {
        let names = self.0.filter.json(&["names"])?;
        let names = names.as_array().context("a list")?;
        Ok(names.iter().filter_map(|name| name["name"].as_str().map(str::to_owned)).collect())
    }

    /// A flow of the client's, which the remote answers.
    fn flow(&self, to: SocketAddr) -> Result<Flow> {
        let any: IpAddr = if to.is_ipv4() { "0.0.0.0".parse()? } else { "::".parse()? };
        let socket = self.0.network.client.run(|| UdpSocket::bind((any, 0)))?;
        socket.connect(to)?;
        let flow = Flow(socket);
        ensure!(flow.is_alive()?, "{to} does not answer");
        Ok(flow)
    }
}

struct Flow(UdpSocket);

impl Flow {
    /// Whether a packet of it is answered.
    fn is_alive(&self) -> Result<bool> {
        // A refusal from before counts for what is asked now.
        self.0.set_read_timeout(Some(SILENCE))?;
        let _ = self.0.take_error()?;
        if self.0.send(b"still there?").is_err() {
            return Ok(false);
        }
        Ok(self.0.recv(&mut [0; 64]).is_ok())
    }
}

#[test]
fn an_address_lives_by_the_names_that_are_left() -> Result<()> {
    let site = Site::start(two_patterns())?;
    let [revoked, revoked6] = site.resolve("7.web.test")?;
    let [kept, kept6] = site.resolve("8.web.test")?;
    let also_kept = site.resolve("8.shop.test")?;
    ensure!([kept, kept6] == also_kept, "both names have one address");
    for address in [revoked, revoked6, kept, kept6] {
        site.0.expect_reached(tcp(address, 443))?;
    }

    site.apply(&CONFIG.replace("*.web.test", "*.shop.test"))?;
    for address in [revoked, revoked6] {
        site.0.expect_denied(tcp(address, 443))?;
    }
    for address in [kept, kept6] {
        site.0.expect_reached(tcp(address, 443))?;
    }
    ensure!(site.names()? == ["8.shop.test".to_owned()].into(), "{:?}", site.names()?);

    // The pattern's return alone brings nothing back: an answer does.
    site.apply(&two_patterns())?;
    site.0.expect_denied(tcp(revoked, 443))?;
    site.resolve("7.web.test")?;
    site.0.expect_reached(tcp(revoked, 443))
}

#[test]
fn a_flow_goes_on_as_long_as_its_rule_has_group_port_and_destination() -> Result<()> {
    let site = Site::start(CONFIG.to_owned())?;
    let [web, web6] = site.resolve("7.web.test")?;
    let [clock, _] = site.0.resolve(CLOCK)?;
    let flows = [site.flow(SocketAddr::new(web, 443))?, site.flow(SocketAddr::new(web6, 443))?];
    let other = site.flow(SocketAddr::new(clock, 123))?;

    for revoking in [
        CONFIG.replace("*.web.test", "*.shop.test"),
        CONFIG.replace("    udp: [443]\n", ""),
        CONFIG.replace("services: [web, clock, printer]", "services: [clock, printer]"),
    ] {
        site.apply(&revoking)?;
        for flow in &flows {
            ensure!(!flow.is_alive()?, "its rule or name was revoked: {revoking}");
        }
        ensure!(other.is_alive()?, "another rule's flow goes on");
        // What was revoked does not come back by itself where its address is gone.
        site.apply(&CONFIG.replace("*.web.test", "*.shop.test"))?;
        for flow in &flows {
            ensure!(!flow.is_alive()?, "it is a new flow, to an address that no name has");
        }
        site.apply(CONFIG)?;
        site.resolve("7.web.test")?;
        for flow in &flows {
            ensure!(flow.is_alive()?, "everything is as it was");
        }
    }
    Ok(())
}

/// A client that makes the address itself, since it has found the prefix: the names of the IPv4 address
/// are those of its flows.
#[test]
fn a_flow_by_nat64_goes_on_as_long_as_the_ipv4_address_has_a_name() -> Result<()> {
    const PREFIX: &str = "nat64: ['64:ff9b::/96']\n";
    let with = |config: &str| config.to_owned() + PREFIX;
    let mut site = Site::start(with(&two_patterns()))?;
    let [web, _] = site.resolve("7.web.test")?;
    let IpAddr::V4(v4) = web else { bail!("{web} is no IPv4 address") };
    let form = IpAddr::V6(Ipv6Addr::from(0x64_ff9b << 96 | u128::from(u32::from(v4))));
    site.0.expect_reached(tcp(form, 443))?;
    site.0.expect_denied(tcp(form, FOREIGN_PORT))?;
    let flow = site.flow(SocketAddr::new(form, 443))?;
    let explain = |what: &str| {
        let [_, client] = CLIENT.map(|address| address.to_string());
        site.0.filter.json(&["explain", &client, what])
    };
    for what in [format!("[{form}]:443"), "7.web.test:443".to_owned()] {
        let told = explain(&what)?.to_string();
        ensure!(told.contains("7.web.test") && told.contains(&form.to_string()), "{told}");
    }
    let flows = site.0.filter.json(&["flows"])?.to_string();
    ensure!(flows.contains("7.web.test") && flows.contains(&form.to_string()), "{flows}");

    site.apply(&with(&CONFIG.replace("*.web.test", "7.web.test")))?;
    ensure!(flow.is_alive()?, "the address still has its name");
    site.0.filter.stop()?;
    site.0.filter.start()?;
    ensure!(flow.is_alive()?, "the daemon's restart ends nothing");
    site.apply(&with(&two_patterns()))?;
    ensure!(flow.is_alive()?, "the daemon still knows the name");
    for revoking in [with(&CONFIG.replace("*.web.test", "*.shop.test")), two_patterns()] {
        site.apply(&revoking)?;
        ensure!(!flow.is_alive()?, "its name or its prefix is gone: {revoking}");
        site.apply(&with(&two_patterns()))?;
        site.resolve("7.web.test")?;
        ensure!(flow.is_alive()?, "everything is as it was");
    }
    Ok(())
}

#[test]
fn a_reload_that_ends_nothing_costs_no_packet() -> Result<()> {
    let site = Site::start(CONFIG.to_owned())?;
    let [web, _] = site.resolve("7.web.test")?;
    let flow = site.flow(SocketAddr::new(web, 443))?;
    flow.0.set_read_timeout(Some(ANSWER))?;
    for round in 0..10 {
        // What comes to the same would be no new policy.
        site.0.filter.configure(&format!("{CONFIG}icmp_echo: {}\n", round % 2 == 1))?;
        let mut apply = site.0.filter.command(&["apply"])?;
        let mut apply = apply.stdout(std::process::Stdio::null()).spawn()?;
        let mut exchanges = 0;
        let status = loop {
            flow.0.send(b"still there?")?;
            // A socket with a timeout is interrupted by the signals of children that end (signal(7)).
            while let Err(error) = flow.0.recv(&mut [0; 64]) {
                ensure!(
                    error.kind() == std::io::ErrorKind::Interrupted,
                    "an exchange of a flow that is allowed: {error}"
                );
            }
            exchanges += 1;
            if let Some(status) = apply.try_wait()? {
                break status;
            }
        };
        ensure!(status.success() && exchanges > 1, "{status} after {exchanges} exchanges");
    }
    site.0.expect_reached(tcp(web, 443))
}
