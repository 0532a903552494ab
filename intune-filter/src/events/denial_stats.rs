//! Counts the reported denials of each client.

use std::{collections::HashMap, net::IpAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Denied, ZoneName};

/// Clients at most. Since sources can be forged, the clients whose last denial is oldest are
/// evicted.
const CLIENTS: usize = 4096;

/// Denials of one client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Denials {
    /// Address of the client.
    pub client: IpAddr,
    /// Zone of the client.
    #[serde(flatten)]
    pub place: ZoneName,
    /// Name of the client's group.
    pub group: Option<String>,
    /// Denials reported since the daemon's start.
    pub denied: u64,
    /// Denials of an audited group, whose packets passed.
    pub audited: u64,
    /// Time of the last denial.
    pub last: Timestamp,
    /// Reason of the last denial.
    pub reason: String,
    /// Destination of the last denied packet.
    pub destination: Option<IpAddr>,
    /// Destination port of the last denied packet, of TCP and UDP.
    pub port: Option<u16>,
    /// IP protocol of the last denied packet.
    pub protocol: String,
    /// Most recent name that led to the destination.
    pub name: Option<String>,
}

/// Denials of every client.
#[derive(Debug, Default)]
pub struct DenialStats {
    clients: HashMap<(Option<String>, u16, IpAddr), Denials>,
}

impl DenialStats {
    /// Counts a denial.
    pub fn add(&mut self, denied: &Denied, time: Timestamp) {
        let Some(client) = denied.client else { return };
        // Unsolicited packets to a client are not the client's doing.
        if denied.inbound {
            return;
        }
        let key = (denied.place.interface.clone(), denied.place.vlan, client);
        if self.clients.len() >= CLIENTS && !self.clients.contains_key(&key) {
            self.forget_oldest();
        }
        let before = self.clients.get(&key).map_or((0, 0), |one| (one.denied, one.audited));
        let denials = Denials {
            client,
            place: denied.place.clone(),
            group: denied.group.clone(),
            denied: before.0 + 1,
            audited: before.1 + u64::from(denied.audited),
            last: time,
            reason: denied.reason.clone(),
            destination: denied.destination,
            port: denied.port,
            protocol: denied.protocol.clone(),
            name: denied.name.clone(),
        };
        self.clients.insert(key, denials);
    }

    /// Returns the denials of every client that has any.
    pub fn iter(&self) -> impl Iterator<Item = &Denials> {
        self.clients.values()
    }

    /// Evicts an eighth of the clients at once, so that a flood does not sort them for each.
    fn forget_oldest(&mut self) {
        let mut times: Vec<_> = self.clients.values().map(|denials| denials.last).collect();
        let (_, limit, _) = times.select_nth_unstable(CLIENTS / 8);
        let limit = *limit;
        self.clients.retain(|_, denials| denials.last > limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(client: u32, reason: &str) -> Denied {
        Denied {
            client: Some(IpAddr::from(client.to_be_bytes())),
            destination: Some([192, 0, 2, 1].into()),
            protocol: "tcp".into(),
            port: Some(443),
            client_port: Some(1),
            reason: reason.into(),
            name: None,
            qtype: None,
            service: None,
            group: Some("devices".into()),
            audited: false,
            inbound: false,
            place: ZoneName { interface: Some("lan".into()), vlan: 0 },
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_clients_denials_are_counted_and_the_last_is_kept() {
        let mut denials = DenialStats::default();
        denials.add(&denied(1, "port"), at(1));
        denials.add(&Denied { audited: true, ..denied(1, "service") }, at(2));
        denials.add(&Denied { inbound: true, ..denied(1, "unsolicited") }, at(3));
        denials.add(&Denied { client: None, ..denied(1, "ethertype") }, at(3));
        let elsewhere = ZoneName { interface: Some("lan".into()), vlan: 20 };
        denials.add(&Denied { place: elsewhere, ..denied(1, "port") }, at(4));
        let mut all: Vec<_> = denials.iter().collect();
        all.sort_by_key(|one| one.last);
        let told: Vec<_> =
            all.iter().map(|one| (one.denied, one.audited, one.reason.as_str())).collect();
        assert_eq!(told, [(2, 1, "service"), (1, 0, "port")]);
    }

    #[test]
    fn forged_sources_push_out_the_oldest_and_no_more() {
        let mut denials = DenialStats::default();
        let many = u32::try_from(CLIENTS).unwrap() + 1;
        for number in 0..many {
            denials.add(&denied(number, "source"), at(number.into()));
        }
        assert_eq!(denials.iter().count(), CLIENTS - CLIENTS / 8);
        assert!(denials.iter().all(|one| one.last > at(CLIENTS as i64 / 8)));
    }
}
