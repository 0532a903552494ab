//! One table, three hooks: what a driver's XDP, the network stack's and TC make of every packet is
//! the same, and what was expected.

use intune_filter_tests::prog_test_run::{IngressHook, Row, run_at, run_roomy, site::config};

use crate::tables::{
    broken::{broken, built},
    neighbours,
};

/// Packets that the table has at least.
const ENOUGH: usize = 300;

/// Observations of the packets at a hook, each from an empty state.
fn observe(hook: IngressHook, rows: &[Row]) -> Vec<[String; 3]> {
    let mut observed = Vec::new();
    run_at(hook, "", "", |filter| {
        filter.install(&config("", "")).unwrap();
        filter.attach().unwrap();
        for row in rows {
            filter.clear().unwrap();
            let one = row.observe(filter);
            observed.push(
                one.unwrap_or_else(|error| [format!("{error:#}"), String::new(), String::new()]),
            );
        }
    });
    observed
}

#[test]
fn every_packet_gets_one_verdict_at_every_hook() {
    let built = built();
    let broken = broken(&built);
    println!("the table has {} packets built, and {} broken", built.len(), broken.len());
    let rows = [built, broken].concat();
    let rows: Vec<Row> = rows.into_iter().filter(Row::is_ingress).collect();
    println!("{} of them come in", rows.len());
    assert!(rows.len() >= ENOUGH, "{} packets", rows.len());
    let mut report = String::new();
    for hook in IngressHook::ALL {
        for (row, observed) in rows.iter().zip(observe(hook, &rows)) {
            let expected = row.prediction();
            if observed != expected {
                let what = &row.description;
                report += &format!("{what} at {hook:?}: {observed:?}, expected {expected:?}\n");
            }
        }
    }
    assert!(report.is_empty(), "packets that are not judged as expected:\n{report}");
}

/// A neighbour's frames and a client's on one wire: those that the programs let pass meet the gateway's
/// network stack too, its neighbour table and its routes.
#[test]
fn no_frame_of_a_neighbours_on_the_wire_changes_what_becomes_of_a_clients() {
    run_roomy(IngressHook::Generic, "", "", |filter| {
        filter.install(&config("", "")).unwrap();
        filter.attach().unwrap();
        neighbours::disturb(filter, neighbours::seed(), neighbours::amount(50_000) / 100);
    });
}
