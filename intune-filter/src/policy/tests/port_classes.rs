//! Classes of ports.

use intune_filter_ebpf::abi::{
    PORT_CLASSES, RULES, RuleMask,
    TransportProtocol::{Tcp, Udp},
};

use super::{config, errors, policy};
use crate::config::Config;

/// A configuration whose rule `n` has TCP port 1000 + n alone, and the UDP ports from 2000 to 2000 + n
/// with those after it: two classes a rule, of which the last rule's are one.
fn staggered(count: usize) -> Config {
    let service = |index: usize| {
        let (own, last) = (1000 + index, 2000 + index);
        format!("{{id: s{index}, cidrs: [10.0.0.0/8], tcp: [{own}], udp: ['2000-{last}']}}")
    };
    let services: Vec<_> = (0..count).map(service).collect();
    let names: Vec<_> = (0..count).map(|index| format!("s{index}")).collect();
    config(&format!("[{}]", names.join(", ")), &format!("services: [{}]", services.join(", ")))
}

#[test]
fn each_port_has_the_rules_that_name_it_however_they_overlap() {
    const COUNT: u16 = 128;
    let policy = policy(&staggered(COUNT.into()));
    // As many as there can be.
    assert_eq!(policy.port_classes.len(), PORT_CLASSES as usize);
    for number in 0..COUNT {
        assert_eq!(policy.rules_of_port(Tcp, 1000 + number), RuleMask::of(number as u8));
        let from_here: RuleMask = (number as u8..COUNT as u8).collect();
        assert_eq!(policy.rules_of_port(Udp, 2000 + number), from_here, "{number}");
    }
    for (protocol, port) in [(Tcp, 999), (Tcp, 1128), (Tcp, 2000), (Udp, 1999), (Udp, 2128)] {
        assert!(policy.rules_of_port(protocol, port).is_empty(), "{protocol:?} {port}");
    }
}

#[test]
fn a_range_of_all_ports_is_one_class() {
    let all = "services: [{id: own, cidrs: [10.0.0.0/8], tcp: ['1-65535'], udp: ['1-65535']}]";
    let policy = policy(&config("[own]", all));
    assert_eq!(policy.port_classes, [RuleMask::EMPTY, RuleMask::of(0)]);
    let with = policy.ports.iter().filter(|class| **class == 1).count();
    assert_eq!(with, 2 * 65_535, "there is no port 0");
}

#[test]
fn more_classes_than_a_number_has_room_for_are_refused() {
    let errors = errors(&staggered(129));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error.key, "services[0]");
    for words in ["257 classes", "at most 255", "s0/site (2 ranges)", "merge the port ranges"] {
        assert!(error.message.contains(words), "{words}: {error}");
    }
}

/// As many rules as there can be, of which each has ports of its own, fit.
#[test]
fn a_class_for_every_rule_fits() {
    let service = |index| format!("{{id: s{index}, cidrs: [10.0.0.0/8], tcp: [{}]}}", 1 + index);
    let services: Vec<_> = (0..RULES).map(service).collect();
    let names: Vec<_> = (0..RULES).map(|index| format!("s{index}")).collect();
    let services = format!("services: [{}]", services.join(", "));
    let policy = policy(&config(&format!("[{}]", names.join(", ")), &services));
    assert_eq!(policy.port_classes.len(), RULES + 1);
}
