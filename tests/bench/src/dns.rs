//! What DNS messages cost in the kernel: queries and their answers, one after the other and each of
//! a name of its own where it can be, timed by the kernel that runs the programs over them.
//!
//! The time of the program for a frame that carries no IP is subtracted.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use intune_filter::config::Config;
use intune_filter_ebpf::abi::{Host, Pending, PendingKey, V4, V6};

use super::{Bound, Effort, Findings, Goal, Measurement};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, HookPoint, IngressHook, LoadedFilter, Message,
    drain::{Drain, count_no_hosts},
    message::{A, QUESTION, Section, name},
    run_at,
    site::LAN,
};

/// Messages of each kind, for each run that is asked for.
const MESSAGES: usize = 40;
/// Patterns in the tables.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
const SERVICES: usize = 20;
const HTTPS: u16 = 65;
const TXT: u16 = 16;

/// Measures queries with tables of several sizes, and answers.
pub fn run(effort: Effort) -> Result<Findings> {
    let mut all = Findings::default();
    let mut failed = None;
    run_at(IngressHook::Xdp, "", "", |filter| {
        let measured = queries(filter, effort).and_then(|queries| {
            let answers = answers(filter, effort)?;
            Ok(Findings { goals: goals(&queries, &answers), ..[queries, answers].concat().into() })
        });
        match measured {
            Ok(findings) => all = findings,
            Err(error) => failed = Some(error),
        }
    });
    failed.map_or(Ok(all), Err)
}

/// Goals of the figures. The last query is one of a kind, the first answer the usual one.
fn goals(queries: &[Measurement], answers: &[Measurement]) -> Vec<Goal> {
    let sizes = queries.len() / SIZES.len();
    let (few, many) = (&queries[..sizes], &queries[(SIZES.len() - 1) * sizes..]);
    let mut goals: Vec<Goal> = few
        .iter()
        .zip(many)
        .map(|(few, many)| {
            let name = format!("{}, to {}", many.name, few.name);
            Goal::ratio(name, many, few, Bound::AtMost(1.3))
        })
        .collect();
    goals.push(Goal::figure(&answers[0], Bound::AtMost(1_000.0)));
    let all = queries.iter().chain(answers);
    let slowest = all.max_by(|one, other| one.median().total_cmp(&other.median()));
    goals.extend(slowest.map(|slowest| Goal::figure(slowest, Bound::AtMost(10_000.0))));
    goals
}

/// A third each of names, of names with everything below, and of globs.
fn config(patterns: usize) -> Result<Config> {
    let services = (0..SERVICES).map(|service| format!("s{service}"));
    let mut text = format!(
        "interfaces: [{{name: eth1}}]\n\
         clients:\n  - {{name: lan, networks: [10.20.0.0/24], services: [{}]}}\n\
         dns: {{resolvers: [192.0.2.53]}}\nlimits: {{queries: off}}\nservices:\n",
        services.collect::<Vec<_>>().join(", ")
    );
    for service in 0..SERVICES {
        let own = (service..patterns).step_by(SERVICES).map(|number| match number % 3 {
            0 => format!("h{number}.exact.test"),
            1 => format!("\"*.z{number}.wild.test\""),
            _ => format!("\"p*.z{number}.glob.test\""),
        });
        let mut own: Vec<String> = own.collect();
        own.push(format!("\"*.s{service}.one\""));
        let fqdns = own.join(", ");
        let _ = writeln!(text, "  - {{id: s{service}, title: S, fqdns: [{fqdns}], tcp: [443]}}");
    }
    Config::parse("bench.yaml", &text).map_err(anyhow::Error::new)
}

fn queries(filter: &mut LoadedFilter, effort: Effort) -> Result<Vec<Measurement>> {
    let mut all = Vec::new();
    for size in SIZES {
        filter.install(&config(size)?)?;
        let mut bench = Bench::new(filter, effort)?;
        // Numbers of the kind: those that leave this rest.
        let number = |index: usize, rest| index * 3 % (size - 3) / 3 * 3 + rest;
        let of = |what| format!("query, {size} patterns: {what}");
        all.push(
            bench
                .query(of("a name"), |index| name(&format!("h{}.exact.test", number(index, 0))))?,
        );
        all.push(bench.query(of("below a name"), |index| {
            name(&format!("host.z{}.wild.test", number(index, 1)))
        })?);
        all.push(bench.query(of("a part of a label"), |index| {
            name(&format!("part{index}.z{}.glob.test", number(index, 2)))
        })?);
        all.push(
            bench.query(of("none, refused"), |index| {
                name(&format!("h{index}.unknown{index}.test"))
            })?,
        );
    }
    let mut bench = Bench::new(filter, effort)?;
    all.push(bench.query("query of 127 labels".to_owned(), |_| longest("s1.one"))?);
    Ok(all)
}

fn answers(filter: &mut LoadedFilter, effort: Effort) -> Result<Vec<Measurement>> {
    let mut bench = Bench::new(filter, effort)?;
    let mut all = Vec::new();
    let mut add = |what: &str, answer: &dyn Fn(usize) -> (Vec<u8>, AddRecords)| {
        all.push(bench.answer(format!("answer, {what}"), answer)?);
        Ok::<_, anyhow::Error>(())
    };
    let own = |index: usize| name(&format!("host{index}.s{}.one", index % SERVICES));
    add("1 CNAME and 4 A", &|index| {
        let target = name(&format!("edge{index}.cdn.test"));
        let records = move |message: Message| many(message.alias(&QUESTION, &target), &target, 4);
        (own(index), Box::new(records))
    })?;
    // As many as the kernel learns.
    add("14 A", &|index| (own(index), Box::new(|message| many(message, &QUESTION, 14))))?;
    add("64 A, left to userspace", &|index| {
        (own(index), Box::new(|message| many(message, &QUESTION, 64)))
    })?;
    add("64 hints in 13 HTTPS records, left to userspace", &|index| (own(index), Box::new(hints)))?;
    add("hostile: 16 CNAMEs last to first, behind 47 others", &|index| {
        let question = own(index);
        (question.clone(), Box::new(move |message| chain(message, &question, index)))
    })?;
    add("hostile: 64 names of 125 labels", &|_| {
        (longest("s1.one"), Box::new(|message| deep(message, false)))
    })?;
    add("hostile: 64 A of a name of 125 labels, left to userspace", &|_| {
        (longest("s1.one"), Box::new(|message| many(message, &QUESTION, 64)))
    })?;
    add("hostile: 64 CNAMEs between names of 125 labels", &|_| {
        (longest("s1.one"), Box::new(|message| deep(message, true)))
    })?;
    add("3 KiB of other records", &|index| {
        (
            own(index),
            Box::new(|message| {
                (0..12).fold(message, |message, _| {
                    message.record(Section::Answer, &QUESTION, TXT, 300, &[b't'; 250])
                })
            }),
        )
    })?;
    Ok(all)
}

/// Adds records to what repeats the question.
type AddRecords = Box<dyn FnOnce(Message) -> Message>;

fn address(host: u8) -> IpAddr {
    IpAddr::from([20, 0, 0, host])
}

/// Adds `count` addresses of a name.
fn many(message: Message, owner: &[u8], count: u8) -> Message {
    (0..count).fold(message, |message, host| message.address(owner, 300, address(host)))
}

/// A name of 255 octets, of as many labels as there can be.
fn longest(end: &str) -> Vec<u8> {
    let end = name(end);
    let labels = (255 - end.len()) / 2;
    [b"\x01l".repeat(labels), end].concat()
}

/// 16 CNAMEs of which the last comes first, behind others that have to be looked at each time.
fn chain(message: Message, question: &[u8], index: usize) -> Message {
    let link = |at: usize| match at {
        0 => question.to_vec(),
        _ => name(&format!("n{at}.chain{index}.test")),
    };
    let others = (0..47)
        .fold(message, |message, at| message.alias(&name(&format!("o{at}.test")), &name("t.test")));
    let links = (0..16).rev().fold(others, |message, at| message.alias(&link(at), &link(at + 1)));
    links.address(&link(16), 300, address(1))
}

/// As many hints as are read.
fn hints(message: Message) -> Message {
    let record = |hosts: std::ops::Range<u8>| {
        let addresses: Vec<u8> = hosts.flat_map(|host| [20, 0, 0, host]).collect();
        let length = [0, addresses.len() as u8];
        [&[0, 1, 0, 0, 4][..], &length, &addresses].concat()
    };
    (0..64_u8).step_by(5).fold(message, |message, first| {
        let data = record(first..(first + 5).min(64));
        message.record(Section::Answer, &QUESTION, HTTPS, 300, &data)
    })
}

/// 64 records whose names are pointers into the question's, each to another place than those that
/// were read just before.
fn deep(message: Message, aliases: bool) -> Message {
    let pointer = |at: usize| (0xc000 | (12 + 2 * (at % 4)) as u16).to_be_bytes();
    (0..64).fold(message, |message, record| {
        let owner = pointer(2 * record + usize::from(record % 2 == 1) * 4);
        if aliases {
            message.alias(&owner, &pointer(2 * record + 1))
        } else {
            message.record(Section::Answer, &owner, A, 300, &[20, 0, 0, 1])
        }
    })
}

/// The programs, and the maps that are emptied between messages.
struct Bench<'f> {
    filter: &'f mut LoadedFilter,
    who: Addresses,
    hosts4: Drain<V4, Host>,
    hosts6: Drain<V6, Host>,
    pending: Drain<PendingKey, Pending>,
    messages: usize,
    ingress: Duration,
    egress: Duration,
}

impl<'f> Bench<'f> {
    fn new(filter: &'f mut LoadedFilter, effort: Effort) -> Result<Self> {
        count_no_hosts(filter.pins())?;
        let mut bench = Self {
            who: Addresses::both()[0],
            hosts4: Drain::open(filter.pins(), "HOSTS4")?,
            hosts6: Drain::open(filter.pins(), "HOSTS6")?,
            pending: Drain::open(filter.pins(), "DNS_PENDING")?,
            messages: effort.runs * MESSAGES,
            ingress: Duration::ZERO,
            egress: Duration::ZERO,
            filter,
        };
        let mut arp = vec![2; 60];
        arp[12..14].copy_from_slice(&[8, 6]);
        bench.ingress = bench.least(HookPoint::Ingress(LAN), &arp)?;
        bench.egress = bench.least(HookPoint::Egress(LAN), &arp)?;
        Ok(bench)
    }

    /// Time of a program for a frame that it does nothing with: the median.
    fn least(&self, place: HookPoint, frame: &[u8]) -> Result<Duration> {
        let times = (0..self.messages).map(|_| self.filter.time(place, frame));
        let median = Measurement::times("", times.collect::<Result<Vec<_>>>()?).median();
        Ok(Duration::from_nanos(median as u64))
    }

    fn query(&mut self, what: String, question: impl Fn(usize) -> Vec<u8>) -> Result<Measurement> {
        let mut times = Vec::new();
        for index in 0..self.messages {
            let query = Message::header(index as u16, 0x0100).question(&question(index), A);
            times.push(self.ask(&query)?.saturating_sub(self.ingress));
            self.forget()?;
        }
        Ok(Measurement::times(what, times))
    }

    fn answer(
        &mut self,
        what: String,
        make: impl Fn(usize) -> (Vec<u8>, AddRecords),
    ) -> Result<Measurement> {
        let mut times = Vec::new();
        for index in 0..self.messages {
            let (question, records) = make(index);
            let query = Message::header(index as u16, 0x0100).question(&question, A);
            self.ask(&query)?;
            let answer = records(query.answered());
            let frame = Datagram::new(self.who.resolver, self.who.client);
            let frame = frame.udp(53, 40_000, answer.octets()).frame();
            let time = self.filter.time(HookPoint::Egress(LAN), &frame);
            times.push(time.context(what.clone())?.saturating_sub(self.egress));
            self.forget()?;
        }
        Ok(Measurement::times(what, times))
    }

    fn ask(&self, query: &Message) -> Result<Duration> {
        let frame = Datagram::new(self.who.client, self.who.resolver);
        self.filter.time(HookPoint::Ingress(LAN), &frame.udp(40_000, 53, query.octets()).frame())
    }

    fn forget(&mut self) -> Result<()> {
        self.hosts4.take()?;
        self.hosts6.take()?;
        self.pending.take()?;
        self.filter.events();
        Ok(())
    }
}
