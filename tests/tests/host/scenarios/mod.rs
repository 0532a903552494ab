//! What the sets promise: devices get through the scenarios of `tests/scenarios` with one of them alone.

mod end_to_end;
mod taken_out;
mod transcribed;
mod walked;

use intune_filter_tests::scenarios::Site;

/// The edition whose sets keep the promise.
const EDITION: &str = "2026-08";

/// Sets of a platform, and the three of them together.
const SETS: [&str; 4] = ["windows", "apple", "android", "default"];

/// Configuration of a group with these services, at a site.
fn config(services: &str, site: &Site) -> String {
    format!("edition: {EDITION}\n{}{}", site.keys(), group(services))
}

/// The part of a configuration that says nothing of the catalogue.
fn group(services: &str) -> String {
    format!(
        "interfaces: [{{name: eth1}}]
clients:
  - {{name: devices, networks: [10.20.0.0/24, 'fd00:20::/64'], services: [{services}], on_deny: drop}}
dns:
  resolvers: [10.20.0.1, 'fd00:20::1', 203.0.113.53, '2001:db8:53::53']
  resolve: false
  allow_private: [198.18.0.0/15, '2001:2::/48']
limits: {{queries: off, flows: off, zone: {{queries: off, flows: off}}}}
"
    )
}
