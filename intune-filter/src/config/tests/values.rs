//! Tests the meaning of files, and that their printed form means the same.

use std::path::Path;

use intune_filter_ebpf::abi::TransportProtocol;

use super::{
    super::{
        Boot, Config, GroupMode, Limit, Limits, Mode, OnDeny, OtherVlans, Region, Seconds, Ttl,
        UnlistedClients,
    },
    EXAMPLE, SHORTEST, parse, with,
};

#[test]
fn example() {
    let config = parse(EXAMPLE);
    assert_eq!(config.interfaces[0].name, "eth1");
    assert_eq!(config.interfaces[0].mode, Mode::Auto);
    assert_eq!(config.interfaces[0].vlans, [20]);
    assert_eq!(config.clients[0].networks.len(), 2);
    assert_eq!(config.clients[0].mode, GroupMode::Enforce);
    assert_eq!(config.dns.resolvers.len(), 2);
    assert_eq!(config.tenant.as_deref(), Some("AMSUB0502"));
    let service = &config.services[0];
    assert_eq!(service.title.as_deref(), Some("Print server"));
    assert_eq!(service.parts.fqdns, Some(vec![]));
    let ports = service.parts.ports[TransportProtocol::Tcp].as_ref().unwrap();
    assert_eq!(ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["631", "9100-9102"]);
    assert_eq!(service.parts.ports[TransportProtocol::Udp], None);
}

#[test]
fn defaults() {
    let config = parse(SHORTEST);
    assert_eq!(config.unlisted_clients, UnlistedClients::Deny);
    assert_eq!(config.boot, Boot::Open);
    assert_eq!(config.other_vlans, OtherVlans::Pass);
    assert_eq!(config.clients[0].services, ["default"]);
    assert_eq!(config.clients[0].on_deny, OnDeny::Reject);
    assert_eq!(config.clients[0].on, None);
    assert_eq!(config.dns.ttl, Ttl { min: Seconds(60), max: Seconds(86_400), grace: Seconds(30) });
    assert_eq!((config.tenant, config.region), (None, None));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.clients[0].devices_per_address, 1);
    assert!(config.manage_offloads && config.icmp_echo);
    assert_eq!(config.paths.pin_dir, Path::new("/sys/fs/bpf/intune-filter"));
    assert_eq!(config.metrics.listen, Some("127.0.0.1:9469".parse().unwrap()));
}

#[test]
fn further_keys() {
    let config = parse(&with(
        "manage_offloads",
        "false\nicmp_echo: false\ndhcp_servers: [10.9.0.1]\nwarm_up: 0s\nnat64: []\n\
         region: all\nmaps: {hosts4: 4096, events: 131072}\n\
         paths: {state_dir: /a, runtime_dir: /b, pin_dir: /c, catalogue: /d}\n\
         limits: {queries: {rate: 5, burst: 7}, flows: off}\n\
         metrics: {listen: off}",
    ));
    assert!(!config.manage_offloads && !config.icmp_echo);
    assert_eq!(config.dhcp_servers, ["10.9.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(config.region, Some(Region::All));
    assert_eq!((config.maps.hosts4, config.maps.events), (4096, 131_072));
    assert_eq!(config.maps.flows4, super::super::MapSizes::default().flows4);
    assert_eq!(config.limits.queries, Limit::At { rate: 5, burst: 7 });
    assert_eq!(config.limits.flows, Limit::Off);
    assert_eq!(config.paths.catalogue.as_deref(), Some(Path::new("/d")));
    assert_eq!(config.paths.state_dir, Path::new("/a"));
    assert_eq!(config.metrics.listen, None);
}

#[test]
fn what_is_printed_reads_the_same() {
    let off = with("metrics", "{listen: off}");
    let rules = with(
        "services",
        "[{id: a, allow_broad: true, rules: [{id: b, fqdns: ['*'], tcp: [80]}, {id: c, cidrs: ['::/0'], udp: [1-9]}]}]",
    );
    for text in [EXAMPLE, SHORTEST, &off, &rules] {
        let config = parse(text);
        let printed = serde_yaml::to_string(&config).unwrap();
        assert_eq!(parse(&printed), config, "{printed}");
        // Every default is printed, so that readers need not know any.
        for key in ["boot:", "nat64:", "warm_up:", "hosts4:", "pin_dir:", "listen:", "grace:"] {
            assert!(printed.contains(key), "{key} is missing in {printed}");
        }
    }
}

#[test]
fn zones_are_numbered_in_the_files_order() {
    let config = parse(&with(
        "interfaces",
        "[{name: eth1, vlans: [30, 0, 20]}, {name: eth2}, {name: eth3.7}]",
    ));
    let zones: Vec<_> =
        config.zones().into_iter().map(|zone| (zone.number, zone.to_string())).collect();
    let expected = [(1, "eth1.30"), (2, "eth1"), (3, "eth1.20"), (4, "eth2"), (5, "eth3.7")];
    assert_eq!(zones, expected.map(|(number, name)| (number, name.to_owned())));
}

#[test]
fn a_group_is_in_the_zones_it_names() {
    let text = "\
interfaces: [{name: eth1, vlans: [30, 0]}, {name: eth2}, {name: eth3.7}]
clients:
  - {name: everywhere, networks: [10.0.0.0/8]}
  - {name: interface, on: eth1, networks: [10.1.0.0/16]}
  - {name: tag, on: eth1.30, networks: [10.2.0.0/16]}
  - {name: untagged, on: eth1.0, networks: [10.3.0.0/16]}
  - {name: device, on: eth3.7, networks: [10.4.0.0/16]}
dns: {resolvers: [10.0.0.1]}
";
    let config = parse(text);
    let zones = |index: usize| -> Vec<u32> {
        config.zones_of(&config.clients[index]).iter().map(|zone| zone.number).collect()
    };
    assert_eq!(zones(0), [1, 2, 3, 4]);
    assert_eq!(zones(1), [1, 2]);
    assert_eq!(zones(2), [1]);
    assert_eq!(zones(3), [2]);
    assert_eq!(zones(4), [4]);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.yaml");
    let error = Config::load(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot read: ", missing.display())), "{error}");

    let binary = directory.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    let error = Config::load(&binary).unwrap_err().to_string();
    assert!(error.contains("binary.yaml: not UTF-8"), "{error}");

    let good = directory.path().join("good.yaml");
    std::fs::write(&good, SHORTEST).unwrap();
    assert_eq!(Config::load(&good).unwrap(), parse(SHORTEST));
}

#[test]
fn resolvers_with_and_without_interfaces() {
    let text = "{resolvers: [10.0.0.1, {address: 192.0.2.1, via: [wan0, wan1]}]}";
    let config = parse(&with("dns", text));
    let resolvers = config.dns.resolvers;
    assert_eq!(resolvers[0].address.to_string(), "10.0.0.1");
    assert_eq!(resolvers[0].via, [""; 0]);
    assert_eq!(resolvers[1].address.to_string(), "192.0.2.1");
    assert_eq!(resolvers[1].via, ["wan0", "wan1"]);
    let printed = serde_json::to_string(&resolvers).unwrap();
    assert_eq!(printed, r#"["10.0.0.1",{"address":"192.0.2.1","via":["wan0","wan1"]}]"#);
    let again: Vec<super::super::Resolver> = serde_json::from_str(&printed).unwrap();
    assert_eq!(again, resolvers);
}
