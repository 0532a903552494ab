//! Tests that need devices, or a kernel, that the computer may lack: VLANs, bridges, network cards
//! that take tags off, flow tables. They are ignored unless asked for; a virtual machine has what they
//! need, and `cargo xtask test` runs them there.

mod bridges;
mod cards;
mod changed_links;
mod flow_tables;
#[expect(unsafe_code, reason = "raw sockets")]
mod frames;
mod innocents;
mod vlans;
mod wiring;
