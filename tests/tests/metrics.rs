//! The metrics endpoint tells what the kernel has counted.

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{laboratory::Laboratory, namespace::run, site};

#[test]
fn what_was_judged_is_scraped() -> Result<()> {
    let mut laboratory = Laboratory::create(&site::setup())?;
    laboratory.filter.start()?;
    laboratory.expect_verdicts()?;
    let scrape = |path: &str| {
        let mut command = laboratory.network.gateway.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "10"]);
        run(command.args(["--write-out", "\n%{http_code}", &format!("127.0.0.1:9469{path}")]))
    };
    let text = scrape("/metrics")?;
    ensure!(text.ends_with("200"), "{text}");
    for metric in [
        "intune_filter_packets_total{reason=\"destination\",verdict=\"deny\"}",
        "intune_filter_packets_total{reason=\"policy\",verdict=\"allow\"}",
        "intune_filter_map_capacity{map=\"HOSTS4\"}",
        "intune_filter_enforced{interface=\"eth1\",mode=\"native\"}",
        "intune_filter_policy_generation",
    ] {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(metric)?.trim().parse::<u64>().ok())
            .with_context(|| format!("no {metric} in\n{text}"))?;
        ensure!(value > 0, "{metric} is 0");
    }
    ensure!(scrape("/")?.ends_with("404"), "there is something at /");
    Ok(())
}
