//! Targets of service records: who may ask for them, until when, and what their answers teach.

use intune_filter_ebpf::abi::{Occurrence, Reason};

use crate::{
    answers::ask,
    message::{
        A, AAAA, ANSWER, ANY, Compression, Data, HTTPS, IN, MX, Name, QUERY, Record, SVCB, TXT,
        Writer,
    },
    site::{ONE, SECOND, START, Site, TTL_GRACE, TWO, V4_ENDS, key_of, v4},
};

/// Seconds for which a record is believed that gives 300.
const LIFE: u64 = 300 + TTL_GRACE as u64;

/// A service record of an owner, with another name as its target.
fn service(owner: &str, target: &str, priority: u16) -> Record {
    let data = Data::Service(priority, target.into(), Vec::new());
    Record { data, ..Record::https(owner, &[]) }
}

/// The reason of the verdict over a question.
fn asked(site: &Site, name: &Name, kind: u16) -> Reason {
    site.query(V4_ENDS, &Writer::new(7, QUERY, name, kind, IN).octets).reason
}

/// Answers a question that was asked before.
fn answer(site: &Site, name: &str, kind: u16, records: &[Record]) {
    assert_eq!(asked(site, &name.into(), kind), Reason::DnsQuery, "{name}");
    let answer = Writer::new(7, ANSWER, &name.into(), kind, IN).with(records);
    assert_eq!(site.answer(V4_ENDS, &answer.octets).reason, Reason::DnsAnswer);
}

#[test]
fn a_target_is_asked_for_its_addresses_and_services_alone() {
    for (priority, kind) in [(0, HTTPS), (1, HTTPS), (0, SVCB), (7, SVCB)] {
        let site = Site::new();
        assert_eq!(asked(&site, &"t.none".into(), A), Reason::DnsUnlisted);
        let record = Record { kind, ..service("a.one", "t.none", priority) };
        ask(&site, "a.one", &[record]);
        assert_eq!((site.targets(), site.addresses().len()), (1, 0));
        assert_eq!(site.counted(Occurrence::Learned), 1);
        for kind in [A, AAAA, HTTPS, SVCB] {
            assert_eq!(asked(&site, &"t.none".into(), kind), Reason::DnsQuery, "{kind}");
            assert_eq!(asked(&site, &"T.nOne".into(), kind), Reason::DnsQuery, "{kind}");
        }
        for kind in [TXT, MX, ANY, 5] {
            assert_eq!(asked(&site, &"t.none".into(), kind), Reason::DnsUnlisted, "{kind}");
        }
        for other in ["none", "s.t.none", "t.none.none", "u.none"] {
            assert_eq!(asked(&site, &other.into(), A), Reason::DnsUnlisted, "{other}");
        }
        answer(&site, "t.none", A, &[Record::a("t.none", "93.184.216.34")]);
        assert_eq!(site.tables.hosts4.borrow()[&v4("93.184.216.34")].rules, ONE);
    }
}

#[test]
fn the_addresses_of_a_target_are_those_at_the_end_of_its_chain() {
    let site = Site::new();
    ask(&site, "a.one", &[Record::cname("a.one", "b.none"), service("b.none", "t.none", 1)]);
    let chain = [
        Record::cname("t.none", "u.none"),
        Record::aaaa("u.none", "2a00::34"),
        Record::aaaa("v.none", "2a00::35"),
    ];
    answer(&site, "t.none", AAAA, &chain);
    assert_eq!(site.addresses(), ["2a00::34"]);
    assert_eq!(asked(&site, &"u.none".into(), AAAA), Reason::DnsUnlisted);
}

#[test]
fn records_of_other_owners_and_names_that_say_nothing_new_are_no_targets() {
    for (what, record) in [
        ("of another owner", service("b.one", "t.none", 1)),
        ("the owner", service("a.one", "A.one", 0)),
        ("the root", service("a.one", "", 1)),
        ("of another class", Record { class: 3, ..service("a.one", "t.none", 1) }),
    ] {
        let site = Site::new();
        ask(&site, "a.one", &[record]);
        assert_eq!(site.targets(), 0, "{what}");
        assert_eq!(asked(&site, &"t.none".into(), A), Reason::DnsUnlisted, "{what}");
    }
}

/// RFC 9460 section 2.2 forbids it: one client reads a name, and another none.
#[test]
fn a_compressed_target_is_none_and_the_rest_of_its_record_counts() {
    for written in 0..3 {
        let site = Site::new();
        let mut writer = Writer::answer("a.one");
        writer.record(1, &Record::cname("b.one", "t.none"), Compression::None);
        let target = writer.octets.len() - Name::from("t.none").wire().len();
        writer.name(&"a.one".into(), Compression::None);
        let name = match written {
            0 => Name::from("t.none").wire(),
            1 => (0xc000 | target as u16).to_be_bytes().into(),
            _ => [b"\x01t".as_slice(), &(0xc002 | target as u16).to_be_bytes()].concat(),
        };
        let data = [&[0, 1], &name[..], &[0, 4, 0, 4, 93, 184, 216, 34]].concat();
        writer.rest(HTTPS, IN, 300, &Data::Opaque(data), Compression::None);
        writer.set_count(1, 2);
        assert_eq!(asked(&site, &"a.one".into(), A), Reason::DnsQuery);
        assert_eq!(site.answer(V4_ENDS, &writer.octets).reason, Reason::DnsAnswer);
        assert_eq!(site.addresses(), ["93.184.216.34"], "{written}");
        assert_eq!(site.targets(), usize::from(written == 0), "{written}");
    }
}

#[test]
fn a_name_is_a_target_for_as_long_as_its_record_says() {
    let site = Site::new();
    ask(&site, "a.one", &[service("a.one", "t.none", 1)]);
    site.wait(LIFE * SECOND - 1);
    assert_eq!(asked(&site, &"t.none".into(), A), Reason::DnsQuery);
    site.wait(1);
    assert_eq!(asked(&site, &"t.none".into(), A), Reason::DnsUnlisted);
}

#[test]
fn a_target_of_a_target_ends_with_it_and_a_circle_prolongs_nothing() {
    let site = Site::new();
    ask(&site, "a.one", &[service("a.one", "t.none", 0)]);
    let end = START + LIFE * SECOND;
    for _ in 0..5 {
        site.wait(60 * SECOND);
        answer(&site, "t.none", HTTPS, &[service("t.none", "u.none", 0)]);
        answer(&site, "u.none", HTTPS, &[service("u.none", "t.none", 0)]);
    }
    for (name, octets) in [("t", b"\x01t\x04none\0"), ("u", b"\x01u\x04none\0")] {
        assert_eq!(site.learned()[&key_of(octets)], (ONE, end), "{name}");
    }
    // Its addresses live as long as their own records say, like those behind any alias.
    answer(&site, "u.none", A, &[Record::a("u.none", "93.184.216.34")]);
    let host = site.tables.hosts4.borrow()[&v4("93.184.216.34")];
    assert_eq!((host.rules, host.expires), (ONE, START + (300 + LIFE) * SECOND));
    site.wait(30 * SECOND);
    for name in ["t.none", "u.none"] {
        assert_eq!(asked(&site, &name.into(), HTTPS), Reason::DnsUnlisted, "{name}");
    }
}

#[test]
fn a_target_that_is_listed_has_the_rules_of_both() {
    let site = Site::new();
    ask(&site, "a.one", &[service("a.one", "t.two", 1)]);
    site.wait(SECOND);
    answer(&site, "t.two", A, &[Record::a("t.two", "93.184.216.34")]);
    assert_eq!(site.tables.hosts4.borrow()[&v4("93.184.216.34")].rules, ONE | TWO);
    // What it lives by itself, its targets live by.
    answer(&site, "t.two", HTTPS, &[service("t.two", "u.none", 1)]);
    let expected = (ONE | TWO, START + (LIFE + 1) * SECOND);
    assert_eq!(site.learned()[&key_of(b"\x01u\x04none\0")], expected);
}

#[test]
fn the_longest_name_is_a_target_and_one_octet_more_is_no_name() {
    for (last, is_name) in [(61, true), (62, false)] {
        let labels = [63, 63, 63, last].map(|length| vec![b'l'; length]);
        let name = Name(labels.into());
        let site = Site::new();
        let record = Record {
            data: Data::Service(1, name.clone(), Vec::new()),
            ..Record::https("a.one", &[])
        };
        ask(&site, "a.one", &[record]);
        assert_eq!(site.targets(), usize::from(is_name));
        assert_eq!(site.counted(Occurrence::AnswerMalformed), u64::from(!is_name));
        if is_name {
            assert_eq!(asked(&site, &name, HTTPS), Reason::DnsQuery);
            // Names of other filters have other keys.
            let active = site.tables.active.get();
            site.tables.active.set(intune_filter_ebpf::abi::Active { seed: 1, ..active });
            assert_eq!(asked(&site, &name, HTTPS), Reason::DnsUnlisted);
        }
    }
}

#[test]
fn targets_take_the_room_of_addresses() {
    let records: Vec<Record> =
        (0..40).map(|number| service("a.one", &format!("t{number}.none"), number)).collect();
    let site = Site::new();
    ask(&site, "a.one", &records);
    let learned = site.targets();
    assert!((1..14).contains(&learned), "{learned} are learned by the kernel");
    assert_eq!(site.counted(Occurrence::AnswerDeferred), 1);

    let mut site = Site::new();
    site.tables.hosts_capacity = 4;
    ask(&site, "a.one", &records[..8]);
    assert!(site.targets() <= 4);
    assert_eq!(site.counted(Occurrence::HostsShare), 1);
}
