//! Sums verdicts up: by client, destination, port and reason.

use std::{collections::HashMap, net::IpAddr};

use crate::report::{CapturedTraffic, CapturedVerdicts};

/// Rows at most; what has none is counted.
const ROWS: usize = 20_000;

/// Connections of clients that are remembered although the policy denies them: their answers are no rows of
/// their own, and what follows is no more allowed.
const DENIED: usize = 1 << 16;

/// What a row is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Address of the client.
    pub client: IpAddr,
    /// Name that led to the other end, or that was asked for.
    pub name: Option<String>,
    /// Address of the other end; `None` of a row by name.
    pub address: Option<IpAddr>,
    /// Word of the protocol, or its number.
    pub protocol: String,
    /// Port of the destination; `None` without ports.
    pub port: Option<u16>,
    /// Whether the packets are to the client.
    pub to_client: bool,
    /// Whether they pass, and whether they would without an audit.
    pub verdict: [bool; 2],
    /// Word of the reason, of what would be denied.
    pub denial: Option<&'static str>,
}

/// What a packet adds to its row.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Time since the capture's first packet, in nanoseconds.
    pub time: u64,
    /// Octets.
    pub octets: u64,
    /// Word of the reason.
    pub reason: &'static str,
    /// Group of the client.
    pub group: Option<String>,
    /// Rule that allows it.
    pub rule: Option<String>,
}

/// Ends of a connection, seen from the client.
pub(super) type Ends = (IpAddr, u16, IpAddr, u16, u8);

/// Manner in which the policy denies a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    /// Reason.
    pub reason: &'static str,
    /// Whether the packets pass all the same, by an audit.
    pub audited: bool,
}

/// Rows of a capture.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: HashMap<Key, CapturedTraffic>,
    denied: HashMap<Ends, Denial>,
    left_out: u64,
}

impl Rows {
    /// Counts a packet.
    pub(super) fn count(&mut self, key: Key, packet: Packet) {
        if self.rows.len() >= ROWS && !self.rows.contains_key(&key) {
            self.left_out += 1;
            return;
        }
        let row = self.rows.entry(key.clone()).or_insert_with(|| {
            let word = |passes| if passes { "allow" } else { "deny" }.to_owned();
            let [passes, by_policy] = key.verdict;
            CapturedTraffic {
                client: key.client,
                group: packet.group.clone(),
                name: key.name.clone(),
                address: key.address,
                protocol: key.protocol.clone(),
                port: key.port,
                to_client: key.to_client,
                verdict: word(passes),
                policy_verdict: word(by_policy),
                audited: passes && !by_policy,
                reason: packet.reason.to_owned(),
                rule: packet.rule.clone(),
                packets: 0,
                octets: 0,
                first_ms: packet.time / 1_000_000,
                last_ms: 0,
            }
        });
        row.packets += 1;
        row.octets = row.octets.saturating_add(packet.octets);
        row.last_ms = packet.time / 1_000_000;
    }

    /// Remembers how the policy denies a connection; `None` takes it back.
    pub(super) fn note(&mut self, ends: Ends, denial: Option<Denial>) {
        if self.denied.len() >= DENIED {
            self.denied.clear();
        }
        match denial {
            Some(denial) => drop(self.denied.insert(ends, denial)),
            None => drop(self.denied.remove(&ends)),
        }
    }

    /// Returns how the policy denies a connection.
    pub(super) fn denial(&self, ends: &Ends) -> Option<Denial> {
        self.denied.get(ends).copied()
    }

    /// Writes the rows, the denied ones first, then by packets.
    pub(super) fn into(self, verdicts: &mut CapturedVerdicts) {
        let mut rows: Vec<CapturedTraffic> = self.rows.into_values().collect();
        rows.sort_by(|one, other| {
            let key = |row: &CapturedTraffic| {
                let by_policy = row.policy_verdict == "allow";
                (
                    row.verdict == "allow",
                    by_policy,
                    std::cmp::Reverse(row.packets),
                    row.client,
                    row.first_ms,
                )
            };
            let order = key(one).cmp(&key(other));
            order.then_with(|| {
                (&one.name, one.address, one.port).cmp(&(&other.name, other.address, other.port))
            })
        });
        verdicts.traffic = rows;
        verdicts.left_out = self.left_out;
    }
}
