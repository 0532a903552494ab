//! Programs on clients: they resolve names and connect, and keep connections open.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hickory_proto::op::{Message, ResponseCode};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, Shutdown, SockFlag, SockType, SockaddrStorage, bind, connect, getsockname,
        getsockopt, setsockopt, shutdown, socket,
        sockopt::{Linger, SocketError},
    },
};

use super::{
    model::Verdict,
    packet::{Packet, What},
    queue,
    site::{self, Group, Known},
    timeline::{Fault, Span},
    world::World,
};
use intune_filter_tests::random::Random;
use intune_filter_tests::{
    dns::{self, ADDRESS_TYPES},
    namespace::Namespace,
    prog_test_run::Flags,
    resolver::BEYOND,
};

/// Time for which a client waits for an answer before it asks again, and number of its tries.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

/// Longest time of an allowed connection's opening, and time for which a denied one is tried.
const CONNECTED: Duration = Duration::from_secs(10);
const IN_VAIN: Duration = Duration::from_millis(300);

/// Resolves names and connects, one after the other, until the soak is over.
pub fn run(world: &World, number: u16) -> Result<()> {
    let mut random = Random::new(world.measure.seed, &format!("program {number}"));
    let names = site::names();
    let groups = [Group::Staff, Group::Kiosk, Group::Servers, Group::Lab, Group::Admin];
    while world.goes_on() {
        let group = *random.pick(&groups);
        let family = random.within(0..2) as usize;
        let client = group.client(random.within(0..site::CLIENTS))[family];
        let (destination, port) = match random.within(0..10) {
            0 => (site::core(random.within(0..16))[family], *random.pick(&[443, 22])),
            1 => (site::printer(random.within(0..16))[family], *random.pick(&[631, 9101])),
            2 => (site::nowhere(random.within(0..16))[family], 443),
            _ => {
                let known = random.pick(&names).clone();
                resolve(world, &mut random, group, client, &known)?;
                let kind = *random.pick(&[0, family]);
                let ports = [80, 443, 993, 22];
                // Whatever was answered: what was not has to be denied.
                (
                    known.addresses[if client.is_ipv4() { 0 } else { 1.max(kind) }],
                    *random.pick(&ports),
                )
            }
        };
        connect_to(world, client, (destination, port).into())?;
        world.pause(Duration::from_millis(if world.measure.pace > 200 { 2 } else { 50 }));
    }
    Ok(())
}

/// Asks for a name, for addresses of the client's own family; what is learned is taken note of.
pub fn resolve(
    world: &World,
    random: &mut Random,
    group: Group,
    client: IpAddr,
    known: &Known,
) -> Result<()> {
    let family = usize::from(client.is_ipv6());
    let kind = ADDRESS_TYPES[family];
    let query = dns::query(&known.name, kind)?;
    let socket = world.network.client.run(|| UdpSocket::bind((client, 0)));
    // Not while the interface is away.
    let Ok(socket) = socket else { return Ok(()) };
    if socket.connect((BEYOND[family], 53)).is_err() {
        return Ok(());
    }
    let begun = Instant::now();
    let asked = {
        let (timeline, knowledge) = &mut *world.history();
        let policies = timeline.policies(Span::since(begun));
        knowledge.ask(&known.name, &[known.addresses[family]], &policies)
    };
    let answer = ask(world, &socket, &query)?;
    let span = Span::since(begun);
    let policies = world.policies(span);
    let answers: Vec<bool> =
        policies.iter().map(|policy| policy.answers(client, &known.name)).collect();
    let allowed = !answers.contains(&false);
    let refused = !answers.contains(&true);
    let check = "resolution";
    let what = || format!("{} {kind} for {client} ({group:?})", known.name);
    match answer {
        None => {
            let excused = world.had(Fault::Link, span)
                || world.had(Fault::PendingFull, span)
                || !refused && world.had(Fault::Outage, span);
            if excused {
                world.tally().add("names not answered, under a fault", 1);
            } else {
                world.tally().fail(check, format!("{}: no answer", what()));
            }
        }
        Some(QueryReply { code: ResponseCode::NXDomain, sent, .. }) => {
            // An earlier one may have been passed on by another policy, and be answered yet.
            if sent == 1 {
                world.history().1.refused(&asked);
            }
            world.tally().add("names refused", 1);
            if allowed {
                world.tally().fail(check, format!("{}: refused", what()));
            }
        }
        Some(QueryReply { code: ResponseCode::NoError, addresses, ttl, .. }) => {
            world.tally().add("names answered", 1);
            if refused {
                world.tally().fail(check, format!("{}: answered", what()));
            }
            if addresses != [known.addresses[family]] {
                world.tally().fail(check, format!("{}: {addresses:?}", what()));
            }
            let room = !world.had(Fault::HostsFull, span) && !world.had(Fault::PendingFull, span);
            // Whether others learn from what is not judged, nothing says.
            let judged = !matches!(group, Group::Lab | Group::Admin);
            world.history().1.answered(&asked, &known.name, ttl, &policies, room && judged);
        }
        Some(QueryReply { code, .. }) => world.tally().fail(check, format!("{}: {code}", what())),
    }
    let _ = random;
    Ok(())
}

/// Answer to a query.
struct QueryReply {
    code: ResponseCode,
    addresses: Vec<IpAddr>,
    /// The shortest of its records, in seconds.
    ttl: u32,
    /// Number of times that the query was sent.
    sent: u32,
}

/// Asks, again and again if nothing comes.
fn ask(world: &World, socket: &UdpSocket, query: &[u8]) -> Result<Option<QueryReply>> {
    socket.set_read_timeout(Some(ASK_AGAIN))?;
    let mut buffer = [0; 1500];
    for attempt in 0..TRIES {
        if attempt > 0 {
            world.tally().add("queries sent again", 1);
        }
        if socket.send(query).is_err() {
            world.pause(Duration::from_millis(100));
            continue;
        }
        // An ICMP error of a resolver that is away says nothing of the next try.
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let octets = buffer.get(..length).unwrap_or_default();
        let answer = dns::parse(query, octets)?;
        let ttl = Message::from_vec(octets)?.answers.iter().map(|record| record.ttl).min();
        return Ok(Some(QueryReply {
            code: answer.code,
            addresses: answer.addresses,
            ttl: ttl.unwrap_or(0),
            sent: attempt + 1,
        }));
    }
    Ok(None)
}

/// Connects, and holds what becomes of that against the model.
pub fn connect_to(world: &World, client: IpAddr, remote: SocketAddr) -> Result<()> {
    let begun = Instant::now();
    let Some((stream, local)) = prepared(world, client)? else { return Ok(()) };
    let packet = Packet::new(
        client,
        remote.ip(),
        What::Tcp { local: local.port(), remote: remote.port(), flags: Flags::SYN },
    );
    let (expected, _) = world.judge(&packet, Span::since(begun));
    let patience = if expected == Verdict::Passes { CONNECTED } else { IN_VAIN };
    world.ledger.watch(local, remote);
    let dropped = queue::dropped(world)?;
    let begun = Instant::now();
    let attempt = attempt(&stream, remote, patience)?;
    let connected = attempt.is_ok();
    let span = Span::since(begun);
    let sent_again = if connected { sent_again(&stream)?.0 } else { 0 };
    drop(stream);
    let awaited = if connected { sent_again + 1 } else { 0 };
    let arrived = world.ledger.unwatch(local, remote, awaited);
    if arrived <= sent_again && queue::dropped(world)? > dropped {
        world.tally().add("connections whose SYN may have found no room", 1);
        return Ok(());
    }
    let judgement = world.judge(&packet, span);
    world.hold("connections", &packet, judgement, span, connected || arrived > 0);
    if connected {
        world.tally().add("connections made", 1);
        let lost = (sent_again + 1).saturating_sub(arrived);
        if lost > 0 && judgement.0 == Verdict::Passes && !world.had(Fault::Link, span) {
            world.tally().fail(
                "first packets",
                format!("{packet}: {lost} of {} SYNs did not arrive", sent_again + 1),
            );
        }
    } else if judgement.0 == Verdict::Passes && !world.had(Fault::Link, span) {
        world
            .tally()
            .fail("first packets", format!("{packet}: {attempt:?}, {arrived} SYNs arrived"));
    }
    Ok(())
}

/// A socket of a client's address, and its own address; none while that cannot be had.
fn prepared(world: &World, client: IpAddr) -> Result<Option<(OwnedFd, SocketAddr)>> {
    let family = if client.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let stream = world.network.client.run(|| {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let stream = socket(family, SockType::Stream, flags, None)?;
        let bound = bind(stream.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(client, 0)));
        bound.map(|()| stream)
    });
    let Ok(stream) = stream else { return Ok(None) };
    // Reset when closed, so that thousands of connections leave nothing behind.
    setsockopt(&stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    let own: SockaddrStorage = getsockname(stream.as_raw_fd())?;
    let port = own
        .as_sockaddr_in()
        .map(nix::sys::socket::SockaddrIn::port)
        .or_else(|| own.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port));
    let local = SocketAddr::new(client, port.context("a TCP socket has a port")?);
    Ok(Some((stream, local)))
}

/// Makes a connection within this time, or tells why not.
fn attempt(stream: &OwnedFd, remote: SocketAddr, patience: Duration) -> Result<Result<(), Errno>> {
    match connect(stream.as_raw_fd(), &SockaddrStorage::from(remote)) {
        Err(Errno::EINPROGRESS) => {}
        done => return Ok(done),
    }
    let mut fds = [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::try_from(patience)?)? == 0 {
        return Ok(Err(Errno::ETIMEDOUT));
    }
    let error = getsockopt(stream, SocketError)?;
    Ok(if error == 0 { Ok(()) } else { Err(Errno::from_raw(error)) })
}

/// Segments of a connection that were sent again, and those of them that need not have been, as the
/// far end says.
fn sent_again(stream: &impl std::os::fd::AsRawFd) -> Result<(u32, u32)> {
    // In `struct tcp_info`: `tcpi_total_retrans` and `tcpi_dsack_dups`.
    const AGAIN: usize = 100;
    const NEEDLESSLY: usize = 216;

    let mut info = [0_u8; 256];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointers are valid for the call, and the length is that of what they point to.
    let got = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    Errno::result(got).context("a TCP socket has its info")?;
    ensure!(length as usize >= NEEDLESSLY + 4, "the kernel tells too little of a connection");
    let number = |at: usize| {
        info.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u32::from_ne_bytes(*n))
    };
    Ok((number(AGAIN), number(NEEDLESSLY)))
}

/// Longest time until the far end has counted a repeated segment.
const TWICE: Duration = Duration::from_secs(2);

/// Segments of a connection that were lost, once they are more than `known`: those that were sent
/// again, but for those that had arrived, only late. That is said a moment after the answer has come.
fn lost_for_good(stream: &impl std::os::fd::AsRawFd, known: i64) -> Result<i64> {
    let begun = Instant::now();
    loop {
        let (again, needlessly) = sent_again(stream)?;
        let lost = i64::from(again) - i64::from(needlessly);
        if lost <= known || begun.elapsed() > TWICE {
            return Ok(lost);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The port of the server that echoes for as long as one likes.
pub const ECHO: u16 = 7;

/// Echoes on TCP connections, in a thread for each; stopped on drop.
#[derive(Debug)]
pub struct Echo {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Listens on all addresses of a namespace.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let listener = namespace.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, ECHO)))?;
        let accepting = listener.try_clone()?;
        let thread = thread::spawn(move || {
            while let Ok((mut stream, _)) = accepting.accept() {
                thread::spawn(move || {
                    let mut buffer = [0; 256];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        let text = buffer.get(..length).unwrap_or_default();
                        if stream.write_all(text).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if shutdown(self.listener.as_raw_fd(), Shutdown::Both).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Keeps connections open over everything that happens, and talks on them in turn.
pub fn keep(world: &World) -> Result<()> {
    let mut kept: Vec<Option<Kept>> = (0..8).map(|_| None).collect();
    let mut number = 0_u32;
    while world.goes_on() {
        for slot in &mut kept {
            number += 1;
            match slot.take() {
                Some(mut connection) => {
                    let goes_on = connection.exchange(world)?;
                    *slot = goes_on.then_some(connection);
                }
                None => *slot = Kept::open(world, number)?,
            }
        }
        world.pause(Duration::from_millis(100));
    }
    Ok(())
}

struct Kept {
    stream: TcpStream,
    what: String,
    lost: i64,
    since: Instant,
}

impl Kept {
    fn open(world: &World, number: u32) -> Result<Option<Self>> {
        let family = (number % 2) as usize;
        let group = if number.is_multiple_of(3) { Group::Kiosk } else { Group::Staff };
        let client = group.client(number)[family];
        let remote = SocketAddr::new(site::core(number)[family], ECHO);
        let Some((stream, local)) = prepared(world, client)? else { return Ok(None) };
        if attempt(&stream, remote, CONNECTED)?.is_err() {
            world.pause(Duration::from_millis(100));
            return Ok(None);
        }
        let stream = TcpStream::from(stream);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CONNECTED))?;
        stream.set_nodelay(true)?;
        world.tally().add("connections kept open", 1);
        let what = format!("{local} to {remote}");
        Ok(Some(Self { stream, what, lost: 0, since: Instant::now() }))
    }

    /// Says something and hears it; whether the connection is still good.
    fn exchange(&mut self, world: &World) -> Result<bool> {
        // What was forgotten between two exchanges shows in the next one.
        let text = *b"what goes there comes back, always";
        let mut back = [0; 34];
        let done = self.stream.write_all(&text).and_then(|()| self.stream.read_exact(&mut back));
        let span = Span::since(self.since);
        self.since = span.to;
        let faulty = [Fault::Link, Fault::FlowsFull].iter().any(|fault| world.had(*fault, span));
        if let Err(error) = done {
            if !faulty {
                world.tally().fail("open connections", format!("{}: {error}", self.what));
            }
            world.tally().add("open connections that faults have cut", 1);
            return Ok(false);
        }
        ensure!(back == text, "{}: other octets came back", self.what);
        world.tally().add("exchanges on open connections", 1);
        let lost = lost_for_good(&self.stream, self.lost)?;
        if lost > self.lost && !faulty {
            let more = lost - self.lost;
            world.tally().fail("open connections", format!("{}: {more} segments lost", self.what));
        }
        self.lost = self.lost.max(lost);
        Ok(true)
    }
}
