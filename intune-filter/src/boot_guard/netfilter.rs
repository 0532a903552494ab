//! Owns the table by a netlink socket and reports its changes, which nft does not do for a
//! long-running process.
//!
//! The messages are those of the kernel's nfnetlink (linux/netfilter/nfnetlink.h, nf_tables.h).

use std::{ffi::CStr, io};

use anyhow::{Context as _, Result};
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, Socket, SocketAddr, TokioSocket};
use nix::libc;

use super::rules::TABLE;

/// Octets of a netlink message's header and nfnetlink's after it.
const HEADERS: usize = 16 + 4;

const BATCH_BEGIN: u16 = libc::NFNL_MSG_BATCH_BEGIN as u16;
const BATCH_END: u16 = libc::NFNL_MSG_BATCH_END as u16;
const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const NEW_TABLE: u16 = SUBSYSTEM << 8 | libc::NFT_MSG_NEWTABLE as u16;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const FAMILY: u8 = libc::NFPROTO_INET as u8;

/// `NFTA_TABLE_NAME`; the table's name is the first attribute in messages about every object.
const NAME: u16 = 1;
/// `NFTA_TABLE_FLAGS`.
const FLAGS: u16 = 2;
/// `NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST`.
const OWNED: u32 = 2 | 4;

/// Ownership of the table until dropped: no other process can change, flush or remove the table.
/// The table outlives its owner.
#[derive(Debug)]
pub(super) struct Ownership {
    _socket: Socket,
}

impl Ownership {
    /// Takes ownership of the table, which has no owner and was created as persistent.
    pub(super) fn take() -> Result<Self> {
        let take = || {
            let mut socket = Socket::new(libc::NETLINK_NETFILTER as isize)?;
            socket.bind_auto()?;
            // The kernel has queued its answer when this returns.
            socket.send(&adoption(), 0)?;
            socket.set_non_blocking(true)?;
            let (answer, _) = socket.recv_from_full()?;
            match error_of(&answer) {
                0 => Ok(Self { _socket: socket }),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        };
        take().with_context(|| format!("cannot own the table inet {TABLE} of nftables"))
    }
}

/// Returns the transaction that makes the sender the table's owner.
fn adoption() -> Vec<u8> {
    let mut name = TABLE.as_bytes().to_vec();
    name.push(0);
    let attributes = [attribute(NAME, &name), attribute(FLAGS, &OWNED.to_be_bytes())].concat();
    let acknowledged = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
    let request = libc::NLM_F_REQUEST as u16;
    [
        message(BATCH_BEGIN, request, 0, SUBSYSTEM, &[]),
        message(NEW_TABLE, acknowledged, FAMILY, 0, &attributes),
        message(BATCH_END, request, 0, SUBSYSTEM, &[]),
    ]
    .concat()
}

fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = (HEADERS + attributes.len()) as u32;
    let mut octets = Vec::with_capacity(HEADERS + attributes.len());
    octets.extend(length.to_ne_bytes());
    octets.extend(kind.to_ne_bytes());
    octets.extend(flags.to_ne_bytes());
    // Sequence number and port: there is no other request, and the kernel knows the port.
    octets.extend([0; 8]);
    octets.extend([family, 0]);
    octets.extend(resource.to_be_bytes());
    octets.extend(attributes);
    octets
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut octets = (length as u16).to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(value);
    octets.resize(length.next_multiple_of(4), 0);
    octets
}

/// Returns the error number of an answer; 0 for success.
fn error_of(answer: &[u8]) -> i32 {
    let kind = messages(answer).next().filter(|(kind, _)| *kind == ERROR);
    let number = kind.and_then(|(_, body)| body.first_chunk());
    number.map_or(libc::EPROTO, |number| -i32::from_ne_bytes(*number))
}

/// Returns the messages of a datagram: type, and body after netlink's header.
fn messages(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*octets.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*octets.get(4..)?.first_chunk()?);
        let body = octets.get(16..length)?;
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Whether a datagram reports a change of the table or of anything in it.
fn concerns_us(datagram: &[u8]) -> bool {
    messages(datagram).any(|(kind, body)| {
        let name = || {
            let length = u16::from_ne_bytes(*body.get(4..)?.first_chunk()?);
            let kind = u16::from_ne_bytes(*body.get(6..)?.first_chunk()?);
            let name = CStr::from_bytes_until_nul(body.get(8..4 + usize::from(length))?).ok()?;
            (kind == NAME).then_some(name.to_bytes())
        };
        kind >> 8 == SUBSYSTEM && body.first() == Some(&FAMILY) && name() == Some(TABLE.as_bytes())
    })
}

/// Stream of changes of the table.
pub(crate) struct Changes(TokioSocket);

impl Changes {
    /// Subscribes to changes. Needs a Tokio runtime.
    pub(crate) fn listen() -> Result<Self> {
        let listen = || {
            let mut socket = TokioSocket::new(libc::NETLINK_NETFILTER as isize)?;
            socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
            socket.socket_mut().add_membership(libc::NFNLGRP_NFTABLES as u32)?;
            Ok::<_, io::Error>(Self(socket))
        };
        listen().context("cannot listen for changes of nftables")
    }

    /// Waits until the table may have changed.
    pub(crate) async fn next(&mut self) {
        loop {
            match self.0.recv_from_full().await {
                Ok((datagram, _)) if concerns_us(&datagram) => return,
                Ok(_) => {}
                // Reports were lost, maybe about the table.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return,
                Err(error) => {
                    log::warn!("changes of nftables are no longer heard of: {error}");
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_error_number_or_none() {
        let answer = |error: i32| {
            let mut octets = message(ERROR, 0, 0, 0, &[0; 16]);
            octets[16..20].copy_from_slice(&(-error).to_ne_bytes());
            octets
        };
        assert_eq!(error_of(&answer(0)), 0);
        assert_eq!(error_of(&answer(libc::EPERM)), libc::EPERM);
        assert_eq!(error_of(&adoption()), libc::EPROTO);
        assert_eq!(error_of(&[]), libc::EPROTO);
    }

    #[test]
    fn only_word_of_the_own_table_counts() {
        assert!(concerns_us(&adoption()), "behind another message");
        let named = |kind, family, name: &[u8]| message(kind, 0, family, 0, &attribute(NAME, name));
        let deleted_set = SUBSYSTEM << 8 | libc::NFT_MSG_DELSET as u16;
        assert!(concerns_us(&named(deleted_set, FAMILY, b"intune-filter\0")));
        let ipv4 = libc::NFPROTO_IPV4 as u8;
        assert!(!concerns_us(&named(deleted_set, ipv4, b"intune-filter\0")));
        assert!(!concerns_us(&named(deleted_set, FAMILY, b"intune-filter-2\0")));
        assert!(!concerns_us(&named(3, FAMILY, b"intune-filter\0")));
        assert!(!concerns_us(&named(deleted_set, FAMILY, b"intune-filter")), "no end");
        // A truncated datagram is never an error, only not about the table.
        let whole = named(deleted_set, FAMILY, b"intune-filter\0");
        for length in 0..whole.len() - 2 {
            assert!(!concerns_us(&whole[..length]), "{length}");
        }
    }
}
