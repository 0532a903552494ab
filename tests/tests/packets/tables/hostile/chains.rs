//! Chains of aliases (RFC 1034 section 3.6.2, RFC 2181 section 10.1) and DNAME (RFC 6672).

use std::net::IpAddr;

use intune_filter_tests::prog_test_run::{
    Addresses, Message,
    message::{QUESTION, Section, name},
};

use super::{Case, Cut, Malformed, Nothing, Teaches, begin, case, check_tables};
use crate::tables::answers::PORTAL;

const DNAME: u16 = 39;
const TXT: u16 = 16;
/// CNAMEs that are followed at most.
const LONGEST: usize = 16;
/// Records of an answer at most.
const RECORDS: usize = 64;

#[test]
fn chains_are_followed_to_their_end_and_no_further() {
    check_tables(
        "",
        &[
            (
                "chains in every order and of every length",
                chains_in_every_order_and_of_every_length,
            ),
            ("a compressed chain", a_compressed_chain),
            (
                "a long chain leaves room for the other records",
                a_long_chain_leaves_room_for_the_other_records,
            ),
            ("circles", circles),
            ("names off the chain", names_off_the_chain),
            ("redirected trees", redirected_trees),
        ],
    );
}

/// Aliases from the question to the last of these names, in this order of the records.
fn chain(message: Message, length: usize, order: impl IntoIterator<Item = usize>) -> Message {
    let link = |n: usize| name(&format!("link{n}.chain.example"));
    let order: Vec<usize> = order.into_iter().collect();
    assert_eq!(order.len(), length);
    order.into_iter().fold(message, |message, n| match n {
        0 => message.alias(&QUESTION, &link(1)),
        n => message.alias(&link(n), &link(n + 1)),
    })
}

fn end(length: usize) -> Vec<u8> {
    name(&format!("link{length}.chain.example"))
}

/// Every order that goes through the records in steps of one size: a permutation, if that has no
/// divisor in common with their number.
fn orders(length: usize) -> Vec<(String, Vec<usize>)> {
    let mut orders = vec![
        ("forward".to_owned(), (0..length).collect::<Vec<usize>>()),
        ("backward".to_owned(), (0..length).rev().collect()),
        ("from both ends".to_owned(), {
            (0..length).map(|n| if n % 2 == 0 { n / 2 } else { length - 1 - n / 2 }).collect()
        }),
        ("odd ones first".to_owned(), {
            (0..length).filter(|n| n % 2 == 1).chain((0..length).filter(|n| n % 2 == 0)).collect()
        }),
    ];
    for step in [3, 5, 7, 11, 13].into_iter().filter(|step| !length.is_multiple_of(*step)) {
        for start in [0, length / 2] {
            let order = (0..length).map(|n| (start + n * step) % length).collect();
            orders.push((format!("in steps of {step} from {start}"), order));
        }
    }
    for (what, order) in &orders {
        let mut sorted: Vec<usize> = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..length), "{what}: {order:?}");
    }
    orders
}

fn chains_in_every_order_and_of_every_length(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [1, 2, 3, LONGEST - 1, LONGEST, LONGEST + 1] {
        let outcome = || if length > LONGEST { Malformed } else { Teaches(vec![who.public]) };
        for (what, order) in orders(length) {
            let first = begin(who).address(&end(length), 300, who.public);
            let what = format!("{length} aliases, {what}");
            let order = || order.iter().copied();
            cases.push(case(
                who,
                format!("the address, {what}"),
                chain(first, length, order()),
                outcome(),
            ));
            let last = chain(begin(who), length, order());
            cases.push(case(who, what, last.address(&end(length), 300, who.public), outcome()));
        }
    }
    cases
}

/// As servers write it: owners are pointers to the targets before.
fn a_compressed_chain(who: &Addresses) -> Vec<Case> {
    [LONGEST, LONGEST + 1]
        .map(|length| {
            let mut message = begin(who);
            let mut owner = QUESTION;
            for n in 1..=length {
                // The record's data begins behind owner, type, class, time to live and length.
                let at = message.octets().len() + 12;
                message = message.alias(&owner, &end(n));
                owner = (0xc000 | at as u16).to_be_bytes();
            }
            let outcome = if length > LONGEST { Malformed } else { Teaches(vec![who.public]) };
            case(who, format!("{length} aliases"), message.address(&owner, 300, who.public), {
                outcome
            })
        })
        .into()
}

fn a_long_chain_leaves_room_for_the_other_records(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, order) in orders(LONGEST) {
        let mut message = chain(begin(who), LONGEST, order);
        for n in LONGEST + 1..RECORDS {
            message = message.record(Section::Answer, &QUESTION, TXT, 300, &[1, n as u8]);
        }
        message = message.address(&end(LONGEST), 300, who.public);
        let learned = Teaches(vec![who.public]);
        cases.push(case(who, format!("64 records, {what}"), message.clone(), learned));
        let more = message.address(&end(LONGEST), 300, who.public);
        let learned = Cut(vec![who.public]);
        cases.push(case(who, format!("65 records, {what}"), more, learned));
    }
    cases
}

/// A public address of the family.
pub(super) fn numbered(who: &Addresses, n: usize) -> IpAddr {
    match who.public {
        IpAddr::V4(_) => std::net::Ipv4Addr::from(0x1500_0000 + n as u32).into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::from(n as u128 | 0x2a02 << 112).into(),
    }
}

fn circles(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for length in [1, 2, 3, 8, LONGEST - 1, LONGEST, LONGEST + 1] {
        for (what, order) in orders(length) {
            // The last leads to the question again, or to the first behind it.
            for (back, to) in [("the question", 0), ("the first alias", 1)] {
                let mut message = begin(who);
                for n in &order {
                    let owner = if *n == 0 { QUESTION.to_vec() } else { end(*n) };
                    let target = if *n + 1 < length { *n + 1 } else { to };
                    let target = if target == 0 { QUESTION.to_vec() } else { end(target) };
                    message = message.alias(&owner, &target);
                }
                // Every name has an address, too: none of them is the chain's end.
                let whole = (1..=length)
                    .fold(message, |message, n| message.address(&end(n), 300, who.public));
                let whole = whole.address(&QUESTION, 300, who.public2);
                let leads_to_end = length == 1 && to == 1;
                let outcome = if leads_to_end { Teaches(vec![who.public]) } else { Malformed };
                let what = format!("{length} aliases back to {back}, {what}");
                cases.push(case(who, what, whole, outcome));
            }
        }
    }
    cases
}

fn names_off_the_chain(who: &Addresses) -> Vec<Case> {
    let [one, two, three] = ["one.example", "two.example", "three.example"].map(name);
    let good = || Teaches(vec![who.public]);
    let row = |what: &str, message, outcome| case(who, what, message, outcome);
    let direct = || begin(who).address(&QUESTION, 300, who.public);
    vec![
        row(
            "a circle that the question does not lead to",
            direct().alias(&one, &two).alias(&two, &one),
            good(),
        ),
        row(
            "an alias of another name",
            direct().alias(&one, &two).address(&two, 300, who.public2),
            good(),
        ),
        row(
            "an alias to the question",
            direct().alias(&one, &QUESTION).address(&one, 300, who.public2),
            good(),
        ),
        row(
            "a listed name that was not asked for",
            begin(who).address(&name("push.core.example"), 300, who.public),
            Nothing,
        ),
        row(
            "an alias to a listed name",
            {
                let push = name("push.core.example");
                begin(who).alias(&QUESTION, &push).address(&push, 300, who.public)
            },
            good(),
        ),
        row(
            "every name on the way",
            {
                begin(who)
                    .alias(&QUESTION, &one)
                    .alias(&one, &two)
                    .address(&QUESTION, 300, who.public2)
                    .address(&one, 300, who.public2)
                    .address(&two, 300, who.public)
                    .address(&three, 300, who.public2)
            },
            good(),
        ),
        row("aliases without an end", begin(who).alias(&QUESTION, &one).alias(&one, &two), {
            Nothing
        }),
        row(
            "an alias to the root, and its address",
            begin(who).alias(&QUESTION, &[0]).address(&[0], 300, who.public),
            good(),
        ),
        row("the root's address", begin(who).address(&[0], 300, who.public), Nothing),
        row(
            "an alias in another section",
            {
                let message = begin(who).record(Section::Authority, &QUESTION, 5, 300, &one);
                let alias = message.record(Section::Additional, &QUESTION, 5, 300, &one);
                // Sections follow each other: the answer's own record comes before them.
                begin(who)
                    .address(&one, 300, who.public)
                    .followed_by(&alias.octets()[begin(who).octets().len()..])
                    .count(8, 1)
                    .count(10, 1)
            },
            Nothing,
        ),
        row(
            "an alias of class CH",
            {
                begin(who)
                    .record_of(Section::Answer, &QUESTION, 5, 3, 300, &one)
                    .address(&one, 300, who.public)
            },
            Nothing,
        ),
    ]
}

/// Stub resolvers follow the CNAME that the server makes from a DNAME (RFC 6672 section 3.1), and
/// know no DNAME themselves: without it no one is led to the address.
fn redirected_trees(who: &Addresses) -> Vec<Case> {
    let (tree, other) = (name("core.example"), name("core.elsewhere.example"));
    let target = name(&PORTAL.replace("core.example", "core.elsewhere.example"));
    let dname = |message: Message| message.record(Section::Answer, &tree, DNAME, 300, &other);
    let good = || Teaches(vec![who.public]);
    let row = |what: &str, message, outcome| case(who, what, message, outcome);
    vec![
        row(
            "as a server sends it",
            dname(begin(who)).alias(&QUESTION, &target).address(&target, 300, who.public),
            good(),
        ),
        row(
            "a synthesised alias that holds for no time",
            {
                dname(begin(who))
                    .record(Section::Answer, &QUESTION, 5, 0, &target)
                    .address(&target, 300, who.public)
            },
            good(),
        ),
        row(
            "the other way around",
            dname(begin(who).address(&target, 300, who.public).alias(&QUESTION, &target)),
            good(),
        ),
        row(
            "two trees",
            {
                let last = name("portal.core.last.example");
                dname(begin(who))
                    .alias(&QUESTION, &target)
                    .record(Section::Answer, &name("elsewhere.example"), DNAME, 300, &{
                        name("last.example")
                    })
                    .alias(&target, &last)
                    .address(&last, 300, who.public)
            },
            good(),
        ),
        row("without its alias", dname(begin(who)).address(&target, 300, who.public), Nothing),
        row(
            "of the question's name itself",
            {
                begin(who)
                    .record(Section::Answer, &QUESTION, DNAME, 300, &other)
                    .address(&other, 300, who.public)
            },
            Nothing,
        ),
        row(
            "addresses of the trees",
            {
                dname(begin(who))
                    .alias(&QUESTION, &target)
                    .address(&tree, 300, who.public)
                    .address(&other, 300, who.public)
            },
            Nothing,
        ),
    ]
}
