//! Reads the JSON of the Microsoft 365 web service: an array of sets of endpoints.
//!
//! Fields by the service's documentation; which are absent, empty or null where there is nothing
//! differs between its versions and instances.

use std::collections::BTreeMap;

use intune_filter_ebpf::abi::TransportProtocol;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    gather::{Entry, Gathered},
    ports,
};
use crate::ports::Ports;

/// Set of endpoints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Set {
    id: Id,
    service_area: Option<String>,
    service_area_display_name: Option<String>,
    urls: Option<Vec<String>>,
    ips: Option<Vec<String>>,
    tcp_ports: Option<Numbers>,
    udp_ports: Option<Numbers>,
    required: Option<bool>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// Id of a set; a number in every version known.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Number(u64),
    Text(String),
}

/// Ports of a protocol; text in every version known.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(u16),
    Text(String),
}

/// Fields that say nothing about what to reach.
const PASSED_OVER: [&str; 3] = ["category", "expressRoute", "notes"];

/// Reads the sets.
pub(super) fn read(text: &str, gathered: &mut Gathered) {
    let sets: Vec<Set> = match serde_json::from_str(text) {
        Ok(sets) => sets,
        Err(error) => {
            return gathered
                .fault("", format!("{error}; expected the web service's sets of endpoints"));
        }
    };
    for set in &sets {
        read_set(set, gathered);
    }
}

fn read_set(set: &Set, gathered: &mut Gathered) {
    let section = match &set.id {
        Id::Number(number) => number.to_string(),
        Id::Text(text) => text.clone(),
    };
    let mut set_ports = Ports::default();
    let written = [
        (TransportProtocol::Tcp, "tcpPorts", &set.tcp_ports),
        (TransportProtocol::Udp, "udpPorts", &set.udp_ports),
    ];
    for (protocol, key, numbers) in written {
        let text = match numbers {
            None => continue,
            Some(Numbers::One(number)) => number.to_string(),
            Some(Numbers::Text(text)) => text.clone(),
        };
        match ports::numbers(&text) {
            Ok(numbers) => set_ports[protocol] = numbers,
            Err(message) => return gathered.fault(format!("set {section}, {key}"), message),
        }
    }
    for key in set.others.keys() {
        if !PASSED_OVER.contains(&key.as_str()) {
            gathered.passed_over.insert(format!("field {key:?}"));
        }
    }
    let lists = [("urls", &set.urls), ("ips", &set.ips)];
    if lists.iter().all(|(_, list)| list.as_ref().is_none_or(Vec::is_empty)) {
        gathered.passed_over.insert(format!("set {section} without urls and ips"));
    }
    for (key, list) in lists {
        for (index, address) in list.iter().flatten().enumerate() {
            gathered.add(Entry {
                group: set.service_area.as_deref().unwrap_or_default(),
                title: set.service_area_display_name.as_deref().unwrap_or_default(),
                address,
                ports: set_ports.clone(),
                section: section.clone(),
                is_optional: set.required == Some(false),
                at: format!("set {section}, {key}[{index}]"),
            });
        }
    }
}
