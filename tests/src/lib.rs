//! Library of the integration tests, soak, benchmarks and demo: a testbed of network namespaces with
//! a real resolver, listeners and clients, and the filter on its gateway.

pub mod capture;
pub mod cargo;
pub mod counters;
pub mod directory;
pub mod dns;
pub mod filter;
pub mod glibc;
pub mod hung;
pub mod listeners;
pub mod namespace;
pub mod network;
pub mod notify;
pub mod pages;
pub mod pins;
pub mod ppp;
pub mod probe;
#[expect(unsafe_code, reason = "a child that dies with its owner")]
pub mod process;
pub mod prog_test_run;
pub mod random;
pub mod records;
pub mod resolver;
pub mod responder;
pub mod rounds;
pub mod scenarios;
pub mod site;
pub mod stub;
pub mod testbed;
pub mod transfer;
#[expect(unsafe_code, reason = "a device's own system calls")]
pub mod tun;
pub mod unjudged;
pub mod unreported;
pub mod way;
#[expect(unsafe_code, reason = "raw sockets")]
pub mod wire;
pub mod wireguard;
#[expect(unsafe_code, reason = "bpf(2)")]
pub mod xdp;
