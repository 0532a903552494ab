//! Frames as they are, put onto an interface and taken from one: nothing looks at them but who
//! receives them.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, setsockopt, socket, sockopt},
};

/// A packet socket on one interface of the thread's network namespace.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Opens it. Nothing is received.
    pub fn open(interface: &str) -> Result<Self> {
        Ok(Self { socket: open(interface, 0)? })
    }

    /// Sends a frame. One that finds the other end's queue full is lost, as on any wire.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        self.offer(frame).map(drop)
    }

    /// Sends a frame, unless the other end's queue is full; whether it was sent.
    pub fn offer(&self, frame: &[u8]) -> Result<bool> {
        let sent = match send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
            Err(Errno::ENOBUFS) => return Ok(false),
            sent => sent?,
        };
        ensure!(sent == frame.len(), "{sent} of {} octets were sent", frame.len());
        Ok(true)
    }
}

/// Copies of the frames that an interface receives or sends, as the stack has left them: a VLAN tag
/// is gone.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
    sent: bool,
}

impl Tap {
    /// Begins to listen to what is received.
    pub fn open(interface: &str) -> Result<Self> {
        Ok(Self { socket: open(interface, libc::ETH_P_ALL as u16)?, sent: false })
    }

    /// Begins to listen to what is sent.
    pub fn of_sent(interface: &str) -> Result<Self> {
        Ok(Self { sent: true, ..Self::open(interface)? })
    }

    /// Sets the room for frames that wait to be read, in octets: further frames are lost.
    pub fn with_room(self, octets: usize) -> Result<Self> {
        setsockopt(&self.socket, sockopt::RcvBufForce, &octets)?;
        Ok(self)
    }

    /// The next frame; `None` if there is none.
    pub fn take(&self) -> Result<Option<Vec<u8>>> {
        self.receive(libc::MSG_DONTWAIT)
    }

    /// The next frame within this time.
    pub fn wait(&self, timeout: Duration) -> Result<Option<Vec<u8>>> {
        let timeout = PollTimeout::try_from(timeout)?;
        let ready = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout)?;
        if ready == 0 { Ok(None) } else { self.take() }
    }

    fn receive(&self, flags: libc::c_int) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0_u8; 65_536];
        loop {
            // SAFETY: all fields are integers.
            let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            let mut length = size_of_val(&from) as libc::socklen_t;
            // SAFETY: the pointers are valid for the call, and the lengths are those of what they
            // point to.
            let received = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    flags,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            match Errno::result(received) {
                Ok(_) if (from.sll_pkttype == libc::PACKET_OUTGOING) != self.sent => {}
                Ok(received) => {
                    frame.truncate(received as usize);
                    return Ok(Some(frame));
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error).context("cannot receive a frame"),
            }
        }
    }
}

fn open(interface: &str, protocol: u16) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot open a packet socket")?;
    let index = if_nametoindex(interface).with_context(|| format!("no {interface}"))?;
    // SAFETY: all fields are integers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = i32::try_from(index)?;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the pointer is valid for the call, and the length is the address's.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    Errno::result(bound).with_context(|| format!("cannot bind to {interface}"))?;
    Ok(socket)
}
