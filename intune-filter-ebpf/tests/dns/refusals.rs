//! Refusals, as clients read them: REFUSED, NXDOMAIN, no data.

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record as Parsed, RecordType, rdata::opt::EdnsOption},
};
use intune_filter_ebpf::{
    dns::{self, Refusal},
    host::Tables,
    scratch::Scratch,
};
use proptest::{array::uniform32, prelude::any, prop_assert, prop_assert_eq};

use crate::{
    choices::Choices,
    message::{A, AAAA, ANY, CH, Compression, Data, IN, Name, OPT, Record, Writer},
    runner,
};

/// Octets of the SOA record of a refusal.
const SOA: usize = 50;
/// Octets of the option that says why.
const WHY: usize = 6;

/// Refusals, each with its response code.
const KINDS: [(Refusal, ResponseCode); 3] = [
    (Refusal::REFUSED, ResponseCode::Refused),
    (Refusal::NO_NAME, ResponseCode::NXDomain),
    (Refusal::NO_DATA, ResponseCode::NoError),
];

/// Returns the refusal of a query.
fn refuse(query: &[u8], refusal: Refusal) -> Vec<u8> {
    let (scratch, tables) = (Scratch::default(), Tables::default());
    // Octets behind the query in the working memory must not get into the refusal.
    scratch.message.fill(&[0xa5; 4000]);
    scratch.message.fill(query);
    scratch.parser.length.set(query.len() as u64);
    let question = dns::read_question(&scratch, &tables).expect("the query has a question");
    let length = dns::refuse(&scratch, &tables, question.end, refusal);
    (0..length).map(|at| scratch.message.octet(at) as u8).collect()
}

struct Query {
    octets: Vec<u8>,
    /// Whether the query has EDNS, and asks for DNSSEC.
    edns: Option<bool>,
}

fn random(choices: &mut Choices<'_>) -> Query {
    let labels =
        (0..choices.below(8)).map(|_| vec![b'a' + choices.below(26) as u8; 1 + choices.below(63)]);
    let mut name = Name(labels.collect());
    while name.wire().len() > 255 {
        name.0.pop();
    }
    let flags = (choices.word() as u16) & 0x07f0 | *choices.one(&[0, 0, 0x1000, 0x2000, 0x2800]);
    let kind = *choices.one(&[A, AAAA, ANY, 65, 16]);
    let mut writer =
        Writer::new(choices.word() as u16, flags, &name, kind, *choices.one(&[IN, CH]));
    let mut edns = None;
    let first = choices.below(3);
    if first > 0 {
        let dnssec = choices.once_in(2);
        edns = Some(dnssec);
        let mut options = Vec::new();
        // A cookie, padding.
        if choices.once_in(2) {
            options.extend([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        if choices.once_in(2) {
            let padding = choices.below(200);
            options.extend([0, 12, 0, padding as u8]);
            options.extend(vec![0; padding]);
        }
        let ttl = if dnssec { 0x8000 } else { 0 };
        let record = Record {
            owner: Name(Vec::new()),
            kind: OPT,
            class: *choices.one(&[512, 1232, 4096, 0, u16::MAX]),
            ttl,
            data: Data::Opaque(options),
        };
        for _ in 1..first + choices.below(2) * (first - 1) {
            // OPT may stand anywhere in the additional section (RFC 6891 section 6.1.1).
            writer.record(3, &Record::a("x.example", "192.0.2.1"), Compression::None);
        }
        writer.record(3, &record, Compression::None);
    } else if choices.once_in(2) {
        writer.record(3, &Record::a("x.example", "192.0.2.1"), Compression::None);
    }
    Query { octets: writer.octets, edns }
}

#[test]
fn random_queries_are_refused_as_the_standards_say() {
    runner(20_000)
        .run(&uniform32(any::<u64>()), |words| {
            let mut choices = Choices::new(&words);
            let query = random(&mut choices);
            let (kind, code) = *choices.one(&KINDS);
            let negative = kind != Refusal::REFUSED;
            let answer = refuse(&query.octets, kind);
            let asked = Message::from_vec(&query.octets).expect("the query is sound");
            let refusal = Message::from_vec(&answer).expect("the refusal is sound");
            let flags = &refusal.metadata;
            prop_assert_eq!(flags.id, asked.metadata.id);
            prop_assert_eq!(flags.message_type, MessageType::Response);
            prop_assert_eq!(flags.op_code, asked.metadata.op_code);
            prop_assert_eq!(flags.response_code, code);
            prop_assert_eq!(flags.recursion_desired, asked.metadata.recursion_desired);
            prop_assert_eq!(flags.checking_disabled, asked.metadata.checking_disabled);
            prop_assert!(!flags.authoritative && !flags.truncation);
            prop_assert!(flags.recursion_available && !flags.authentic_data);
            // The reserved bit is zero (RFC 1035 section 4.1.1).
            prop_assert_eq!(answer[3] & 0x40, 0);
            prop_assert_eq!(&refusal.queries, &asked.queries);
            // The question is echoed octet for octet.
            let question = refusal_question(&query.octets);
            prop_assert_eq!(&answer[12..question], &query.octets[12..question]);
            prop_assert!(refusal.answers.is_empty() && refusal.additionals.is_empty());
            prop_assert_eq!(refusal.authorities.len(), usize::from(negative));
            for record in &refusal.authorities {
                check_soa(record, &asked);
            }
            let edns = refusal.edns.as_ref();
            prop_assert_eq!(edns.map(|edns| edns.flags().dnssec_ok), query.edns);
            if let Some(edns) = edns {
                prop_assert_eq!(edns.version(), 0);
                prop_assert_eq!(edns.max_payload(), 1232);
                let options = edns.options().as_ref();
                prop_assert_eq!(options.len(), usize::from(negative));
                for (_, option) in options {
                    // The extended error "blocked", without a text.
                    prop_assert_eq!(option, &EdnsOption::Unknown(15, vec![0, 15]));
                }
            }
            // Nothing follows, and every client's buffer has room.
            let why = if negative { WHY } else { 0 };
            let soa = if negative { SOA } else { 0 };
            let end = question + soa + if edns.is_some() { 11 + why } else { 0 };
            prop_assert_eq!(answer.len(), end);
            prop_assert!(end <= 512);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Checks the record that says how long a client may believe the refusal (RFC 2308 section 5).
fn check_soa(record: &Parsed, query: &Message) {
    let question = &query.queries[0];
    assert_eq!((&record.name, record.ttl), (question.name(), 10));
    assert_eq!(record.record_type(), RecordType::SOA);
    assert_eq!(record.dns_class, question.query_class());
    let RData::SOA(soa) = &record.data else { panic!("{record:?}") };
    assert_eq!((&soa.mname, soa.minimum), (question.name(), 10));
    assert_eq!(soa.rname.to_ascii(), "nobody.invalid.");
    assert_eq!((soa.serial, soa.refresh, soa.retry, soa.expire), (1, 3600, 1200, 604_800));
}

#[test]
fn a_refusal_of_any_class_has_a_record_of_the_internet() {
    let query = Writer::new(7, 0x0100, &"a.none".into(), A, 255).octets;
    let refusal = Message::from_vec(&refuse(&query, Refusal::NO_NAME)).unwrap();
    assert_eq!(refusal.authorities[0].dns_class, hickory_proto::rr::DNSClass::IN);
}

/// The longest name, and the longest query with EDNS.
#[test]
fn the_longest_refusal_fits_into_every_buffer() {
    let name = Name([63, 63, 63, 61].map(|length| vec![b'x'; length]).to_vec());
    assert_eq!(name.wire().len(), 255);
    let mut writer = Writer::new(7, 0x0100, &name, A, IN);
    let data = Data::Opaque(Vec::new());
    let record = Record { owner: Name(Vec::new()), kind: OPT, class: 512, ttl: 0, data };
    writer.record(3, &record, Compression::None);
    let answer = refuse(&writer.octets, Refusal::NO_NAME);
    assert_eq!(answer.len(), 12 + 255 + 4 + SOA + 11 + WHY);
    let refusal = Message::from_vec(&answer).unwrap();
    assert_eq!(refusal.authorities.len(), 1);
    assert_eq!(refusal.metadata.response_code, ResponseCode::NXDomain);
}

/// Returns the offset of the end of a query's question.
fn refusal_question(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += 1 + usize::from(query[at]);
    }
    at + 5
}

#[test]
fn a_query_that_is_cut_in_its_additional_section_is_refused_without_edns() {
    let mut writer = Writer::new(7, 0x0100, &"a.none".into(), A, IN);
    let end = writer.octets.len();
    let data = Data::Opaque(Vec::new());
    let record = Record { owner: Name(Vec::new()), kind: OPT, class: 1232, ttl: 0, data };
    writer.record(3, &record, Compression::None);
    for length in end..writer.octets.len() {
        for (kind, code) in KINDS {
            let answer = refuse(&writer.octets[..length], kind);
            let soa = if kind == Refusal::REFUSED { 0 } else { SOA };
            assert_eq!(answer.len(), end + soa);
            let refusal = Message::from_vec(&answer).unwrap();
            assert_eq!(refusal.metadata.response_code, code);
            assert!(refusal.edns.is_none());
        }
    }
}
