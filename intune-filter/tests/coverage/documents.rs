//! Every row of the documents is covered by a service or has a reason, and every datum is in its
//! document.
//!
//! `cargo test -p intune-filter --test coverage -- --nocapture every_row` prints it row by row.

use std::collections::{BTreeMap, HashMap, HashSet};

use intune_filter::{
    catalogue::{Datum, Excused, Selector, Status},
    ports::PortRange,
};
use intune_filter_ebpf::abi::TransportProtocol;

use crate::{
    CLOUDS, Location, data, edition, everything,
    fixtures::{Ports, Row, rows},
    judge::{self, Coverage, Reach},
    old, site,
};

/// Source of what edition 2023-09 was made of.
const OLD_DOCUMENT: &str = "intune-ww-2023";

/// Sources whose rows all have another source too.
const BESIDES: [&str; 5] =
    ["apns-bag", "collect-diagnostics", "linked", "service-tags", "windows-enrolment"];

/// Misprints of documents, and what they mean.
const MEANT: [(&str, &str); 1] = [("graph.chinacloudapi.us", "graph.chinacloudapi.cn")];

fn reason<'a>(excused: &'a [Excused], row: &Row) -> Option<&'a Excused> {
    excused.iter().find(|one| {
        one.source == row.source
            && one.id.as_ref().is_none_or(|id| *id == row.section)
            && (one.addresses.is_empty() || one.addresses.contains(&row.address))
    })
}

/// Returns who covers a row in the first cloud in which all of it is covered.
fn in_a_cloud<'a>(clouds: &[Reach<'a>], row: &Row) -> Option<Coverage<'a>> {
    clouds.iter().map(|reach| reach.cover(&row.address, &row.ports)).find(Coverage::is_full)
}

#[test]
fn every_row_is_covered_or_has_a_reason() {
    let (new, old) = (edition(), old());
    let on = CLOUDS.map(|cloud| Reach::of(new, new.services(), &site(cloud, Location::All)));
    let all = CLOUDS.map(|cloud| Reach::of(new, new.services(), &everything(new, cloud)));
    let before = Reach::of(old, old.services(), &Selector::default());
    let (mut uncovered, mut used) = (Vec::new(), HashSet::new());
    let mut counts = BTreeMap::<&str, usize>::new();
    for row in rows() {
        let place = format!("{}#{} {}{}", row.source, row.section, row.address, row.ports);
        let (verdict, by) = if let Some(coverage) = in_a_cloud(&on, &row) {
            ("covered", Some(coverage))
        } else if let Some(coverage) = in_a_cloud(&all, &row) {
            ("covered, off by default", Some(coverage))
        } else if let Some(excused) = reason(&new.edition().excused, &row) {
            used.insert(std::ptr::from_ref(excused));
            (excused.reason.as_str(), None)
        } else {
            uncovered.push(place);
            continue;
        };
        *counts.entry(if by.is_some() { verdict } else { "excused" }).or_default() += 1;
        let tell = |coverage: Coverage<'_>| {
            let by = coverage.by.iter().map(|(service, ports)| format!("{service}{ports}"));
            by.collect::<Vec<_>>().join("; ")
        };
        let then = tell(before.cover(&row.address, &row.ports));
        let then = if then.is_empty() { "nothing".to_owned() } else { then };
        println!("{place}: 2026-08 {verdict} {} | 2023-09 {then}", by.map_or(String::new(), tell));
    }
    println!("{counts:?}");
    assert!(uncovered.is_empty(), "neither covered nor excused:\n{}", uncovered.join("\n"));
    let idle: Vec<_> = new
        .edition()
        .excused
        .iter()
        .filter(|one| !used.contains(&std::ptr::from_ref(*one)))
        .collect();
    assert!(idle.is_empty(), "reasons for nothing: {idle:?}");
    assert_eq!(counts.values().sum::<usize>(), 1549, "rows of the documents");
}

/// What the documents print of an address in a section, with the ports of all its rows.
type Printed = HashMap<(String, String, String), Ports>;

fn printed() -> Printed {
    let mut printed = Printed::new();
    for row in rows() {
        let ports: &mut Ports = printed.entry((row.source, row.section, row.address)).or_default();
        ports.tcp.extend(row.ports.tcp);
        ports.udp.extend(row.ports.udp);
    }
    printed
}

/// Returns the ports with which a datum's document prints it; `None` if it does not.
fn in_its_document<'a>(printed: &'a Printed, datum: &Datum) -> Option<&'a Ports> {
    let address = datum.address.to_string();
    let host = address.strip_suffix("/32").unwrap_or(&address);
    let misprints = MEANT.iter().filter(|(_, meant)| *meant == host).map(|(printed, _)| *printed);
    let section = datum.from.section.clone().unwrap_or_default();
    let key = |address: &str| (datum.from.source.clone(), section.clone(), address.to_owned());
    [address.as_str(), host].into_iter().chain(misprints).find_map(|one| printed.get(&key(one)))
}

#[test]
fn every_datum_is_in_its_document_with_its_ports() {
    let (catalogue, printed) = (edition(), printed());
    let before: HashSet<String> =
        old().services().iter().flat_map(data).map(|datum| datum.address.to_string()).collect();
    let (mut wrong, mut counts) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for service in catalogue.services() {
        for (rule, datum) in
            service.rules.iter().flat_map(|rule| rule.to.iter().map(move |to| (rule, to)))
        {
            let (source, place) = (datum.from.source.as_str(), service.rule_id(rule));
            let what = format!("{place}: {}", datum.address);
            *counts.entry(source).or_default() += 1;
            if source == OLD_DOCUMENT {
                // What the document of 2023 has is in the edition that was made of it.
                let is_old = before.contains(&datum.address.to_string());
                if !is_old || datum.status == Status::Current {
                    wrong.push(format!("{what} is not of edition 2023-09"));
                }
                continue;
            }
            let Some(ports) = in_its_document(&printed, datum) else {
                wrong.push(format!("{what} is not in {}", datum.from));
                continue;
            };
            let wider = |have: &[PortRange], document: &[PortRange]| {
                have.iter().any(|range| !judge::is_within(*range, document))
            };
            let (tcp, udp) =
                (&rule.ports[TransportProtocol::Tcp], &rule.ports[TransportProtocol::Udp]);
            if !ports.is_unsaid() && (wider(tcp, &ports.tcp) || wider(udp, &ports.udp)) {
                wrong.push(format!("{what} has more ports than{ports} in {}", datum.from));
            }
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Every other source is one of rows with a reason alone.
    let excused = catalogue.edition().excused.iter().map(|one| one.source.as_str());
    let used: HashSet<&str> = counts.into_keys().chain(excused).collect();
    let documents: HashSet<String> = printed.into_keys().map(|(source, ..)| source).collect();
    for source in catalogue.edition().sources.keys() {
        let is_read = documents.contains(source) || source == OLD_DOCUMENT;
        assert!(is_read, "{source}: no rows");
        assert!(
            used.contains(source.as_str()) || BESIDES.contains(&source.as_str()),
            "{source}: unused"
        );
    }
}
