//! Metrics endpoint: serves the kernel's counts to permitted requests.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use intune_filter_tests::{
    namespace::run,
    network::GATEWAY,
    site::{self, CONFIG, eventually},
    testbed::Testbed,
};
use nix::sys::signal::Signal;

/// Body and status that curl receives.
fn scrape(testbed: &Testbed, place: &str) -> Result<String> {
    let mut command = testbed.network.gateway.command("curl");
    command.args(["--silent", "--show-error", "--max-time", "10"]);
    run(command.args(["--write-out", "\n%{http_code}", place]))
}

/// Answer to a request of these octets.
fn answer(testbed: &Testbed, octets: &[u8]) -> Result<String> {
    let mut stream = testbed.network.gateway.run(|| TcpStream::connect("127.0.0.1:9469"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // The other side may have stopped listening.
    let _ = stream.write_all(octets);
    let _ = stream.shutdown(Shutdown::Write);
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn what_was_judged_is_scraped() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    let text = scrape(&testbed, "127.0.0.1:9469/metrics")?;
    ensure!(text.ends_with("200"), "{text}");
    for metric in [
        "intune_filter_packets_total{reason=\"destination\",verdict=\"deny\"}",
        "intune_filter_packets_total{reason=\"policy\",verdict=\"allow\"}",
        "intune_filter_map_capacity{map=\"HOSTS4\"}",
        "intune_filter_enforced{interface=\"eth1\",mode=\"native\"}",
        "intune_filter_policy_generation",
    ] {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(metric)?.trim().parse::<u64>().ok())
            .with_context(|| format!("no {metric} in\n{text}"))?;
        ensure!(value > 0, "{metric} is 0");
    }
    ensure!(scrape(&testbed, "127.0.0.1:9469/")?.ends_with("404"), "there is something at /");
    Ok(())
}

#[test]
fn only_requests_that_no_web_page_can_make_are_answered() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let long =
        format!("GET /metrics HTTP/1.1\r\nHost: [::1]\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\nHost: localhost:9469\r\n\r\n", "HTTP/1.1 200 "),
        ("GET /metrics?a=b HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", "HTTP/1.1 200 "),
        ("GET /metrics HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "),
        ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 421 "),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.test:9469\r\n\r\n", "HTTP/1.1 421 "),
        ("GET /metrics HTTP/1.0\r\nHost: rebound.test\r\n\r\n", "HTTP/1.0 421 "),
        ("GET /metrics HTTP/1.1\r\nHost: ::1\r\nHost: a.test\r\n\r\n", "HTTP/1.1 421 "),
        ("GET http://a.test/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "HTTP/1.1 421 "),
        ("POST /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "HTTP/1.1 405 "),
        ("nonsense\r\n\r\n", "HTTP/1.1 400 "),
        (&long, "HTTP/1.1 431 "),
    ] {
        let answer = answer(&testbed, request.as_bytes())?;
        let shown = &request[..request.len().min(80)];
        // The answer to what is too long may be lost with the rest of it.
        let lost = answer.is_empty() && request.len() > 1 << 16;
        ensure!(answer.starts_with(status) || lost, "{shown:?}: {answer:?}");
        ensure!(answer.contains("policy_generation") == status.contains("200"), "{shown:?}");
    }
    Ok(())
}

#[test]
fn scrapes_that_follow_each_other_do_not_walk_through_the_tables_again() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let ends = AtomicBool::new(false);
    // Every walk finds other numbers.
    let send = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        while !ends.load(Relaxed) {
            socket.send_to(b"denied", "192.0.2.80:5000")?;
        }
        Ok::<_, std::io::Error>(())
    };
    let (texts, passed) = thread::scope(|scope| {
        let sender = scope.spawn(|| testbed.network.client.run(send));
        let begun = Instant::now();
        let texts: Result<BTreeSet<String>> = (0..200)
            .map(|_| {
                let answer = answer(&testbed, request)?;
                let (_, body) = answer.split_once("\r\n\r\n").context("no body")?;
                Ok(body.to_owned())
            })
            .collect();
        let passed = begun.elapsed();
        ends.store(true, Relaxed);
        sender.join().map_err(|_| anyhow!("the sender has failed"))??;
        Ok::<_, anyhow::Error>((texts?.len() as u64, passed))
    })?;
    println!("200 scrapes in {passed:?}: {texts} different answers");
    ensure!(texts <= passed.as_secs() + 2, "{texts} walks in {passed:?}");
    Ok(())
}

#[test]
fn the_address_follows_the_configuration_and_is_kept_where_another_is_not_to_be_had() -> Result<()>
{
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let [gateway, _] = GATEWAY;
    let at = |testbed: &Testbed, address: &str| {
        scrape(testbed, &format!("{address}/metrics")).is_ok_and(|text| text.ends_with("200"))
    };
    let taken = testbed.network.gateway.run(|| std::net::TcpListener::bind("127.0.0.1:9471"))?;
    for (listen, here, gone) in [
        ("127.0.0.1:9470", "127.0.0.1:9470", "127.0.0.1:9469"),
        // Overlaps with the one before.
        ("0.0.0.0:9470", &format!("{gateway}:9470"), "127.0.0.1:9469"),
        ("127.0.0.1:9470", "127.0.0.1:9470", &format!("{gateway}:9470")),
        ("127.0.0.1:9471", "127.0.0.1:9470", "127.0.0.1:9469"),
        ("127.0.0.1:9469", "127.0.0.1:9469", "127.0.0.1:9470"),
    ] {
        let config = format!("{CONFIG}metrics: {{listen: \"{listen}\"}}\n");
        testbed.filter.configure(&config)?;
        testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
        // Where another is kept, nothing else tells that the configuration was read.
        let is_taken = listen == "127.0.0.1:9471";
        let said = || testbed.filter.output().contains("no metrics at 127.0.0.1:9471");
        eventually("it is served where it should", || {
            Ok(at(&testbed, here) && !at(&testbed, gone) && (!is_taken || said()))
        })
        .with_context(|| format!("{listen}: {}", testbed.filter.output()))?;
    }
    drop(taken);
    testbed.filter.configure(&format!("{CONFIG}metrics: {{listen: off}}\n"))?;
    testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    eventually("nothing is served", || Ok(!at(&testbed, "127.0.0.1:9469")))
}

#[test]
fn an_address_that_was_not_there_yet_is_listened_at_once_it_is() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    let at = |address: &str| format!("{CONFIG}metrics: {{listen: \"{address}:9469\"}}\n");
    let served = |testbed: &Testbed, address: &str| {
        let text = scrape(testbed, &format!("{address}:9469/metrics"));
        text.is_ok_and(|text| text.ends_with("200"))
    };
    for address in ["10.99.0.1", "10.99.0.2"] {
        let by_itself = address == "10.99.0.2";
        testbed.filter.configure(&at(address))?;
        testbed.filter.start()?;
        ensure!(testbed.filter.output().contains("no metrics at"), "it is there already");
        testbed.network.gateway.ip(&[format!("address add {address}/32 dev lo")])?;
        if by_itself {
            let begun = Instant::now();
            while !served(&testbed, address) && begun.elapsed() < Duration::from_secs(90) {
                thread::sleep(Duration::from_secs(1));
            }
        } else {
            testbed.filter.succeed(&["reload"])?;
        }
        ensure!(served(&testbed, address), "{}", testbed.filter.output());
        let status = testbed.filter.json(&["status"])?;
        ensure!(!status.to_string().contains("metrics_not_served"), "{status}");
        testbed.filter.stop()?;
    }
    Ok(())
}
