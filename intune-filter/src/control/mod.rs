//! Carries the requests of commands to the running daemon, and the daemon's replies.

mod client;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, Invalid};
#[cfg(test)]
pub(crate) use protocol::request_of;
pub use protocol::{
    DeniedClients, EventsFollow, NamesTable, NothingFiltered, Reply, Request, SOCKET_NAME,
    Unexpected, VERSION,
};
pub(crate) use protocol::{reply_of, to_line};
pub(crate) use server::{Call, LoopReply, Server};
