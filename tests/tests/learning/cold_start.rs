//! A client that still knows addresses, behind a gateway that has been started anew and knows none:
//! how long until it reaches them, by what the gateway does about it.

use std::{
    fs,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    filter::PATIENCE,
    probe::{ProbeResult, Target, probe},
    site::{self, ANSWER, CLOCK, CONFIG, WEB, eventually, tcp, udp},
    testbed::{Setup, Testbed},
};

/// The site's configuration; `resolve` is its key, `more` are further ones.
fn config(resolve: bool, more: &str) -> String {
    CONFIG.replace("resolve: false", &format!("resolve: {resolve}")) + more
}

/// A site whose client knows the addresses of an exact name and of one that a wildcard stands for.
struct Site {
    testbed: Testbed,
    exact: Target,
    wildcard: Target,
}

impl Site {
    fn start(config: String) -> Result<Self> {
        let mut testbed = Testbed::create(&Setup { config, ..site::setup() })?;
        testbed.filter.start()?;
        let ([clock, _], [web, _]) = (testbed.resolve(CLOCK)?, testbed.resolve(WEB[0])?);
        let site = Self { testbed, exact: udp(clock, 123), wildcard: tcp(web, 443) };
        site.testbed.expect_reached(site.exact)?;
        site.testbed.expect_reached(site.wildcard)?;
        for target in [site.exact, site.wildcard] {
            eventually("the daemon knows the name", || site.knows(target.address))?;
        }
        Ok(site)
    }

    fn knows(&self, address: IpAddr) -> Result<bool> {
        let names = self.testbed.filter.json(&["names"])?;
        let mut names = names.as_array().context("a list")?.iter();
        Ok(names.any(|entry| entry["address"] == address.to_string()))
    }

    /// Leaves the state of a reboot: nothing in the kernel, and the state directory at most.
    fn reboot(&mut self, with_state: bool) -> Result<()> {
        let filter = &mut self.testbed.filter;
        filter.stop()?;
        filter.succeed(&["detach"])?;
        if !with_state {
            fs::remove_dir_all(self.testbed.directory.path().join("state"))?;
        }
        filter.start()
    }

    /// Time until the client reaches a target without asking for its name.
    fn reached(&self, target: Target, patience: Duration) -> Option<Duration> {
        let begin = Instant::now();
        self.testbed.network.client.run(|| {
            while begin.elapsed() < patience {
                if probe(target, Duration::from_secs(1)) == ProbeResult::Reached {
                    return Some(begin.elapsed());
                }
                // Denied at once: what is waited for is another's doing.
                thread::yield_now();
            }
            None
        })
    }

    fn warm_up_left(&self) -> Result<Option<u64>> {
        Ok(self.testbed.filter.json(&["status"])?["warm_up_s_left"].as_u64())
    }
}

/// Time for which a client tries in vain.
const IN_VAIN: Duration = Duration::from_secs(1);

fn text(time: Option<Duration>) -> String {
    time.map_or_else(
        || "not until it asks".to_owned(),
        |time| format!("{:.3} s", time.as_secs_f64()),
    )
}

/// Times from the moment that the filter enforces.
#[test]
fn how_long_a_client_waits_that_does_not_ask() -> Result<()> {
    for (what, resolve, more, with_state, [exact, wildcard]) in [
        ("saved table", false, "", true, [true, true]),
        ("no saved table, exact names resolved", true, "", false, [true, false]),
        ("neither", false, "", false, [false, false]),
        ("neither, warm-up", false, "warm_up: 1h\n", false, [true, true]),
    ] {
        let mut site = Site::start(config(resolve, more))?;
        site.reboot(with_state)?;
        let patience = |reached| if reached { PATIENCE } else { IN_VAIN };
        let times = [
            site.reached(site.exact, patience(exact)),
            site.reached(site.wildcard, patience(wildcard)),
        ];
        println!("{what}: exact name {}, wildcard {}", text(times[0]), text(times[1]));
        ensure!(times.map(|time| time.is_some()) == [exact, wildcard], "{what}");
        // And once it asks, at once.
        let ([clock, _], [web, _]) = (site.testbed.resolve(CLOCK)?, site.testbed.resolve(WEB[0])?);
        site.testbed.expect_reached(udp(clock, 123))?;
        site.testbed.expect_reached(tcp(web, 443))?;
    }
    Ok(())
}

#[test]
fn the_warm_up_is_counted_told_of_and_over_when_the_kernel_says_so() -> Result<()> {
    let mut site = Site::start(config(false, "warm_up: 10s\n"))?;
    // It has begun with the first start; none begins where something is known.
    site.testbed.filter.stop()?;
    site.testbed.filter.start()?;
    site.reboot(false)?;
    ensure!(site.warm_up_left()?.is_some_and(|left| left <= 10), "{:?}", site.warm_up_left()?);
    let log = site.testbed.filter.output();
    ensure!(log.contains("warm-up: destinations that nobody knows yet are let through"), "{log}");
    ensure!(site.reached(site.wildcard, ANSWER).is_some(), "the warm-up lets nothing through");
    let counters = site.testbed.filter.counters()?;
    ensure!(counters.get("audit") > 0 && counters.get("destination") == 0, "{counters}");
    let told = || {
        let events = site.testbed.filter.succeed(&["events", "--denied"])?;
        Ok(events.contains("audited") && events.contains(&site.wildcard.address.to_string()))
    };
    eventually("events tell of it", told)?;
    // Ports of no service, and what is private, are closed all the time.
    let foreign = Target { port: 22, ..site.wildcard };
    ensure!(site.reached(foreign, IN_VAIN).is_none(), "another port is open");

    site.testbed.filter.kill()?;
    eventually("the warm-up is over", || Ok(site.warm_up_left()?.is_none()))?;
    site.testbed.expect_denied(site.wildcard)?;
    // The next daemon finds it over, and the kernel's maps in use: none begins.
    site.testbed.filter.start()?;
    ensure!(site.warm_up_left()?.is_none(), "another warm-up has begun");
    site.testbed.expect_denied(site.wildcard)
}

#[test]
fn a_configuration_without_a_warm_up_ends_it() -> Result<()> {
    let mut site = Site::start(config(false, "warm_up: 1h\n"))?;
    let checked = site.testbed.filter.succeed(&["check"])?;
    ensure!(
        checked.contains("warm_up: for 1h after a start without learned addresses"),
        "{checked}"
    );
    site.reboot(false)?;
    ensure!(site.reached(site.wildcard, ANSWER).is_some(), "the warm-up lets nothing through");
    // A reload does not begin it anew, and a restart goes on with it.
    site.testbed.filter.stop()?;
    site.testbed.filter.start()?;
    ensure!(site.reached(site.wildcard, ANSWER).is_some(), "a restart has ended it");
    site.testbed.filter.configure(&config(false, ""))?;
    site.testbed.filter.succeed(&["apply"])?;
    site.testbed.expect_denied(site.wildcard)?;
    let over = "the warm-up is over";
    site.testbed.filter.daemon()?.wait_for(over, PATIENCE)?;
    site.testbed.filter.configure(&config(false, "warm_up: 1h\n"))?;
    site.testbed.filter.succeed(&["apply"])?;
    site.testbed.expect_denied(site.wildcard)
}
