//! Tests the JSON of `check`, `endpoints list`, `match` and `explain`.

use super::{
    compare,
    values::{address, full_config, least_config, ports},
};
use crate::{
    attacks::{OpenAttack, OpenAttacks},
    catalogue::{Address, Cloud, Need, Region, Risk, Role, Status, When},
    policy::{
        Breadth, Changed, Counts, EditionDifference, Grant, GroupSummary, MapSummary, Memory,
        Narrowed, Origin, RuleSummary, ServiceSummary, Summary, Taken, ZoneSummary,
    },
    ports::PerProtocol,
    report::{
        CatalogueChecked, CatalogueRule, CatalogueService, CatalogueStatus, Checked, DatumReport,
        EditionChange, EditionsCompared, Endpoints, Explained, Judged, Match, MatchedBy, Matches,
        Nearest, OnLinkPrefix, PatternOf, Remedy, SCHEMA, Side, Verdict,
    },
};

/// The edition as `check` and `status` tell it.
pub fn edition_status() -> CatalogueStatus {
    CatalogueStatus {
        edition: "2026-08".into(),
        date: Some("2026-08-21".into()),
        age_days: Some(101),
    }
}

#[test]
fn check() {
    let rule = RuleSummary {
        id: "web/main".into(),
        bit: 3,
        fqdns: 2,
        cidrs: 1,
        ports: ports(&["80", "90-99"], &["443"]),
    };
    let service = |origin, risk: Option<&str>| ServiceSummary {
        id: "web".into(),
        title: "The web".into(),
        origin,
        risk: risk.map(str::to_owned),
        rules: vec![rule.clone()],
    };
    let counts = Counts { rules: 1, clients: 2, networks: 3, patterns: 4, edges: 5, globs: 6 };
    let maps = vec![MapSummary { name: "HOSTS4", entries: 131_072, bytes: 12_584_960 }];
    let full = Summary {
        zones: vec![ZoneSummary { number: 1, interface: "eth1".into(), vlan: 20 }],
        groups: vec![GroupSummary {
            name: "devices".into(),
            zones: vec!["eth1.20".into()],
            networks: vec!["10.0.0.0/24".into()],
            mode: "audit",
            services: vec!["web".into()],
        }],
        services: vec![
            service(Origin::Catalogue, Some("anyone can rent a name")),
            service(Origin::Overridden, None),
            service(Origin::Site, None),
        ],
        counts,
        memory: Memory { total: 12_584_960, maps },
        warnings: vec!["test:3: clients[0]: a warning".into()],
        configuration: full_config(),
    };
    let sparse = Summary {
        zones: Vec::new(),
        groups: Vec::new(),
        services: Vec::new(),
        memory: Memory { total: 0, maps: Vec::new() },
        warnings: Vec::new(),
        configuration: least_config(),
        ..full.clone()
    };
    let attack = OpenAttack {
        title: "Foreign tags.",
        who: vec!["devices on eth1".into()],
        helps: "other_vlans: deny",
        everywhere: false,
        keys: vec!["other_vlans".into()],
    };
    let open_attacks = OpenAttacks(vec![attack]);
    let on_link = vec![OnLinkPrefix {
        zone: "eth1.20".into(),
        network: "10.0.0.0/24".into(),
        groups: vec!["devices".into()],
    }];
    let narrowed = |key, count| Narrowed { key, value: "AMSUB0502 (europe)".into(), count };
    let broad = Breadth {
        names: 9,
        wildcards: 2,
        networks: 3,
        fallback: 1,
        ipv4_addresses: 512,
        shared_storage: ["a.blob.core.windows.net".to_owned()].into(),
        shared_cdn: ["a.azureedge.net".to_owned()].into(),
        over_broad: ["*.a.test".to_owned()].into(),
        other_tenants: ["login.a.test".to_owned()].into(),
    };
    let grant = Grant {
        group: "devices".into(),
        clients: None,
        destination: "*.a.test".into(),
        ports: ports(&["443"], &[]),
    };
    let catalogue = CatalogueChecked {
        status: edition_status(),
        taken: Taken {
            narrowed: vec![narrowed("tenant", 66)],
            open: vec![narrowed("domains", 2)],
            broad,
        },
        change: Some(EditionChange {
            against: "2023-09".into(),
            opens: vec![grant.clone()],
            closes: vec![grant],
        }),
    };
    compare("check", &Checked { schema: SCHEMA, summary: full, catalogue, on_link, open_attacks });
    let open_attacks = OpenAttacks::default();
    let on_link = Vec::new();
    let status = CatalogueStatus { edition: "site".into(), date: None, age_days: None };
    let catalogue = CatalogueChecked { status, taken: Taken::default(), change: None };
    let sparse = Checked { schema: SCHEMA, summary: sparse, catalogue, on_link, open_attacks };
    compare("check-sparse", &sparse);
}

/// A datum with every field, or with those alone that each has.
fn datum(address: &str, full: bool) -> DatumReport {
    let date = |text: &str| full.then(|| text.parse().unwrap());
    let when = When {
        tenant: vec!["AMSUB0502".into()],
        region: vec![Region::Europe],
        cloud: vec![Cloud::Worldwide],
        country: vec!["de".into()],
        gcc: true,
    };
    DatumReport {
        rule: "web/main".into(),
        address: match address.parse() {
            Ok(template) => Address::Template(template),
            Err(_) => Address::Fqdn(address.parse().unwrap()),
        },
        taken: full,
        status: if full { Status::Legacy } else { Status::Current },
        need: if full { Need::Optional } else { Need::Required },
        role: full.then_some(Role::Fallback),
        from: "doc#163".into(),
        source: "A document, 163 (2026-08-21)".into(),
        since: date("2023-09-19"),
        until: date("2025-01-30"),
        replaced_by: full.then(|| "b.test".into()),
        risk: full.then_some(Risk::SharedStorage),
        when: if full { when } else { When::default() },
    }
}

#[test]
fn endpoints_diff() {
    let changed = |full: bool| Changed {
        address: "*.a.test".into(),
        services: vec!["web".into()],
        ports: ports(&["443"], &[]),
        before: full.then(|| ports(&["80", "443"], &[])),
        status: full.then_some(Status::Legacy),
        replaced_by: full.then(|| "b.test".into()),
    };
    let difference = EditionDifference {
        from: "2023-09".into(),
        to: "2026-08".into(),
        came: vec![changed(false)],
        went: vec![changed(true)],
        changed: vec![changed(true)],
    };
    compare("endpoints-diff", &EditionsCompared { schema: SCHEMA, difference });
}

#[test]
fn endpoints_list() {
    let rule = CatalogueRule {
        id: "web/main".into(),
        fqdns: vec!["*.a.test".parse().unwrap(), "b.test".parse().unwrap()],
        cidrs: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        ports: ports(&["80", "90-99"], &["443"]),
    };
    let service = CatalogueService {
        id: "web".into(),
        title: "The web".into(),
        source: "A document, a section".into(),
        enabled: true,
        region: "europe",
        risk: Some("anyone can rent a name".into()),
        notes: vec!["a note".into()],
        rules: vec![rule.clone()],
    };
    let full = Endpoints {
        fqdns: rule.fqdns.into_iter().collect(),
        cidrs: rule.cidrs.into_iter().collect(),
        ports: ports(&["80", "90-99"], &["443"]),
        edition: "2026-08".into(),
        sets: vec!["default".into(), "windows".into()],
        data: vec![datum("*.a.test", true), datum("{domain}.test", false)],
        service: service.clone(),
    };
    let sparse = Endpoints {
        fqdns: Default::default(),
        cidrs: Default::default(),
        ports: PerProtocol::default(),
        edition: "site".into(),
        sets: Vec::new(),
        data: Vec::new(),
        service: CatalogueService {
            enabled: false,
            region: "all",
            risk: None,
            notes: Vec::new(),
            rules: Vec::new(),
            ..service
        },
    };
    compare("endpoints-list", &[full]);
    compare("endpoints-list-sparse", &[sparse]);
}

#[test]
fn match_name() {
    let found = Match {
        id: "web".into(),
        pattern: "*.a.test".parse().unwrap(),
        ports: ports(&["80", "5228-5230"], &["443"]),
        rules: vec!["web/main".into(), "web/push".into()],
        sources: vec!["A document, 163 (2026-08-21)".into()],
    };
    let matches = |services| Matches {
        schema: SCHEMA,
        name: "x.a.test".into(),
        judged: Judged::InForce,
        edition: "2026-08".into(),
        services,
    };
    compare("match", &matches(vec![found]));
    compare("match-sparse", &matches(Vec::new()));
}

fn side(zone: Option<&str>, verdict: &'static str, reason: &'static str) -> Side {
    Side {
        zone: zone.map(str::to_owned),
        verdict,
        audited: false,
        reason,
        description: "one of two",
        rule: Some("inbound@devices/1".into()),
        client_group: None,
    }
}

#[test]
fn explain() {
    let allowed = Verdict {
        verdict: "allow",
        policy_verdict: "allow",
        audited: false,
        reason: "policy",
        description: "allowed by a rule",
        service: Some("web".into()),
        rule: Some("web/main".into()),
        client_group: Some("devices".into()),
        matched: Some(MatchedBy { kind: "cidr", value: Some("192.0.2.0/24".into()) }),
        address: Some(address("192.0.2.1")),
        teaching: Some("answered"),
        sent: None,
        arrives: None,
    };
    let unvalued = MatchedBy { kind: "name", value: None };
    let denied = Verdict {
        verdict: "deny",
        policy_verdict: "deny",
        audited: false,
        reason: "dns_unlisted",
        description: "a query for a name of no rule",
        service: None,
        rule: None,
        client_group: None,
        matched: None,
        address: None,
        teaching: None,
        sent: Some(side(None, "deny", "dns_unlisted")),
        arrives: Some(side(Some("eth2.20"), "allow", "inbound")),
    };
    let full = Explained {
        schema: SCHEMA,
        overall: Some(allowed.clone()),
        judged: Judged::InForce,
        name: Some("x.a.test".into()),
        nearest: Some(Nearest { service: "web".into(), why: "other_port".into() }),
        remedy: Some(Remedy {
            yaml: "icmp_echo: true\n".into(),
            configuration: "interfaces: []\nicmp_echo: true\n".into(),
        }),
        notes: vec!["no daemon runs".into()],
        client: address("10.0.0.5"),
        destination: "x.a.test:443/tcp".into(),
        edition: "2026-08".into(),
        sources: vec!["A document, 163 (2026-08-21)".into()],
        judged_by: "kernel",
        resolved: true,
        patterns: vec![PatternOf {
            id: "web".into(),
            pattern: "*.a.test".into(),
            sources: vec!["this site".into()],
        }],
        query: Some(allowed.clone()),
        addresses: vec![allowed.clone(), Verdict { matched: Some(unvalued), ..allowed }],
    };
    let sparse = Explained {
        overall: Some(denied.clone()),
        judged: Judged::File,
        name: None,
        nearest: None,
        remedy: None,
        notes: Vec::new(),
        query: None,
        sources: Vec::new(),
        judged_by: "policy",
        resolved: false,
        patterns: Vec::new(),
        addresses: vec![denied],
        ..full.clone()
    };
    compare("explain", &full);
    compare("explain-sparse", &sparse);
}
