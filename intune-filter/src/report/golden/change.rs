//! Tests the JSON of `apply`, `reload`, `confirm`, `config` and `detach`.

use super::{
    compare, compare_both_ways,
    values::{address, full_config, full_difference, full_flow, least_config, sparse_flow},
};
use crate::{
    config::OtherVlan,
    policy::Difference,
    report::{
        Changed, ConfigInForce, Confirmed, Detached, FailedInterface, LostName, Origin, Preview,
        SCHEMA,
    },
};

pub fn full_change() -> Changed {
    Changed {
        schema: SCHEMA,
        file: "/etc/intune-filter/config.yaml".into(),
        changed: true,
        generation: 7,
        digest: "0f1e".into(),
        difference: full_difference(),
        denied_vlans: vec![OtherVlan {
            interface: "eth1".into(),
            vlan: 30,
            device: "eth1.30".into(),
        }],
        flows_ended: 2,
        names_forgotten: 1,
        confirm_within_s: Some(60),
        overrides_file: true,
        failed_interfaces: vec![FailedInterface {
            name: "eth2".into(),
            error: "no such device".into(),
        }],
    }
}

pub fn full_preview() -> Preview {
    Preview {
        schema: SCHEMA,
        file: "/etc/intune-filter/new.yaml".into(),
        in_force: "/etc/intune-filter/config.yaml".into(),
        changed: true,
        generation: 7,
        digest: "0f1e".into(),
        difference: full_difference(),
        denied_vlans: vec![OtherVlan {
            interface: "eth1".into(),
            vlan: 30,
            device: "eth1.30".into(),
        }],
        flows_ended: 2,
        flows: vec![full_flow(), sparse_flow()],
        names_forgotten: 1,
        names: vec![LostName { name: "a.example".into(), address: address("192.0.2.1") }],
    }
}

pub fn shown() -> ConfigInForce {
    ConfigInForce {
        schema: SCHEMA,
        file: "/etc/intune-filter/config.yaml".into(),
        origin: Origin::LastGood,
        digest: "0f1e".into(),
        generation: 7,
        configuration: full_config(),
        text: "interfaces: [{name: eth1}]\n".into(),
    }
}

pub fn confirmed() -> Confirmed {
    Confirmed {
        schema: SCHEMA,
        file: "/etc/intune-filter/new.yaml".into(),
        generation: 7,
        digest: "0f1e".into(),
        overrides_file: true,
    }
}

#[test]
fn apply_and_reload() {
    compare_both_ways("changed", &full_change());
    compare_both_ways(
        "changed-sparse",
        &Changed {
            changed: false,
            difference: Difference::default(),
            denied_vlans: Vec::new(),
            flows_ended: 0,
            names_forgotten: 0,
            confirm_within_s: None,
            overrides_file: false,
            failed_interfaces: Vec::new(),
            ..full_change()
        },
    );
}

#[test]
fn config_diff_and_dry_run() {
    compare_both_ways("preview", &full_preview());
    compare_both_ways(
        "preview-sparse",
        &Preview {
            changed: false,
            difference: Difference::default(),
            denied_vlans: Vec::new(),
            flows_ended: 0,
            flows: Vec::new(),
            names_forgotten: 0,
            names: Vec::new(),
            ..full_preview()
        },
    );
}

#[test]
fn config_show() {
    compare_both_ways("config-show", &shown());
    compare_both_ways(
        "config-show-sparse",
        &ConfigInForce { origin: Origin::File, configuration: least_config(), ..shown() },
    );
}

#[test]
fn confirm() {
    compare_both_ways("confirm", &confirmed());
    compare_both_ways("confirm-sparse", &Confirmed { overrides_file: false, ..confirmed() });
}

#[test]
fn detach() {
    compare("detach", &Detached { schema: SCHEMA, detached: true });
    compare("detach-sparse", &Detached { schema: SCHEMA, detached: false });
}
