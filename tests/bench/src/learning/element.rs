//! Adds addresses to sets of nftables over netlink, which takes a fraction of what running `nft`
//! takes.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
        socket,
    },
};

/// The table that the sets are in.
pub const TABLE: &str = "gate";
/// The sets for addresses of IPv4 and of IPv6.
pub const SETS: [&str; 2] = ["v4", "v6"];

/// `struct nlmsghdr` and `struct nlmsgerr` up to the error.
const HEADER: usize = 16;

/// The sets of the namespace that this was opened in.
pub struct Sets {
    socket: OwnedFd,
}

impl Sets {
    /// Opens a socket to nftables.
    pub fn open() -> Result<Self> {
        let netlink = (AddressFamily::Netlink, SockProtocol::NetlinkNetFilter);
        let socket = socket(netlink.0, SockType::Raw, SockFlag::SOCK_CLOEXEC, netlink.1)
            .context("cannot talk to nftables")?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self { socket })
    }

    /// Adds an address, and returns when it is there.
    pub fn add(&mut self, address: IpAddr) -> Result<()> {
        send(self.socket.as_raw_fd(), &batch(address), MsgFlags::empty())?;
        let mut reply = [0; 1024];
        let length = recv(self.socket.as_raw_fd(), &mut reply, MsgFlags::empty())?;
        let code = reply[..length].get(HEADER..HEADER + 4).context("nftables says nothing")?;
        let code = i32::from_ne_bytes(code.try_into()?);
        ensure!(code == 0, "nftables does not take {address}: {}", Errno::from_raw(-code));
        Ok(())
    }
}

/// A transaction of one element.
fn batch(address: IpAddr) -> Vec<u8> {
    const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
    const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
    const ADD: u16 = REQUEST | libc::NLM_F_ACK as u16 | libc::NLM_F_CREATE as u16;
    const KIND: u16 = SUBSYSTEM << 8 | libc::NFT_MSG_NEWSETELEM as u16;
    // What attributes are called differs by what they are in.
    const LIST_TABLE: u16 = 1;
    const LIST_SET: u16 = 2;
    const LIST_ELEMENTS: u16 = 3;
    const ELEMENT: u16 = 1;
    const KEY: u16 = 1;
    const VALUE: u16 = 1;

    let (set, octets) = match address {
        IpAddr::V4(v4) => (SETS[0], v4.octets().to_vec()),
        IpAddr::V6(v6) => (SETS[1], v6.octets().to_vec()),
    };
    let key = nested(KEY, &attribute(VALUE, &octets));
    let elements = nested(LIST_ELEMENTS, &nested(ELEMENT, &key));
    let named = [attribute(LIST_TABLE, &string(TABLE)), attribute(LIST_SET, &string(set))];
    let body = [named.concat(), elements].concat();
    [
        message(libc::NFNL_MSG_BATCH_BEGIN as u16, REQUEST, 0, SUBSYSTEM, &[]),
        message(KIND, ADD, libc::NFPROTO_INET as u8, 0, &body),
        message(libc::NFNL_MSG_BATCH_END as u16, REQUEST, 0, SUBSYSTEM, &[]),
    ]
    .concat()
}

/// `struct nlmsghdr` and `struct nfgenmsg`, and what they begin.
fn message(kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + 4 + body.len()) as u32;
    let mut octets = length.to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(flags.to_ne_bytes());
    // Sequence number and port: one thing is asked at a time.
    octets.extend([0; 8]);
    octets.extend([family, 0]);
    octets.extend(resource.to_be_bytes());
    octets.extend(body);
    octets
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | libc::NLA_F_NESTED as u16, value)
}

/// `struct nlattr` and its value, filled up to four octets.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut octets = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

fn string(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}
