//! Urgent data by plain sockets, without any privilege: a reader that does not want it in line misses
//! an octet that the filter has seen.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::{Result, ensure};
use hickory_proto::rr::RecordType;
use intune_filter_tests::{
    dns::lookup_over_tcp,
    random::Random,
    resolver::Kind,
    site::{self, ANSWER, MODES, WEB, in_mode},
    testbed::{Setup, Testbed},
};
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt::Linger};

use crate::messages::{self, Carries, PREFIX, Pair, denied};

/// Wait for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Parts of a stream in the order in which they are sent, urgent ones with their last octet so.
type Parts = Vec<(Vec<u8>, bool)>;

/// Ways to send a message so that a reader misses octets of it, by name.
fn ways(random: &mut Random) -> Vec<(String, Parts)> {
    let part = |octets: &[u8], urgent| (octets.to_vec(), urgent);
    let mut all = Vec::new();
    for carries in [Carries::Padding, Carries::Name] {
        let Pair { message, .. } = messages::pair(random, carries);
        let (length, rest) = message.split_at(PREFIX);
        let (first, second) = length.split_at(1);
        let (head, tail) = message.split_at(message.len() / 2);
        let ways = [
            ("second", vec![part(length, true), part(rest, false)]),
            ("second, alone", vec![part(first, false), part(second, true), part(rest, false)]),
            ("first", vec![part(first, true), part(second, false), part(rest, false)]),
            ("both", vec![part(first, true), part(second, true), part(rest, false)]),
            ("middle", vec![part(head, true), part(tail, false)]),
            ("last", vec![part(&message, true)]),
        ];
        all.extend(
            ways.map(|(which, parts)| {
                (format!("{which} octet, message in the {carries:?}"), parts)
            }),
        );
    }
    all
}

/// Whether an answer comes that is not for an allowed name.
fn is_answered(server: IpAddr, parts: &Parts) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&(server, 53).into(), ANSWER)?;
    // Reset at the end: dnsmasq serves twenty at a time, and what it waits for never comes.
    setsockopt(&stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    for (octets, urgent) in parts {
        let sent = if *urgent {
            send(stream.as_raw_fd(), octets, MsgFlags::MSG_OOB | MsgFlags::MSG_NOSIGNAL)
                .is_ok_and(|sent| sent == octets.len())
        } else {
            stream.write_all(octets).is_ok()
        };
        if !sent {
            // The filter has reset the connection.
            break;
        }
    }
    let mut octets = Vec::new();
    // The end is silence, or a reset.
    let _ = stream.read_to_end(&mut octets);
    let (answers, _) = messages::split(&octets);
    Ok(answers.iter().any(|answer| match messages::answered(answer) {
        Some(Ok(asked)) => !messages::is_allowed(&asked.name),
        _ => false,
    }))
}

fn against(kind: Kind, settings: &'static str) -> Result<()> {
    let mut setup = Setup { resolver: kind, settings, ..site::setup() };
    for label in messages::LABELS {
        setup.records.add(&messages::allowed(label));
        setup.records.add(&denied(label));
    }
    let mut wrong = Vec::new();
    for mode in MODES {
        setup.config = in_mode(site::CONFIG, mode);
        let mut testbed = Testbed::create(&setup)?;
        testbed.filter.start()?;
        let mut random = Random::new(7, "urgent");
        for server in testbed.resolver.addresses() {
            for (way, parts) in ways(&mut random) {
                let client = &testbed.network.client;
                if client.run(|| is_answered(server, &parts))? {
                    wrong.push(format!("{mode}, {server}: urgent {way}: answered"));
                }
            }
            // The resolver answers: what was not answered was denied.
            let ask = || lookup_over_tcp(server, WEB[0], RecordType::A, ANSWER);
            testbed.network.client.run(ask)?;
        }
        testbed.resolver.wait_for(WEB[0])?;
        let log = testbed.resolver.output();
        ensure!(log.contains(WEB[0]), "the resolver logs no queries: {log}");
        let asked = log.lines().filter(|line| line.contains(messages::DENIED));
        wrong.extend(asked.map(|line| format!("{mode}: {line}")));
    }
    ensure!(wrong.is_empty(), "{kind}: {} times:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[test]
fn urgent_data_leads_dnsmasq_to_no_other_name() -> Result<()> {
    against(Kind::Dnsmasq, "log-queries\n")
}

#[test]
fn urgent_data_leads_unbound_to_no_other_name() -> Result<()> {
    against(Kind::Unbound, "")
}
