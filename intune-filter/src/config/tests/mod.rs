//! Tests the meaning of configuration files, and their errors.

mod damage;
mod environment;
mod errors;
mod round_trip;
mod values;

use super::Config;
use crate::yaml::FileError;

/// Example of the design, without the keys that this version refuses.
const EXAMPLE: &str = r#"
interfaces:
  - name: eth1
    mode: auto
    vlans: [20]
unlisted_clients: deny
to_gateway: pass
boot: open
clients:
  - name: enrolment
    on: eth1.20
    networks: [10.20.0.0/24, "fd00:20::/64"]
    services: [default]
    mode: enforce
    on_deny: drop
    inbound: deny
dns:
  resolvers: [10.20.0.1, "fd00:20::1"]
  unlisted: refuse
  allow_private: []
  ttl: {min: 60s, max: 1d, grace: 30s}
tenant: AMSUB0502
services:
  - id: print-server
    title: Print server
    cidrs: [10.30.0.10/32]
    fqdns: []
    tcp: [631, "9100-9102"]
metrics: {listen: "127.0.0.1:9469"}
"#;

/// Shortest file that is accepted.
const SHORTEST: &str = "\
interfaces: [{name: eth1}]
clients: [{name: lan, networks: [10.0.0.0/8]}]
dns: {resolvers: [10.0.0.1]}
";

fn parse(text: &str) -> Config {
    Config::parse("config.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> Vec<FileError> {
    match Config::parse("config.yaml", text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors.errors().to_vec(),
    }
}

/// Returns [`SHORTEST`] with one of its keys replaced, or with one more at its end.
fn with(key: &str, value: &str) -> String {
    let mut lines: Vec<String> = SHORTEST.lines().map(str::to_owned).collect();
    let line = format!("{key}: {value}");
    match lines.iter_mut().find(|line| line.starts_with(&format!("{key}:"))) {
        Some(old) => *old = line,
        None => lines.push(line),
    }
    lines.join("\n")
}
