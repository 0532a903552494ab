//! Targets of HTTPS records, as real resolvers serve them: clients that follow a record reach what it
//! leads to, for as long as the record and the policy say.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use intune_filter_ebpf::abi::Occurrence;
use intune_filter_tests::{
    dns::{RecordType, ResponseCode, lookup, lookup_over_tcp},
    namespace::run,
    resolver::Kind,
    site::{self, ANSWER, CONFIG, MODES, WEB, eventually, in_mode, tcp},
    testbed::{Setup, Testbed},
    transfer::{Transfer, echo_on},
};

/// Name of no service that a record of the site's leads to.
const TARGET: &str = "t.cdn.test";
/// Name that the target's own record leads to.
const FURTHER: &str = "further.cdn.test";
/// Name with an alias that another record leads to.
const CHAINED: &str = "chained.cdn.test";
/// Name that nothing leads to, beside the others.
const OTHER: &str = "other.cdn.test";
/// Name of the site with an HTTPS record in alias mode.
const ALIAS: &str = "alias.web.test";
/// Name of the site with an HTTPS record whose target has an alias.
const CHAIN: &str = "chain.web.test";
/// Port of transfers, which the configuration allows.
const ECHO: u16 = 8443;

struct Site(Testbed);

impl Site {
    fn start(resolver: Kind, config: &str) -> Result<Self> {
        let mut setup = Setup { config: config.to_owned(), resolver, ..site::setup() };
        // Every third name is an alias, which has no records beside.
        for name in [OTHER, TARGET, FURTHER] {
            setup.records.add(name);
        }
        setup.records.add_chain(CHAINED, 3);
        setup.records.add_target(WEB[0], 1, TARGET);
        setup.records.add_target(ALIAS, 0, "T.Cdn.TEST");
        setup.records.add_target(TARGET, 0, FURTHER);
        setup.records.add_target(FURTHER, 0, TARGET);
        setup.records.add_target(CHAIN, 7, CHAINED);
        let mut testbed = Testbed::create(&setup)?;
        testbed.filter.start()?;
        Ok(Self(testbed))
    }

    fn code(&self, name: &str, kind: RecordType) -> Result<ResponseCode> {
        let [server, _] = self.0.resolver.addresses();
        let answer = self.0.network.client.run(|| lookup(server, name, kind, ANSWER));
        Ok(answer?.code)
    }

    /// Asks for the record that leads from a name.
    fn follow(&self, name: &str) -> Result<()> {
        let code = self.code(name, RecordType::HTTPS)?;
        ensure!(code == ResponseCode::NoError, "{name}: {code}");
        Ok(())
    }

    fn expect_refused(&self, name: &str) -> Result<()> {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::HTTPS] {
            let code = self.code(name, kind)?;
            ensure!(code == ResponseCode::NXDomain, "{name} {kind}: {code}");
        }
        Ok(())
    }

    /// Resolves a name, and reaches its addresses.
    fn expect_reached(&self, name: &str) -> Result<[IpAddr; 2]> {
        let addresses = self.0.resolve(name)?;
        for address in addresses {
            self.0.expect_reached(tcp(address, 443))?;
        }
        Ok(addresses)
    }

    fn expect_denied(&self, addresses: [IpAddr; 2]) -> Result<()> {
        addresses.into_iter().try_for_each(|address| self.0.expect_denied(tcp(address, 443)))
    }

    /// Names of the learned addresses, once some are there.
    fn names(&self) -> Result<BTreeSet<String>> {
        let names = self.0.filter.json(&["names"])?;
        let names = names.as_array().context("a list")?;
        ensure!(!names.iter().any(|one| one.to_string().contains("ff00:")), "{names:?}");
        Ok(names.iter().filter_map(|name| name["name"].as_str().map(str::to_owned)).collect())
    }

    fn await_names(&self, expected: &[&str]) -> Result<()> {
        let expected: BTreeSet<String> = expected.iter().map(|name| (*name).to_owned()).collect();
        eventually(&format!("the names are {expected:?}"), || Ok(self.names()? == expected))
    }
}

#[test]
fn what_the_records_of_every_resolver_lead_to_is_reached() -> Result<()> {
    for kind in Kind::ALL {
        let site = Site::start(kind, CONFIG)?;
        for name in [TARGET, FURTHER, CHAINED] {
            site.expect_refused(name).with_context(|| kind.to_string())?;
        }
        site.follow(WEB[0])?;
        site.expect_reached(TARGET).with_context(|| kind.to_string())?;
        site.expect_refused(FURTHER)?;
        // The target's own record leads on.
        site.follow(TARGET)?;
        site.expect_reached(FURTHER).with_context(|| kind.to_string())?;
        site.follow(CHAIN)?;
        site.expect_reached(CHAINED).with_context(|| kind.to_string())?;
        // Nothing leads to the links of its chain, and to other names and types.
        site.expect_refused("link1-57344.delivery.test")?;
        site.expect_refused(OTHER)?;
        ensure!(site.code(TARGET, RecordType::TXT)? == ResponseCode::NXDomain);
        site.await_names(&[TARGET, FURTHER, CHAINED])?;
    }
    Ok(())
}

#[test]
fn an_alias_in_another_case_leads_on_over_tcp_and_in_every_mode() -> Result<()> {
    for mode in MODES {
        let site = Site::start(Kind::Unbound, &in_mode(CONFIG, mode))?;
        let [_, server] = site.0.resolver.addresses();
        let ask = |name, kind| {
            let answer =
                site.0.network.client.run(|| lookup_over_tcp(server, name, kind, ANSWER))?;
            ensure!(answer.code == ResponseCode::NoError, "{mode}, {name}: {answer:?}");
            Ok(answer.addresses)
        };
        ask(ALIAS, RecordType::HTTPS)?;
        for kind in [RecordType::A, RecordType::AAAA] {
            let addresses = ask(TARGET, kind)?;
            let address = addresses.first().with_context(|| format!("{mode}, {kind}"))?;
            site.0.expect_reached(tcp(*address, 443))?;
        }
    }
    Ok(())
}

/// As dig reads the record that is served, and curl the site that it leads to.
#[test]
fn real_clients_read_the_record_and_reach_its_target() -> Result<()> {
    let site = Site::start(Kind::Bind, CONFIG)?;
    let [server, _] = site.0.resolver.addresses();
    let dig = |name: &str, kind: &str| {
        let mut command = site.0.network.client.command("dig");
        command.args(["+short", "+tries=1", "+time=3", &format!("@{server}"), name, kind]);
        run(&mut command)
    };
    let record = dig(WEB[0], "TYPE65")?;
    ensure!(record.contains(TARGET) || record.contains("0174"), "{record}");
    let address = dig(TARGET, "A")?.trim().to_owned();
    let mut command = site.0.network.client.command("curl");
    command.args(["--silent", "--show-error", "--max-time", "5", "--http0.9", "--output", "-"]);
    command.args(["--connect-to", &format!("{}:80:{address}:80", WEB[0])]);
    command.arg(format!("http://{}/", WEB[0]));
    let output = command.output()?;
    // The remote speaks no HTTP: its silence or its end of the connection is what curl may complain of.
    let reached = matches!(output.status.code(), Some(0 | 1 | 52 | 56));
    ensure!(reached, "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn a_target_ends_with_the_record_that_led_to_it() -> Result<()> {
    let config = CONFIG.replace("dns:\n", "dns:\n  ttl: {min: 1s, max: 3s, grace: 1s}\n");
    let site = Site::start(Kind::Unbound, &config)?;
    site.follow(WEB[0])?;
    let addresses = site.expect_reached(TARGET)?;
    // Both its record and that which leads back are asked for until the end, and do not put that off.
    eventually("the target is none any more", || {
        let codes = [TARGET, FURTHER].map(|name| site.code(name, RecordType::HTTPS));
        let [target, further] = codes;
        Ok([target?, further?] == [ResponseCode::NXDomain; 2])
    })?;
    site.expect_refused(TARGET)?;
    site.expect_refused(FURTHER)?;
    eventually("its addresses are none any more", || {
        Ok(site.expect_denied(addresses).is_ok() && site.names()?.is_empty())
    })?;
    // Until somebody is led there again.
    site.follow(WEB[0])?;
    site.expect_reached(TARGET).map(drop)
}

#[test]
fn a_policy_without_the_name_takes_its_target_and_all_behind_it() -> Result<()> {
    let both = CONFIG
        .replace("fqdns: [\"*.web.test\"]", "fqdns: [\"*.web.test\", \"*.shop.test\"]")
        .replace("tcp: [80, 443]", &format!("tcp: [80, 443, {ECHO}]"));
    let mut site = Site::start(Kind::Unbound, &both)?;
    echo_on(&site.0, ECHO)?;
    site.follow(WEB[0])?;
    let target = site.expect_reached(TARGET)?;
    site.follow(TARGET)?;
    let further = site.expect_reached(FURTHER)?;
    site.await_names(&[TARGET, FURTHER])?;
    let mut transfers = Vec::new();
    for address in target.into_iter().chain(further) {
        transfers.push(Transfer::begin(&site.0, address, ECHO)?);
    }

    // A daemon that starts anew goes on with what the kernel and the file know.
    site.0.filter.stop()?;
    site.expect_reached(TARGET)?;
    site.0.filter.start()?;
    site.expect_reached(FURTHER)?;
    site.await_names(&[TARGET, FURTHER])?;

    // Another policy that has the name leaves all of it in place.
    site.0.filter.configure(
        &both.replace("  - id: clock", "  - id: time").replace("web, clock", "web, time"),
    )?;
    site.0.filter.succeed(&["apply"])?;
    transfers.iter_mut().try_for_each(Transfer::goes_on)?;
    site.expect_reached(TARGET)?;
    site.await_names(&[TARGET, FURTHER])?;

    site.0.filter.configure(&both.replace("\"*.web.test\", ", ""))?;
    site.0.filter.succeed(&["apply"])?;
    for name in [TARGET, FURTHER] {
        site.expect_refused(name)?;
    }
    site.expect_denied(target)?;
    site.expect_denied(further)?;
    transfers.iter_mut().try_for_each(Transfer::has_ended)?;
    ensure!(site.names()?.is_empty(), "{:?}", site.names()?);
    Ok(())
}

/// What a client reaches by its rules, one without them does not by another's question.
#[test]
fn a_client_without_the_rules_is_refused_the_target() -> Result<()> {
    let config = CONFIG
        .replace(
            "networks: [10.20.0.0/24, \"fd00:20::/64\"]",
            "networks: [10.20.0.10/32, \"fd00:20::/64\"]",
        )
        .replace(
            "dns:\n",
            "  - name: others\n    networks: [10.20.0.0/24]\n    services: [clock]\ndns:\n",
        );
    let site = Site::start(Kind::Dnsmasq, &config)?;
    site.follow(WEB[0])?;
    let [v4, _] = site.expect_reached(TARGET)?;
    let client = &site.0.network.client;
    client.ip(&[
        "address del 10.20.0.10/24 dev eth0",
        "address add 10.20.0.11/24 dev eth0",
        "route replace default via 10.20.0.1",
    ])?;
    site.expect_refused(TARGET)?;
    site.0.expect_denied(tcp(v4, 443))?;
    let learned = site.0.filter.counters()?.get(Occurrence::Learned.as_str());
    ensure!(learned >= 3, "{learned} answers have taught");
    Ok(())
}
