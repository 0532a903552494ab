//! Traffic through the gateway and to it: what stays reachable, how denials look, and attacks, end to
//! end.

mod attacks;
mod bare_clients;
mod containers;
mod crowded_names;
mod denial;
mod flood;
mod gateway;
mod inbound;
mod innocents;
mod no_route;
mod own_subnet;
mod path_mtu;
mod peers;
mod return_path;
mod scan;
mod sustained;
mod testbed;
mod wans;
