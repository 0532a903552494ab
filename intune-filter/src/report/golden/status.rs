//! Tests the JSON of `status`: with a full report of the daemon, a sparse one, and none.

use super::{catalogue::edition_status, compare, values::time};
use crate::{
    names::resolution::{Counts, ResolutionStatus as Resolution},
    report::{
        BootGate, ConfigurationStatus, Daemon, DaemonStatus, FailedInterface, GateStatus,
        Interface, LastReload, MapUsage, OnLinkPrefix, Origin, OtherDns, Problem, ReloadResult,
        SCHEMA, Status, Waiting,
    },
};

pub fn full_daemon() -> DaemonStatus {
    DaemonStatus {
        ready: true,
        problems: vec![Problem {
            code: "reload_refused".into(),
            since: time(),
            text: "a.yaml:3: dns: missing\na.yaml:4: x: unknown key".into(),
        }],
        names: 3,
        missing_interfaces: vec!["eth9".into()],
        failed_interfaces: vec![FailedInterface {
            name: "eth2".into(),
            error: "no such device".into(),
        }],
        flows_evicted: 1,
        catalogue: Some(edition_status()),
        configuration: ConfigurationStatus {
            file: "/etc/intune-filter/new.yaml".into(),
            digest: "0f1e".into(),
            origin: Origin::Applied,
            overrides_file: true,
            reload: Some(LastReload {
                at: time(),
                result: ReloadResult::Refused,
                error: Some("a.yaml:3: dns: missing".into()),
            }),
            waiting: Some(Waiting {
                confirm_within_s: 42,
                rollback_error: Some("no memory".into()),
            }),
        },
        gate: Some(GateStatus {
            shut: vec!["eth9".into()],
            owned: true,
            error: Some("nft is not installed".into()),
        }),
        resolution: Resolution {
            counts: Counts {
                names: 9,
                resolved: 4,
                absent: 2,
                failing: 1,
                waiting: 2,
                left_out: 3,
                answered: 10,
                empty: 11,
                failed: 12,
            },
            next_in_s: Some(12),
            errors: [("a.example".to_owned(), "Refused".to_owned())].into(),
        },
    }
}

pub fn sparse_daemon() -> DaemonStatus {
    DaemonStatus {
        ready: false,
        problems: Vec::new(),
        names: 0,
        missing_interfaces: Vec::new(),
        failed_interfaces: Vec::new(),
        flows_evicted: 0,
        catalogue: None,
        configuration: ConfigurationStatus {
            file: "/etc/intune-filter/config.yaml".into(),
            digest: "0f1e".into(),
            origin: Origin::File,
            overrides_file: false,
            reload: None,
            waiting: None,
        },
        gate: None,
        resolution: Resolution {
            counts: Counts::default(),
            next_in_s: None,
            errors: Default::default(),
        },
    }
}

fn status(daemon: Daemon) -> Status {
    let told = daemon.details.clone();
    Status {
        schema: SCHEMA,
        problems: told.as_ref().map(|told| told.problems.clone()).unwrap_or_default(),
        catalogue: told.as_ref().and_then(|told| told.catalogue.clone()),
        configuration: told.map(|told| told.configuration),
        daemon,
        enforcing: false,
        generation: 0,
        warm_up_s_left: None,
        interfaces: Vec::new(),
        on_link: Vec::new(),
        counters: Default::default(),
        other_dns: OtherDns::default(),
        maps: Default::default(),
        waiting: Vec::new(),
        warnings: Vec::new(),
        gate: None,
    }
}

fn running(told: DaemonStatus) -> Daemon {
    Daemon { running: true, pid: Some(4711), details: Some(Box::new(told)) }
}

#[test]
fn everything() {
    let interface = |name: &str, mode: Option<&'static str>, vlans: &[u32]| Interface {
        name: name.into(),
        mode,
        attached: mode.is_some(),
        vlans: vlans.to_vec(),
    };
    let usage = MapUsage { entries: 3, capacity: 131_072 };
    let full = Status {
        enforcing: true,
        generation: 7,
        warm_up_s_left: Some(80),
        interfaces: vec![interface("eth1", Some("native"), &[0, 20]), interface("eth2", None, &[])],
        on_link: vec![OnLinkPrefix {
            zone: "eth1.20".into(),
            network: "2001:db8:1::/64".into(),
            groups: Vec::new(),
        }],
        counters: [("flow", 100), ("port", 3)].into(),
        other_dns: OtherDns { port_53: 1, port_853: 2, https_names: 3 },
        maps: [("HOSTS4".to_owned(), usage)].into(),
        waiting: vec!["interfaces that vanish and return are not attached again"],
        warnings: vec!["exempt judges nothing".into()],
        gate: Some(BootGate { table: Some(true), unjudged: vec!["eth2".into()] }),
        ..status(running(full_daemon()))
    };
    compare("status", &full);
}

#[test]
fn a_daemon_with_nothing_to_tell() {
    let unknown = BootGate { table: None, unjudged: Vec::new() };
    compare("status-sparse", &Status { gate: Some(unknown), ..status(running(sparse_daemon())) });
}

#[test]
fn no_daemon() {
    compare("status-no-daemon", &status(Daemon::default()));
}

#[test]
fn reloads() {
    let words = [ReloadResult::InForce, ReloadResult::Unchanged, ReloadResult::Refused]
        .map(|result| LastReload { at: time(), result, error: None });
    compare("status-reload-sparse", &words);
}
