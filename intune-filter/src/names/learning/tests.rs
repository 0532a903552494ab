//! What the learner knows of targets: whose rules they have, and what ends with the names that led to
//! them.

use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, HTTPS, SVCB},
    },
};
use intune_filter_ebpf::abi::{AnswerEvent, Host, RuleMask, answer_flags};

use super::Learner;
use crate::{
    catalogue::Catalogue,
    config::Config,
    names::{Names, is_target, key_of_target, refresh_tracker::Decision},
    policy::{Policy, compile},
};

const SECOND: u64 = 1_000_000_000;
const SEED: u64 = 0x5eed;
const NOW: u64 = 1000 * SECOND;
/// Time of an answer whose records live for 300 seconds.
const LIFE: u64 = 330 * SECOND;

fn policy(pattern: &str) -> Policy {
    let config = format!(
        "
interfaces: [{{name: lan}}]
clients: [{{name: all, networks: [10.0.0.0/24], services: [site]}}]
dns: {{resolvers: [10.0.0.1], ttl: {{min: 60s, max: 600s, grace: 30s}}}}
services: [{{id: site, fqdns: [{pattern}], tcp: [443]}}]
"
    );
    let config = Config::parse("test", &config).unwrap();
    compile(&config, Catalogue::builtin(), &Default::default()).unwrap()
}

fn learner() -> Learner {
    Learner::new(Names::default(), policy("www.example")).with_seed(SEED)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// An answer to a question for a name's services, or addresses.
fn message(question: &str, data: &[RData]) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    let kind = data.first().map_or(RecordType::HTTPS, RData::record_type);
    message.add_query(Query::query(name(question), kind));
    message
        .add_answers(data.iter().map(|one| Record::from_rdata(name(question), 300, one.clone())));
    message.to_vec().unwrap()
}

fn service(target: &str) -> RData {
    RData::HTTPS(HTTPS(SVCB::new(1, name(target), Vec::new())))
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(20, 0, 0, last)
}

/// Takes in an answer that the kernel has learned from at a time.
fn take(learner: &mut Learner, time: u64, question: &str, data: &[RData]) -> usize {
    let event = AnswerEvent { time, flags: answer_flags::LEARNED, ..AnswerEvent::default() };
    let answer = learner.take(&event, &message(question, data));
    answer.map_or(0, |answer| answer.addresses.len())
}

fn key(name: &str) -> IpAddr {
    key_of_target(name, SEED).unwrap()
}

/// A learner that was led from a name of the policy to `t.test`, and from there to `u.test`.
fn led() -> Learner {
    let mut learner = learner();
    assert_eq!(take(&mut learner, NOW, "www.example.", &[service("T.test.")]), 1);
    assert_eq!(
        take(&mut learner, NOW + 1, "t.test.", &[service("u.test."), service("\\.x.test.")]),
        1
    );
    assert_eq!(take(&mut learner, NOW + 2, "t.test.", &[RData::A(A(address(1)))]), 1);
    assert_eq!(take(&mut learner, NOW + 3, "U.test.", &[RData::A(A(address(2)))]), 1);
    learner
}

#[test]
fn addresses_of_targets_are_backed_by_the_names_that_led_to_them() {
    let learner = led();
    let rules = learner.policy().rules_of_name("www.example");
    assert!(!rules.is_empty());
    assert_eq!(learner.backed(address(1).into()), (rules, NOW + 2 + LIFE));
    assert_eq!(learner.backed(address(2).into()), (rules, NOW + 3 + LIFE));
    // A target of a target ends with it.
    assert_eq!(learner.backed(key("t.test")), (rules, NOW + LIFE));
    assert_eq!(learner.backed(key("u.test")), (rules, NOW + LIFE));
}

#[test]
fn a_name_that_is_no_target_teaches_nothing() {
    let mut learner = learner();
    assert_eq!(take(&mut learner, NOW, "t.test.", &[RData::A(A(address(1)))]), 0);
    take(&mut learner, NOW, "www.example.", &[service("t.test.")]);
    let a = [RData::A(A(address(1)))];
    assert_eq!(take(&mut learner, NOW + LIFE, "t.test.", &a), 0, "its time is over");
    assert_eq!(take(&mut learner, NOW + LIFE - 1, "t.test.", &a), 1);
    let mut other = Learner::new(learner.names().clone(), policy("www.example"));
    assert_eq!(take(&mut other, NOW + 1, "t.test.", &a), 0, "the keys are of another kernel");
}

/// What a client has of a target's address lives as long as the address's own record says.
#[test]
fn addresses_outlive_the_record_that_led_to_their_name_and_flows_both() {
    let mut learner = led();
    let rules = learner.policy().rules_of_name("www.example");
    let a = [RData::A(A(address(1)))];
    assert_eq!(take(&mut learner, NOW + LIFE - 1, "t.test.", &a), 1);
    learner.expire(NOW + LIFE);
    learner.forget_lapsed([].into_iter(), NOW + LIFE + 60 * SECOND);
    assert_eq!(learner.backed(key("t.test")).0, RuleMask::EMPTY);
    assert_eq!(learner.backed(address(1).into()), (rules, NOW + 2 * LIFE - 1));
    let over = NOW + LIFE + 641 * SECOND;
    learner.expire(over);
    learner.forget_lapsed([IpAddr::from(address(1))].into_iter(), over);
    assert_eq!(
        learner.names().rules_of("t.test", |one| learner.policy().rules_of_name(one)),
        rules
    );
    learner.forget_lapsed([].into_iter(), over);
    assert_eq!(learner.names().iter().count(), 0);
}

#[test]
fn what_a_disputed_answer_has_taught_is_taken_from_its_targets_too() {
    let mut learner = led();
    let event = AnswerEvent { time: NOW + 9, flags: answer_flags::CONFLICT, ..Default::default() };
    let disputed = message("www.example.", &[service("v.test.")]);
    let (name, addresses) = learner.take_back(&event, &disputed).unwrap();
    assert_eq!((&name[..], addresses), ("www.example", vec![]), "no key is told of");
    let all = [address(1).into(), address(2).into(), key("t.test"), key("u.test")];
    assert_eq!(learner.disputed(), all.into());
    for one in all {
        assert_eq!(learner.backed(one).0, RuleMask::EMPTY, "{one}");
    }
    let host = Host {
        version: Host::version_at(NOW + 2),
        rules: RuleMask::of(0),
        expires: NOW + LIFE,
        owner: 0,
    };
    let decision = learner.decide(address(1).into(), &host, NOW + 10);
    assert_eq!(decision, Decision::Restrict { rules: RuleMask::ALL, until: NOW + 10 });
}

#[test]
fn a_policy_without_the_name_forgets_its_targets_and_one_with_it_does_not() {
    for (pattern, kept) in [("www.example", 4), ("'*.example'", 4), ("other.example", 0)] {
        let mut learner = led();
        let policy = policy(pattern);
        let of_targets = learner.names().rules_of_targets(|name| policy.rules_of_name(name));
        learner.names_mut().retain_rules(|name, _| {
            let inherited = of_targets.get(name).copied();
            !inherited.unwrap_or_else(|| policy.rules_of_name(name)).is_empty()
        });
        assert_eq!(learner.names().iter().count(), kept, "{pattern}");
        learner.set_policy(policy);
        learner.forget_unacceptable();
        assert_eq!(learner.names().addresses().filter(|one| is_target(*one)).count(), kept / 2);
    }
}
