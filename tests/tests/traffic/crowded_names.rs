//! Names with sixty addresses each, for a day: a client that asks for them, within its limits, fills three
//! quarters of the default table of addresses, and leaves another client's new names their room.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    network::WAN,
    probe::{ProbeResult, probe},
    prog_test_run::{Message, message::A},
    records::Records,
    site::{self, ANSWER, CONFIG, eventually, tcp},
    testbed::{Setup, Testbed},
};

/// Attacker's address.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 0, 66));
/// Attacker's names, and the addresses of each.
const NAMES: u32 = 2000;
const ADDRESSES: u32 = 60;
/// Times that it asks for all of them, at most.
const ROUNDS: usize = 3;
/// New names of the client's, and the share of them that has to be reached, in hundredths.
const NEW: usize = 40;
const LEAST: usize = 95;

fn crowded(number: u32) -> String {
    format!("n{number}.crowd.web.test")
}

/// Resolver's lines for the attacker's names.
fn lines() -> String {
    let first = u32::from(Ipv4Addr::new(20, 0, 0, 0));
    let mut text = String::new();
    for number in 0..NAMES * ADDRESSES {
        let (name, address) = (crowded(number / ADDRESSES), Ipv4Addr::from(first + number));
        let _ = writeln!(text, "host-record={name},{address},86400");
    }
    text
}

/// Asks for all names from the attacker's address; returns how many were answered.
fn ask(testbed: &Testbed) -> Result<u32> {
    let [resolver, _] = testbed.resolver.addresses();
    let socket = testbed.network.client.run(|| UdpSocket::bind((ATTACKER, 0)))?;
    socket.connect((resolver, 53))?;
    socket.set_read_timeout(Some(ANSWER))?;
    let (mut buffer, mut answered) = ([0; 4096], 0);
    let begun = Instant::now();
    for number in 0..NAMES {
        let query = Message::query(number as u16, &crowded(number), A).edns(4096, 0, &[]);
        socket.send(query.octets())?;
        if socket.recv(&mut buffer).is_ok_and(|length| length > 16 * ADDRESSES as usize) {
            answered += 1;
        }
        // A thousand at once, and a hundred each second.
        let due = Duration::from_millis(10) * number.saturating_sub(900);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    Ok(answered)
}

#[test]
fn names_with_many_addresses_leave_another_client_its_new_names() -> Result<()> {
    let mut records = Records::default();
    let new: Vec<String> = (0..NEW).map(|number| format!("new{number}.web.test")).collect();
    for name in &new {
        records.add(name);
    }
    let setup = Setup {
        config: CONFIG.replacen("limits: {queries: off, flows: off}\n", "", 1),
        records,
        // As long as the process: a test has one testbed.
        settings: lines().leak(),
        ..site::setup()
    };
    let mut testbed = Testbed::create(&setup)?;
    testbed.network.client.ip(&[format!("address add {ATTACKER}/24 dev {WAN}")])?;
    testbed.filter.start()?;
    // What a slow daemon had no room for in its ring is learned when it is asked for again.
    let (mut answered, mut filled) = (0, Ok(()));
    for _ in 0..ROUNDS {
        answered = ask(&testbed)?;
        filled = eventually("the attacker has more than its share", || {
            Ok(testbed.filter.counters()?.get("hosts_share") > 0)
        });
        if filled.is_ok() {
            break;
        }
    }
    filled.with_context(|| format!("{answered} of {NAMES} were answered"))?;
    let counted = testbed.filter.counters()?;
    let mut reached = 0;
    for name in &new {
        let [address, _] = testbed.resolve(name).with_context(|| name.clone())?;
        let found = testbed.network.client.run(|| probe(tcp(address, 443), ANSWER));
        reached += usize::from(found == ProbeResult::Reached);
    }
    println!(
        "{answered} of {NAMES} names with {ADDRESSES} addresses answered, {} with too many; of another \
         client's new names, {reached} of {NEW} were reached",
        counted.get("hosts_share")
    );
    ensure!(reached * 100 >= NEW * LEAST, "{reached} of {NEW} new names");
    Ok(())
}
