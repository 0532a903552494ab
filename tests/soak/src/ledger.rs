//! Tags of arrived packets by side, heard by packet sockets that see the interfaces' received
//! frames.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt::RcvBufForce,
    },
};

use super::packet::tag_of;
use intune_filter_tests::namespace::Namespace;

/// Side at which packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Behind the gateway.
    Server = 0,
    /// With the clients.
    Client = 1,
}

/// Tags that are remembered after their packet was found to have been denied: what is late, is not
/// overlooked.
const REMEMBERED: usize = 200_000;

/// Longest time between a packet's arrival and its being heard.
const HEARD: Duration = Duration::from_secs(2);

/// Octets that wait to be read by a socket that hears: more than all senders have on the way.
const ROOM: usize = 64 << 20;

#[derive(Debug, Default)]
struct State {
    awaited: [HashSet<u64>; 2],
    arrived: [HashSet<u64>; 2],
    denied: HashMap<u64, Instant>,
    order: VecDeque<u64>,
    late: Vec<Late>,
    syns: HashMap<(SocketAddr, SocketAddr), u32>,
}

/// A packet that has arrived after it was found to have been denied.
#[derive(Clone, Debug)]
pub struct Late {
    tag: u64,
    by: Duration,
    ago: Instant,
    frame: Vec<u8>,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tag, by, ago, frame } = self;
        let ago = ago.elapsed();
        write!(f, "the packet with tag {tag} arrived after all, {by:?} late, {ago:?} ago:")?;
        frame.iter().try_for_each(|octet| write!(f, " {octet:02x}"))
    }
}

/// Arrived packets.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
    changed: Condvar,
    tags: AtomicU64,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tag that no other packet has, awaited on one side.
    pub fn tag(&self, side: Side) -> u64 {
        let tag = self.tags.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().awaited[side as usize].insert(tag);
        tag
    }

    /// Awaits a tag on another side too.
    pub fn also(&self, tag: u64, side: Side) {
        self.lock().awaited[side as usize].insert(tag);
    }

    /// Waits until a tag arrives; whether it did.
    pub fn wait(&self, tag: u64, side: Side, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while !state.arrived[side as usize].contains(&tag) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Whether a tag has arrived; nothing more is kept of it.
    pub fn take(&self, tag: u64, side: Side) -> bool {
        let mut state = self.lock();
        state.awaited[side as usize].remove(&tag);
        state.arrived[side as usize].remove(&tag)
    }

    /// From now on it is known that this tag must not arrive.
    pub fn deny(&self, tag: u64) {
        let mut state = self.lock();
        state.denied.insert(tag, Instant::now());
        state.order.push_back(tag);
        if state.order.len() > REMEMBERED
            && let Some(oldest) = state.order.pop_front()
        {
            state.denied.remove(&oldest);
        }
    }

    /// Packets that have arrived after they were found to have been denied.
    #[must_use]
    pub fn late(&self) -> Vec<Late> {
        self.lock().late.clone()
    }

    /// Counts the SYNs of a connection from now on.
    pub fn watch(&self, from: SocketAddr, to: SocketAddr) {
        self.lock().syns.insert((from, to), 0);
    }

    /// Number of SYNs of a connection that have come in behind the gateway; ends their count. Waits
    /// for `awaited` of them, since arrivals are heard a little later.
    pub fn unwatch(&self, from: SocketAddr, to: SocketAddr, awaited: u32) -> u32 {
        let deadline = Instant::now() + HEARD;
        let mut state = self.lock();
        while state.syns.get(&(from, to)).is_some_and(|count| *count < awaited) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.syns.remove(&(from, to)).unwrap_or_default()
    }

    fn hear(&self, side: Side, frame: &[u8]) {
        let Some(tag) = tag_of(frame) else {
            if side == Side::Server {
                self.count_syn(frame);
            }
            return;
        };
        let mut state = self.lock();
        if state.awaited[side as usize].contains(&tag) {
            state.arrived[side as usize].insert(tag);
            drop(state);
            self.changed.notify_all();
        } else if side == Side::Server
            && let Some(denied) = state.denied.get(&tag)
        {
            let (by, ago) = (denied.elapsed(), Instant::now());
            state.late.push(Late { tag, by, ago, frame: frame.to_vec() });
        }
    }

    fn count_syn(&self, frame: &[u8]) {
        let Some(connection) = opening(frame) else { return };
        if let Some(count) = self.lock().syns.get_mut(&connection) {
            *count += 1;
            self.changed.notify_all();
        }
    }
}

/// The ends of the connection that a frame opens.
fn opening(frame: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { return None };
    if !tcp.syn() || tcp.ack() {
        return None;
    }
    let (source, destination) = match packet.net? {
        NetSlice::Ipv4(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        NetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        NetSlice::Arp(_) => return None,
    };
    Some((
        SocketAddr::new(source, tcp.source_port()),
        SocketAddr::new(destination, tcp.destination_port()),
    ))
}

/// A thread that hears what a namespace's interfaces receive; ended on drop.
#[derive(Debug)]
pub struct Ear {
    socket: Arc<OwnedFd>,
    end: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Ear {
    /// Begins to hear, on all interfaces, those that are yet to be made among them.
    pub fn open(namespace: &Namespace, ledger: &Arc<Ledger>, side: Side) -> Result<Self> {
        let socket = namespace.run(|| {
            socket(
                AddressFamily::Packet,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::EthAll,
            )
        })?;
        setsockopt(&socket, RcvBufForce, &ROOM)?;
        let (socket, ledger) = (Arc::new(socket), Arc::clone(ledger));
        let (ended, end) = nix::unistd::pipe()?;
        let hearing = Arc::clone(&socket);
        let thread = thread::spawn(move || {
            while hear_all(&hearing, |frame| ledger.hear(side, frame)) {
                let mut fds = [
                    PollFd::new(hearing.as_fd(), PollFlags::POLLIN),
                    PollFd::new(ended.as_fd(), PollFlags::POLLIN),
                ];
                let polled = poll(&mut fds, PollTimeout::NONE);
                if polled.is_err() || fds[1].any() == Some(true) {
                    return;
                }
            }
        });
        Ok(Self { socket, end, thread: Some(thread) })
    }

    /// Frames that found no room and were not heard: with any, arrivals are uncertain.
    pub fn unheard(&self) -> Result<u32> {
        // SAFETY: all fields are integers.
        let mut statistics: libc::tpacket_stats = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the pointers are valid for the call, and the length is that of what they point to.
        let got = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        Errno::result(got).context("a packet socket has statistics")?;
        ensure!(length as usize == size_of_val(&statistics), "other statistics than expected");
        Ok(statistics.tp_drops)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = nix::unistd::write(&self.end, b"x");
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads all frames that are there; false where there are no more to come.
fn hear_all(socket: &OwnedFd, mut hear: impl FnMut(&[u8])) -> bool {
    let mut buffer = [0_u8; 4096];
    loop {
        // SAFETY: all fields are integers.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut length = size_of_val(&from) as libc::socklen_t;
        // SAFETY: the pointers are valid for the call, and the lengths are those of what they
        // point to.
        let received = unsafe {
            libc::recvfrom(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut length,
            )
        };
        match Errno::result(received) {
            Ok(_) if from.sll_pkttype == libc::PACKET_OUTGOING => {}
            Ok(received) => hear(buffer.get(..received as usize).unwrap_or_default()),
            // An interface that goes away tells so once.
            Err(Errno::ENETDOWN | Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return true,
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Packet, What};
    use intune_filter_tests::prog_test_run::{Datagram, Flags};

    fn frame(tag: u64) -> Vec<u8> {
        let what = What::Udp { local: 1, remote: 2 };
        Packet::new([10, 0, 0, 1].into(), [192, 0, 2, 1].into(), what).frame(tag)
    }

    #[test]
    fn a_tag_arrives_on_its_side_alone() {
        let ledger = Ledger::default();
        let tag = ledger.tag(Side::Server);
        ledger.hear(Side::Client, &frame(tag));
        assert!(!ledger.wait(tag, Side::Server, Duration::ZERO));
        ledger.hear(Side::Server, &frame(tag));
        assert!(ledger.wait(tag, Side::Server, Duration::ZERO));
        assert!(ledger.take(tag, Side::Server) && !ledger.take(tag, Side::Server));
    }

    #[test]
    fn what_arrives_after_it_was_judged_is_not_overlooked() {
        let ledger = Ledger::default();
        let tag = ledger.tag(Side::Server);
        assert!(!ledger.take(tag, Side::Server));
        ledger.deny(tag);
        ledger.hear(Side::Server, &frame(tag));
        assert!(matches!(ledger.late()[..], [ref late] if late.tag == tag));
    }

    #[test]
    fn the_syns_of_a_connection_are_counted() {
        let ledger = Ledger::default();
        let (from, to) = (([10, 0, 0, 1], 5).into(), ([192, 0, 2, 1], 443).into());
        ledger.watch(from, to);
        let datagram = Datagram::new([10, 0, 0, 1], [192, 0, 2, 1]);
        let segment = |flags| datagram.clone().segment([5, 443], flags, [1, 0], b"").frame();
        for flags in [Flags::SYN, Flags::SYN, Flags::ACK, Flags::SYN_ACK] {
            ledger.hear(Side::Server, &segment(flags));
        }
        assert_eq!(ledger.unwatch(from, to, 2), 2);
        assert_eq!(ledger.unwatch(from, to, 1), 0);
    }
}
