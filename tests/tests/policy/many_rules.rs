//! More than 150 rules in force: those whose bits are in a mask's second and third word are learned,
//! counted, explained and revoked like those in the first.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};
use intune_filter::kernel::Pins;
use intune_filter_tests::{
    network::CLIENT,
    site::{self, CLOCK, CONFIG, WEB, eventually, tcp, udp},
    testbed::{Setup, Testbed},
};

/// Rules beside those that the test is about, each with other ports.
const OTHERS: usize = 160;
/// A port of all of them.
const OTHERS_PORT: u16 = 2000;

/// The site's configuration, its services among many: `web` behind 70 of them, `clock` and `printer`
/// behind all.
fn config() -> Result<String> {
    let (begin, services) =
        CONFIG.split_once("services:\n  - id: web").context("the site's web")?;
    let (web, rest) = services.split_once("  - id: clock").context("the site's clock")?;
    let mut others: Vec<String> = Vec::new();
    let mut ids = String::new();
    for number in 0..OTHERS {
        let port = 1000 + number;
        others.push(format!(
            "  - {{id: s{number}, title: S, fqdns: [s{number}.other.test], tcp: ['{port}-{OTHERS_PORT}']}}\n"
        ));
        write!(ids, ", s{number}")?;
    }
    let begin = begin.replace("[web, clock, printer]", &format!("[web, clock, printer{ids}]"));
    let (first, last) = others.split_at(70);
    let (first, last) = (first.concat(), last.concat());
    Ok(format!("{begin}services:\n{first}  - id: web{web}{last}  - id: clock{rest}"))
}

#[test]
fn rules_of_every_word_of_a_mask_are_enforced_counted_explained_and_revoked() -> Result<()> {
    let config = config()?;
    let mut setup = Setup { config: config.clone(), ..site::setup() };
    setup.tcp.extend([OTHERS_PORT]);
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    let pins = Pins::open(&testbed.filter.pins())?.context("the pins")?;
    let number = |id: &str| {
        let rules = pins.rules()?;
        rules.iter().position(|rule| rule.as_deref() == Some(id)).context("the rule is in force")
    };
    let (web, clock, printer) =
        (number("web/site")?, number("clock/site")?, number("printer/site")?);
    ensure!((web, clock, printer) == (70, 161, 162), "{web} {clock} {printer}");

    let [to_web, to_web6] = testbed.resolve(WEB[0])?;
    let [to_clock, _] = testbed.resolve(CLOCK)?;
    let to_printer = "192.0.2.5".parse()?;
    for target in [tcp(to_web, 443), tcp(to_web6, 443), udp(to_clock, 123), tcp(to_printer, 631)] {
        testbed.expect_reached(target)?;
    }
    let of_others = [tcp(to_web, OTHERS_PORT), tcp(to_printer, OTHERS_PORT)];
    for target in [udp(to_web, 123), tcp(to_printer, 443)].into_iter().chain(of_others) {
        testbed.expect_denied(target)?;
    }

    let explain = |target: &str| testbed.filter.json(&["explain", &CLIENT[0].to_string(), target]);
    for (target, verdict, reason, rule) in [
        (format!("{}:443", WEB[0]), "allow", "policy", "web/site"),
        (format!("{to_clock}:1500"), "deny", "port", "clock/site"),
        (format!("{to_printer}:80"), "deny", "port", "printer/site"),
        ("s100.other.test:2000".to_owned(), "allow", "policy", "s100/site"),
        ("s100.other.test:1099".to_owned(), "deny", "port", "s100/site"),
    ] {
        let told = explain(&target)?;
        ensure!(told["verdict"] == verdict, "{target}: expected {verdict}, {told}");
        ensure!(
            told["reason"] == reason && told["rule"] == rule,
            "{target}: {reason} {rule}, {told}"
        );
    }

    let traffic = |id: &str, what: &str| -> Result<u64> {
        let services = testbed.filter.json(&["services"])?;
        let services = services.as_array().context("a list")?;
        let service = services.iter().find(|one| one["id"] == id).context("the service")?;
        service[what].as_u64().with_context(|| format!("{what} of {service}"))
    };
    for id in ["web", "clock", "printer"] {
        ensure!(traffic(id, "flows")? > 0 && traffic(id, "packets")? > 0, "{id}");
        let denied = traffic(id, "denied")?;
        ensure!((denied > 0) == (id != "clock"), "{denied} of {id}");
    }
    for id in ["s0", "s69", "s159"] {
        ensure!(traffic(id, "packets")? == 0 && traffic(id, "denied")? == 0, "{id}");
    }

    // What goes takes its bit along, and nothing else.
    let without = config.replacen("[web, clock, printer", "[web, printer", 1);
    testbed.filter.configure(&without)?;
    testbed.filter.succeed(&["apply"])?;
    testbed.expect_denied(udp(to_clock, 123))?;
    for target in [tcp(to_web, 443), tcp(to_printer, 631)] {
        testbed.expect_reached(target)?;
    }
    eventually("the address of the rule that is gone is forgotten", || {
        Ok(pins.host(to_clock)?.is_none())
    })?;
    let kept = pins.host(to_web)?.context("the other's is kept")?;
    ensure!(kept.rules.iter().eq([70]), "{:?}", kept.rules);
    Ok(())
}
