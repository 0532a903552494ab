//! Random streams against real resolvers, judged by the resolvers' query logs.

use std::time::Instant;

use anyhow::{Result, ensure};
use hickory_proto::rr::RecordType;
use intune_filter_tests::{
    dns::lookup_over_tcp,
    records::Records,
    resolver::{BEYOND, Kind, Resolver, ResolverLocation},
    site::{ANSWER, MODES, eventually},
};

use crate::{
    coverage::Coverage,
    field::Field,
    messages,
    random::{cases, stay},
    run::Streams,
};

/// Streams against one resolver.
const CASES: u64 = 600;
/// The cases of all modes that this number is for.
const DEFAULT: u64 = 10_000;
/// Streams at once: fewer than connections that the resolvers accept.
const LIVE: usize = 8;
/// The last name that is asked for: when it is in the log, all is.
const LAST: &str = "last.web.test";

/// The names in a resolver's log of queries.
fn names(kind: Kind, log: &str) -> Vec<String> {
    let name = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = match kind {
            // dnsmasq[1]: query[A] www.web.test from 10.20.0.10
            Kind::Dnsmasq => words.iter().position(|word| word.starts_with("query["))? + 1,
            // [1] unbound[1:0] info: 10.20.0.10 www.web.test. A IN
            _ if words.last() == Some(&"IN") => words.len().checked_sub(3)?,
            _ => return None,
        };
        words.get(at).map(|word| (*word).to_owned())
    };
    log.lines().filter_map(name).collect()
}

fn against(kind: Kind, settings: &str) -> Result<()> {
    stay()?;
    let (streams, began) = (Streams::chosen(LIVE)?, Instant::now());
    println!("{kind}: INTUNE_SEED={}", streams.seed);
    let mut records = Records::default();
    for label in messages::LABELS {
        records.add(&messages::allowed(label));
        records.add(&messages::denied(label));
    }
    let mut coverage = Coverage::default();
    let (mut asked, mut wrong) = (0, Vec::new());
    let cases = cases(CASES, DEFAULT)?;
    for (share, mode) in (0..).zip(MODES) {
        let mut field = Field::create(mode)?;
        field.filter.start()?;
        let (network, directory) = (&field.network, field.directory());
        let resolver = Resolver::start_at(
            ResolverLocation::Beyond,
            kind,
            network,
            directory,
            &records,
            settings,
        )?;
        let numbers: Vec<u64> = (0..cases).filter(|number| number % 3 == share).collect();
        let (plain, cookies) = numbers.split_at(numbers.len() / 2);
        for (numbers, always) in [(plain, false), (cookies, true)] {
            field.use_cookies(always)?;
            match streams.run(&field, None, numbers.iter().copied()) {
                Ok(more) => coverage.add(&more),
                Err(error) => wrong.push(format!("{mode}: {error:#}")),
            }
        }
        for server in BEYOND {
            network.client.run(|| lookup_over_tcp(server, LAST, RecordType::A, ANSWER))?;
        }
        eventually("the last query is logged", || Ok(resolver.output().contains(LAST)))?;
        let names = names(kind, &resolver.output());
        asked += names.len();
        // What cannot be printed is not told.
        let denied = |name: &&String| !messages::is_allowed(name) && !name.starts_with('<');
        wrong.extend(names.iter().filter(denied).map(|name| format!("{mode}: asked for {name}")));
    }
    println!("{kind}, {:?}, {asked} queries in the log:\n{coverage}", began.elapsed());
    ensure!(wrong.is_empty(), "{kind}: seed {}\n{}", streams.seed, wrong.join("\n"));
    let least = coverage.answered as usize;
    ensure!(asked >= least, "of {least} honest queries {asked} are in the log");
    Ok(())
}

#[test]
fn random_streams_lead_dnsmasq_to_no_other_name() -> Result<()> {
    against(Kind::Dnsmasq, "log-queries\n")
}

#[test]
fn random_streams_lead_unbound_to_no_other_name() -> Result<()> {
    against(Kind::Unbound, "")
}
