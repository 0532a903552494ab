//! Frames as they are on an interface, sent and received.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{namespace::Namespace, site::ANSWER};
use nix::{
    errno::Errno,
    libc,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt,
            socket, sockopt,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

/// A packet socket on one interface. It receives what has passed XDP on the way in, and TC on the
/// way out.
pub struct Frames(OwnedFd);

impl Frames {
    /// Opens it on an interface of a namespace's.
    pub fn on(namespace: &Namespace, interface: &str) -> Result<Self> {
        let index = namespace.ifindex(interface)?;
        let (flags, all) = (SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let socket = namespace
            .run(|| socket(AddressFamily::Packet, SockType::Raw, flags, all))
            .context("cannot open a packet socket")?;
        // SAFETY: all fields are integers.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = i32::try_from(index)?;
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the pointer is valid for the call, and the length is the address's.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        Errno::result(bound).with_context(|| format!("cannot bind to {interface}"))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(1))?;
        Ok(Self(socket))
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.0.as_raw_fd(), frame, MsgFlags::empty())?;
        ensure!(sent == frame.len(), "{sent} of {} octets were sent", frame.len());
        Ok(())
    }

    /// Waits for a frame that is meant.
    pub fn wait_for(&self, what: &str, is_meant: impl Fn(&[u8]) -> bool) -> Result<()> {
        let deadline = Instant::now() + ANSWER * 2;
        let mut buffer = [0; 2048];
        while Instant::now() < deadline {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if is_meant(buffer.get(..length).unwrap_or_default()) => return Ok(()),
                Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error).context(format!("waiting for {what}")),
            }
        }
        anyhow::bail!("{what} did not come")
    }
}
