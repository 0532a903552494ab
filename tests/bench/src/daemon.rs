//! Cost of the daemon: time to enforce and to take over a configuration, memory and processor.
//!
//! The daemon has the whole catalogue, and a resolver that knows every exact name of it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter::{
    kernel::Pins,
    policy::{Loaded, RuleBits, load_text},
};

use super::{Bound, Chart, Effort, Findings, Goal, Measurement, Unit};
use intune_filter_tests::{
    network::LAN,
    prog_test_run::{
        Datagram, Fate, Message, Runner,
        message::{A, QUESTION},
    },
    records::Records,
    resolver::BEYOND,
    site::{eventually, eventually_within},
    testbed::{Setup, Testbed},
};

/// Names that a client has resolved, where there are many.
const NAMES: u32 = 100_000;
/// Clients that resolve them.
const CLIENTS: u32 = 200;
/// Answers that are learned before the daemon is awaited: fewer than its ring has room for.
const AT_ONCE: u32 = 5_000;
/// Time in which an idle daemon is watched in each run: all runs together see its tasks of once a
/// minute.
const WATCH: Duration = Duration::from_millis(1200);
/// Time for all the catalogue's exact names: the daemon asks 50 questions a second at most, and three
/// for each name.
const RESOLVED: Duration = Duration::from_secs(120);
/// Seconds without a question after which all are answered.
const QUIET: u64 = 5;
const MIB: f64 = 1024.0 * 1024.0;

/// The whole catalogue, and a service of the site's own which every revision has another name for.
fn config(revision: usize) -> String {
    format!(
        "interfaces: [{{name: {LAN}}}]\n\
         region: all\n\
         clients: [{{name: all, networks: [10.20.0.0/24, \"fd00:20::/64\"], services: [all, own]}}]\n\
         dns:\n  resolvers: [10.20.0.1, \"fd00:20::1\", {}]\n  \
           allow_private: [198.18.0.0/15, \"2001:2::/48\"]\n\
         limits: {{queries: off, flows: off}}\n\
         services: [{{id: own, fqdns: [\"*.web.test\", \"*.r{revision}.test\"], tcp: [443]}}]\n",
        BEYOND[0]
    )
}

/// Measures all of it.
pub fn run(effort: Effort) -> Result<Findings> {
    let mut daemon = Daemon::create()?;
    let mut findings = Findings::default();
    daemon.starts(effort, &mut findings)?;
    daemon.idle(effort, &mut findings)?;
    daemon.reloads(effort, &mut findings)?;
    daemon.grow(&mut findings)?;
    let times = findings.measurements.iter().filter(|one| one.unit == Unit::Time);
    findings.charts.push(Chart {
        title: "Until the daemon is done".into(),
        unit: Unit::Time,
        variants: ["median", "greatest"].map(str::to_owned).to_vec(),
        rows: times
            .map(|one| (one.name.clone(), vec![Some(one.median()), Some(one.greatest())]))
            .collect(),
    });
    Ok(findings)
}

struct Daemon {
    testbed: Testbed,
    revision: usize,
}

impl Daemon {
    fn create() -> Result<Self> {
        let text = config(0);
        let Loaded { policy, .. } = load_text("bench.yaml", &text, |_| {}, &RuleBits::new())?;
        let mut records = Records::default();
        for pattern in policy.rules.values().flat_map(|rule| &rule.fqdns) {
            for name in pattern.names() {
                records.add(&name);
            }
        }
        let testbed = Testbed::create(&Setup { config: text, records, ..Setup::default() })?;
        Ok(Self { testbed, revision: 0 })
    }

    /// Starts without anything in the kernel, and with all that an earlier daemon has left there.
    fn starts(&mut self, effort: Effort, findings: &mut Findings) -> Result<()> {
        let [mut cold, mut warm] = [Vec::new(), Vec::new()];
        let filter = &mut self.testbed.filter;
        for _ in 0..effort.runs {
            for times in [&mut cold, &mut warm] {
                let begun = Instant::now();
                filter.start()?;
                times.push(begun.elapsed());
                filter.stop()?;
            }
            filter.succeed(&["detach"])?;
        }
        filter.start()?;
        for (what, times) in
            [("start to enforcing, nothing pinned", cold), ("start to enforcing, all pinned", warm)]
        {
            add(findings, Measurement::times(what, times), 300e6);
        }
        Ok(())
    }

    /// Memory and processor when every exact name is resolved and nothing else happens.
    fn idle(&mut self, effort: Effort, findings: &mut Findings) -> Result<()> {
        eventually_within(RESOLVED, "every exact name is resolved and nothing is asked", || {
            let status = self.testbed.filter.json(&["status"])?;
            let resolution = &status["daemon"]["resolution"];
            let names = resolution["names"].as_u64().context("no names are resolved")?;
            ensure!(names > 0, "there are no names to resolve");
            // Each has several questions.
            let quiet = resolution["next_in_s"].as_u64().is_some_and(|seconds| seconds > QUIET);
            Ok(resolution["resolved"] == names && quiet)
        })?;
        let process = self.testbed.filter.daemon()?.id();
        let (before, begun) = (processor(process)?, Instant::now());
        let time = WATCH * u32::try_from(effort.runs)?;
        thread::sleep(time);
        let share = (processor(process)? - before).as_secs_f64() / begun.elapsed().as_secs_f64();
        let name = format!("processor, idle for {} s", time.as_secs());
        add(findings, Measurement::new(name, Unit::Share, vec![share]), 0.001);
        let memory = resident(process)?;
        add(findings, Measurement::new("memory, idle", Unit::Memory, vec![memory]), 30.0 * MIB);
        Ok(())
    }

    /// From the command to its end, when the new policy is in force.
    fn reloads(&mut self, effort: Effort, findings: &mut Findings) -> Result<()> {
        let mut times = Vec::new();
        for _ in 0..effort.runs {
            self.revision += 1;
            self.testbed.filter.configure(&config(self.revision))?;
            let begun = Instant::now();
            self.testbed.filter.succeed(&["apply"])?;
            times.push(begun.elapsed());
        }
        let what = "intune-filter apply, whole catalogue";
        add(findings, Measurement::times(what, times), 100e6);
        Ok(())
    }

    /// Memory with many names.
    fn grow(&mut self, findings: &mut Findings) -> Result<()> {
        let Testbed { filter, network, .. } = &mut self.testbed;
        let lan = network.gateway.ifindex(LAN)?;
        let pins = Pins::open(&filter.pins())?.context("nothing is pinned")?;
        let known = |filter: &intune_filter_tests::filter::FilterDaemon| -> Result<u64> {
            let status = filter.json(&["status"])?;
            status["daemon"]["names"].as_u64().context("status does not count the names")
        };
        let before = known(filter)?;
        for first in (0..NAMES).step_by(AT_ONCE as usize) {
            network.gateway.run(|| {
                let runner = Runner::open(&pins)?;
                (first..first + AT_ONCE).try_for_each(|number| learn(&runner, lan, number))
            })?;
            let all = before + u64::from(first + AT_ONCE);
            // Some of those from before may have expired.
            eventually("the names are known", || Ok(known(filter)? + before >= all))?;
        }
        let memory = resident(filter.daemon()?.id())?;
        let name = format!("memory, {NAMES} more names");
        add(findings, Measurement::new(name, Unit::Memory, vec![memory]), 80.0 * MIB);
        Ok(())
    }
}

fn add(findings: &mut Findings, measurement: Measurement, most: f64) {
    findings.goals.push(Goal::figure(&measurement, Bound::AtMost(most)));
    findings.measurements.push(measurement);
}

/// Lets a query and its answer pass the programs that are in force, by test runs. The clients take
/// turns: so many addresses are more than one may have.
fn learn(runner: &Runner, lan: u32, number: u32) -> Result<()> {
    let client = Ipv4Addr::new(10, 20, 0, 10 + (number % CLIENTS) as u8);
    let [resolver, _] = BEYOND;
    let address = IpAddr::from(Ipv4Addr::from(0x1500_0000 + number));
    let message = Message::query(number as u16, &format!("{number}.web.test"), A);
    let port = 1024 + (number % 60_000) as u16;
    let query = Datagram::new(client, resolver).udp(port, 53, message.octets()).frame();
    ensure!(runner.ingress(lan, &query)? == Fate::Passed, "query {number} does not pass");
    let answer = message.answered().address(&QUESTION, 3600, address);
    let answer = Datagram::new(resolver, client).udp(53, port, answer.octets()).frame();
    ensure!(runner.egress(lan, &answer)? == Fate::Passed, "answer {number} does not pass");
    Ok(())
}

/// Octets of memory that a process has.
fn resident(process: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|text| text.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<f64>()? * 1024.0)
}

/// Processor time of a process, all of its threads together.
fn processor(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let path = thread?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_is_sound_and_has_the_catalogue() {
        for revision in [0, 7] {
            let text = config(revision);
            let loaded = load_text("bench.yaml", &text, |_| {}, &RuleBits::new());
            let policy = loaded.unwrap_or_else(|error| panic!("{error}")).policy;
            assert!(policy.rules.len() > 20, "{} rules", policy.rules.len());
        }
    }

    #[test]
    fn a_process_that_works_has_memory_and_a_processor() -> Result<()> {
        let process = std::process::id();
        let (before, begun) = (processor(process)?, Instant::now());
        while processor(process)? == before {
            ensure!(begun.elapsed() < Duration::from_secs(10), "no time was counted");
        }
        ensure!(resident(process)? > MIB);
        Ok(())
    }
}
