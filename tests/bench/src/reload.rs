//! Time until a new configuration is in force: from its text to the moment at which nothing of the
//! old one is left, with learned addresses and maps of default size.

use std::{
    fmt::Write as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use intune_filter::{
    config::MapSizes,
    daemon::reload,
    kernel::{self, Hook, Kernel, PinDirectory, ZoneMap},
    names::{Names, learning::Learner},
    policy::{Loaded, RuleBits, load_text, map_sizes},
};

use intune_filter_ebpf::abi::RuleMask;

use super::{Effort, Findings, Measurement};
use intune_filter_tests::{directory::Directory, unreported::Unreported};

/// Learned addresses, all of which have to be looked at.
const LEARNED: u32 = 10_000;

const HEAD: &str = "interfaces: [{name: lan}]\ndns: {resolvers: [10.20.0.1]}\n";

/// Measures both configurations.
pub fn run(effort: Effort) -> Result<Findings> {
    let mut all = measure("reload, whole catalogue", effort, |revision| {
        format!(
            "{HEAD}region: all\n\
             clients: [{{name: all, networks: [10.20.0.0/24], services: [all, own]}}]\n\
             services: [{{id: own, fqdns: [r{revision}.test], tcp: [443]}}]\n"
        )
    })?;
    all.extend(measure("reload, 10000 CIDRs, 2000 patterns", effort, large)?);
    Ok(all.into())
}

/// The services of a site with 10,000 CIDRs and 2,000 patterns. Every revision has a pattern less
/// and a pattern more than the one before, so that learned addresses are narrowed.
#[must_use]
pub fn large(revision: usize) -> String {
    const SERVICES: usize = 40;

    let ids: Vec<String> = (0..SERVICES).map(|number| format!("s{number}")).collect();
    let mut text = format!(
        "{HEAD}clients: [{{name: all, networks: [10.20.0.0/24], services: [{}]}}]\nservices:\n",
        ids.join(", ")
    );
    for (number, id) in ids.iter().enumerate() {
        // 200 networks of IPv4 and 50 of IPv6 each; some hold others.
        let cidrs = (0..250).map(|n| match (n, n % 5) {
            (200.., _) => format!("\"2a01:{number:x}:{n:x}::/48\""),
            (_, 0) => format!("20.{number}.{n}.0/24"),
            (_, part) => format!("20.{number}.{}.{}/28", n / 5 * 5, part * 16),
        });
        // 50 patterns each: names, names with everything below, and parts of a label.
        let fqdns = (0..50).map(|n| match n {
            0 => format!("r{revision}.s{number}.test"),
            1..30 => format!("host{n}.s{number}.test"),
            30..45 => format!("\"*.zone{n}.s{number}.test\""),
            _ => format!("\"part{n}*.blob{number}.test\""),
        });
        let cidrs: Vec<String> = cidrs.collect();
        let fqdns: Vec<String> = fqdns.collect();
        let _ = writeln!(
            text,
            "  - {{id: {id}, tcp: [{}, \"8000-8100\"], cidrs: [{}], fqdns: [{}]}}",
            443 + number,
            cidrs.join(", "),
            fqdns.join(", ")
        );
    }
    text
}

fn measure(
    name: &str,
    effort: Effort,
    revision: impl Fn(usize) -> String,
) -> Result<Vec<Measurement>> {
    let mut site = Site::start(&revision(0))?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for run in 1..=effort.runs {
        let text = revision(run);
        let (read, put) = site.reload(&text)?;
        for (times, time) in times.iter_mut().zip([read, put, read + put]) {
            times.push(time);
        }
    }
    let names = ["read and compile", "put into force", "in all"];
    let measurements = names.into_iter().zip(times);
    Ok(measurements
        .map(|(part, times)| Measurement::times(format!("{name}: {part}"), times))
        .collect())
}

/// The daemon's part that puts configurations into force, on maps of its own.
struct Site {
    kernel: Kernel,
    learner: Learner,
    // Last: the pins are in it.
    directory: Directory,
}

impl Site {
    fn start(text: &str) -> Result<Self> {
        let directory = Directory::create()?;
        let pins = PinDirectory::new(directory.bpffs());
        let kernel = kernel::load(
            pins,
            &map_sizes(&MapSizes::default()),
            log::LevelFilter::Off,
            &Hook::ALL,
        )?;
        let loaded = load(text, &RuleBits::new())?;
        let learner = Learner::new(Names::default(), loaded.policy);
        let mut site = Self { kernel, learner, directory };
        site.reload(text)?;
        site.learn()?;
        Ok(site)
    }

    /// Fills the table of names as a day at a site does.
    fn learn(&mut self) -> Result<()> {
        let policy = self.learner.policy().clone();
        let (bit, rule) = policy.rules.first_key_value().context("a rule")?;
        let id = rule.id.to_string();
        for number in 0..LEARNED {
            let address = IpAddr::from((0x2d00_0000 + number).to_be_bytes());
            let name = format!("{number}.learned.test");
            self.learner.names_mut().learn(&name, address, [id.clone()], u64::MAX / 2);
            self.kernel.ensure_host(address, RuleMask::of(*bit), u64::MAX / 2)?;
        }
        Ok(())
    }

    /// Reloads: the time of reading and compiling, and of putting into force.
    fn reload(&mut self, text: &str) -> Result<(Duration, Duration)> {
        let began = Instant::now();
        let Loaded { policy, .. } = load(text, &reload::previous_bits(&self.kernel.pins())?)?;
        let compiled = began.elapsed();
        let began = Instant::now();
        self.learner.set_policy(policy.clone());
        let state = self.directory.path();
        let zones = ZoneMap::new();
        let mut reports = Unreported(&mut self.learner);
        reload::apply(&self.kernel, &policy, &zones, &mut reports, state)?;
        Ok((compiled, began.elapsed()))
    }
}

fn load(text: &str, bits: &RuleBits) -> Result<Loaded> {
    load_text("bench.yaml", text, |_| {}, bits).map_err(anyhow::Error::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_site_is_as_large_as_its_name_says() {
        let policy = load(&large(0), &RuleBits::new()).unwrap().policy;
        let rules = policy.rules.values();
        let count = rules.clone().map(|rule| rule.cidrs.len()).sum::<usize>();
        let patterns = rules.map(|rule| rule.fqdns.len()).sum::<usize>();
        assert_eq!((count, patterns), (10_000, 2_000));
        assert_eq!(policy.nets4.len() + policy.nets6.len(), 10_000);
    }
}
