//! Tests that only a developer's computer can run: they need cargo, the sources, systemd, resolvers
//! that consist of more than their program, or the speed of a real processor.

mod every_resolver;
mod explain;
mod exports;
mod install;
mod manners;
mod scenarios;
