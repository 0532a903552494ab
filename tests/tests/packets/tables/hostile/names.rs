//! Names and compression (RFC 1035 sections 2.3.4, 3.1 and 4.1.4): an owner or an alias's target
//! that is none makes the answer malformed, whatever else it says.

use intune_filter_tests::prog_test_run::{
    Addresses, Message,
    message::{CNAME, HEADER, QUESTION, Section, name},
};

use super::{AnswerEffect, Case, Malformed, Nothing, Teaches, begin, case, check_tables};
use crate::tables::answers::{PORTAL, answer, kind};

const TXT: u16 = 16;

#[test]
fn names_that_are_none_teach_nothing() {
    check_tables(
        "",
        &[
            ("owners that are no names", owners_that_are_no_names),
            ("targets that are no names", targets_that_are_no_names),
            ("names off the chain have to be names", names_off_the_chain_have_to_be_names),
            ("pointers into the header", pointers_into_the_header),
            ("names as long as they may be", names_as_long_as_they_may_be),
            ("pointers to pointers", pointers_to_pointers),
            ("pointers into data", pointers_into_data),
        ],
    );
}

fn pointer(at: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(at).expect("a short message")).to_be_bytes()
}

/// A name of this many octets on the wire, which begins with these labels of 63 octets.
fn long(octets: usize) -> Vec<u8> {
    let mut name = Vec::new();
    while octets - name.len() > 1 {
        let left = octets - name.len() - 1;
        // No room may be left that is too small for a label.
        let label = if left == 65 { 62 } else { (left - 1).min(63) };
        name.push(label as u8);
        name.extend(vec![b'l'; label]);
    }
    name.push(0);
    assert_eq!(name.len(), octets);
    name
}

/// Octets that are no name where they stand, `at` octets into the message.
fn no_names(at: usize, end: usize) -> Vec<(String, Vec<u8>)> {
    let labelled = |to: usize| [&[1, b'a'][..], &pointer(to)].concat();
    let mut names: Vec<(String, Vec<u8>)> = [
        ("a pointer to itself", pointer(at).to_vec()),
        ("a pointer into itself", pointer(at + 1).to_vec()),
        ("a pointer behind it", pointer(at + 2).to_vec()),
        ("a pointer ahead", pointer(at + 12).to_vec()),
        ("a pointer to the message's last octet", pointer(end - 1).to_vec()),
        ("a pointer to the message's end", pointer(end).to_vec()),
        ("a pointer beyond the message", pointer(0x3fff).to_vec()),
        ("a label that leads to itself", labelled(at)),
        ("a label that leads into itself", labelled(at + 1)),
        ("a label that leads to its own pointer", labelled(at + 2)),
        ("a label that leads ahead", labelled(at + 20)),
        ("a label of 64 octets", [&[64][..], &[b'l'; 64], &[0]].concat()),
        ("a label of 127 octets", [&[127][..], &[b'l'; 127], &[0]].concat()),
        ("a bit string (RFC 2673)", vec![0x41, 8, 0x55, 0]),
        ("an unassigned label type", vec![0x80, 0]),
        ("another unassigned label type", vec![0xbf, 0]),
        ("labels, then an unassigned label type", vec![1, b'a', 0x80, 0]),
        ("256 octets", long(256)),
        ("300 octets", long(300)),
        ("a label too many before a pointer", {
            let before = long(255 - name(PORTAL).len() + 2);
            [&before[..before.len() - 1], &pointer(HEADER)].concat()
        }),
        ("two labels of 64 octets", [&[64][..], &[b'l'; 64], &[64], &[b'l'; 64], &[0]].concat()),
    ]
    .map(|(what, octets)| (what.to_owned(), octets))
    .into();
    for kind in [0x40, 0x42, 0x5f, 0x7f, 0x81, 0x9f, 0xa0, 0xbf_u8] {
        names.push((format!("a label of type {kind:#04x}"), [&[kind][..], &[0; 192]].concat()));
    }
    names
}

fn owners_that_are_no_names(who: &Addresses) -> Vec<Case> {
    let sound = answer(who);
    let (at, end) = (sound.octets().len(), sound.octets().len() + 20);
    let mut cases = Vec::new();
    for (what, owner) in no_names(at, end) {
        let message = sound.clone().address(&owner, 300, who.public2);
        cases.push(case(who, format!("behind an address, {what}"), message, Malformed));
    }
    let at = begin(who).octets().len();
    for (what, owner) in no_names(at, at + 40) {
        let message = begin(who).address(&owner, 300, who.public2);
        let message = message.address(&QUESTION, 300, who.public);
        cases.push(case(who, format!("before an address, {what}"), message, Malformed));
    }
    cases
}

fn targets_that_are_no_names(who: &Addresses) -> Vec<Case> {
    let at = begin(who).octets().len() + 12;
    let mut cases = Vec::new();
    let mut row = |what: String, target: &[u8]| {
        let message = begin(who).alias(&QUESTION, target);
        // What a reader beyond the data would find: the name's rest, and its address.
        let message = message.address(&name("b"), 300, who.public);
        cases.push(case(who, what, message, Malformed));
    };
    for (what, target) in no_names(at, at + 60) {
        row(what, &target);
    }
    for (what, target) in [
        ("no octet", vec![]),
        ("half a pointer", vec![0xc0]),
        ("a label that goes on behind the data", vec![5, b'a', b'b']),
        ("a name without its root", vec![1, b'b']),
        ("octets behind the name", vec![1, b'b', 0, 0]),
        ("octets behind a pointer", [&QUESTION[..], &[0]].concat()),
        ("two names", [name("b"), name("b")].concat()),
    ] {
        row(what.to_owned(), &target);
    }
    cases
}

/// Names off the chain: the answer does not parse all the same.
fn names_off_the_chain_have_to_be_names(who: &Addresses) -> Vec<Case> {
    let sound = answer(who);
    let at = sound.octets().len();
    let other = name("other.example");
    let mut cases = Vec::new();
    for (what, target) in no_names(at + other.len() + 10, at + 60) {
        let message = sound.clone().alias(&other, &target);
        cases.push(case(who, what, message, Malformed));
    }
    cases
}

/// Nothing in the header is a name, but a pointer to it leads back: to something else than the
/// question.
fn pointers_into_the_header(who: &Addresses) -> Vec<Case> {
    let mut cases = Vec::new();
    for at in 0..HEADER {
        let message = begin(who).address(&pointer(at), 300, who.public);
        // The name ends within the header, or there is a label of an unknown type on the way.
        let outcome = if leads_to_a_name(begin(who).octets(), at) { Nothing } else { Malformed };
        cases.push(case(who, format!("octet {at}"), message, outcome));
    }
    cases
}

/// Whether labels alone lead from `at` to a root, before what points there.
fn leads_to_a_name(octets: &[u8], mut at: usize) -> bool {
    loop {
        match octets.get(at) {
            Some(0) => return true,
            Some(length @ 1..=63) => at += 1 + usize::from(*length),
            _ => return false,
        }
    }
}

fn names_as_long_as_they_may_be(who: &Addresses) -> Vec<Case> {
    let through = |target: &[u8], owner: &[u8]| -> (Message, AnswerEffect) {
        let message = begin(who).alias(&QUESTION, target).address(owner, 300, who.public);
        (message, Teaches(vec![who.public]))
    };
    let target = begin(who).octets().len() + 12;
    let mut cases = Vec::new();
    let mut row = |what: &str, (message, outcome)| cases.push(case(who, what, message, outcome));
    row("255 octets", through(&long(255), &long(255)));
    row("255 octets, pointed to", through(&long(255), &pointer(target)));
    row("a label of 63 octets", {
        let label = [&[63][..], &[b'l'; 63], &[0]].concat();
        through(&label, &label)
    });
    row("127 labels", {
        let labels = [&[1, b'l'][..]; 127].concat();
        let name = [&labels[..], &[0]].concat();
        through(&name, &pointer(target))
    });
    row("labels of every octet", {
        let label: Vec<u8> = (0..=255_u8).collect();
        let labels: Vec<u8> =
            label.chunks(40).flat_map(|part| [&[part.len() as u8][..], part].concat()).collect();
        let name = [&labels[..210], &[0]].concat();
        // 210 octets are five labels of 40 and their lengths, and the beginning of the next.
        let name = [&name[..205], &[0]].concat();
        through(&name, &pointer(target))
    });
    row("in other letters", through(&name("Edge.Example"), &name("eDGE.eXAMPLE")));
    // A letter and what is 32 octets from it are the same in ASCII alone (RFC 4343).
    row("no letters, 32 apart", {
        let message = begin(who).alias(&QUESTION, &name("@[`{.example"));
        (message.address(&name("`{@[.example"), 300, who.public), Nothing)
    });
    row("a longer label, filled with zeros", {
        let message = begin(who).alias(&QUESTION, &[2, b'a', 0, 0]);
        (message.address(&[1, b'a', 0], 300, who.public), Nothing)
    });
    row("labels split elsewhere", {
        let message = begin(who).alias(&QUESTION, &[1, b'a', 1, b'b', 0]);
        (message.address(&[3, b'a', 1, b'b', 0], 300, who.public), Nothing)
    });
    cases
}

/// Each pointer leads to the one before it, and the first to the question.
fn pointers_to_pointers(who: &Addresses) -> Vec<Case> {
    let chained = |count: usize| -> Message {
        let start = begin(who).octets().len() + 1 + 10;
        let mut data = Vec::new();
        let mut last = HEADER;
        for n in 0..count {
            data.extend(pointer(last));
            last = start + 2 * n;
        }
        let message = begin(who).record(Section::Answer, &[0], TXT, 0, &data);
        message.address(&pointer(last), 300, who.public)
    };
    let mut cases: Vec<Case> = [1, 2, 100]
        .map(|count| {
            let learned = Teaches(vec![who.public]);
            case(who, format!("{count} pointers"), chained(count), learned)
        })
        .into();
    cases.push(case(who, "more than a name can have", chained(450), Malformed));
    cases.push(case(
        who,
        "two that lead to each other",
        {
            let start = begin(who).octets().len() + 1 + 10;
            let data = [pointer(start + 2), pointer(start)].concat();
            let message = begin(who).record(Section::Answer, &[0], TXT, 0, &data);
            message.address(&pointer(start + 2), 300, who.public)
        },
        Malformed,
    ));
    cases.push(case(
        who,
        "a label between two that lead to each other",
        {
            let start = begin(who).octets().len() + 1 + 10;
            let data = [&[1, b'a'][..], &pointer(start + 4), &[1, b'b'], &pointer(start)].concat();
            let message = begin(who).record(Section::Answer, &[0], TXT, 0, &data);
            message.address(&pointer(start + 4), 300, who.public)
        },
        Malformed,
    ));
    cases
}

/// A name in the data of a record that is not read is as good as any (RFC 1035 section 4.1.4), as
/// long as it ends before what points to it.
fn pointers_into_data(who: &Addresses) -> Vec<Case> {
    let start = begin(who).octets().len() + 1 + 10;
    let hidden = |data: &[u8], owner: &[u8]| {
        let message = begin(who).record(Section::Answer, &[0], TXT, 0, data);
        message.address(owner, 300, who.public)
    };
    vec![
        case(who, "the question's name", hidden(&name(PORTAL), &pointer(start)), {
            Teaches(vec![who.public])
        }),
        case(who, "another name", hidden(&name("other.example"), &pointer(start)), Nothing),
        case(
            who,
            "a name that is cut by what points to it",
            hidden(&[40, b'a'], &pointer(start)),
            Malformed,
        ),
        case(
            who,
            "an address taken for a name",
            {
                let kind = kind(who.public);
                let message = begin(who).record(
                    Section::Answer,
                    &[0],
                    kind,
                    300,
                    &match kind {
                        1 => vec![3, b'a', b'b', b'c'],
                        _ => [&[15][..], &[b'a'; 15]].concat(),
                    },
                );
                message.address(&pointer(start), 300, who.public)
            },
            Malformed,
        ),
        case(
            who,
            "data of an alias that is no name",
            {
                let message = begin(who).record(Section::Answer, &QUESTION, CNAME, 300, &[0xff; 2]);
                message.address(&QUESTION, 300, who.public)
            },
            Malformed,
        ),
    ]
}
