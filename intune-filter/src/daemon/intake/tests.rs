//! Records taken in, with tables that are the tests' own.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Result, anyhow};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{RData, Record as Entry, RecordType, rdata::A},
};
use intune_filter_ebpf::{
    abi::{
        AnswerEvent, DeniedEvent, FlowKey, Pending, PendingKey, RuleMask, SegmentEvent, StreamRead,
        V6, answer_flags,
    },
    packet::TCP,
};

use super::{Intake, Learned, Tables};
use crate::{
    catalogue::Catalogue,
    config::Config,
    events::{EventFilter, What, records::Record},
    kernel::{NO_MORE, Refreshed},
    names::{Names, answer::Reader, learning::Learner},
    policy::{Policy, compile},
};

const CONFIG: &str = "
interfaces: [{name: lan}]
clients: [{name: all, networks: [10.0.0.0/24], services: [site]}]
dns: {resolvers: [10.0.0.1]}
services: [{id: site, fqdns: [www.example], tcp: [443]}]
";
const NOW: u64 = 1_000_000_000_000;
const SEED: u64 = 0x5eed;
const ID: u16 = 0x1234;
const ADDRESS: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 1);

/// What was done to the tables, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Refreshed(IpAddr),
    Ensured(IpAddr),
    Consumed,
    Released { octets: u32, answered: u32 },
}

use Step::{Consumed, Ensured, Refreshed as Entered, Released};

#[derive(Default)]
struct Fake {
    pending: RefCell<HashMap<u16, Pending>>,
    steps: RefCell<Vec<Step>>,
    is_broken: bool,
}

impl Fake {
    fn take(&self, step: Step) -> Result<Option<Refreshed>> {
        self.steps.borrow_mut().push(step);
        if self.is_broken { Err(anyhow!("broken")) } else { Ok(Some((0, 7))) }
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.take()
    }
}

impl Tables for Fake {
    fn refresh_host(
        &self,
        address: IpAddr,
        _: RuleMask,
        _: u64,
        _: u64,
    ) -> Result<Option<Refreshed>> {
        self.take(Entered(address))
    }

    fn ensure_host(&self, address: IpAddr, _: RuleMask, _: u64) -> Result<Option<Refreshed>> {
        self.take(Ensured(address))
    }

    fn pending(&self, key: &PendingKey) -> Result<Option<Pending>> {
        assert_eq!((key.zone, key.port, key.protocol), (1, 7, u16::from(TCP)));
        Ok(self.pending.borrow().get(&u16::from_be(key.id)).copied())
    }

    fn answer(&self, key: &PendingKey, pending: &Pending) -> Result<()> {
        self.pending.borrow_mut().insert(u16::from_be(key.id), *pending);
        self.take(Consumed).map(drop)
    }

    fn release(&self, _: &FlowKey<V6>, read: StreamRead, answered: u32) -> Result<()> {
        self.take(Released { octets: read.answer_next, answered }).map(drop)
    }

    fn question_seed(&self) -> Result<u64> {
        Ok(SEED)
    }
}

fn policy() -> Policy {
    let config = Config::parse("test", CONFIG).unwrap();
    compile(&config, Catalogue::builtin(), &BTreeMap::new()).unwrap()
}

fn intake() -> Intake {
    Intake::new(Learner::new(Names::default(), policy()))
}

/// An answer for a name that leads to [`ADDRESS`].
fn answer(name: &str) -> Vec<u8> {
    let name = hickory_proto::rr::Name::from_ascii(name).unwrap();
    let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name.clone(), RecordType::A));
    message.add_answers([Entry::from_rdata(name, 300, RData::A(A(ADDRESS)))]);
    message.to_vec().unwrap()
}

fn event(flags: u32) -> AnswerEvent {
    AnswerEvent { time: NOW, flags, ..AnswerEvent::default() }
}

/// A query of `age` that the answer to `name` is one to.
fn asked(name: &str, age: u64) -> Fake {
    let (question, _) = Reader::new(&policy()).hashes(&answer(name), SEED).unwrap();
    let mut pending = Pending::default();
    pending.ask(question, NOW - age, true);
    Fake { pending: RefCell::new(HashMap::from([(ID, pending)])), ..Fake::default() }
}

/// Octets of a stream from `at` on, taken in.
fn stream(intake: &mut Intake, tables: &Fake, at: u32, data: &[u8]) {
    let segment = SegmentEvent { sequence: at, port: 7, zone: 1, ..SegmentEvent::default() };
    intake.take_in(&Record::Segment(segment, data), tables, Learned::Stand, NOW).unwrap();
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&length, message].concat()
}

/// The kinds of what followers were told.
async fn told(intake: &Intake) -> Vec<&'static str> {
    let mut events = intake.recorder.subscribe(EventFilter::default(), 100, false).unwrap();
    let mut kinds = Vec::new();
    while let Some(event) = events.next().await {
        kinds.push(match event.what {
            What::Learned(_) => "learned",
            What::Full(_) => "full",
            What::Denied(_) => "denied",
            _ => "other",
        });
    }
    kinds
}

#[tokio::test]
async fn what_the_kernel_has_learned_is_known_and_told_and_stays_as_it_is() {
    let (mut intake, tables, message) = (intake(), Fake::default(), answer("www.example."));
    let record = Record::Answer(event(answer_flags::LEARNED), &message);
    intake.take_in(&record, &tables, Learned::Stand, NOW).unwrap();
    assert_eq!(intake.learner.names().addresses().collect::<Vec<_>>(), [IpAddr::V4(ADDRESS)]);
    assert_eq!(tables.steps(), []);
    assert_eq!(told(&intake).await, ["learned"]);
}

#[test]
fn while_a_policy_changes_what_the_kernel_has_learned_is_entered_where_it_is_missing() {
    let (mut intake, mut tables, message) = (intake(), Fake::default(), answer("www.example."));
    let record = Record::Answer(event(answer_flags::LEARNED), &message);
    intake.take_in(&record, &tables, Learned::AreEntered, NOW).unwrap();
    assert_eq!(tables.steps(), [Ensured(ADDRESS.into())]);
    // The change fails, rather than leave a client without what it was told.
    tables.is_broken = true;
    intake.take_in(&record, &tables, Learned::AreEntered, NOW).unwrap_err();
}

#[tokio::test]
async fn what_the_kernel_had_no_room_for_is_told_and_not_learned() {
    let (mut intake, tables, message) = (intake(), Fake::default(), answer("www.example."));
    let record = Record::Answer(event(answer_flags::FULL), &message);
    intake.take_in(&record, &tables, Learned::AreEntered, NOW).unwrap();
    assert!(intake.learner.names().is_empty());
    assert_eq!(tables.steps(), []);
    assert_eq!(told(&intake).await, ["full"]);
}

#[tokio::test]
async fn what_the_kernel_leaves_is_learned_entered_and_told() {
    let (mut intake, mut tables, message) = (intake(), Fake::default(), answer("www.example."));
    let record = Record::Answer(event(answer_flags::DEFERRED), &message);
    intake.take_in(&record, &tables, Learned::Stand, NOW).unwrap();
    assert_eq!(intake.learner.names().len(), 1);
    assert_eq!(tables.steps(), [Entered(ADDRESS.into())]);
    assert_eq!(told(&intake).await, ["learned"]);
    // The next answer is another chance.
    tables.is_broken = true;
    intake.take_in(&record, &tables, Learned::Stand, NOW).unwrap();
    assert_eq!(told(&intake).await, ["learned"]);
}

#[tokio::test]
async fn an_answer_in_segments_passes_once_it_was_learned_from() {
    let (mut intake, tables) = (intake(), asked("www.example.", 0));
    let data = framed(&answer("www.example."));
    stream(&mut intake, &tables, 0, &data[..20]);
    assert_eq!(tables.steps(), [], "it is not whole");
    stream(&mut intake, &tables, 20, &data[20..]);
    let octets = data.len() as u32;
    let steps = [Consumed, Entered(ADDRESS.into()), Released { octets, answered: 1 }];
    assert_eq!(tables.steps(), steps);
    assert_eq!(told(&intake).await, ["learned"]);
    // The same once more passes, and teaches nothing.
    stream(&mut intake, &tables, 0, &data);
    assert_eq!(tables.steps(), [Released { octets, answered: 0 }]);
    assert_eq!(told(&intake).await, ["learned"]);
}

#[test]
fn an_answer_that_teaches_nothing_passes() {
    let (mut intake, tables) = (intake(), asked("other.example.", 0));
    let data = framed(&answer("other.example."));
    stream(&mut intake, &tables, 0, &data);
    let octets = data.len() as u32;
    assert_eq!(tables.steps(), [Consumed, Released { octets, answered: 1 }]);
}

#[test]
fn what_was_not_asked_for_ends_its_stream() {
    let data = framed(&answer("www.example."));
    let unasked = Fake::default();
    let other = asked("other.example.", 0);
    let late = asked("www.example.", Pending::PATIENCE + 1);
    for tables in [unasked, other, late] {
        let mut intake = intake();
        stream(&mut intake, &tables, 0, &data);
        assert_eq!(tables.steps(), [Released { octets: 0, answered: NO_MORE }]);
        assert!(intake.learner.names().is_empty());
    }
    // Without an octet to tell it by, too.
    let tables = asked("www.example.", 0);
    stream(&mut intake(), &tables, 0, &framed(b"x"));
    assert_eq!(tables.steps(), [Released { octets: 0, answered: NO_MORE }]);
}

#[test]
fn a_query_is_waited_for_as_long_as_the_kernel_waits() {
    let tables = asked("www.example.", Pending::PATIENCE);
    stream(&mut intake(), &tables, 0, &framed(&answer("www.example.")));
    assert_eq!(tables.steps().len(), 3);
}

#[test]
fn nothing_passes_that_could_not_be_learned_from() {
    let (mut intake, mut tables) = (intake(), asked("www.example.", 0));
    tables.is_broken = true;
    stream(&mut intake, &tables, 0, &framed(&answer("www.example.")));
    assert_eq!(tables.steps(), [Consumed]);
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    let (mut intake, tables) = (intake(), Fake::default());
    let source = IpAddr::from([10, 0, 0, 7]).into();
    let denied = DeniedEvent { time: NOW, source, ..DeniedEvent::default() };
    intake.take_in(&Record::Denied(denied), &tables, Learned::Stand, NOW).unwrap();
    assert_eq!(told(&intake).await, ["denied"]);
    assert_eq!(intake.recorder.denials().count(), 1);
}
