//! Answers that no honest server sends: each teaches nothing, although a sound record of the
//! question's name comes first.

use intune_filter_ebpf::abi::{Occurrence, Reason};

use crate::{
    message::{A, AAAA, ANSWER, CNAME, Compression, Data, IN, Name, QUERY, Record, TXT, Writer},
    model::{Outcome, outcome},
    site::{Site, TERMS, V4_ENDS},
};

const SOUND: &str = "93.184.216.34";

/// Returns an answer for `a.one` that begins with a sound address, and the offset of its next
/// record.
fn begun() -> (Writer, usize) {
    let writer = Writer::answer("a.one").with(&[Record::a("a.one", SOUND)]);
    let next = writer.octets.len();
    (writer, next)
}

/// Passes an answer for `a.one`, and checks that its outcome is also the model's.
fn pass(what: &str, answer: &[u8]) -> Site {
    let site = Site::new();
    let query = Writer::new(7, QUERY, &"a.one".into(), A, IN).octets;
    assert_eq!(site.query(V4_ENDS, &query).reason, Reason::DnsQuery);
    site.answer(V4_ENDS, answer);
    let expected = match outcome(&query, answer, &TERMS) {
        Outcome::Teaches(learned, ..) => learned,
        _ => Default::default(),
    };
    assert_eq!(site.learned(), expected, "{what}: not as the model says");
    site
}

fn teaches_nothing(what: &str, answer: &Writer) {
    let site = pass(what, &answer.octets);
    assert_eq!(site.addresses(), [""; 0], "{what}");
    assert_eq!(site.counted(Occurrence::AnswerMalformed), 1, "{what}");
}

fn teaches(what: &str, answer: &Writer, addresses: &[&str]) {
    assert_eq!(pass(what, &answer.octets).addresses(), addresses, "{what}");
}

/// Writes the rest of a record whose owner was just written.
fn finish(writer: &mut Writer, address: &str) {
    let data = Data::A(address.parse().unwrap());
    writer.rest(A, IN, 300, &data, Compression::None);
    writer.set_count(1, writer.count(1) + 1);
}

#[test]
fn what_the_other_records_are_put_behind_is_sound() {
    teaches("the beginning", &begun().0, &[SOUND]);
}

#[test]
fn owners_that_are_no_names() {
    type Write = fn(&mut Writer, usize);
    let owners: [(&str, Write); 11] = [
        ("a pointer to itself", |writer, next| writer.pointer(next)),
        ("a pointer forward", |writer, next| writer.pointer(next + 20)),
        ("a pointer behind the message", |writer, _| writer.pointer(0x3fff)),
        ("a label that leads to itself", |writer, next| {
            writer.octets.extend([1, b'a']);
            writer.pointer(next);
        }),
        ("a pointer into its own labels", |writer, next| {
            writer.octets.extend([1, b'a']);
            writer.pointer(next + 1);
        }),
        ("an extended label (RFC 2673)", |writer, _| writer.octets.extend([0x41, 0, 0])),
        ("an unassigned label type", |writer, _| writer.octets.extend([0x80, 0, 0])),
        ("a pointer to an extended label", |writer, _| {
            let at = writer.octets.len() - 4;
            writer.octets[at] = 0x40;
            writer.pointer(at);
        }),
        ("a label that reaches into the name that points to it", |writer, next| {
            writer.octets[next - 3] = 9;
            writer.pointer(next - 3);
            writer.octets.extend([0; 8]);
        }),
        ("256 octets", |writer, _| writer.name(&long(256), Compression::None)),
        ("256 octets by a pointer", |writer, _| {
            writer.octets.extend(&long(250).wire()[..249]);
            writer.pointer(12);
        }),
    ];
    for (what, write) in owners {
        let (mut writer, next) = begun();
        write(&mut writer, next);
        finish(&mut writer, "93.184.216.35");
        teaches_nothing(what, &writer);
    }
}

/// Returns a name of this many octets that ends in `one`.
fn long(octets: usize) -> Name {
    let mut name = Name::from("one");
    while name.wire().len() < octets {
        let room = octets - name.wire().len() - 1;
        // Leaves no room that is too small for a label.
        let label = if room == 64 { 62 } else { room.min(63) };
        name.0.insert(0, vec![b'l'; label]);
    }
    name
}

#[test]
fn names_of_255_octets_are_names() {
    let name = long(255);
    assert_eq!(name.wire().len(), 255);
    let site = Site::new();
    let query = Writer::new(7, QUERY, &name, A, IN).octets;
    assert_eq!(site.query(V4_ENDS, &query).reason, Reason::DnsQuery);
    let mut answer = Writer::new(7, ANSWER, &name, A, IN);
    let data = Data::A(SOUND.parse().unwrap());
    let record = Record { owner: name, kind: A, class: IN, ttl: 300, data };
    answer.record(1, &record, Compression::None);
    site.answer(V4_ENDS, &answer.octets);
    assert_eq!(site.addresses(), [SOUND]);

    let query = Writer::new(7, QUERY, &long(256), A, IN).octets;
    assert_eq!(site.query(V4_ENDS, &query).reason, Reason::DnsMalformed);
}

#[test]
fn pointers_to_pointers_are_names_as_long_as_they_lead_back() {
    let (mut writer, next) = begun();
    writer.pointer(12);
    finish(&mut writer, "93.184.216.35");
    let second = writer.octets.len();
    writer.pointer(next);
    finish(&mut writer, "93.184.216.36");
    writer.pointer(second);
    finish(&mut writer, "93.184.216.37");
    let all = [SOUND, "93.184.216.35", "93.184.216.36", "93.184.216.37"];
    teaches("pointers to pointers", &writer, &all);
}

/// Each name is one label and a pointer to the name before: the last has 61 of them.
#[test]
fn a_pointer_behind_every_label_is_a_name() {
    let question = Name(vec![b"l".to_vec(); 60].into_iter().chain([b"one".to_vec()]).collect());
    assert_eq!(question.wire().len(), 125);
    let mut answer = Writer::new(7, ANSWER, &question, A, IN);
    let mut names = Writer::new(7, 0, &"one".into(), A, IN);
    let mut at = 12;
    for _ in 0..60 {
        let start = names.octets.len();
        names.octets.extend([1, b'l']);
        names.pointer(at);
        at = start;
    }
    // The pointers are the data of a record before the address.
    let shift = answer.octets.len() + 1 + 10 + 5;
    let mut data = [&[3][..], b"one", &[0]].concat();
    let mut last = shift - 5;
    for _ in 0..60 {
        let start = shift - 5 + data.len();
        data.extend([1, b'l']);
        data.extend((0xc000 | last as u16).to_be_bytes());
        last = start;
    }
    let record =
        Record { owner: Name(Vec::new()), kind: TXT, class: IN, ttl: 0, data: Data::Opaque(data) };
    answer.record(1, &record, Compression::None);
    answer.pointer(last);
    finish(&mut answer, SOUND);
    let site = Site::new();
    let query = Writer::new(7, QUERY, &question, A, IN).octets;
    assert_eq!(site.query(V4_ENDS, &query).reason, Reason::DnsQuery);
    site.answer(V4_ENDS, &answer.octets);
    assert_eq!(site.addresses(), [SOUND]);
}

#[test]
fn hundreds_of_pointers_in_a_row_are_no_name() {
    for (count, learned) in [(250, true), (350, false)] {
        let mut answer = Writer::answer("a.one");
        let start = answer.octets.len() + 1 + 10;
        let mut data = Vec::new();
        let mut last = 12;
        for index in 0..count {
            data.extend((0xc000 | last as u16).to_be_bytes());
            last = start + 2 * index;
        }
        let record = Record {
            owner: Name(Vec::new()),
            kind: TXT,
            class: IN,
            ttl: 0,
            data: Data::Opaque(data),
        };
        answer.record(1, &record, Compression::None);
        answer.pointer(last);
        finish(&mut answer, SOUND);
        let site = pass("many pointers", &answer.octets);
        assert_eq!(site.addresses().len(), usize::from(learned), "{count} pointers");
    }
}

#[test]
fn data_that_is_not_as_long_as_it_says() {
    let lengths = [(A, 3), (A, 5), (A, 0), (A, 16), (AAAA, 15), (AAAA, 17), (AAAA, 4)];
    for (kind, length) in lengths {
        let (mut writer, _) = begun();
        writer.pointer(12);
        let data = Data::Opaque(vec![0x2a; length]);
        writer.rest(kind, IN, 300, &data, Compression::None);
        writer.set_count(1, 2);
        teaches_nothing(&format!("type {kind} of {length} octets"), &writer);
    }
}

#[test]
fn data_of_other_classes_is_not_looked_at() {
    let (mut writer, _) = begun();
    for (kind, class) in [(A, 3), (AAAA, 4), (CNAME, 3)] {
        writer.pointer(12);
        writer.rest(kind, class, 300, &Data::Opaque(vec![0xff; 3]), Compression::None);
        writer.set_count(1, writer.count(1) + 1);
    }
    teaches("other classes", &writer, &[SOUND]);
}

#[test]
fn aliases_whose_target_is_not_their_data() {
    let targets: [(&str, Vec<u8>); 9] = [
        ("empty data", vec![]),
        ("a pointer cut in half", vec![0xc0]),
        ("a label that ends behind the data", vec![5, b'a', b'b']),
        ("a name without its root", vec![1, b'b']),
        ("octets behind the name", vec![1, b'b', 0, 0]),
        ("octets behind a pointer", vec![0xc0, 12, 0]),
        ("a pointer behind the message", vec![0xff, 0xff]),
        ("a pointer to itself", vec![]),
        ("an unknown label type", vec![0x80, 0]),
    ];
    for (what, mut data) in targets {
        let (mut writer, next) = begun();
        if what == "a pointer to itself" {
            data = (0xc000 | (next + 2 + 10) as u16).to_be_bytes().to_vec();
        }
        writer.pointer(12);
        writer.rest(CNAME, IN, 300, &Data::Opaque(data.clone()), Compression::None);
        writer.set_count(1, 2);
        // Octets that a reader beyond the data would find: the target and its address.
        writer.name(&"b".into(), Compression::None);
        finish(&mut writer, "93.184.216.35");
        teaches_nothing(what, &writer);

        // The only record, whose data is at the very end of the message.
        let mut writer = Writer::answer("a.one");
        writer.pointer(12);
        writer.rest(CNAME, IN, 300, &Data::Opaque(data), Compression::None);
        writer.set_count(1, 1);
        let site = pass(what, &writer.octets);
        assert_eq!(site.addresses(), [""; 0], "{what}");
    }
}

#[test]
fn circles_of_aliases() {
    let circles = [
        vec![Record::cname("a.one", "a.one")],
        vec![Record::cname("a.one", "b.one"), Record::cname("b.one", "a.one")],
        vec![
            Record::cname("a.one", "b.one"),
            Record::cname("b.one", "c.one"),
            Record::cname("c.one", "b.one"),
        ],
    ];
    for circle in circles {
        for reversed in [false, true] {
            let mut records = circle.clone();
            for owner in ["a.one", "b.one", "c.one"] {
                records.push(Record::a(owner, SOUND));
            }
            if reversed {
                records.reverse();
            }
            let answer = Writer::answer("a.one").with(&records);
            teaches_nothing(&format!("a circle of {}", circle.len()), &answer);
        }
    }
}

#[test]
fn a_name_with_an_alias_has_no_address() {
    let alias = Record::cname("a.one", "b.one");
    let (own, other) = (Record::a("a.one", "93.184.216.35"), Record::a("b.one", SOUND));
    for records in [[alias.clone(), own.clone(), other.clone()], [own, alias, other]] {
        let answer = Writer::answer("a.one").with(&records);
        teaches("an alias with an address", &answer, &[SOUND]);
    }
}

#[test]
fn the_first_of_two_aliases_is_followed() {
    let records = [
        Record::cname("a.one", "b.one"),
        Record::cname("a.one", "c.one"),
        Record::a("c.one", "93.184.216.35"),
        Record::a("b.one", SOUND),
    ];
    teaches("two aliases", &Writer::answer("a.one").with(&records), &[SOUND]);
}

#[test]
fn sections_that_end_early() {
    let (writer, next) = begun();
    for end in 12 + 11..next {
        let mut cut = writer.clone();
        cut.octets.truncate(end);
        teaches_nothing(&format!("{end} octets"), &cut);
    }
    let mut counted = writer.clone();
    counted.set_count(1, 2);
    teaches_nothing("one record too few", &counted);
    let mut long = writer;
    let at = long.octets.len() - 5;
    long.octets[at] = 200;
    teaches_nothing("data beyond the end", &long);
}

/// Octets that an earlier, longer message left in the working memory must not complete a later one.
#[test]
fn earlier_messages_complete_nothing() {
    let site = Site::new();
    let query = Writer::new(7, QUERY, &"a.one".into(), A, IN).octets;
    let answer = begun().0.octets;
    for end in 12 + 11..answer.len() {
        site.query(V4_ENDS, &query);
        site.answer(V4_ENDS, &answer);
        site.forget();
        site.query(V4_ENDS, &query);
        site.answer(V4_ENDS, &answer[..end]);
        assert_eq!(site.addresses(), [""; 0], "{end} octets");
    }
}

#[test]
fn messages_that_are_no_answers() {
    let flags = [
        ("a query", 0x0100),
        ("opcode NOTIFY", 0xa000),
        ("format error", 0x8181),
        ("server failure", 0x8182),
        ("no such name", 0x8183),
        ("refused", 0x8185),
    ];
    for (what, flags) in flags {
        let (mut writer, _) = begun();
        writer.octets[2..4].copy_from_slice(&u16::to_be_bytes(flags));
        assert_eq!(pass(what, &writer.octets).addresses(), [""; 0], "{what}");
    }
    for questions in [0, 2, 0xffff] {
        let (mut writer, _) = begun();
        writer.set_count(0, questions);
        assert_eq!(pass("questions", &writer.octets).addresses(), [""; 0], "{questions}");
    }
}
