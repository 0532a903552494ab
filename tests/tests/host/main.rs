//! What only the computer of a developer can run: it needs cargo, the sources, systemd, resolvers that
//! consist of more than their program, or the speed of a real processor.

mod every_resolver;
mod explain;
mod install;
