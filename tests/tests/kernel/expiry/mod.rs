//! How long learned addresses and their rules live, and that nothing is lost while they are swept.

mod forgetting;
mod race;
mod reclaim;
mod refresh;
mod site;
mod sweep;
