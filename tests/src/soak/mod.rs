//! The soak: everything that can happen to a filter, at once and for a long time, while a model of
//! the policy judges every packet. `cargo xtask test --soak MINUTES` runs it.

pub mod far_end;
pub mod faults;
pub mod growth;
pub mod judge;
pub mod knowledge;
pub mod leaks;
pub mod ledger;
pub mod links;
pub mod model;
pub mod names;
pub mod objects;
pub mod packet;
pub mod queue;
pub mod random;
pub mod report;
pub mod rest;
pub mod run;
pub mod site;
pub mod slope;
pub mod sockets;
pub mod timeline;
pub mod traffic;
pub mod watch;
pub mod world;
