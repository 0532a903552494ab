//! Events: live and afterwards, to several followers at once, and to followers that do not read.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use intune_filter::control::SOCKET_NAME;
use intune_filter_tests::{
    network::CLIENT,
    process::Process,
    site::{self, ANSWER, CLOCK, WEB, tcp, udp},
    testbed::Testbed,
};
use nix::sys::signal::Signal;
use serde_json::Value;

fn testbed() -> Result<Testbed> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    Ok(testbed)
}

fn follow(testbed: &Testbed, more: &[&str]) -> Result<Process> {
    // Those that are kept as well: nothing is missed, whenever the follower is there.
    let arguments = [&["events", "--follow", "--last", "1000"], more].concat();
    Process::spawn("events", &mut testbed.filter.command(&arguments)?)
}

/// The events of lines of JSON.
fn events(text: &str) -> Result<Vec<Value>> {
    let event = |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
    text.lines().map(event).collect()
}

fn find<'a>(events: &'a [Value], what: &[(&str, Value)]) -> Result<&'a Value> {
    let fits = |event: &&Value| what.iter().all(|(key, value)| event[key] == *value);
    events.iter().find(fits).with_context(|| format!("no {what:?} in {events:#?}"))
}

#[test]
fn denials_names_and_flows_are_told_live_and_afterwards() -> Result<()> {
    let testbed = testbed()?;
    let followers = [follow(&testbed, &["--json"])?, follow(&testbed, &["--json"])?];
    let people = follow(&testbed, &[])?;
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(web, 443))?;
    testbed.expect_denied(tcp(web, 22))?;
    let (denied, closed) = ("\"reason\":\"port\"", "\"ending\":\"finished\"");
    for follower in &followers {
        follower.wait_for(denied, ANSWER)?;
        follower.wait_for(closed, ANSWER)?;
    }
    let told = events(&followers[0].output())?;
    let client = Value::from(CLIENT[0].to_string());
    let common = [
        ("client", client.clone()),
        ("destination", web.to_string().into()),
        ("name", WEB[0].into()),
        ("service", "web".into()),
        ("protocol", "tcp".into()),
        ("group", "devices".into()),
        ("interface", "eth1".into()),
        ("vlan", 0.into()),
        ("audited", false.into()),
        ("inbound", false.into()),
    ];
    let of = |kind: &str, port: u16| {
        [&[("kind", kind.into()), ("port", port.into())][..], &common].concat()
    };
    let learned = find(&told, &[("kind", "learned".into()), ("name", WEB[0].into())])?;
    ensure!(learned["services"] == serde_json::json!(["web"]), "{learned}");
    ensure!(learned["client"] == client && learned["expires_in_s"].as_u64() > Some(0), "{learned}");
    let denied = find(&told, &of("denied", 22))?;
    ensure!(denied["reason"] == "port" && denied["client_port"].is_u64(), "{denied}");
    let time = denied["time"].as_str().context("no time")?;
    ensure!(time.ends_with('Z') && time.contains('T'), "{denied}");
    find(&told, &of("opened", 443))?;
    let closed = find(&told, &of("closed", 443))?;
    ensure!(
        closed["ending"] == "finished" && closed["duration_s"].as_f64() < Some(60.0),
        "{closed}"
    );
    // SYN, ACK and FIN at least; SYN-ACK, the banner and FIN.
    for (key, least) in [("packets_out", 3), ("packets_in", 2), ("bytes_out", 120)] {
        ensure!(closed[key].as_u64() >= Some(least), "{key}: {closed}");
    }
    people.wait_for(&format!("{} -> {web}:22/tcp ({})  reason port", CLIENT[0], WEB[0]), ANSWER)?;
    people.wait_for("closed ", ANSWER)?;

    let kept = |arguments: &[&str]| {
        let arguments = [&["--json", "events"], arguments].concat();
        events(&testbed.filter.succeed(&arguments)?)
    };
    let all = kept(&[])?;
    ensure!(all.len() >= told.len(), "{all:#?}");
    find(&all, &of("denied", 22))?;
    ensure!(kept(&["--last", "1"])?.len() == 1);
    for (arguments, kinds) in [
        (&["--denied"][..], &["denied"][..]),
        (&["--reason", "port"], &["denied"]),
        (&["--learned"], &["learned"]),
        (&["--flows", "--client", "10.20.0.0/24"], &["opened", "closed"]),
        (&["--client", "10.20.0.11"], &[]),
    ] {
        let found = kept(arguments)?;
        ensure!(found.is_empty() == kinds.is_empty(), "{arguments:?}: {found:#?}");
        for event in found {
            let kind = event["kind"].as_str().context("no kind")?;
            ensure!(kinds.contains(&kind), "{arguments:?}: {event}");
        }
    }
    ensure!(kept(&["--reason", "service"])?.is_empty());
    Ok(())
}

#[test]
fn names_and_addresses_of_clients_are_not_logged() -> Result<()> {
    let testbed = testbed()?;
    let follower = follow(&testbed, &[])?;
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_denied(tcp(web, 22))?;
    follower.wait_for("reason port", ANSWER)?;
    let log = testbed.filter.output();
    for private in [CLIENT[0].to_string(), WEB[0].to_owned(), web.to_string()] {
        ensure!(!log.contains(&private), "{private} in the log:\n{log}");
    }
    Ok(())
}

#[test]
fn a_follower_ends_when_it_is_told_to_or_nobody_reads() -> Result<()> {
    let testbed = testbed()?;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut follower = follow(&testbed, &[])?;
        testbed.expect_denied(udp("192.0.2.80".parse()?, 5000))?;
        follower.wait_for("reason destination", ANSWER)?;
        follower.signal(signal)?;
        let status = follower.wait(ANSWER)?;
        ensure!(status.success(), "{signal}: {status}\n{}", follower.output());
    }
    let line = testbed.filter.command_line(&["events", "--follow", "--last", "1"])?;
    let mut shell = testbed.network.gateway.command("bash");
    let mut head = Process::spawn(
        "head",
        shell.args(["-c", &format!("set -o pipefail; {line} | head -n 1")]),
    )?;
    let status = head.wait(ANSWER)?;
    ensure!(status.success(), "{status}\n{}", head.output());
    ensure!(head.output().lines().count() == 1, "{}", head.output());

    // Even without anything to print.
    let mut silent = testbed.filter.command(&["events", "--follow", "--client", "192.0.2.1"])?;
    let mut child = silent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().context("a pipe")?.read_to_string(&mut errors)?;
    let status = child.wait()?;
    ensure!(status.success() && errors.is_empty(), "{status}: {errors}");
    Ok(())
}

#[test]
fn a_follower_goes_on_with_the_next_daemon() -> Result<()> {
    let mut testbed = testbed()?;
    let follower = follow(&testbed, &[])?;
    testbed.expect_denied(udp("192.0.2.80".parse()?, 5000))?;
    follower.wait_for("192.0.2.80:5000/udp  reason destination", ANSWER)?;
    testbed.filter.stop()?;
    follower.wait_for("the daemon has ended; waiting for the next one", ANSWER)?;
    testbed.filter.start()?;
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_denied(tcp(web, 22))?;
    follower.wait_for("reason port", ANSWER)?;
    Ok(())
}

#[test]
fn without_a_daemon_there_are_no_events() -> Result<()> {
    let mut testbed = testbed()?;
    testbed.filter.stop()?;
    for arguments in [&["events"][..], &["events", "--follow"]] {
        let output = testbed.filter.run(arguments)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && errors.contains("none answers"), "{errors}");
    }
    let output = testbed.filter.run(&["events", "--reason", "flow"])?;
    ensure!(output.status.code() == Some(2), "a reason to allow is none to deny");
    Ok(())
}

/// Has the client send datagrams that are denied until the follower has seen so many.
fn flood(testbed: &Testbed, seen: &mut impl BufRead, wanted: usize) -> Result<()> {
    let socket = testbed.network.client.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<()> {
            while !done.load(Ordering::Relaxed) {
                socket.send_to(b"denied", (Ipv4Addr::new(192, 0, 2, 80), 5000))?;
            }
            Ok(())
        });
        let read = seen.lines().take(wanted).try_for_each(|line| {
            let line = line?;
            ensure!(line.contains("\"denied\""), "{line}");
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        sender.join().map_err(|_| anyhow!("the sender has panicked"))??;
        read
    })
}

#[test]
fn who_does_not_read_holds_nobody_up_and_is_told_what_was_lost() -> Result<()> {
    let testbed = testbed()?;
    let directory = testbed.directory.path().join("run");
    let mut slow = UnixStream::connect(directory.join(SOCKET_NAME))?;
    slow.set_read_timeout(Some(Duration::from_secs(20)))?;
    let filter = r#"{"kinds":["denied"],"clients":[],"reasons":[]}"#;
    let request =
        format!(r#"{{"version":1,"command":"events","filter":{filter},"last":0,"follow":true}}"#);
    writeln!(slow, "{request}")?;
    let mut command: Command =
        testbed.filter.command(&["--json", "events", "--follow", "--denied"])?;
    let mut quick = command.stdout(Stdio::piped()).spawn()?;
    let mut seen = BufReader::new(quick.stdout.take().context("a pipe")?);
    // More than wait for a follower, and than its socket holds.
    flood(&testbed, &mut seen, 6000)?;
    testbed.filter.json(&["status"])?;
    testbed.resolve(CLOCK)?;

    let mut lines = BufReader::new(slow).lines();
    let reply: Value = serde_json::from_str(&lines.next().context("the daemon has hung up")??)?;
    ensure!(reply["version"] == 1 && reply["reply"] == "events", "{reply}");
    let lost = loop {
        let line = lines.next().context("the daemon has hung up")??;
        let event: Value = serde_json::from_str(&line)?;
        if event["kind"] == "lost" {
            break event["count"].as_u64().context("no number")?;
        }
        ensure!(event["kind"] == "denied", "{event}");
    };
    ensure!(lost > 0);
    println!("{lost} events lost to the one who did not read");
    let line = lines.next().context("the daemon has hung up")??;
    ensure!(line.contains("\"denied\""), "it goes on: {line}");
    quick.kill()?;
    quick.wait()?;
    Ok(())
}
