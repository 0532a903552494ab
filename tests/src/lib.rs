//! What the integration tests and the demo share: a laboratory of network namespaces with a real
//! resolver, listeners and clients, and the filter on its gateway.

pub mod bench;
pub mod cargo;
pub mod counters;
pub mod demo;
pub mod directory;
pub mod dns;
pub mod filter;
pub mod glibc;
pub mod hung;
pub mod laboratory;
pub mod listeners;
pub mod namespace;
pub mod network;
pub mod notify;
pub mod pages;
pub mod pins;
pub mod probe;
pub mod process;
pub mod records;
pub mod resolver;
pub mod responder;
pub mod rounds;
pub mod site;
pub mod soak;
pub mod stub;
pub mod testrun;
pub mod wire;
pub mod xdp;
