//! The control socket: what commands ask of the daemon that runs, and what it answers.

mod client;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, Invalid};
pub use protocol::{Reply, Request, SOCKET_NAME};
pub(crate) use server::{Answer, Call, Server};
