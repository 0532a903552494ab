//! Tests of kinds of devices, many of which the computer may lack: VLANs, bridges, network cards that take
//! tags off, tunnels, flow tables. Those that need one are ignored unless asked for; a virtual machine has
//! what they need, and `cargo xtask test` runs all of them there.

mod bridges;
mod cards;
mod changed_links;
mod flow_tables;
#[expect(unsafe_code, reason = "raw sockets")]
mod frames;
mod innocents;
mod kinds;
mod layer3;
mod ppp;
mod two_vlans;
mod vlans;
mod wans;
mod wiring;
