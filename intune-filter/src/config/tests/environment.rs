//! Tests the check against facts of the machine.

use super::{
    super::{Environment, FlowTable, OnLink, OtherVlan, Reached, Severity, check_environment},
    parse, with,
};

fn facts(interface: &str, vlan: u16, network: &str) -> Environment {
    let network = network.parse().unwrap();
    Environment {
        on_link: vec![OnLink { interface: interface.to_owned(), vlan, network }],
        ..Environment::default()
    }
}

#[test]
fn a_neighbour_of_the_clients_is_no_resolver() {
    let config = parse(&with("dns", "{resolvers: [192.0.2.1, 10.0.0.53]}"));
    let mut environment = facts("eth1", 0, "10.0.0.0/24");
    let findings = check_environment(&config, &environment);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(finding.error.key, "dns.resolvers[1]");
    assert_eq!(finding.error.line, Some(3));
    assert!(finding.error.message.contains("on-link (10.0.0.0/24) behind eth1"), "{finding:?}");

    environment.own_addresses.push("10.0.0.53".parse().unwrap());
    assert_eq!(check_environment(&config, &environment), []);
}

#[test]
fn other_links_do_not_matter() {
    let config = parse(&with("interfaces", "[{name: eth1, vlans: [20]}]"));
    for (interface, vlan, network, judged) in [
        ("eth1", 20, "10.0.0.0/24", true),
        ("eth1", 0, "10.0.0.0/24", false),
        ("eth0", 20, "10.0.0.0/24", false),
        ("eth1", 20, "10.0.1.0/24", false),
    ] {
        let findings = check_environment(&config, &facts(interface, vlan, network));
        assert_eq!(!findings.is_empty(), judged, "{interface} {vlan} {network}");
    }
}

#[test]
fn hardware_addresses_need_interfaces_that_have_some() {
    let group = "[{name: a, networks: [10.0.0.0/24], macs: [\"02:00:5e:00:53:10\"]}]";
    let config = parse(&with("clients", group));
    let mut environment = Environment::default();
    assert_eq!(check_environment(&config, &environment), []);
    environment.without_macs = vec!["eth0".into(), "eth1".into()];
    let findings = check_environment(&config, &environment);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.severity, &*finding.error.key), (Severity::Error, "clients[0].macs"));
    assert!(finding.error.message.contains("on eth1 have no MAC"), "{finding:?}");
    assert_eq!(check_environment(&parse(super::SHORTEST), &environment), []);
}

#[test]
fn a_way_past_the_filter_is_an_error_and_rewriting_a_warning() {
    let config = parse(super::SHORTEST);
    let table = |interface: &str, device: &str, in_hardware| FlowTable {
        interface: interface.to_owned(),
        device: device.to_owned(),
        in_hardware,
    };
    let environment = Environment {
        destination_rewrites: vec!["dnat to 10.1.1.1".to_owned()],
        flow_tables: vec![
            table("eth0", "eth0", true),
            table("eth1", "eth1", true),
            table("eth1", "lan2", false),
        ],
        ..Environment::default()
    };
    let findings = check_environment(&config, &environment);
    let [hardware, below, rewriting] = &findings[..] else { panic!("{findings:?}") };
    for (finding, said) in [
        (hardware, "offloads the packets of eth1 to hardware, past the filter"),
        (below, "takes the packets of lan2 before they reach eth1 and the filter"),
    ] {
        assert_eq!((finding.severity, &*finding.error.key), (Severity::Error, "interfaces[0]"));
        assert!(finding.error.message.contains(said), "{finding:?}");
    }
    assert_eq!(rewriting.severity, Severity::Warning);
    assert!(rewriting.error.message.contains("dnat to 10.1.1.1"));
}

#[test]
fn a_gate_takes_nft() {
    let environment = Environment { lacks_nft: true, ..Environment::default() };
    let findings = check_environment(&parse(&with("boot", "closed")), &environment);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.severity, finding.error.key.as_str()), (Severity::Error, "boot"));
    assert_eq!(check_environment(&parse(&with("boot", "open")), &environment), []);
    let environment = Environment::default();
    assert_eq!(check_environment(&parse(&with("boot", "closed")), &environment), []);
}

#[test]
fn vlan_devices_that_are_denied_are_named() {
    let office = OtherVlan { interface: "eth1".into(), vlan: 30, device: "office".into() };
    let environment = Environment { other_vlans: vec![office], ..Environment::default() };
    let said = |text: &str| {
        let findings = check_environment(&parse(text), &environment);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.error.key, "other_vlans");
        (finding.severity, finding.error.message.clone())
    };
    // Those that pass are an attack that remains open.
    assert_eq!(check_environment(&parse(super::SHORTEST), &environment), []);
    let deny = "VLAN 30 on eth1 (device office) is in no zone: its frames are denied, those of who \
                manages the gateway by it too";
    assert_eq!(said(&with("other_vlans", "deny")), (Severity::Warning, deny.to_owned()));

    // A device that is filtered itself.
    let own = "[{name: eth1}, {name: office}]";
    assert_eq!(check_environment(&parse(&with("interfaces", own)), &environment), []);
    let (severity, refused) = said(&format!("{}\nother_vlans: deny", with("interfaces", own)));
    assert_eq!(severity, Severity::Error);
    assert!(refused.ends_with("expected 30 in the vlans of eth1 in its place"), "{refused}");
}

#[test]
fn what_listens_is_named_where_ports_are_let_in() {
    let reached = Reached { zone: "eth1".into(), sockets: vec!["tcp [::]:22".into()] };
    let environment = Environment { listening: vec![reached], ..Environment::default() };
    let findings = check_environment(&parse(&with("to_gateway", "{tcp: [22]}")), &environment);
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.severity, &*finding.error.key), (Severity::Warning, "to_gateway"));
    assert!(finding.error.message.ends_with("lets them: tcp [::]:22"), "{finding:?}");
    assert_eq!(check_environment(&parse(&with("to_gateway", "pass")), &environment), []);
}
