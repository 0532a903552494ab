//! The life of the daemon and what it tells: starts and ends, the boot gate, what others do to it,
//! its commands, events and metrics.

mod blocking;
mod changed_links;
mod commands;
mod denied_names;
mod events;
mod flows;
mod gate;
mod lifecycle;
mod metrics;
mod prometheus;
mod scale;
mod survival;
mod tampering;
mod unit;
