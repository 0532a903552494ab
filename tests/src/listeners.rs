//! Listeners of the testbed's remotes: a banner on TCP ports, an echo on UDP ports, on every
//! address of their namespace.

use std::{
    io::{self, IoSlice, IoSliceMut, Write as _},
    net::{Ipv6Addr, Shutdown, TcpListener, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    os::unix::net::UnixStream,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use nix::{
    cmsg_space, libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg,
        setsockopt, sockopt,
    },
};

use crate::namespace::Namespace;

/// Connections that wait to be accepted, at most: what the kernel allows by default.
const QUEUE: Backlog = Backlog::MAXCONN;

/// Banner of a TCP port.
#[must_use]
pub fn banner(port: u16) -> String {
    format!("port {port} of the testbed\n")
}

/// A thread that answers on a set of ports, stopped on drop.
#[derive(Debug)]
pub struct Listeners {
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Listeners {
    /// Opens the ports in `namespace` and answers on them.
    pub fn start(
        namespace: &Namespace,
        tcp: impl IntoIterator<Item = u16>,
        udp: impl IntoIterator<Item = u16>,
    ) -> Result<Self> {
        let (tcp, udp) = (Vec::from_iter(tcp), Vec::from_iter(udp));
        let service = namespace.run(|| Service::open(&tcp, &udp))?;
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::spawn(move || service.serve(&stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        // The thread sees the end of the stream; it has ended already if that fails.
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Service {
    tcp: Vec<(TcpListener, u16)>,
    udp: Vec<UdpSocket>,
}

impl Service {
    fn open(tcp: &[u16], udp: &[u16]) -> Result<Self> {
        let listen = |port: &u16| {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port))
                .with_context(|| format!("cannot listen on TCP port {port}"))?;
            // A thread that waits for a processor must not cost a client its first packet.
            nix::sys::socket::listen(&listener, QUEUE)?;
            listener.set_nonblocking(true)?;
            Ok((listener, *port))
        };
        let echo = |port: &u16| {
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, *port))
                .with_context(|| format!("cannot listen on UDP port {port}"))?;
            socket.set_nonblocking(true)?;
            // The answer has to come from the address that was asked, whichever it is.
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
            Ok(socket)
        };
        Ok(Self {
            tcp: tcp.iter().map(listen).collect::<Result<_>>()?,
            udp: udp.iter().map(echo).collect::<Result<_>>()?,
        })
    }

    fn serve(&self, stopped: &UnixStream) {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = vec![readable(stopped.as_fd())];
        fds.extend(self.tcp.iter().map(|(listener, _)| readable(listener.as_fd())));
        fds.extend(self.udp.iter().map(|socket| readable(socket.as_fd())));
        while poll(&mut fds, PollTimeout::NONE).is_ok() {
            let is_ready = |index: usize| fds.get(index).is_some_and(|fd| fd.any() == Some(true));
            if is_ready(0) {
                return;
            }
            for (index, (listener, port)) in self.tcp.iter().enumerate() {
                if is_ready(1 + index) {
                    greet(listener, *port);
                }
            }
            for (index, socket) in self.udp.iter().enumerate() {
                if is_ready(1 + self.tcp.len() + index) {
                    echo_all(socket);
                }
            }
        }
    }
}

fn greet(listener: &TcpListener, port: u16) {
    while let Ok((mut stream, _)) = listener.accept() {
        // A client that is gone already has what it wanted.
        let _ = stream.write_all(banner(port).as_bytes());
    }
}

fn echo_all(socket: &UdpSocket) {
    while echo(socket).is_ok() {}
}

fn echo(socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 2048];
    let mut control = cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let fd = socket.as_raw_fd();
    let received = recvmsg::<SockaddrIn6>(fd, &mut parts, Some(&mut control), MsgFlags::empty())?;
    let (length, client) = (received.bytes, received.address);
    let asked = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
        _ => None,
    });
    let Some(mut info) = asked else { return Ok(()) };
    // The interface is the routing table's choice.
    info.ipi6_ifindex = 0;
    let answer = [IoSlice::new(buffer.get(..length).unwrap_or_default())];
    let control = [ControlMessage::Ipv6PacketInfo(&info)];
    sendmsg(fd, &answer, &control, MsgFlags::empty(), client.as_ref())?;
    Ok(())
}
