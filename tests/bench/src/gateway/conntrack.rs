//! The kernel's connection tracking on a gateway, which nftables and iptables build on.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use intune_filter_tests::namespace::Namespace;

/// Spares the software the checksums that network cards check.
pub fn trust_checksums(gateway: &Namespace) -> Result<()> {
    gateway.sysctl("netfilter/nf_conntrack_checksum", "0")
}

/// Forgets every connection of a gateway.
pub fn forget(gateway: &Namespace) -> Result<()> {
    /// Of `nfnetlink`'s subsystem for connections, the message that deletes.
    const DELETE: u16 = 1 << 8 | 2;
    const REQUEST: u16 = 1;
    const ACKNOWLEDGE: u16 = 4;
    const LENGTH: u32 = 20;
    /// Octets of the error's number in the answer.
    const ERROR: std::ops::Range<usize> = 16..20;

    // A header of netlink, then one of nfnetlink with no family: all of them.
    let mut request = Vec::new();
    request.extend(LENGTH.to_ne_bytes());
    request.extend(DELETE.to_ne_bytes());
    request.extend((REQUEST | ACKNOWLEDGE).to_ne_bytes());
    request.extend([0; 12]);
    gateway.run(|| {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut answer = [0; 256];
        let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let error = answer[..length].get(ERROR).context("a short answer")?;
        let error = i32::from_ne_bytes(error.try_into()?);
        ensure!(error == 0, "cannot forget connections: {}", nix::errno::Errno::from_raw(-error));
        Ok(())
    })
}
