//! Attacks of a client's on the gateway, its filter and its neighbours, end to end: each succeeded
//! once.

mod fragments;
mod limits;
mod link_local;
mod neighbours;
mod own_addresses;
mod resets;
mod sources;
mod testbeds;
