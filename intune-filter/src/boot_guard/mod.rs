//! The gate of `boot: closed`: an nftables table of our own that drops what is forwarded from or
//! to the clients' interfaces while no program judges it.
//!
//! An interface passes by its index. One that vanishes and returns has another one, and finds the
//! gate shut, whether a daemon runs or not. What is for the gateway itself is never dropped.

mod guard;
mod netfilter;
mod pace;
mod rules;
mod state;
mod table;

pub(crate) use guard::{BootGuard, shut};
pub(crate) use netfilter::Changes;
pub(crate) use rules::{GuardRules, TABLE};
pub(crate) use state::GuardState;
pub(crate) use table::{open, presence};
