//! Lifetimes of learned addresses and their rules; sweeps lose nothing.

mod forgetting;
mod race;
mod reclaim;
mod refresh;
mod site;
mod sweep;
