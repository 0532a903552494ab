//! Metrics as Prometheus takes them: both formats, the dashboard's queries and the alerts.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    cargo,
    namespace::run,
    process::Process,
    site::{self, eventually_within},
    testbed::Testbed,
};
use serde_json::Value;

/// Time for several scrapes, and for the daemon's first answers to questions.
const SCRAPED: Duration = Duration::from_secs(60);

fn file(name: &str) -> PathBuf {
    cargo::root().join(name)
}

fn scrape(testbed: &Testbed, accept: &str) -> Result<String> {
    let mut command = testbed.network.gateway.command("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "10", "--header"]);
    run(command.args([&format!("Accept: {accept}"), "127.0.0.1:9469/metrics"]))
}

#[test]
fn each_format_is_what_it_says() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.expect_verdicts()?;
    let new = scrape(&testbed, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")?;
    let new = new.to_lowercase();
    ensure!(new.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0"), "{new}");
    ensure!(new.trim_end().ends_with("\n# eof"), "{new}");
    let old = scrape(&testbed, "text/plain;version=0.0.4")?;
    ensure!(
        old.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{old}"
    );
    let (_, old) = old.split_once("\r\n\r\n").context("no body")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("metrics");
    fs::write(&path, format!("{old}\n"))?;
    let mut lint = Command::new("promtool");
    let output = lint.args(["check", "metrics"]).stdin(fs::File::open(&path)?).output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "{said}\n{old}");
    for family in ["build_info", "packets_total", "occurrences_total", "problem"] {
        let comment = format!("# HELP intune_filter_{family} ");
        ensure!(old.contains(&comment), "no {comment:?} in\n{old}");
    }
    let clients = ["10.20.0.", "fd00:20:"];
    ensure!(clients.iter().all(|client| !old.contains(client)), "a client is named:\n{old}");
    Ok(())
}

#[test]
fn alerts_fire_for_what_they_name_alone() -> Result<()> {
    let alerts = file("config/prometheus/alerts.yaml");
    run(Command::new("promtool").args(["check", "rules"]).arg(alerts))?;
    let tests = file("tests/prometheus/alerts_test.yaml");
    run(Command::new("promtool").args(["test", "rules"]).arg(&tests))?;
    let tests = fs::read_to_string(tests)?;
    for (alert, _) in alert_rules()? {
        ensure!(tests.contains(&format!("alertname=\"{alert}\",alertstate")), "{alert}: no test");
    }
    Ok(())
}

/// Each alert's name and expression.
fn alert_rules() -> Result<Vec<(String, String)>> {
    let rules: serde_yaml::Value =
        serde_yaml::from_str(&fs::read_to_string(file("config/prometheus/alerts.yaml"))?)?;
    let rules = rules["groups"][0]["rules"].as_sequence().context("no rules")?;
    let text = |rule: &serde_yaml::Value, key: &str| {
        rule[key].as_str().map(str::to_owned).with_context(|| format!("{rule:?} has no {key}"))
    };
    rules.iter().map(|rule| Ok((text(rule, "alert")?, text(rule, "expr")?))).collect()
}

/// Queries of the dashboard's panels, for every gateway.
fn panels() -> Result<Vec<(String, String)>> {
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(file("config/grafana/intune-filter.json"))?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let mut queries = Vec::new();
    for panel in panels {
        for target in panel["targets"].as_array().context("no targets")? {
            let query = target["expr"].as_str().context("no query")?;
            let query = query.replace("$instance", ".*").replace("$__rate_interval", "20s");
            queries.push((panel["title"].to_string(), query));
        }
    }
    Ok(queries)
}

/// What an alert compares with its threshold, which is there while nothing is wrong as well.
fn compared(expression: &str) -> Vec<String> {
    let sides = expression.split(" unless on (instance) ");
    let value = |side: &str| {
        let comparisons = [" > ", " < ", " == "].map(|sign| side.rsplit_once(sign));
        let value = comparisons.into_iter().flatten().next().map_or(side, |(value, _)| value);
        // There is one for each rate; the test does not last as long.
        value.replace("[15m]", "[20s]").replace("[5m]", "[20s]").replace("[1h]", "[20s]")
    };
    sides.map(value).collect()
}

#[test]
fn every_query_of_dashboard_and_alerts_has_an_answer() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    testbed.filter.succeed(&["reload"])?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("prometheus.yml");
    let job = "job_name: intune-filter, static_configs: [{targets: ['127.0.0.1:9469']}]";
    let interval = "global: {scrape_interval: 1s, scrape_timeout: 1s}";
    fs::write(&config, format!("{interval}\nscrape_configs: [{{{job}}}]\n"))?;
    let mut command = testbed.network.gateway.command("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    command.args(["--web.listen-address=127.0.0.1:9090", "--log.level=warn"]);
    let prometheus = Process::spawn("prometheus", &mut command)?;
    let ask = |query: &str| -> Result<Value> {
        let mut command = testbed.network.gateway.command("curl");
        command.args(["--silent", "--show-error", "--max-time", "10", "--data-urlencode"]);
        command.args([&format!("query={query}"), "127.0.0.1:9090/api/v1/query"]);
        Ok(serde_json::from_str(&run(&mut command)?)?)
    };
    let mut queries = panels()?;
    for (alert, expression) in alert_rules()? {
        queries.extend(compared(&expression).into_iter().map(|query| (alert.clone(), query)));
    }
    ensure!(queries.len() > 25, "{queries:?}");
    for (what, query) in &queries {
        let mut last = String::new();
        eventually_within(SCRAPED, &format!("{what}: {query} has an answer"), || {
            // Rates are of what has changed.
            testbed.expect_verdicts()?;
            let answer = ask(query).unwrap_or_else(|error| format!("{error:#}").into());
            let values = answer["data"]["result"].as_array();
            last = answer.to_string();
            Ok(values.is_some_and(|values| !values.is_empty()))
        })
        .with_context(|| format!("{last}\n{}", prometheus.output()))?;
    }
    println!("{} queries", queries.len());
    Ok(())
}
