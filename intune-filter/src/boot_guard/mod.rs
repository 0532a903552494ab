//! Guards the clients' interfaces under `boot: closed` by an nftables table that drops forwarded
//! packets while no program judges them.
//!
//! An interface passes by its index. One that vanishes and returns has a new index, and is blocked,
//! whether a daemon runs or not. One that was judged and lost its name to another, or comes back from another
//! namespace under another name, is held back by its index. Packets to the gateway itself are never dropped.

mod guard;
mod netfilter;
mod pace;
mod rules;
mod state;
mod strays;
mod table;

pub(crate) use guard::{BootGuard, shut};
pub(crate) use netfilter::Changes;
pub(crate) use rules::{GuardRules, TABLE};
pub(crate) use state::GuardState;
pub(crate) use strays::{Strays, held};
pub(crate) use table::{open, presence};
