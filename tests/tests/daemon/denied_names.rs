//! Names in denials, as dig and real connections make them; and floods of refused names, in which other
//! clients' denials are told of all the same.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, RecordType, ResponseCode, lookup},
    namespace::run,
    network::{CLIENT, GATEWAY, LAN, WAN},
    prog_test_run::{Datagram, datagram::patched},
    site::{self, ANSWER, CONFIG, UNLISTED, WEB, eventually, tcp},
    testbed::{Setup, Testbed},
    wire::Wire,
};
use serde_json::Value;

fn testbed(change: impl FnOnce(&str) -> String) -> Result<Testbed> {
    let setup = Setup { config: change(CONFIG), ..site::setup() };
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    Ok(testbed)
}

fn audited(config: &str) -> String {
    config.replace("  - name: devices\n", "  - name: devices\n    mode: audit\n")
}

fn forwarded(config: &str) -> String {
    config.replace("dns:\n", "dns:\n  unlisted: forward\n")
}

/// The denials that the daemon has kept.
fn denials(testbed: &Testbed) -> Result<Vec<Value>> {
    let text = testbed.filter.succeed(&["--json", "events", "--denied"])?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Waits until there is a denial with all of these.
fn expect_denial(testbed: &Testbed, what: &[(&str, Value)]) -> Result<()> {
    eventually(&format!("{what:?} is told of"), || {
        let fits = |event: &Value| what.iter().all(|(key, value)| event[key] == *value);
        Ok(denials(testbed)?.iter().any(fits))
    })
}

fn dig(testbed: &Testbed, words: &[&str]) -> Result<()> {
    let [server, _] = testbed.resolver.addresses();
    let mut command = testbed.network.client.command("dig");
    command.args(["+time=2", "+tries=1", &format!("@{server}")]).args(words);
    command.output().context("cannot run dig")?;
    Ok(())
}

#[test]
fn a_refused_name_is_shown_with_its_type_and_client() -> Result<()> {
    let testbed = testbed(str::to_owned)?;
    let client = Value::from(CLIENT[0].to_string());
    for (words, name, qtype, protocol) in [
        (&["wWw.Unlisted.test", "HTTPS"][..], UNLISTED, "HTTPS", "udp"),
        (&["over.tcp.test", "AAAA", "+tcp"], "over.tcp.test", "AAAA", "tcp"),
        (&["rare.test", "TYPE4711"], "rare.test", "TYPE4711", "udp"),
    ] {
        dig(&testbed, words)?;
        let told = [
            ("name", Value::from(name)),
            ("qtype", qtype.into()),
            ("client", client.clone()),
            ("protocol", protocol.into()),
            ("port", 53.into()),
            ("reason", "dns_unlisted".into()),
            ("group", "devices".into()),
            ("audited", false.into()),
        ];
        expect_denial(&testbed, &told)?;
    }
    let text = testbed.filter.succeed(&["events", "--denied"])?;
    ensure!(text.contains(&format!("asks for {UNLISTED} HTTPS  reason dns_unlisted")), "{text}");
    let log = testbed.filter.output();
    for private in [UNLISTED, "over.tcp.test", &CLIENT[0].to_string()] {
        ensure!(!log.contains(private), "{private} in the log:\n{log}");
    }
    Ok(())
}

#[test]
fn what_led_to_a_denied_address_is_shown_whether_or_not_it_is_listed() -> Result<()> {
    for change in [forwarded, audited] {
        let testbed = testbed(change)?;
        let is_audited = change(CONFIG) == audited(CONFIG);
        let [address, _] = testbed.resolve(UNLISTED)?;
        if is_audited {
            testbed.expect_reached(tcp(address, 443))?;
            let asked =
                [("name", UNLISTED.into()), ("qtype", "A".into()), ("audited", true.into())];
            expect_denial(&testbed, &asked)?;
            dig(&testbed, &["in.audit.test", "A", "+tcp"])?;
            expect_denial(&testbed, &[("name", "in.audit.test".into()), ("audited", true.into())])?;
        } else {
            testbed.expect_denied(tcp(address, 443))?;
        }
        let told = [
            ("destination", Value::from(address.to_string())),
            ("name", UNLISTED.into()),
            ("reason", "destination".into()),
            ("audited", is_audited.into()),
        ];
        expect_denial(&testbed, &told)?;
    }
    Ok(())
}

/// Packets that a group was denied because of their destination, as the metrics tell.
fn denied_to(testbed: &Testbed, group: &str, what: &str) -> Result<u64> {
    let mut command = testbed.network.gateway.command("curl");
    let text = run(command.args(["--silent", "127.0.0.1:9469/metrics"]))?;
    let name = format!(
        "intune_filter_group_{what}_packets_total{{group=\"{group}\",reason=\"destination\"}} "
    );
    let value = text.lines().find_map(|line| line.strip_prefix(&name));
    Ok(value.map(str::parse).transpose()?.unwrap_or(0))
}

#[test]
fn counts_of_a_group_are_exact_and_go_with_its_name() -> Result<()> {
    let testbed = testbed(str::to_owned)?;
    let target = tcp("192.0.2.80".parse()?, 443);
    let reason = || Ok::<_, anyhow::Error>(testbed.filter.counters()?.get("destination"));
    // The metrics may be a second old.
    let expect_exact = || {
        eventually("the group's count is the reason's", || {
            Ok(denied_to(&testbed, "devices", "denied")? == reason()?)
        })
    };
    testbed.expect_denied(target)?;
    let before = reason()?;
    ensure!(before > 0);
    expect_exact()?;
    // Its number is another one now.
    let first = "clients:\n  - name: first\n    networks: [10.20.9.0/24]\n    services: [web]\n";
    testbed.filter.configure(&CONFIG.replace("clients:\n", first))?;
    testbed.filter.succeed(&["reload"])?;
    testbed.expect_denied(target)?;
    let after = reason()?;
    ensure!(after > before);
    expect_exact()?;
    ensure!(denied_to(&testbed, "first", "denied")? == 0);
    // Audited packets are told apart.
    testbed.filter.configure(&audited(CONFIG))?;
    testbed.filter.succeed(&["reload"])?;
    testbed.expect_reached(target)?;
    eventually("the audited packet is counted", || {
        Ok(denied_to(&testbed, "devices", "audited")? > 0)
    })?;
    ensure!(denied_to(&testbed, "devices", "denied")? == after && reason()? == after);
    Ok(())
}

/// Clients that flood, each with an address and a MAC address that the gateway's neighbour table has.
const FLOODING: u8 = 200;
/// Names refused in a second.
const RATE: u64 = 10_000;

fn flooding(number: u8) -> (Ipv4Addr, [u8; 6]) {
    (Ipv4Addr::new(10, 20, 0, 20 + number), [2, 0, 0, 0x66, 0, number])
}

fn memory(testbed: &mut Testbed) -> Result<u64> {
    let id = testbed.filter.daemon()?.id();
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse()?)
}

/// Floods with refused names from so many clients, while another one is refused twenty.
fn flood(clients: u8) -> Result<()> {
    let mut testbed = testbed(str::to_owned)?;
    let (gateway, client) = (&testbed.network.gateway, &testbed.network.client);
    for number in 0..clients {
        let (address, [a, b, c, d, e, f]) = flooding(number);
        let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let add = format!("neigh replace {address} lladdr {mac} dev {LAN} nud permanent");
        gateway.ip(&[add])?;
    }
    let (wire, to) = (client.run(|| Wire::open(WAN))?, testbed.network.lan_address()?);
    let seconds = match env::var("INTUNE_FLOOD") {
        Ok(text) => text.parse().context("INTUNE_FLOOD is a number of seconds")?,
        Err(_) => 2,
    };
    let IpAddr::V4(resolver) = GATEWAY[0] else { unreachable!("IPv4 comes first") };
    let before = testbed.filter.counters()?;
    let rss = memory(&mut testbed)?;
    let started = Instant::now();
    let (mut sent, mut answered) = (0_u64, 0);
    let query = dns::query("0000000.flood.test", RecordType::A)?;
    while sent < RATE * seconds {
        for _ in 0..RATE / 100 {
            let mut message = query.clone();
            message[13..20].copy_from_slice(format!("{sent:07}").as_bytes());
            let (source, mac) = flooding((sent % u64::from(clients)) as u8);
            let frame = Datagram::new(source, resolver).udp(40_000, 53, &message).frame();
            wire.send(&patched(patched(frame, 0, &to), 6, &mac))?;
            sent += 1;
        }
        // Well within its share, while the flood goes on.
        let due = 1 + 20 * sent / (RATE * seconds);
        while answered < due.min(20) {
            let name = format!("victim-{answered}.test");
            let answer =
                testbed.network.client.run(|| lookup(GATEWAY[0], &name, RecordType::A, ANSWER))?;
            ensure!(answer.code == ResponseCode::NXDomain, "{name}: {answer:?}");
            answered += 1;
        }
        let ahead = Duration::from_millis(1000 * sent / RATE).saturating_sub(started.elapsed());
        thread::sleep(ahead);
    }
    let elapsed = started.elapsed();
    // No verdict is another one: what is listed is found and reached.
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(web, 443))?;
    // Two hundred within their shares are more than a CPU tells of.
    for number in (0..20).filter(|_| clients == 1) {
        let name = format!("victim-{number}.test");
        expect_denial(&testbed, &[("name", name.into()), ("reason", "dns_unlisted".into())])?;
    }
    let counted = testbed.filter.counters()?.since(&before);
    let refused = counted.get("dns_unlisted");
    let lost: Vec<u64> =
        ["name_suppressed", "name_lost", "event_repeated"].map(|what| counted.get(what)).into();
    // The last program is verified after the start, which takes memory for a moment.
    let mut grown = 0;
    eventually("the daemon has grown by no more than 8 MiB", || {
        grown = memory(&mut testbed)?.saturating_sub(rss);
        Ok(grown < 8 << 10)
    })?;
    println!(
        "{clients} clients: {sent} refused names in {:.1} s ({:.0} a second), {refused} counted; told \
         {}, suppressed {}, without room {}, repeated {}; the daemon grew by {grown} KiB",
        elapsed.as_secs_f64(),
        sent as f64 / elapsed.as_secs_f64(),
        refused.saturating_sub(lost.iter().sum()),
        lost[0],
        lost[1],
        lost[2],
    );
    ensure!(refused == sent + 20, "{refused} of {}", sent + 20);
    ensure!(lost[0] > 0, "all were told of: {counted}");
    ensure!(counted.get("event_lost") == 0, "{counted}");
    Ok(())
}

#[test]
fn a_flood_of_refused_names_from_two_hundred_clients_changes_no_verdict() -> Result<()> {
    flood(FLOODING)
}

#[test]
fn a_flood_of_refused_names_from_one_client_hides_no_other_clients() -> Result<()> {
    flood(1)
}
