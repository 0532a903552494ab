//! `flows` and `clients`: what the tables say of connections that are open, with and without a
//! daemon, and what the daemon says of those that end in silence.

use std::{
    io::Read as _,
    net::{IpAddr, SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::CLIENT,
    process::Process,
    site::{self, ANSWER, WEB, tcp, udp},
    testbed::Testbed,
};
use serde_json::{Value, json};

/// A connection of the client's that stays open.
fn connect(testbed: &Testbed, to: IpAddr) -> Result<TcpStream> {
    let mut stream = testbed
        .network
        .client
        .run(|| TcpStream::connect_timeout(&SocketAddr::new(to, 631), ANSWER))?;
    stream.set_read_timeout(Some(ANSWER))?;
    ensure!(stream.read(&mut [0; 64])? > 0, "no banner");
    Ok(stream)
}

fn only(list: &Value) -> Result<&Value> {
    match list.as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one),
        _ => anyhow::bail!("expected one: {list:#}"),
    }
}

fn has(value: &Value, expected: &Value) -> Result<()> {
    for (key, expected) in expected.as_object().context("an object")? {
        ensure!(value[key] == *expected, "{key}: expected {expected} in {value:#}");
    }
    Ok(())
}

#[test]
fn open_flows_and_their_clients_are_listed_with_and_without_a_daemon() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    ensure!(testbed.filter.json(&["flows"])? == json!([]));
    ensure!(testbed.filter.succeed(&["flows"])?.contains("no flow is open"));
    let printer: IpAddr = "192.0.2.5".parse()?;
    let stream = connect(&testbed, printer)?;
    testbed.expect_denied(tcp(printer, 80))?;
    let client = CLIENT[0].to_string();
    let expected = json!({
        "client": client, "client_port": stream.local_addr()?.port(), "destination": "192.0.2.5",
        "port": 631, "protocol": "tcp", "name": null, "service": "printer", "group": "devices",
        "state": "established", "audited": false, "inbound": false, "interface": "eth1", "vlan": 0,
    });
    let counts = |value: &Value| -> Result<()> {
        for (key, least, most) in [
            ("packets_out", 2, 20),
            ("packets_in", 2, 20),
            ("bytes_out", 100, 5000),
            ("bytes_in", 100, 5000),
        ] {
            let value = value[key].as_u64().with_context(|| format!("{key}: {value:#}"))?;
            ensure!((least..=most).contains(&value), "{key}: {value}");
        }
        Ok(())
    };
    let flows = testbed.filter.json(&["flows"])?;
    has(only(&flows)?, &expected)?;
    counts(only(&flows)?)?;
    ensure!(flows[0]["age_s"].as_u64() < Some(60) && flows[0]["idle_s"].as_u64() < Some(60));
    ensure!(testbed.filter.json(&["flows", "--client", "10.20.0.11"])? == json!([]));

    site::eventually("the denial is told of", || {
        let clients = testbed.filter.json(&["clients"])?;
        Ok(clients[0]["denied"].as_u64() >= Some(1))
    })?;
    let clients = testbed.filter.json(&["clients"])?;
    let only_client = only(&clients)?;
    let described =
        json!({"client": client, "interface": "eth1", "vlan": 0, "group": "devices", "flows": 1});
    has(only_client, &described)?;
    counts(only_client)?;
    ensure!(only_client["audited"] == 0 && only_client["last_seen_s"].is_u64(), "{clients:#}");
    let last = json!({
        "reason": "port", "destination": "192.0.2.5", "port": 80, "protocol": "tcp", "name": null,
    });
    has(&only_client["last_denied"], &last)?;
    let table = testbed.filter.succeed(&["clients"])?;
    ensure!(table.contains(&client) && table.contains("port 192.0.2.5:80, "), "{table}");

    testbed.filter.kill()?;
    has(only(&testbed.filter.json(&["flows"])?)?, &expected)?;
    let table = testbed.filter.succeed(&["flows"])?;
    ensure!(table.contains("192.0.2.5:631/tcp") && table.contains("established"), "{table}");
    let clients = testbed.filter.json(&["clients"])?;
    has(only(&clients)?, &described)?;
    has(only(&clients)?, &json!({"denied": null, "audited": null, "last_denied": null}))?;

    testbed.filter.run(&["detach"])?;
    ensure!(testbed.filter.json(&["flows"])? == json!([]));
    ensure!(testbed.filter.json(&["clients"])? == json!([]));
    Ok(())
}

#[test]
fn flows_that_a_new_policy_ends_are_told_of() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let follower = Process::spawn(
        "events",
        &mut testbed.filter.command(&["--json", "events", "-f", "-n", "1000", "--flows"])?,
    )?;
    let printer: IpAddr = "192.0.2.5".parse()?;
    let _stream = connect(&testbed, printer)?;
    let [clock, _] = testbed.resolve(site::CLOCK)?;
    testbed.expect_reached(udp(clock, 123))?;
    let without = site::CONFIG.replace("services: [web, clock, printer]", "services: [web, clock]");
    testbed.filter.configure(&without)?;
    testbed.filter.succeed(&["apply"])?;
    let line = follower.wait_for("\"ending\":\"revoked\"", ANSWER)?;
    let event: Value = serde_json::from_str(&line)?;
    has(&event, &json!({"kind": "closed", "destination": "192.0.2.5", "port": 631}))?;
    let flows = testbed.filter.json(&["flows"])?;
    has(only(&flows)?, &json!({"destination": clock.to_string(), "service": "clock"}))?;
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(web, 443))?;
    follower.wait_for("\"ending\":\"finished\"", ANSWER)?;
    ensure!(follower.output().matches("revoked").count() == 1, "{}", follower.output());
    Ok(())
}
