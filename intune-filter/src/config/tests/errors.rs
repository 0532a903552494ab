//! Tests each kind of error, with its line and key.

use super::{Config, EXAMPLE, SHORTEST, errors, parse, with};

/// Asserts a single error at a line and key, whose message contains `says`.
#[track_caller]
fn one(text: &str, line: u32, key: &str, says: &str) {
    let errors = errors(text);
    let [error] = &errors[..] else { panic!("{} faults, expected one: {errors:?}", errors.len()) };
    assert_eq!((error.line, error.key.as_str()), (Some(line), key), "{error}");
    assert!(error.message.contains(says), "{error}");
}

#[test]
fn display_is_file_line_key() {
    let error = Config::parse("/etc/a.yaml", &with("boot", "shut")).unwrap_err();
    assert_eq!(error.to_string(), "/etc/a.yaml:4: boot: expected closed or open, found shut");
}

#[test]
fn unknown_keys_are_refused_in_every_map() {
    for (text, line, key) in [
        (with("zzz", "1"), 4, "zzz"),
        (with("interfaces", "[{name: eth1, zzz: 1}]"), 1, "interfaces[0].zzz"),
        (with("clients", "[{name: a, networks: [10.0.0.0/8], zzz: 1}]"), 2, "clients[0].zzz"),
        (with("dns", "{resolvers: [10.0.0.1], zzz: 1}"), 3, "dns.zzz"),
        (with("dns", "{resolvers: [10.0.0.1], ttl: {zzz: 1}}"), 3, "dns.ttl.zzz"),
        (with("services", "[{id: a, zzz: 1}]"), 4, "services[0].zzz"),
        (with("services", "[{id: a, rules: [{id: b, zzz: 1}]}]"), 4, "services[0].rules[0].zzz"),
        (with("maps", "{zzz: 1}"), 4, "maps.zzz"),
        (with("limits", "{zzz: 1}"), 4, "limits.zzz"),
        (with("limits", "{flows: {rate: 1, burst: 1, zzz: 1}}"), 4, "limits.flows.zzz"),
        (with("paths", "{zzz: 1}"), 4, "paths.zzz"),
        (with("metrics", "{zzz: 1}"), 4, "metrics.zzz"),
    ] {
        one(&text, line, key, "unknown key, expected one of ");
    }
}

#[test]
fn wrong_types() {
    for (key, value, at, says) in [
        ("interfaces", "eth1", "interfaces", "expected a list, found eth1"),
        ("interfaces", "[eth1]", "interfaces[0]", "expected a map of keys, found eth1"),
        ("interfaces", "[{name: [eth1]}]", "interfaces[0].name", "expected text, found a list"),
        ("interfaces", "[{name: 7}]", "interfaces[0].name", "in quotes: \"7\""),
        ("interfaces", "[{name: true}]", "interfaces[0].name", "in quotes: \"true\""),
        ("interfaces", "[{name: }]", "interfaces[0].name", "expected text, found nothing"),
        ("interfaces", "[{name: eth1, vlans: [4095]}]", "interfaces[0].vlans[0]", "1 to 4094"),
        ("interfaces", "[{name: eth1, vlans: [-1]}]", "interfaces[0].vlans[0]", "1 to 4094"),
        ("interfaces", "[{name: eth1, vlans: 20}]", "interfaces[0].vlans", "expected a list"),
        ("interfaces", "[{name: eth1, mode: xdp}]", "interfaces[0].mode", "auto or native or"),
        ("dns", "[10.0.0.1]", "dns", "expected a map of keys, found a list"),
        ("dns", "{resolvers: 10.0.0.1}", "dns.resolvers", "expected a list, found 10.0.0.1"),
        ("dns", "{resolvers: [dns.example]}", "dns.resolvers[0]", "expected an address"),
        ("dns", "{resolvers: ['10.0.0.1/32']}", "dns.resolvers[0]", "expected an address"),
        ("dns", "{resolvers: ['::ffff:10.0.0.1']}", "dns.resolvers[0]", "address as 10.0.0.1"),
        ("manage_offloads", "yes", "manage_offloads", "expected true or false, found yes"),
        ("manage_offloads", "'true'", "manage_offloads", "expected true or false, found the text"),
        ("other_vlans", "drop", "other_vlans", "expected pass or deny, found drop"),
        ("icmp_echo", "1", "icmp_echo", "expected true or false, found 1"),
        ("maps", "{hosts4: many}", "maps.hosts4", "expected a whole number, found many"),
        ("maps", "{hosts4: 5000000000}", "maps.hosts4", "expected a whole number below 2^32"),
        ("maps", "{hosts4: -1}", "maps.hosts4", "expected a whole number, found -1"),
        ("limits", "off", "limits", "expected a map of keys, found off"),
        (
            "limits",
            "{flows: 7}",
            "limits.flows",
            "expected {rate: ..., burst: ...}, or off, found 7",
        ),
        (
            "limits",
            "{flows: {rate: 1/s, burst: 1}}",
            "limits.flows.rate",
            "expected a whole number",
        ),
        (
            "limits",
            "{flows: {rate: 1}}",
            "limits.flows.burst",
            "missing, expected how many at once",
        ),
        ("paths", "{state_dir: var}", "paths.state_dir", "expected an absolute path, found var"),
        ("metrics", "{listen: 9469}", "metrics.listen", "expected an address and a port"),
        ("warm_up", "60", "warm_up", "bad duration \"60\""),
        ("dns", "{resolvers: [10.0.0.1], ttl: {min: 1 day}}", "dns.ttl.min", "bad duration"),
        ("region", "emea", "region", "expected north-america or europe or asia-pacific or all"),
        ("clients", "", "clients", "expected a list, found nothing"),
    ] {
        let text = with(key, value);
        let line = if key == "clients" { 2 } else { 0 };
        let found = errors(&text);
        let [error] = &found[..] else { panic!("{text}: {found:?}") };
        assert_eq!(error.key, at, "{error}");
        assert!(error.message.contains(says), "{error}");
        assert!(line == 0 || error.line == Some(line), "{error:?}");
    }
}

#[test]
fn inbound_is_a_word_or_a_list_of_rules() {
    let group = |value: &str| {
        with("clients", &format!("[{{name: a, networks: [10.0.0.0/8], inbound: {value}}}]"))
    };
    for (value, at, says) in [
        ("maybe", "", "expected deny or allow, or a list of {services: [...]} or {from: [...]"),
        ("{from: [10.0.0.0/8]}", "", "expected deny or allow, or a list"),
        ("[allow]", "[0]", "expected a map of keys, found allow"),
        ("[{}]", "[0]", "nobody may send, expected services or from"),
        ("[{tcp: [22]}]", "[0]", "nobody may send"),
        ("[{services: [own], from: [10.0.0.0/8]}]", "[0]", "both services and from"),
        ("[{services: [own], udp: [7]}]", "[0]", "a service has its own ports"),
        (
            "[{from: [10.0.0.0/8]}]",
            "[0]",
            "no port of the clients, expected at least one under tcp",
        ),
        ("[{from: [10.0.0.0/8], tcp: [99999]}]", "[0].tcp[0]", "port"),
        ("[{from: [10.0.0.1/8], tcp: [22]}]", "[0].from[0]", "10.0.0.0/8"),
        ("[{from: [any], tcp: [22]}]", "[0].from[0]", "prefix"),
        ("[{services: [own]}, {port: 22}]", "[1].port", "unknown key"),
        ("[]", "", "expected at least one rule, or deny"),
        ("[{services: []}]", "[0].services", "expected at least one service, or from"),
        ("[{from: [], tcp: [22]}]", "[0].from", "expected at least one prefix, or services"),
        ("[{from: [10.0.0.0/8], tcp: []}]", "[0]", "no port of the clients"),
        ("[{services: [own, own]}]", "[0].services[1]", "own stands twice, first at"),
        (
            "[{from: [10.0.0.0/8, 10.0.0.0/8], tcp: [22]}]",
            "[0].from[1]",
            "10.0.0.0/8 stands twice, first at clients[0].inbound[0].from[0]",
        ),
        (
            "[{services: [a, b]}, {services: [c]}, {services: [b, a]}]",
            "[2]",
            "lets in the same as clients[0].inbound[0], expected one",
        ),
        (
            "[{from: [10.0.0.0/8], tcp: [22]}, {from: [10.0.0.0/8], tcp: [22]}]",
            "[1]",
            "lets in the same as clients[0].inbound[0]",
        ),
    ] {
        let found = errors(&group(value));
        let key = format!("clients[0].inbound{at}");
        let error = found.iter().find(|error| error.key == key);
        let error = error.unwrap_or_else(|| panic!("{value}: {found:?}"));
        assert_eq!(error.line, Some(2), "{value}");
        assert!(error.message.contains(says), "{value}: {error}");
    }
}

/// A value of a wrong type leaves its rule without one, which is no second error.
#[test]
fn a_wrong_value_in_a_rule_is_one_error() {
    for (rule, at, says) in [
        ("{from: 10.0.0.0/8, tcp: [22]}", ".from", "expected a list, found 10.0.0.0/8"),
        ("{from: [10.0.0.1/8], tcp: [22]}", ".from[0]", "10.0.0.0/8"),
        ("{from: [10.0.0.0/8], tcp: 22}", ".tcp", "expected a list, found 22"),
        ("{from: [10.0.0.0/8], tcp: [ssh]}", ".tcp[0]", "bad port"),
        ("{services: own}", ".services", "expected a list, found own"),
        ("{services: [7]}", ".services[0]", "expected text"),
        ("{services: {own: 1}}", ".services", "expected a list, found a map"),
    ] {
        let group = format!("[{{name: a, networks: [10.0.0.0/8], inbound: [{rule}]}}]");
        one(&with("clients", &group), 2, &format!("clients[0].inbound[0]{at}"), says);
    }
}

#[test]
fn missing_keys() {
    for (text, key) in [
        ("clients: []\ndns: {resolvers: [10.0.0.1]}\n", "interfaces"),
        ("interfaces: [{mode: auto}]\n", "interfaces[0].name"),
        ("clients: [{networks: [10.0.0.0/8]}]\n", "clients[0].name"),
        ("clients: [{name: a}]\n", "clients[0].networks"),
        ("dns: {unlisted: drop}\n", "dns.resolvers"),
        ("services: [{title: A}]\n", "services[0].id"),
    ] {
        let errors = errors(text);
        let missing = errors.iter().find(|error| error.key == key).expect(key);
        assert!(missing.message.starts_with("missing, expected "), "{missing}");
        assert!(missing.line.is_some());
        // A missing value must not be reported as empty too.
        assert_eq!(errors.iter().filter(|error| error.key == key).count(), 1, "{errors:?}");
    }
}

#[test]
fn empty_lists() {
    one(&with("interfaces", "[]"), 1, "interfaces", "at least one interface");
    one(&with("clients", "[]"), 2, "clients", "at least one client group");
    one(&with("dns", "{resolvers: []}"), 3, "dns.resolvers", "at least one");
    one(&with("clients", "[{name: a, networks: []}]"), 2, "clients[0].networks", "at least one");
    one(
        &with("interfaces", "[{name: e, vlans: []}]"),
        1,
        "interfaces[0].vlans",
        "at least one tag",
    );
}

#[test]
fn prefixes() {
    for (prefix, says) in [
        ("10.20.0.1/24", "10.20.0.1/24 has host bits set, expected 10.20.0.0/24"),
        ("'fd00:20::1/64'", "fd00:20::1/64 has host bits set, expected fd00:20::/64"),
        ("10.20.0.0", "expected a prefix length: 10.20.0.0/32 for one address"),
        ("'fd00::'", "expected a prefix length: fd00::/128"),
        ("10.20.0.0/33", "expected a prefix such as"),
        ("10.20/16", "expected a prefix such as"),
        ("'::ffff:10.0.0.0/104'", "expected an IPv4 prefix in its own notation"),
        ("any", "expected a prefix such as"),
    ] {
        let text = with("clients", &format!("[{{name: a, networks: [{prefix}]}}]"));
        let errors = errors(&text);
        assert_eq!(errors[0].key, "clients[0].networks[0]", "{errors:?}");
        assert!(errors[0].message.contains(says), "{prefix}: {}", errors[0]);
    }
}

#[test]
fn ports_and_patterns() {
    for (parts, key, says) in [
        ("tcp: [0]", "tcp[0]", "port 0"),
        ("tcp: [80, 90-80]", "tcp[1]", "inverted range 90-80"),
        ("udp: [65536]", "udp[0]", "bad port \"65536\""),
        ("tcp: [true]", "tcp[0]", "bad port \"true\""),
        ("tcp: 80", "tcp", "expected a list, found 80"),
        ("fqdns: ['a.*b*.example']", "fqdns[0]", "several * in one label"),
        ("fqdns: [10.0.0.*]", "fqdns[0]", "belongs under cidrs"),
        ("fqdns: ['https://a.example']", "fqdns[0]", "host name alone"),
        ("fqdns: [80]", "fqdns[0]", "expected text"),
        ("cidrs: [10.0.0.1/8]", "cidrs[0]", "host bits"),
    ] {
        let text = with("services", &format!("\n  - id: a\n    {parts}"));
        one(&text, 6, &format!("services[0].{key}"), says);
    }
}

#[test]
fn duplicates() {
    let twice = "stands twice, first at ";
    one("boot: open\nboot: open\n", 2, "boot", "given twice, first on line 1");
    one(&with("interfaces", "[{name: a}, {name: a}]"), 1, "interfaces[1].name", twice);
    one(&with("interfaces", "[{name: a, vlans: [2, 2]}]"), 1, "interfaces[0].vlans[1]", twice);
    one(&with("dns", "{resolvers: [10.0.0.1, 10.0.0.1]}"), 3, "dns.resolvers[1]", twice);
    one(&with("dhcp_servers", "[10.0.0.1, 10.0.0.1]"), 4, "dhcp_servers[1]", twice);
    one(&with("services", "[{id: a}, {id: a}]"), 4, "services[1].id", twice);
    one(
        &with("services", "[{id: a, rules: [{id: b}, {id: b}]}]"),
        4,
        "services[0].rules[1].id",
        twice,
    );
    one(
        &with("clients", "[{name: a, networks: [10.0.0.0/8], services: [all, all]}]"),
        2,
        "clients[0].services[1]",
        twice,
    );
    let groups = "[{name: a, networks: [10.0.0.0/8]}, {name: a, networks: [11.0.0.0/8]}]";
    one(&with("clients", groups), 2, "clients[1].name", twice);
}

#[test]
fn a_prefix_is_in_one_group_of_a_zone() {
    let groups = |first: &str, second: &str| {
        format!(
            "interfaces: [{{name: eth1}}, {{name: eth2}}]\nclients:\n  \
             - {{name: a, networks: [10.0.0.0/8]{first}}}\n  \
             - {{name: b, networks: [10.0.0.0/8]{second}}}\ndns: {{resolvers: [10.0.0.1]}}\n"
        )
    };
    let says = "10.0.0.0/8 is already in group \"a\" on eth1, at clients[0].networks[0]";
    one(&groups("", ""), 4, "clients[1].networks[0]", says);
    one(&groups(", on: eth1", ""), 4, "clients[1].networks[0]", says);
    one(&groups("", ", on: eth1"), 4, "clients[1].networks[0]", says);
    parse(&groups(", on: eth1", ", on: eth2"));
    let same = "[{name: a, networks: [10.0.0.0/8, 10.0.0.0/8]}]";
    one(&with("clients", same), 2, "clients[0].networks[1]", "already in group \"a\"");
}

#[test]
fn on_link_is_a_word_of_one_group_of_a_zone() {
    let two = |first: &str, second: &str| {
        format!(
            "interfaces: [{{name: eth1}}, {{name: eth2}}]\nclients:\n  - {{name: a, {first}}}\n  \
             - {{name: b, {second}}}\ndns: {{resolvers: [10.0.0.1]}}\n"
        )
    };
    let config =
        parse(&two("networks: [10.9.0.0/16, on-link], on: eth1", "on: eth2, networks: on-link"));
    let networks = |at: usize| {
        let networks = config.clients[at].networks.iter();
        networks.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        (networks(0), networks(1)),
        (vec!["10.9.0.0/16".into(), "on-link".into()], vec!["on-link".into()])
    );
    let says =
        "on-link is already in group \"a\" on eth1, at clients[0].networks[1]; expected it in one";
    let first = "networks: [10.9.0.0/16, on-link]";
    one(&two(first, "networks: [on-link]"), 4, "clients[1].networks[0]", says);
    one(&two(first, "on: eth1, networks: on-link"), 4, "clients[1].networks", says);
    let all = "on: eth1, networks: [0.0.0.0/0, '::/0']";
    let says = "0.0.0.0/0 and ::/0 of group \"b\" on eth1 leave nothing to on-link";
    one(&two("networks: on-link", all), 3, "clients[0].networks", says);
    let says = "0.0.0.0/0 of \"a\" and ::/0 of group \"b\" on eth1 leave nothing";
    let (v4, v6) = ("networks: [on-link, 0.0.0.0/0]", "on: eth1, networks: ['::/0']");
    one(&two(v4, v6), 3, "clients[0].networks[0]", says);
    // What is left of one family is on-link's.
    parse(&two("networks: ['::/0', on-link]", "on: eth1, networks: [10.0.0.0/8]"));
    parse(&two("networks: on-link", "on: eth2, networks: [0.0.0.0/0]"));
    parse(&two("on: eth2, networks: on-link", all));
    for wrong in
        ["off-link", "[off-link]", "10.0.0.0/8", "{on-link: true}", "{}", "~", "[[on-link]]"]
    {
        let text = two(&format!("networks: {wrong}, on: eth2"), "networks: on-link, on: eth1");
        let key = if wrong == "[off-link]" || wrong == "[[on-link]]" { "[0]" } else { "" };
        one(&text, 3, &format!("clients[0].networks{key}"), "on-link");
    }
}

#[test]
fn on_names_a_configured_zone() {
    let on = |on: &str| {
        format!(
            "interfaces: [{{name: eth1, vlans: [20]}}]\n\
             clients: [{{name: a, networks: [10.0.0.0/8], on: {on}}}]\n\
             dns: {{resolvers: [10.0.0.1]}}\n"
        )
    };
    for wrong in ["eth2", "eth1.30", "eth1.", "eth1.0", "eth1.020", "eth10.20"] {
        one(&on(wrong), 2, "clients[0].on", "not among interfaces, expected one of eth1.20");
    }
    parse(&on("eth1.20"));
    parse(&on("eth1"));
}

#[test]
fn a_tag_is_judged_on_one_interface() {
    let text = with("interfaces", "[{name: eth1, vlans: [20]}, {name: eth1.20}]");
    one(&text, 1, "interfaces[0].vlans", "also configured as interface eth1.20");
}

#[test]
fn values_out_of_range() {
    let ttl = |ttl: &str| with("dns", &format!("{{resolvers: [10.0.0.1], ttl: {ttl}}}"));
    one(&ttl("{min: 2d}"), 3, "dns.ttl.min", "min 2d is longer than max 1d");
    one(&ttl("{max: 5s}"), 3, "dns.ttl.max", "min 1m is longer than max 5s");
    one(&ttl("{min: 0s, max: 0s}"), 3, "dns.ttl.max", "forget every address");
    one(&with("nat64", "['64:ff9b::/95']"), 4, "nat64[0]", "RFC 6052");
    one(&with("maps", "{hosts4: 3}"), 4, "maps.hosts4", "expected 256 to");
    one(&with("maps", "{clients: 3}"), 4, "maps.clients", "expected 256 to");
    let rate = |rate| with("limits", &format!("{{queries: {{rate: {rate}, burst: 9}}}}"));
    one(&rate("0"), 4, "limits.queries.rate", "0, expected 1 to 1000000");
    one(&rate("1000001"), 4, "limits.queries.rate", "expected 1 to 1000000");
    one(&with("limits", "{flows: {rate: 9, burst: 0}}"), 4, "limits.flows.burst", "expected 1 to");
    let zone = |more: &str| with("limits", &format!("{{zone: {{flows: {more}}}}}"));
    one(&zone("{rate: 0, burst: 9}"), 4, "limits.zone.flows.rate", "expected 1 to 1000000");
    one(&zone("on"), 4, "limits.zone.flows", "expected {rate: ..., burst: ...}, or off, found on");
    let gateway = |text: &str| with("to_gateway", text);
    one(&gateway("none"), 4, "to_gateway", "expected pass or policy, or ports");
    one(&gateway("{tcp: [0]}"), 4, "to_gateway.tcp[0]", "");
    one(&gateway("{sctp: [1]}"), 4, "to_gateway.sctp", "unknown key, expected one of tcp, udp");
    let devices = |n| {
        with("clients", &format!("[{{name: a, networks: [10.0.0.0/8], devices_per_address: {n}}}]"))
    };
    one(&devices(0), 2, "clients[0].devices_per_address", "0, expected 1 to 65535");
    one(&devices(65_536), 2, "clients[0].devices_per_address", "expected 1 to 65535");
    one(&with("maps", "{events: 100000}"), 4, "maps.events", "power of two");
    one(&with("interfaces", "[{name: 'a b'}]"), 1, "interfaces[0].name", "no interface name");
    one(&with("interfaces", "[{name: sixteen-letters-}]"), 1, "interfaces[0].name", "1 to 15");
    one(&with("services", "[{id: Print}]"), 4, "services[0].id", "a-z, 0-9 and -");
    for address in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "'::1'", "'ff02::1'"] {
        let text = with("dns", &format!("{{resolvers: [{address}]}}"));
        one(&text, 3, "dns.resolvers[0]", "the address that clients send to");
    }
}

#[test]
fn rules_and_single_rule_exclude_each_other() {
    let text = with("services", "[{id: a, tcp: [80], rules: [{id: b, tcp: [443]}]}]");
    one(&text, 4, "services[0]", "both rules and");
}

#[test]
fn a_warm_up_is_short() {
    assert_eq!(Config::parse("test", &with("warm_up", "1h")).unwrap().warm_up.0, 3600);
    let errors = errors(&with("warm_up", "3601s"));
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert_eq!(error.key, "warm_up");
    assert!(error.message.contains("expected 1h at most"), "{error}");
}

#[test]
fn every_fault_is_reported_at_once_in_the_files_order() {
    let text = EXAMPLE
        .replace("mode: auto", "mode: fast")
        .replace("10.20.0.0/24", "10.20.0.1/24")
        .replace("min: 60s", "min: soon")
        .replace("631", "0")
        .replace("boot: open", "booot: open");
    let errors = errors(&text);
    let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "interfaces[0].mode",
            "booot",
            "clients[0].networks[0]",
            "dns.ttl.min",
            "services[0].tcp[0]"
        ]
    );
    let line = text.lines().position(|line| line.contains("tcp: [0,")).unwrap() + 1;
    assert_eq!(errors[4].line, u32::try_from(line).ok());
}

#[test]
fn documents_that_are_none() {
    for (text, says) in [
        ("", "the file is empty"),
        ("\n\n# comment\n", "the file is empty"),
        ("---\n...\n", "the file is empty"),
        ("null\n", "the file is empty"),
        ("- a\n", "expected a map of keys, found a list"),
        ("text\n", "expected a map of keys, found text"),
        ("a: [1, 2\n", "not YAML"),
        ("a: 1\nb: [1, 2\nc: 3\nd: 4\n", "the [ of this line is not closed by line"),
        ("a: {b: 1\nc: 3\n", "the { of this line is not closed by line"),
        ("a: *.example.com\n", "has to be quoted: \"*.example.com\""),
        ("a: [*.example.com]\n", "has to be quoted"),
        ("a: 1\n b: 2\n", "not YAML"),
        ("a: \"x\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("a: &x 1\nb: *x\n", "a YAML alias"),
        ("a: !!str 1\n", "a YAML tag"),
        ("? [a]\n: 1\n", "a key that is no text"),
        ("\ta: 1\n", ""),
    ] {
        let errors = errors(text);
        assert!(errors.iter().any(|error| error.message.contains(says)), "{text:?}: {errors:?}");
    }
    let unclosed = errors("a: 1\nb: [1, 2\nc: 3\nd: 4\n");
    assert_eq!(unclosed[0].line, Some(2), "the line of the bracket, not the one after it");
    let deep = format!("a: {}{}", "[".repeat(50), "]".repeat(50));
    let deeper = format!("a: {}", "[".repeat(100_000));
    assert!(!errors(&deeper).is_empty());
    assert!(errors(&deep).iter().any(|error| error.message.contains("nested too deeply")));
    parse(SHORTEST);
}

#[test]
fn an_interface_is_denied_no_frames_by_another() {
    let deny = |interfaces: &str| format!("{}\nother_vlans: deny", with("interfaces", interfaces));
    let found = errors(&deny("[{name: eth1}, {name: eth1.30}]"));
    let [error] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&*error.key, error.line), ("other_vlans", Some(4)));
    assert!(error.message.contains("expected 30 in the vlans of eth1"), "{error:?}");
    for right in ["[{name: eth1, vlans: [0, 30]}]", "[{name: eth1.30}]", "[{name: a}, {name: a.b}]"]
    {
        super::parse(&deny(right));
    }
    super::parse(&with("interfaces", "[{name: eth1}, {name: eth1.30}]"));
}

#[test]
fn what_is_taken_of_the_catalogue_has_a_form() {
    for (key, value, at, says) in [
        (
            "cloud",
            "gov",
            "cloud",
            "bad cloud \"gov\", expected worldwide or us-government or china",
        ),
        ("domains", "[contoso]", "domains[0]", "expected one such as contoso.com"),
        ("domains", "['*.contoso.com']", "domains[0]", "expected a name without * and #"),
        ("domains", "[a.example, A.example]", "domains[1]", "a.example stands twice"),
        ("domains", "[a..example]", "domains[0]", "a label is empty"),
        ("country", "[d*]", "country[0]", "expected a name without * and #"),
        ("gcc", "maybe", "gcc", "expected true or false"),
        ("gcc", "true\ncloud: china", "gcc", "GCC is in the cloud worldwide"),
        ("catalogue", "{legacy: 1}", "catalogue.legacy", "expected true or false"),
        ("catalogue", "{observe: []}", "catalogue.observe", "expected one of legacy, observed"),
        ("catalogue", "{observed: [a, a]}", "catalogue.observed[1]", "a stands twice"),
        ("edition", "[]", "edition", "expected text"),
    ] {
        let found = errors(&format!("{SHORTEST}{key}: {value}\n"));
        let told = found
            .iter()
            .any(|error| error.key == at && error.message.contains(says) && error.line.is_some());
        assert!(told, "{key}: {value}: {found:?}");
    }
}

#[test]
fn patterns_for_names_of_strangers_have_to_be_meant() {
    for pattern in ["*", "*.com", "*.azureedge.net", "x*.blob.core.windows.net", "*.cloudfront.net"]
    {
        for (form, at) in [
            (format!("fqdns: ['a.example', '{pattern}'], tcp: [443]"), "services[0].fqdns[1]"),
            (
                format!("rules: [{{id: a, fqdns: ['{pattern}'], tcp: [443]}}]"),
                "services[0].rules[0].fqdns[0]",
            ),
        ] {
            let text = format!("{SHORTEST}services: [{{id: own, {form}}}]\n");
            let found = errors(&text);
            let [error] = &found[..] else { panic!("{found:?}") };
            assert_eq!(error.key, at);
            assert!(error.message.contains("over-broad"), "{error}");
            assert!(error.message.contains("allow_broad: true in the service"), "{error}");
            super::parse(&text.replace("{id: own,", "{id: own, allow_broad: true,"));
        }
    }
}
