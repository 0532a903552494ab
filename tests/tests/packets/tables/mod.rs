//! Tables of packets that the kernel and the host judge alike; `run`, `run_once` and
//! `run_without_policy` of the crate's root say by which of them.

pub mod answers;
pub mod broken;
pub mod errors;
pub mod events;
pub mod flow_events;
pub mod flows;
pub mod fragments;
pub mod gateway;
pub mod headers;
pub mod hostile;
pub mod inbound;
pub mod innocents;
pub mod learning;
pub mod lifetimes;
pub mod limits;
pub mod links;
pub mod nat64;
pub mod neighbours;
pub mod nxdomain;
pub mod other_dns;
pub mod other_vlans;
pub mod parts;
pub mod policy;
pub mod prefix;
pub mod queries;
pub mod records;
pub mod rejected;
pub mod reloads;
pub mod resets;
pub mod resolver_route;
pub mod senders;
pub mod source_check;
pub mod sources;
pub mod streams;
pub mod warm_up;
