//! Answers, and the addresses that they teach, against the model.

use std::{collections::BTreeMap, net::Ipv6Addr, panic::resume_unwind, thread};

use intune_filter_ebpf::abi::{Occurrence, Reason, V6, answer_flags};

use crate::{
    cases,
    choices::{Choices, words},
    message::{Compression, Data, Name, QUERY, Record, Writer},
    model::{
        Learned, Outcome, Refusal, Terms, is_listed, outcome, section::section_of_message,
        section_of_answer,
    },
    random::{Exchange, exchange, follow_up},
    recorded::text,
    site::{Ends, ONE, OWN4, SECOND, START, Site, TERMS, TWO, V4_ENDS, V6_ENDS, key_of, v4},
};

/// Number of times that each outcome was seen.
type Seen = BTreeMap<&'static str, u64>;

/// Runs on every CPU, each with a filter of its own.
#[test]
fn random_answers_teach_what_the_model_says() {
    let cases = cases(100_000);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut seen = Seen::new();
    thread::scope(|scope| {
        let of = |first: usize| (first as u64..cases).step_by(workers);
        let workers = (0..workers).map(|first| scope.spawn(move || random_answers(of(first))));
        for worker in workers.collect::<Vec<_>>() {
            for (kind, count) in worker.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                *seen.entry(kind).or_insert(0) += count;
            }
        }
    });
    println!("{cases} answers: {seen:?}");
    let deferred = seen.remove("deferred");
    assert!(deferred.is_some_and(|count| count >= cases / 1000));
    let refused = seen.remove("refused follow-up");
    assert!(refused.is_some_and(|count| count >= cases / 4000));
    assert!(seen.len() == 7 && seen.values().all(|count| *count >= cases / 100));
}

fn random_answers(cases: impl Iterator<Item = u64>) -> Seen {
    let site = Site::new();
    let mut seen = Seen::new();
    for case in cases {
        let words = words(case);
        let mut choices = Choices::new(&words);
        let ends = if choices.once_in(2) { V6_ENDS } else { V4_ENDS };
        let exchange = exchange(&mut choices);
        let what = || format!("case {case}: {}", text(&exchange.query, &exchange.answer));
        let outcome = check(&site, ends, &exchange.query, &exchange.answer, what);
        if matches!(outcome, Outcome::Malformed | Outcome::Teaches(..)) {
            second_opinion(&exchange.query, &exchange.answer, what);
        }
        *seen.entry(outcome.kind()).or_insert(0) += 1;
        if let Outcome::Teaches(known, ..) = outcome
            && let Some((asked, kind)) = follow(&site, ends, &mut choices, &exchange, &known, case)
        {
            *seen.entry("follow-up").or_insert(0) += 1;
            *seen.entry(if asked { kind } else { "refused follow-up" }).or_insert(0) += 1;
        }
    }
    seen
}

/// Asks for a target that an exchange has taught, perhaps later. Returns whether it was asked, and what
/// the answer was.
fn follow(
    site: &Site,
    ends: Ends,
    choices: &mut Choices<'_>,
    before: &Exchange,
    known: &Learned,
    case: u64,
) -> Option<(bool, &'static str)> {
    let is_target = |name: &Name| known.contains_key(&key_of(&name.wire().to_ascii_lowercase()));
    let exchange = follow_up(choices, before, is_target)?;
    let waited = *choices.one(&[0, 0, 30, 90, 329, 330, 331]) * SECOND;
    let terms = Terms { now: START + waited, known, ..TERMS };
    let what = || {
        let of = text(&before.query, &before.answer);
        format!(
            "case {case}: {of}, and {waited} ns later {}",
            text(&exchange.query, &exchange.answer)
        )
    };
    let outcome = check_by(site, ends, &exchange.query, &exchange.answer, &terms, what);
    Some((is_listed(&exchange.query, &terms), outcome.kind()))
}

/// Checks that the kernel reads from a message what hickory's reader of whole messages does. Of
/// services hickory accepts more than RFC 9460 allows, and it has no limits.
fn second_opinion(query: &[u8], answer: &[u8], what: impl Fn() -> String) {
    let Some(theirs) = section_of_message(answer) else { return };
    match section_of_answer(query, answer) {
        Err(Refusal::Service | Refusal::TooMuch) => {}
        ours => assert_eq!(ours, Ok(theirs), "hickory's reader of messages, {}", what()),
    }
}

/// An answer may end anywhere: cut off in the network, or by a length that is false.
#[test]
fn answers_that_are_cut_off_teach_what_the_model_says() {
    let site = Site::new();
    for case in 0..cases(100_000) / 500 {
        let words = words(!case);
        let exchange = exchange(&mut Choices::new(&words));
        for end in 0..exchange.answer.len() {
            let cut = &exchange.answer[..end];
            let what = || format!("{end} octets of case {case}: {}", text(&exchange.query, cut));
            check(&site, V4_ENDS, &exchange.query, cut, what);
        }
    }
}

/// Checks one exchange by the kernel's logic and by the model.
pub(crate) fn check(
    site: &Site,
    ends: Ends,
    query: &[u8],
    answer: &[u8],
    what: impl Fn() -> String,
) -> Outcome {
    check_by(site, ends, query, answer, &TERMS, what)
}

/// Checks one exchange after others, by terms of the model.
fn check_by(
    site: &Site,
    ends: Ends,
    query: &[u8],
    answer: &[u8],
    terms: &Terms<'_>,
    what: impl Fn() -> String,
) -> Outcome {
    site.forget();
    site.know(terms.known);
    site.wait(terms.now - START);
    // A query for a name of no rule is refused and not recorded.
    let listed = is_listed(query, terms);
    assert_eq!(site.query(ends, query).reason == Reason::DnsQuery, listed, "{}", what());
    let verdict = site.answer(ends, answer);
    let expected = if listed { outcome(query, answer, terms) } else { Outcome::Foreign };
    let (learned, reason) = match &expected {
        Outcome::Foreign | Outcome::Passes => (None, None),
        Outcome::Malformed => (None, Some(Occurrence::AnswerMalformed)),
        Outcome::Teaches(learned, ..) if learned.is_empty() => {
            (None, Some(Occurrence::NothingLearned))
        }
        Outcome::Teaches(learned, ..) => (Some(learned), Some(Occurrence::Learned)),
    };
    let refused = matches!(expected, Outcome::Teaches(_, refused, _) if refused > 0);
    let deferred = matches!(expected, Outcome::Teaches(_, _, true));
    let mut expected_hosts = terms.known.clone();
    for (address, (rules, expires)) in learned.into_iter().flatten() {
        // What has expired keeps nothing of what it had.
        let host = expected_hosts.entry(*address).or_default();
        let lives = host.1 > terms.now;
        let before = if lives { *host } else { Default::default() };
        *host = (before.0 | *rules, before.1.max(*expires));
    }
    assert_eq!(site.learned(), expected_hosts, "{}", what());
    let passes = if expected == Outcome::Foreign { Reason::Unsolicited } else { Reason::DnsAnswer };
    assert_eq!(verdict.reason, passes, "{}", what());
    for counter in [Occurrence::AnswerMalformed, Occurrence::NothingLearned, Occurrence::Learned] {
        let wanted = u64::from(reason == Some(counter));
        assert_eq!(site.counted(counter), wanted, "{counter:?}, {}", what());
    }
    assert_eq!(site.counted(Occurrence::AnswerRefused), u64::from(refused), "{}", what());
    assert_eq!(site.counted(Occurrence::AnswerDeferred), u64::from(deferred), "{}", what());
    let reported = site.tables.answers.borrow();
    assert_eq!(reported.len(), usize::from(learned.is_some() || deferred), "{}", what());
    if let Some((event, octets)) = reported.first() {
        assert_eq!(event.flags & answer_flags::DEFERRED != 0, deferred, "{}", what());
        assert_eq!(event.flags & answer_flags::LEARNED != 0, learned.is_some(), "{}", what());
        assert_eq!(octets, answer, "{}", what());
        assert_eq!(event.client, V6::from(ends.client), "{}", what());
        assert_eq!((event.time, event.zone), (terms.now, 1), "{}", what());
    }
    expected
}

/// Asks for an address of `name`, and passes the answer with these records.
pub(crate) fn ask(site: &Site, name: &str, records: &[Record]) {
    let query = Writer::new(7, QUERY, &name.into(), 1, 1);
    assert_eq!(site.query(V4_ENDS, &query.octets).reason, Reason::DnsQuery);
    let answer = Writer::answer(name).with(records);
    assert_eq!(site.answer(V4_ENDS, &answer.octets).reason, Reason::DnsAnswer);
}

#[test]
fn an_address_of_two_names_has_the_rules_of_both_and_the_later_expiry() {
    let site = Site::new();
    ask(&site, "a.one", &[Record { ttl: 600, ..Record::a("a.one", "93.184.216.34") }]);
    site.wait(SECOND);
    ask(&site, "a.two", &[Record { ttl: 61, ..Record::a("a.two", "93.184.216.34") }]);
    let host = site.tables.hosts4.borrow()[&v4("93.184.216.34")];
    assert_eq!(host.rules, ONE | TWO);
    assert_eq!(host.expires, START + 630 * SECOND);
}

#[test]
fn rules_are_those_of_the_question_and_not_of_what_it_leads_to() {
    let site = Site::new();
    ask(&site, "a.one", &[Record::cname("a.one", "b.two"), Record::a("b.two", "93.184.216.34")]);
    assert_eq!(site.tables.hosts4.borrow()[&v4("93.184.216.34")].rules, ONE);
}

#[test]
fn chains_are_followed_in_any_order() {
    let chain = [
        Record::cname("a.one", "b.none"),
        Record::cname("b.none", "c.none"),
        Record::cname("C.NONE", "d.none"),
        Record::a("D.none", "93.184.216.34"),
        Record::aaaa("d.none", "2a00::34"),
    ];
    let mut orders = vec![chain.to_vec()];
    let reversed: Vec<Record> = chain.iter().rev().cloned().collect();
    orders.push(reversed);
    orders.push([3, 1, 4, 0, 2].map(|index: usize| chain[index].clone()).to_vec());
    for order in orders {
        let site = Site::new();
        ask(&site, "a.one", &order);
        assert_eq!(site.addresses(), ["93.184.216.34", "2a00::34"]);
    }
}

/// 16 CNAMEs are followed, in either order; of 17, nothing is learned, least of all the addresses
/// of an owner in the middle.
#[test]
fn chains_have_a_length_that_does_not_depend_on_their_order() {
    for (links, learned) in [(16, true), (17, false), (40, false)] {
        let name = |index| format!("n{index}.one");
        let mut records: Vec<Record> =
            (0..links).map(|index| Record::cname(&name(index), &name(index + 1))).collect();
        records.push(Record::a(&name(links), "93.184.216.34"));
        records.push(Record::a(&name(links / 2), "93.184.216.35"));
        for _ in 0..2 {
            let site = Site::new();
            ask(&site, "n0.one", &records);
            let expected: &[&str] = if learned { &["93.184.216.34"] } else { &[] };
            assert_eq!(site.addresses(), expected, "{links} links");
            records.reverse();
        }
    }
}

#[test]
fn refused_addresses_do_not_keep_others_from_being_learned() {
    let site = Site::new();
    let own = OWN4.to_string();
    let records = ["10.1.2.3", "127.0.0.1", &own, "93.184.216.34"].map(|at| Record::a("a.one", at));
    ask(&site, "a.one", &records);
    assert_eq!(site.addresses(), ["93.184.216.34"]);
    assert_eq!(site.counted(Occurrence::AnswerRefused), 1);
    assert_eq!(site.counted(Occurrence::Learned), 1);
}

#[test]
fn addresses_without_room_are_counted_and_known_ones_prolonged() {
    let mut site = Site::new();
    site.tables.hosts_capacity = 1;
    ask(&site, "a.one", &[Record::a("a.one", "93.184.216.34")]);
    site.wait(100 * SECOND);
    let records = ["93.184.216.34", "93.184.216.35"].map(|at| Record::a("a.one", at));
    ask(&site, "a.one", &records);
    assert_eq!(site.addresses(), ["93.184.216.34"]);
    assert_eq!(site.learned().values().next(), Some(&(ONE, START + 430 * SECOND)));
    assert_eq!(site.counted(Occurrence::HostsFull), 1);
}

#[test]
fn many_addresses_are_left_to_userspace_and_of_too_many_the_first_are_read() {
    let table = [
        (14, 14, Occurrence::Learned),
        (15, 5, Occurrence::AnswerDeferred),
        (64, 3, Occurrence::AnswerDeferred),
        (65, 3, Occurrence::AnswerCut),
        (200, 3, Occurrence::AnswerCut),
    ];
    for (count, learned, reason) in table {
        let site = Site::new();
        let records: Vec<Record> =
            (1..=count).map(|last| Record::a("a.one", &format!("93.184.217.{last}"))).collect();
        ask(&site, "a.one", &records);
        assert_eq!(site.addresses().len(), learned, "{count} addresses");
        assert_eq!(site.counted(reason), 1, "{count} addresses");
    }
}

/// Names in full are ten steps each, and their records one.
#[test]
fn names_in_full_are_read_up_to_a_bound() {
    const NAME: &str = "a.b.c.d.e.f.g.h.one";
    let table = [
        (9, 9, Occurrence::Learned),
        (10, 1, Occurrence::AnswerDeferred),
        (25, 1, Occurrence::AnswerDeferred),
        (26, 0, Occurrence::AnswerMalformed),
    ];
    for (count, learned, reason) in table {
        let site = Site::new();
        let query = Writer::new(7, QUERY, &NAME.into(), 1, 1);
        site.query(V4_ENDS, &query.octets);
        let mut answer = Writer::answer(NAME);
        for last in 1..=count {
            let record = Record::a(NAME, &format!("93.184.217.{last}"));
            answer.record(1, &record, Compression::None);
        }
        site.answer(V4_ENDS, &answer.octets);
        assert_eq!(site.addresses().len(), learned, "{count} addresses");
        assert_eq!(site.counted(reason), 1, "{count} addresses");
    }
}

/// The order that costs most: each look for the next CNAME goes past all before it.
#[test]
fn sixteen_aliases_last_to_first_with_names_of_five_labels_in_full_are_followed() {
    let name = |at: usize| match at {
        0 => "a.b.c.d.one".to_owned(),
        _ => format!("a.b.c.n{at}.two"),
    };
    let site = Site::new();
    let query = Writer::new(7, QUERY, &name(0).as_str().into(), 1, 1);
    site.query(V4_ENDS, &query.octets);
    let mut answer = Writer::answer(&name(0));
    for at in (0..16).rev() {
        answer.record(1, &Record::cname(&name(at), &name(at + 1)), Compression::None);
    }
    answer.record(1, &Record::a(&name(16), "93.184.216.34"), Compression::None);
    site.answer(V4_ENDS, &answer.octets);
    assert_eq!(site.addresses(), ["93.184.216.34"]);
}

#[test]
fn additional_and_authority_records_teach_nothing() {
    let site = Site::new();
    let query = Writer::new(7, QUERY, &"a.one".into(), 1, 1);
    site.query(V4_ENDS, &query.octets);
    let mut answer = Writer::answer("a.one").with(&[Record::a("a.one", "93.184.216.34")]);
    answer.record(2, &Record::a("a.one", "93.184.216.35"), Compression::Suffix);
    answer.record(3, &Record::a("a.one", "93.184.216.36"), Compression::Suffix);
    site.answer(V4_ENDS, &answer.octets);
    assert_eq!(site.addresses(), ["93.184.216.34"]);
}

#[test]
fn hints_of_services_count_like_addresses_of_their_owner() {
    let four = [93, 184, 216, 34, 93, 184, 216, 35];
    let six = Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 0x34).octets();
    let (alpn, own) = (&b"\x02h3"[..], OWN4.octets());
    let hints: &[(u16, &[u8])] = &[(1, alpn), (4, &four), (6, &six)];
    let all = ["93.184.216.34", "93.184.216.35", "2a00::34"];
    let alias = Record {
        data: Data::Service(0, "b.none".into(), vec![(4, four.to_vec())]),
        ..Record::https("a.one", &[])
    };
    let tables: [(&str, Vec<Record>, &[&str]); 9] = [
        ("of the name", vec![Record::https("a.one", hints)], &all),
        (
            "at the end of a chain",
            vec![Record::https("b.none", hints), Record::cname("a.one", "b.none")],
            &all,
        ),
        ("of another name", vec![Record::https("b.one", hints)], &[]),
        (
            "beside an address",
            vec![Record::a("a.one", "93.184.216.36"), Record::https("a.one", &[(4, &four[..4])])],
            &["93.184.216.34", "93.184.216.36"],
        ),
        ("an alias", vec![alias], &[]),
        ("the gateway's own", vec![Record::https("a.one", &[(4, &own)])], &[]),
        ("of no address", vec![Record::https("a.one", &[(4, &[])])], &[]),
        ("of half an address", vec![Record::https("a.one", &[(6, &six[..15])])], &[]),
        ("in disorder", vec![Record::https("a.one", &[(6, &six), (4, &four)])], &[]),
    ];
    for (what, records, expected) in tables {
        let site = Site::new();
        ask(&site, "a.one", &records);
        assert_eq!(site.addresses(), expected, "{what}");
    }
}

#[test]
fn a_service_that_does_not_parse_spoils_the_answer() {
    let good = Record::a("a.one", "93.184.216.34");
    let broken: [&[u8]; 6] =
        [&[], &[0], &[0, 1], &[0, 1, 0, 0], &[0, 1, 0, 0, 4, 0, 9, 1, 2, 3, 4], &[0, 1, 3, b'a']];
    for octets in broken {
        let site = Site::new();
        let record = Record { data: Data::Opaque(octets.to_vec()), ..Record::https("b.one", &[]) };
        ask(&site, "a.one", &[good.clone(), record]);
        assert_eq!(site.counted(Occurrence::AnswerMalformed), 1, "{octets:?}");
        assert!(site.addresses().is_empty());
    }
    let many: Vec<(u16, &[u8])> = (0..308).map(|key| (key + 100, &b""[..])).collect();
    let table = [(287, Occurrence::Learned), (288, Occurrence::AnswerMalformed)];
    for (count, reason) in table {
        let site = Site::new();
        ask(&site, "a.one", &[good.clone(), Record::https("a.one", &many[..count])]);
        assert_eq!(site.counted(reason), 1, "{count} parameters");
    }
}
