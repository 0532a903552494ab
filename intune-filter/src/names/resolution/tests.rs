//! Drives the schedule through hours of answers, failures and reloads.

use std::time::Duration;

use super::*;
use crate::{catalogue::Catalogue, config::Config, policy::compile};

const MINUTE: Duration = Duration::from_secs(60);

fn wanted(names: &[&str]) -> NamesToResolve {
    let rules = BTreeSet::from(["site/site".to_owned()]);
    let names = names.iter().map(|name| (Arc::from(*name), rules.clone())).collect();
    NamesToResolve { names, left_out: 0 }
}

fn resolvers() -> Vec<IpAddr> {
    vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()]
}

fn engine(names: &[&str]) -> (Resolution, Instant) {
    let (mut engine, now) = (Resolution::new(7), Instant::now());
    engine.want(wanted(names), resolvers(), now);
    (engine, now)
}

fn policy(fqdns: &str) -> Policy {
    let config = format!(
        "interfaces: [{{name: lan}}]\n\
         clients: [{{name: all, networks: [10.0.0.0/24], services: [site]}}]\n\
         dns: {{resolvers: [10.0.0.1]}}\n\
         services: [{{id: site, fqdns: {fqdns}, tcp: [443]}}]\n"
    );
    let config = Config::parse("test", &config).unwrap();
    compile(&config, Catalogue::builtin(), &Default::default()).unwrap()
}

/// Asks whatever is due within a time, and answers at once. Returns the questions.
fn run(
    engine: &mut Resolution,
    now: &mut Instant,
    time: Duration,
    answer: impl Fn(&Question) -> QueryOutcome,
) -> Vec<(Instant, Question, IpAddr)> {
    let (mut asked, end) = (Vec::new(), *now + time);
    while let Some(due) = engine.due().filter(|due| *due <= end) {
        *now = due.max(*now);
        let (question, resolver) = engine.ask(*now).unwrap();
        engine.heard(&question, answer(&question), *now);
        asked.push((*now, question, resolver));
    }
    *now = end;
    asked
}

fn addresses(seconds: u64) -> QueryOutcome {
    QueryOutcome::Addresses(Duration::from_secs(seconds))
}

fn silence(_: &Question) -> QueryOutcome {
    QueryOutcome::Silence("nobody".to_owned())
}

#[test]
fn exact_names_are_wanted_and_numbered_ones_last() {
    let wanted =
        NamesToResolve::of_policy(&policy("[b.test, '*.c.test', 'x*.d.test', '#.a.test', a.test]"));
    assert_eq!(wanted.names.len(), 2 + 51);
    assert!(wanted.names.contains_key("50.a.test") && !wanted.names.contains_key("c.test"));
    let many: Vec<String> = (0..NAMES_MAX - 10).map(|number| format!("n{number}.test")).collect();
    let wanted = NamesToResolve::of_policy(&policy(&format!("['#.a.test', {}]", many.join(", "))));
    assert_eq!((wanted.names.len(), wanted.left_out()), (NAMES_MAX, 51 - 10));
    assert!(many.iter().all(|name| wanted.names.contains_key(name.as_str())));
}

#[test]
fn every_name_is_asked_at_the_start_its_addresses_first() {
    let (mut engine, mut now) = engine(&["a.test", "b.test"]);
    let asked = run(&mut engine, &mut now, MINUTE, |_| addresses(300));
    let kinds: Vec<_> = asked.iter().map(|(_, question, _)| question.kind).collect();
    assert_eq!(kinds, [Kind::A, Kind::A, Kind::Aaaa, Kind::Aaaa, Kind::Https, Kind::Https]);
    assert!(asked.iter().all(|(_, _, resolver)| *resolver == resolvers()[0]));
    let counts = engine.counts(now);
    assert_eq!((counts.names, counts.resolved, counts.answered), (2, 2, 6));
}

#[test]
fn a_name_is_asked_again_before_its_addresses_expire() {
    let (mut engine, mut now) = engine(&["a.test"]);
    let asked = run(&mut engine, &mut now, 60 * MINUTE, |question| match question.kind {
        Kind::A => addresses(90),
        Kind::Aaaa => addresses(330),
        Kind::Https => QueryOutcome::Nothing,
    });
    for (kind, least, most) in [(Kind::A, 67, 81), (Kind::Aaaa, 247, 297), (Kind::Https, 675, 900)]
    {
        let times: Vec<Instant> = asked
            .iter()
            .filter(|(_, question, _)| question.kind == kind)
            .map(|one| one.0)
            .collect();
        for pair in times.windows(2) {
            let apart = (pair[1] - pair[0]).as_secs();
            assert!((least..=most).contains(&apart), "{kind:?}: {apart} s");
        }
        assert!(times.len() >= 4, "{kind:?}: {}", times.len());
    }
    assert_eq!(engine.counts(now).resolved, 1);
}

#[test]
fn resolvers_are_asked_in_turn_and_less_and_less_while_they_fail() {
    let (mut engine, mut now) = engine(&["a.test"]);
    let asked = run(&mut engine, &mut now, 60 * MINUTE, silence);
    let of_a: Vec<_> = asked.iter().filter(|(_, question, _)| question.kind == Kind::A).collect();
    assert_eq!(of_a[0].2, resolvers()[0]);
    assert_eq!(of_a[1].2, resolvers()[1]);
    assert_eq!(of_a[2].2, resolvers()[0]);
    assert!((of_a[1].0 - of_a[0].0).as_secs() < 3);
    assert!((10..=30).contains(&of_a.len()), "{} times in an hour", of_a.len());
    let status = engine.status(now);
    assert_eq!((status.counts.failing, status.counts.resolved), (1, 0));
    assert_eq!(status.errors["a.test"], "nobody");
    assert!(status.next_in_s.is_some_and(|seconds| seconds <= 300));
}

#[test]
fn when_a_resolver_answers_again_nothing_waits_any_longer() {
    let (mut engine, mut now) = engine(&["a.test", "b.test", "c.test"]);
    run(&mut engine, &mut now, 60 * MINUTE, silence);
    let (mut back, mut outcomes) = (now, 0);
    while outcomes < 9 {
        let asked = run(&mut engine, &mut now, Duration::from_secs(1), |_| addresses(7200));
        if outcomes == 0 && !asked.is_empty() {
            back = asked[0].0;
        }
        outcomes += asked.len();
    }
    assert!(now - back <= Duration::from_secs(1), "{:?}", now - back);
    assert_eq!(engine.counts(now).resolved, 3);
}

#[test]
fn one_name_that_fails_beside_others_is_not_hastened() {
    let names: Vec<String> = (0..40).map(|number| format!("n{number}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut engine, mut now) = engine(&names);
    let asked = run(&mut engine, &mut now, 60 * MINUTE, |question| match &*question.name {
        "n0.test" => silence(question),
        _ => addresses(90),
    });
    let failing = asked.iter().filter(|(_, question, _)| &*question.name == "n0.test").count();
    assert!(failing <= 3 * 30, "{failing} in an hour");
}

#[test]
fn no_more_than_a_few_questions_are_under_way_and_not_too_many_a_second() {
    let names: Vec<String> = (0..400).map(|number| format!("n{number}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut engine, mut now) = engine(&names);
    let begin = now;
    let mut under_way = Vec::new();
    while let Some(due) = engine.due() {
        now = now.max(due);
        under_way.push(engine.ask(now).unwrap().0);
        assert_eq!(engine.ask(now), None);
    }
    assert_eq!(under_way.len(), MAX_IN_FLIGHT);
    for question in under_way {
        engine.heard(&question, addresses(3600), now);
    }
    let asked = run(&mut engine, &mut now, MINUTE, |_| addresses(3600));
    assert_eq!(asked.len() + MAX_IN_FLIGHT, 1200);
    let last = asked.last().unwrap().0 - begin;
    assert!(last >= Duration::from_millis(20 * 1199), "{last:?}");
}

#[test]
fn a_reload_asks_for_what_is_new_alone_and_forgets_what_is_gone() {
    let (mut engine, mut now) = engine(&["a.test", "b.test"]);
    run(&mut engine, &mut now, MINUTE, |_| addresses(7200));
    let mut next = wanted(&["b.test", "c.test"]);
    engine.want(next.clone(), resolvers(), now);
    let asked = run(&mut engine, &mut now, MINUTE, |_| addresses(7200));
    assert!(asked.iter().all(|(_, question, _)| &*question.name == "c.test"));
    assert_eq!((asked.len(), engine.counts(now).names), (3, 2));
    // Addresses learned under other rules are not good for these.
    next.names.get_mut("b.test").unwrap().insert("site/other".to_owned());
    engine.want(next, resolvers(), now);
    let asked = run(&mut engine, &mut now, MINUTE, |_| addresses(7200));
    assert!(asked.iter().all(|(_, question, _)| &*question.name == "b.test"));
    assert_eq!(asked.len(), 3);
    engine.want(NamesToResolve::default(), resolvers(), now);
    assert_eq!((engine.due(), engine.counts(now).names), (None, 0));
}

#[test]
fn an_answer_to_what_is_no_longer_wanted_changes_nothing() {
    let (mut engine, mut now) = engine(&["a.test"]);
    let (question, _) = engine.ask(now).unwrap();
    engine.want(wanted(&["b.test"]), resolvers(), now);
    engine.heard(&question, addresses(300), now);
    assert_eq!(engine.counts(now).names, 1);
    let asked = run(&mut engine, &mut now, MINUTE, |_| addresses(7200));
    assert_eq!(asked.len(), 3);
    // Wanted again while in flight: the question is asked once.
    engine.want(wanted(&["c.test"]), resolvers(), now);
    let (question, _) = engine.ask(now).unwrap();
    engine.want(NamesToResolve::default(), resolvers(), now);
    engine.want(wanted(&["c.test"]), resolvers(), now);
    engine.heard(&question, addresses(7200), now);
    let asked = run(&mut engine, &mut now, MINUTE, |_| addresses(7200));
    assert_eq!(asked.len(), 2);
}

#[test]
fn names_are_told_of_by_how_they_are() {
    let (mut engine, mut now) = engine(&["absent.test", "failing.test", "resolved.test"]);
    assert_eq!(engine.counts(now).waiting, 3);
    run(&mut engine, &mut now, Duration::from_secs(1), |question| match &*question.name {
        "absent.test" if question.kind != Kind::Https => QueryOutcome::Nothing,
        "failing.test" => QueryOutcome::Refused("Server Failure".to_owned()),
        // An old resolver answers so for every query of type HTTPS.
        "absent.test" => QueryOutcome::Refused("Not Implemented".to_owned()),
        _ if question.kind == Kind::Https => QueryOutcome::Nothing,
        _ => addresses(90),
    });
    let counts = engine.counts(now);
    assert_eq!((counts.absent, counts.failing, counts.resolved, counts.waiting), (1, 1, 1, 0));
    let later = now + Duration::from_secs(91);
    let counts = engine.counts(later);
    assert_eq!((counts.resolved, counts.waiting), (0, 1));
}
