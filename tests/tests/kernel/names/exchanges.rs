//! Random queries and answers: the loaded programs do what the same code does on the host, and learn
//! what the model says, which reads messages with a library that is not ours.
//!
//! `INTUNE_CASES` sets how many.

use std::{collections::BTreeMap, net::IpAddr};

use aya::maps::{HashMap, MapData};
use intune_filter_ebpf::{
    abi::{Active, Host, Pending, PendingKey, RuleMask, V4, V6, ZoneKey},
    dns::target_key,
    host::{self, Tables},
    verdict::{self, Action},
};
use intune_filter_tests::prog_test_run::{
    Addresses, LoadedFilter,
    drain::{Drain, count_no_hosts},
    fate::Fate,
    filter::HookPoint,
    ingress_hook::IngressHook,
    run,
    site::LAN,
    state,
};

use super::{answered, asked, config};
use super::{
    choices::{Choices, words},
    message::Name,
    model::{Learned, Outcome, Terms, is_listed, outcome},
    random::{exchange, follow_up},
    recorded::{self, text},
};

const IFINDEX: u32 = 1;
/// Index of the device that all routes lead out of, on the host.
const BEYOND: u32 = 2;
const SECOND: u64 = 1_000_000_000;

#[test]
fn random_exchanges_in_the_kernel_and_on_the_host() {
    let cases = std::env::var("INTUNE_CASES").ok();
    let cases = cases.map_or(4_000, |text| text.parse().expect("INTUNE_CASES is a number"));
    // Each program that judges queries gets its half.
    run("", "", |filter| {
        let mut bench = Bench::new(filter);
        let mut seen = BTreeMap::new();
        let first = if filter.hook() == IngressHook::Xdp { 0 } else { cases / 2 };
        for case in first..first + cases / 2 {
            let words = words(case);
            let mut choices = Choices::new(&words);
            let who = Addresses::both()[choices.below(2)];
            let exchange = exchange(&mut choices);
            let what = || format!("case {case}: {}", text(&exchange.query, &exchange.answer));
            let (query, answer) = (&exchange.query, &exchange.answer);
            let outcome = bench.compare(filter, &who, query, answer, &Learned::new(), what);
            *seen
                .entry(outcome.as_ref().map_or("untested", |(outcome, _)| outcome.kind()))
                .or_insert(0) += 1;
            let Some((Outcome::Teaches(..), learned)) = outcome else { continue };
            // A client asks for what it was led to.
            let of_target = |address: &IpAddr| V6::from(*address).is_target();
            let known: Learned =
                learned.into_iter().filter(|(address, _)| of_target(address)).collect();
            let is_target = |name: &Name| known.contains_key(&bench.key_of(&wire(name)));
            let Some(next) = follow_up(&mut choices, &exchange, is_target) else { continue };
            let what = || {
                let before = text(&exchange.query, &exchange.answer);
                format!("case {case}: {before}, then {}", text(&next.query, &next.answer))
            };
            let done = bench.compare(filter, &who, &next.query, &next.answer, &known, what);
            if done.is_some_and(|(outcome, _)| matches!(outcome, Outcome::Teaches(..))) {
                *seen.entry("follow-up").or_insert(0) += 1;
            }
        }
        println!("exchanges {first} to {}: {seen:?}", first + cases / 2);
        let least = cases / 2 / 100;
        for kind in ["foreign", "passes", "malformed", "nothing", "refused", "teaches", "follow-up"]
        {
            assert!(seen.get(kind) >= Some(&least), "{kind}: {seen:?}");
        }
        assert!(seen.get("untested") <= Some(&(cases / 20)), "{seen:?}");
    });
}

#[test]
fn every_recorded_exchange_ends_as_its_file_says() {
    run("", "", |filter| {
        let mut bench = Bench::new(filter);
        for (name, file) in recorded::FILES {
            let recorded = recorded::read(name, file);
            for who in Addresses::both() {
                let what = || name.to_owned();
                let (query, answer, none) = (&recorded.query, &recorded.answer, Learned::new());
                let done = bench.compare(filter, &who, query, answer, &none, what);
                let (outcome, learned) = done.expect("the kernel takes the frame");
                assert_eq!(outcome.kind(), recorded.outcome, "{name}");
                let now = bench.host.now.get();
                let learned = learned.into_iter();
                let learned = learned.map(|(at, (_, expires))| (at, (expires - now) / SECOND));
                assert_eq!(learned.collect::<BTreeMap<_, _>>(), recorded.learned, "{name}");
            }
        }
    });
}

/// The host's build of the logic, with the same policy, and the maps of the kernel's.
struct Bench {
    host: Tables,
    hosts4: Drain<V4, Host>,
    hosts6: Drain<V6, Host>,
    pending: Drain<PendingKey, Pending>,
    /// Rules of the names below `one` and `two`.
    rules: [RuleMask; 2],
}

impl Bench {
    fn new(filter: &mut LoadedFilter) -> Self {
        let config = config(&[vec!["*.one"], vec!["*.two"]]);
        filter.install(&config).expect("the policy goes into the maps");
        let mut host = Tables::default();
        host.policies[1] = host::PolicyMaps::from(filter.policy());
        // Both give a target the same key.
        let seed = filter.pins().active().expect("a policy is in force").seed;
        host.active.set(Active { generation: 1, reserved: 0, seed });
        let own = Addresses::both().map(|who| who.gateway.into());
        host.own_addresses = own.into();
        let zone = filter.policy().zones[0].number;
        host.zones.insert(ZoneKey { ifindex: IFINDEX, vlan: 0 }, zone);
        host.routes.insert(0, &[], BEYOND);
        let rule = |service: &str| {
            let mut rules = filter.policy().rules.iter();
            let rule = rules.find(|(_, rule)| rule.id.service == service);
            RuleMask::of(*rule.expect("a rule").0)
        };
        let drained = "the map is there";
        count_no_hosts(filter.pins()).expect(drained);
        Self {
            host,
            hosts4: Drain::open(filter.pins(), "HOSTS4").expect(drained),
            hosts6: Drain::open(filter.pins(), "HOSTS6").expect(drained),
            pending: Drain::open(filter.pins(), "DNS_PENDING").expect(drained),
            rules: [rule("s0"), rule("s1")],
        }
    }

    /// Runs one exchange in the kernel and on the host, and compares both with the model. Returns
    /// its outcome and what was learned; `None` if the kernel runs no program over as large a frame.
    fn compare(
        &mut self,
        filter: &mut LoadedFilter,
        who: &Addresses,
        query: &[u8],
        answer: &[u8],
        known: &Learned,
        what: impl Fn() -> String,
    ) -> Option<(Outcome, Learned)> {
        let frames = (asked(who, query), answered(who, answer));
        self.forget();
        self.know(filter, known);
        filter.events();
        let before = state::now().expect("the clock runs");
        self.host.now.set(before);
        let asked = filter.judge(HookPoint::Ingress(LAN), &frames.0).ok()?;
        let heard = filter.judge(HookPoint::Egress(LAN), &frames.1).ok()?;
        let late = state::now().expect("the clock runs") - before;

        let place = verdict::Arrival { ifindex: IFINDEX, stripped_tag: None, came_by: IFINDEX };
        let verdict = self.host.ingress(&frames.0, place);
        assert_eq!(done(&asked), said(verdict.action), "the query, {}", what());
        let verdict = self.host.egress(&frames.1, verdict::Arrival { came_by: BEYOND, ..place });
        assert_eq!(done(&heard), said(verdict.action), "the answer, {}", what());

        let outcome = self.model(query, answer, known, before);
        let mut expected = known.clone();
        if let Outcome::Teaches(learned, ..) = &outcome {
            for (address, (rules, expires)) in learned {
                let (all, until) = expected.entry(*address).or_insert((*rules, *expires));
                (*all, *until) = (*all | *rules, (*until).max(*expires));
            }
        }
        let passes = outcome != Outcome::Foreign;
        assert_eq!(passes, heard == Fate::Passed, "the answer by the model, {}", what());
        assert_eq!(learned_by(&self.host), expected, "host and model, {}", what());
        let learned = self.learned();
        // The kernel's clock has gone on a little.
        for (address, (_, expires)) in &mut expected {
            if let Some((_, found)) = learned.get(address)
                && found.checked_sub(*expires).is_some_and(|more| more <= late)
            {
                *expires = *found;
            }
        }
        assert_eq!(learned, expected, "kernel and model, {}", what());
        Some((outcome, learned))
    }

    fn model(&self, query: &[u8], answer: &[u8], known: &Learned, now: u64) -> Outcome {
        let policy = &self.host.policies[1];
        let settings = &policy.settings;
        let terms = Terms {
            now,
            known,
            key_of: &|name| self.key_of(name),
            ttl: [settings.ttl_min, settings.ttl_max, settings.ttl_grace],
            rules_below: &|label| match label {
                b"one" => self.rules[0],
                b"two" => self.rules[1],
                _ => RuleMask::EMPTY,
            },
            is_acceptable: &|address| {
                let value = match address {
                    IpAddr::V4(v4) => policy.answers4.get(&v4.octets()),
                    IpAddr::V6(v6) => policy.answers6.get(&v6.octets()),
                };
                value != Some(0) && !self.host.own_addresses.contains(&address.into())
            },
        };
        if is_listed(query, &terms) { outcome(query, answer, &terms) } else { Outcome::Foreign }
    }

    /// Returns the key of a target, by its name on the wire.
    fn key_of(&self, name: &[u8]) -> IpAddr {
        std::net::Ipv6Addr::from(target_key(self.host.active.get().seed, name)).into()
    }

    /// Enters targets, in both.
    fn know(&self, filter: &LoadedFilter, targets: &Learned) {
        let (pins, opened) = (filter.pins(), "the map takes a target");
        for (key, (rules, expires)) in targets {
            let host = Host { rules: *rules, expires: *expires, ..Host::default() };
            let key = V6::from(*key);
            let mut map = pins.map::<HashMap<MapData, V6, Host>>("HOSTS6").expect(opened);
            map.insert(key, host, 0).expect(opened);
            self.host.hosts6.borrow_mut().insert(key, host);
        }
    }

    /// Forgets what was asked and learned, in both.
    fn forget(&mut self) {
        self.learned();
        self.pending.take().expect("the map can be emptied");
        self.host.hosts4.borrow_mut().clear();
        self.host.hosts6.borrow_mut().clear();
        self.host.pending.borrow_mut().clear();
        self.host.answers.borrow_mut().clear();
        self.host.denied.borrow_mut().clear();
    }

    /// Takes the addresses that the kernel has learned.
    fn learned(&mut self) -> Learned {
        let four = self.hosts4.take().expect("the map can be emptied").into_iter();
        let six = self.hosts6.take().expect("the map can be emptied").into_iter();
        let four = four.map(|(at, host)| (std::net::Ipv4Addr::from(at).into(), value(&host)));
        four.chain(six.map(|(at, host)| (std::net::Ipv6Addr::from(at).into(), value(&host))))
            .collect()
    }
}

fn learned_by(host: &Tables) -> Learned {
    let (four, six) = (host.hosts4.borrow(), host.hosts6.borrow());
    let four = four.iter().map(|(at, host)| (std::net::Ipv4Addr::from(*at).into(), value(host)));
    let six = six.iter().map(|(at, host)| (std::net::Ipv6Addr::from(*at).into(), value(host)));
    four.chain(six).collect()
}

/// Returns the octets of a name on the wire, in lower case.
fn wire(name: &Name) -> Vec<u8> {
    name.wire().to_ascii_lowercase()
}

const fn value(host: &Host) -> (RuleMask, u64) {
    (host.rules, host.expires)
}

const fn said(action: Action) -> &'static str {
    match action {
        Action::Pass => "pass",
        Action::Drop => "drop",
        Action::Refuse | Action::Reject => "answer",
    }
}

const fn done(fate: &Fate) -> &'static str {
    match fate {
        Fate::Passed => "pass",
        Fate::Dropped => "drop",
        Fate::Answered(_) => "answer",
    }
}
