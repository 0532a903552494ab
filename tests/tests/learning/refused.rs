//! A name of no service as real clients see it: dig takes the kernel's REFUSED for a sound answer,
//! glibc gives up at once; with `drop` both wait in vain. The resolver is never asked.

use std::{
    net::IpAddr,
    panic::resume_unwind,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_ebpf::abi::Reason;
use intune_filter_tests::{
    counters::Counters,
    glibc,
    namespace::Namespace,
    resolver::{Resolver, ResolverLocation},
    site::{self, CONFIG, MODES, UNLISTED, WEB, in_mode, tcp},
    testbed::{Setup, Testbed},
};

/// The name in letters that have to come back as they are.
const MIXED: &str = "wWw.uNlisted.TeSt";
/// Types that clients ask for.
const TYPES: [&str; 3] = ["A", "AAAA", "HTTPS"];

/// What makes dnsmasq log every question.
const LOGGING: &str = "log-queries\n";

/// How dig asks, the header's flags that it has to read then, and those of EDNS, if it has that.
type Form = (&'static [&'static str], &'static str, Option<&'static str>);

const FORMS: [Form; 12] = [
    (&[], "qr rd ra", Some("")),
    (&["+noedns"], "qr rd ra", None),
    (&["+noedns", "+norecurse"], "qr ra", None),
    (&["+bufsize=512"], "qr rd ra", Some("")),
    (&["+bufsize=4096"], "qr rd ra", Some("")),
    (&["+cookie=0123456789abcdef"], "qr rd ra", Some("")),
    (&["+nocookie"], "qr rd ra", Some("")),
    (&["+nsid"], "qr rd ra", Some("")),
    (&["+dnssec"], "qr rd ra", Some(" do")),
    (&["+dnssec", "+cdflag", "+bufsize=4096"], "qr rd ra cd", Some(" do")),
    (&["+subnet=192.0.2.0/24", "+padding=468"], "qr rd ra", Some("")),
    (&["+noadflag", "+norecurse"], "qr ra", Some("")),
];

/// A testbed with two resolvers, which log what they are asked.
struct Site {
    // Dropped in this order: the process before its namespace.
    on_gateway: Resolver,
    testbed: Testbed,
    /// What was counted before anybody asked.
    before: Counters,
}

impl Site {
    fn create(mode: &str, unlisted: &str) -> Result<Self> {
        let config = CONFIG.replace("dns:\n", &format!("dns:\n  unlisted: {unlisted}\n"));
        let config = in_mode(&config, mode);
        let place = Some(ResolverLocation::Beyond);
        let setup = Setup { config, place, settings: LOGGING, ..site::setup() };
        let mut testbed = Testbed::create(&setup)?;
        let Testbed { network, directory, .. } = &testbed;
        let on_gateway = Resolver::on_gateway(network, directory, &setup.records, LOGGING)?;
        testbed.filter.start()?;
        let before = testbed.filter.counters()?;
        Ok(Self { on_gateway, testbed, before })
    }

    fn resolvers(&self) -> [&Resolver; 2] {
        [&self.testbed.resolver, &self.on_gateway]
    }

    fn servers(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.resolvers().into_iter().flat_map(Resolver::addresses)
    }

    /// Asks with dig in every form, and returns how many questions that were.
    fn dig_refusals(&self, server: IpAddr) -> Result<u64> {
        for (id, (options, flags, edns)) in (0x1234..).zip(FORMS) {
            let qid = format!("+qid={id}");
            let mut words = vec!["+time=2", &qid];
            words.extend(options);
            words.extend(TYPES.iter().flat_map(|kind| [MIXED, kind]));
            let output = dig(&self.testbed.network.client, server, &words)?;
            let what = || format!("dig {words:?}: {output:?}");
            ensure!(output.status.success() && output.stderr.is_empty(), "{}", what());
            let (found, expected) = (lines(&output.stdout), refusals(id, flags, edns));
            ensure!(found == expected, "{}: {found:#?} is not {expected:#?}", what());
        }
        Ok((FORMS.len() * TYPES.len()) as u64)
    }

    fn dig_in_vain(&self, server: IpAddr) -> Result<()> {
        let output = dig(&self.testbed.network.client, server, &["+time=1", UNLISTED, "A"])?;
        // "No reply from server."
        ensure!(output.status.code() == Some(9), "{output:?}");
        let timed_out = |line: &String| line.ends_with("timed out");
        ensure!(lines(&output.stdout).iter().any(timed_out), "{output:?}");
        Ok(())
    }

    /// Looks [`UNLISTED`] up in vain with glibc, in one attempt of so many seconds; returns how long
    /// it took.
    fn look_up_in_vain(&self, server: IpAddr, options: &str, seconds: u64) -> Result<Duration> {
        let options = format!("options timeout:{seconds} attempts:1\n{options}");
        // With a dot at its end no other name is tried.
        let words = ["getent", "ahosts", &format!("{UNLISTED}.")];
        let mut command = glibc::command(&self.testbed, &server.to_string(), &options, &words)?;
        let started = Instant::now();
        let output = command.output().context("cannot run getent")?;
        let elapsed = started.elapsed();
        // "One or more supplied key could not be found."
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
        Ok(elapsed)
    }

    /// Checks that glibc finds a listed name, and that what it finds is reached.
    fn reach_listed(&self, server: IpAddr, options: &str) -> Result<()> {
        let mut expected = site::setup().records.get(WEB[0]).context("the web has addresses")?;
        expected.sort();
        let found = glibc::getaddrinfo(&self.testbed, &server.to_string(), options, WEB[0])?;
        ensure!(found == expected, "{found:?}");
        found.into_iter().try_for_each(|address| self.testbed.expect_reached(tcp(address, 443)))
    }

    /// Checks that so many questions were denied and nothing else was, and that no resolver saw one.
    fn expect_unasked(&self, questions: u64) -> Result<()> {
        let filter = &self.testbed.filter;
        let denied = filter.counters()?.since(&self.before).denials();
        let mut expected = Counters::default();
        expected.add(Reason::DnsUnlisted.as_str(), questions);
        ensure!(denied == expected, "{denied}, and not {expected}");
        let status = filter.succeed(&["status"])?;
        let told = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&"dns_unlisted") && words.contains(&&*questions.to_string())
        };
        ensure!(status.lines().any(told), "{status}");
        for resolver in self.resolvers() {
            // It would have answered, and logged that.
            let [server, _] = resolver.addresses();
            let asked = dig(&self.testbed.network.gateway, server, &[UNLISTED, "A"])?;
            ensure!(String::from_utf8_lossy(&asked.stdout).contains("NOERROR"), "{asked:?}");
            resolver.wait_for(&format!("query[A] {UNLISTED} "))?;
            let log = resolver.output().to_lowercase();
            let is_query = |line: &&str| line.contains("query[") && line.contains(UNLISTED);
            let queries: Vec<&str> = log.lines().filter(is_query).collect();
            ensure!(queries.len() == 1, "it was asked: {queries:?}");
        }
        Ok(())
    }
}

fn dig(from: &Namespace, server: IpAddr, words: &[&str]) -> Result<Output> {
    let mut command = from.command("dig");
    command.args(["+nocmd", "+nostats", "+tries=1"]).arg(format!("@{server}")).args(words);
    command.output().context("cannot run dig")
}

/// What dig prints of sound refusals of [`MIXED`]; more than this would be a complaint.
fn refusals(id: u16, flags: &str, edns: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    for kind in TYPES {
        let additional = u8::from(edns.is_some());
        lines.extend([
            ";; Got answer:".to_owned(),
            format!(";; ->>HEADER<<- opcode: QUERY, status: REFUSED, id: {id}"),
            format!(
                ";; flags: {flags}; QUERY: 1, ANSWER: 0, AUTHORITY: 0, ADDITIONAL: {additional}",
            ),
        ]);
        if let Some(flags) = edns {
            lines.push(";; OPT PSEUDOSECTION:".to_owned());
            lines.push(format!("; EDNS: version: 0, flags:{flags}; udp: 1232"));
        }
        lines.push(";; QUESTION SECTION:".to_owned());
        lines.push(format!(";{MIXED}. IN {kind}"));
    }
    lines
}

/// Lines that are not empty, each gap one space.
fn lines(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|line| !line.is_empty()).collect()
}

#[test]
fn refused_dig_reads_a_sound_answer_and_glibc_gives_up_at_once() -> Result<()> {
    // Who takes no notice of the refusal waits that long.
    const SECONDS: u64 = 5;
    // And how many questions are asked: where it is one after the other, no second one.
    const OPTIONS: [(&str, u64); 4] = [
        ("", 2),
        ("options single-request\n", 1),
        ("options edns0\n", 2),
        ("options edns0 trust-ad\n", 2),
    ];

    for mode in MODES {
        let site = Site::create(mode, "refuse")?;
        let (mut slowest, mut asked) = (Duration::ZERO, 0);
        for server in site.servers() {
            asked += site.dig_refusals(server).with_context(|| format!("{mode}, {server}"))?;
            for (options, questions) in OPTIONS {
                let what = || format!("{mode}, {server}, {options:?}");
                let elapsed = site.look_up_in_vain(server, options, SECONDS).with_context(what)?;
                ensure!(elapsed.as_secs() < SECONDS, "{}: after {elapsed:?}", what());
                slowest = slowest.max(elapsed);
                asked += questions;
                site.reach_listed(server, options).with_context(what)?;
            }
        }
        println!("{mode}: {asked} questions refused, glibc gave up after {slowest:?} at most");
        site.expect_unasked(asked).with_context(|| mode.to_owned())?;
    }
    Ok(())
}

/// Also by clients that are told of other denials, as those of this site are.
#[test]
fn dropped_both_wait_in_vain() -> Result<()> {
    // The least that either client can be told to wait.
    const SECONDS: u64 = 1;

    for mode in MODES {
        let site = &Site::create(mode, "drop")?;
        let waited = thread::scope(|scope| {
            let digs: Vec<_> = site
                .servers()
                .map(|server| scope.spawn(move || site.dig_in_vain(server)))
                .collect();
            for server in site.testbed.resolver.addresses() {
                let elapsed = site.look_up_in_vain(server, "", SECONDS)?;
                ensure!(elapsed.as_secs() >= SECONDS, "{server}: after {elapsed:?}");
            }
            digs.into_iter()
                .try_for_each(|dig| dig.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        waited.with_context(|| mode.to_owned())?;
        // One question of each dig, two of each of glibc's clients.
        site.expect_unasked(4 + 2 * 2).with_context(|| mode.to_owned())?;
    }
    Ok(())
}
