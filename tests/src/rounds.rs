//! Rounds of resolving a fresh name and connecting at once: what a client that never waits loses.

use std::{
    env,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::{
        socket::{
            SockFlag, SockType, SockaddrLike as _, SockaddrStorage, connect, setsockopt, socket,
            sockopt,
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::{
    dns::{self, ADDRESS_TYPES, ResponseCode},
    records::{NUMBERS, addresses},
    resolver::FRESH,
    responder::{MANY, SET, many},
    site,
    testbed::Testbed,
};

/// Number of rounds, each of which resolves a fresh name and connects: `INTUNE_ROUNDS`, or `usual`.
pub fn rounds(usual: u32) -> Result<u32> {
    let Ok(text) = env::var("INTUNE_ROUNDS") else { return Ok(usual) };
    let rounds = text.parse().ok().filter(|rounds| (1..NUMBERS).contains(rounds));
    rounds.with_context(|| format!("INTUNE_ROUNDS={text}, expected 1 to {}", NUMBERS - 1))
}

/// Number of rounds over TCP, where a tenth is enough.
pub fn rounds_over_tcp(usual: u32) -> Result<u32> {
    Ok(if env::var_os("INTUNE_ROUNDS").is_some() { (rounds(usual)? / 10).max(1) } else { usual })
}

/// Sends a query and spins until its answer is there.
pub type Ask<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>> + 'a;

/// Asks over UDP, each time from another port.
pub fn over_udp(server: IpAddr) -> Box<Ask<'static>> {
    Box::new(move |query| {
        let resolver = dns::connect(server)?;
        resolver.set_nonblocking(true)?;
        let mut buffer = [0; 512];
        resolver.send(query)?;
        let length = spin(|| resolver.recv(&mut buffer))?;
        Ok(buffer.get(..length).unwrap_or_default().to_vec())
    })
}

/// Asks over TCP: as many questions on one connection as resolvers take.
pub fn over_tcp(server: IpAddr) -> Box<Ask<'static>> {
    const QUESTIONS: u32 = 50;
    let mut connection: Option<TcpStream> = None;
    let mut asked = 0;
    Box::new(move |query| {
        if asked % QUESTIONS == 0 {
            connection = None;
        }
        asked += 1;
        let stream = match &mut connection {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect((server, 53))?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                connection.insert(stream)
            }
        };
        stream.write_all(&dns::framed(query)?)?;
        let (mut buffer, mut length) = ([0; 8192], 0);
        loop {
            let more = spin(|| stream.read(&mut buffer[length..]))?;
            ensure!(more > 0, "the resolver has closed the connection");
            length += more;
            let (prefix, message) = buffer[..length].split_first_chunk().context("a length")?;
            if message.len() >= usize::from(u16::from_be_bytes(*prefix)) {
                return Ok(message.to_vec());
            }
        }
    })
}

/// Tries again until there is something, without leaving the CPU.
fn spin(mut receive: impl FnMut() -> std::io::Result<usize>) -> Result<usize> {
    let asked = Instant::now();
    loop {
        match receive() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ensure!(asked.elapsed() < site::ANSWER, "no answer");
                std::hint::spin_loop();
            }
            received => return Ok(received?),
        }
    }
}

/// Resolves fresh names and connects to them, which may lose no packet. `what` stands in what is
/// printed.
pub fn lose_nothing(
    testbed: &Testbed,
    server: IpAddr,
    what: &str,
    rounds: u32,
    transport: fn(IpAddr) -> Box<Ask<'static>>,
) -> Result<()> {
    let before = testbed.filter.counters()?;
    let connect = || connect_to_fresh(&mut *transport(server), rounds);
    let begun = Instant::now();
    let (lost, slowest) = testbed.network.client.run(connect)?;
    let rate = f64::from(rounds) / begun.elapsed().as_secs_f64();
    let counted = testbed.filter.counters()?.since(&before);
    let denied = counted.denials();
    println!(
        "{what}: {rounds} rounds, {rate:.0} a second, {lost} first packets lost, slowest \
         connection {slowest:?}",
    );
    let overflows = testbed.network.internet.run(overflows)?;
    ensure!(
        lost == 0,
        "{lost} of {rounds} first packets were lost; the kernel denied {denied}; of the internet's \
         queues {overflows} were full",
    );
    ensure!(denied.is_empty(), "the kernel denied {denied}");
    Ok(())
}

/// Resolves and connects to fresh addresses; returns how many SYNs had to be sent again, and how
/// long the slowest connection took.
fn connect_to_fresh(ask: &mut Ask<'_>, rounds: u32) -> Result<(u64, Duration)> {
    let before = retransmitted_syns()?;
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        let family = usize::from(round % 2 == 1);
        let kind = ADDRESS_TYPES[family];
        let name = format!("{round}-{}.{FRESH}", kind.to_string().to_lowercase());
        // Known beforehand, so that nothing stands between the answer and the SYN.
        let expected = addresses(round)[family];
        let connection = Connection::prepare(expected)?;
        let query = dns::query(&name, kind)?;
        let octets = ask(&query).with_context(|| name.clone())?;
        slowest = slowest.max(connection.connect().with_context(|| name.clone())?);

        let answer = dns::parse(&query, &octets)?;
        ensure!(answer.code == ResponseCode::NoError, "{name}: {answer:?}");
        ensure!(answer.addresses == [expected], "{name}: {answer:?}");
    }
    Ok((retransmitted_syns()? - before, slowest))
}

/// A socket that has only to be connected.
struct Connection {
    socket: OwnedFd,
    address: SockaddrStorage,
}

impl Connection {
    fn prepare(address: IpAddr) -> Result<Self> {
        let address = SockaddrStorage::from(SocketAddr::new(address, 443));
        let domain = address.family().context("an address has a family")?;
        let socket = socket(domain, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, sockopt::SendTimeout, &TimeVal::seconds(5))?;
        // Reset when closed, so that thousands of connections leave nothing behind.
        setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        Ok(Self { socket, address })
    }

    /// Connects, and tells how long that took.
    fn connect(self) -> Result<Duration> {
        let begun = Instant::now();
        connect(self.socket.as_raw_fd(), &self.address)
            .with_context(|| format!("cannot connect to {}", self.address))?;
        Ok(begun.elapsed())
    }
}

/// Resolves names whose answers take several segments, which userspace reads, and connects to one of
/// the addresses at once: none of these first packets may be lost either. Prints how many answers
/// were held back, and for how long the client waited.
pub fn delay_but_lose_nothing(testbed: &Testbed, server: IpAddr, rounds: u32) -> Result<()> {
    let before = testbed.filter.counters()?;
    let (lost, mut delays) = testbed.network.client.run(|| -> Result<_> {
        let mut ask = over_tcp(server);
        let before = retransmitted_syns()?;
        let mut delays = Vec::new();
        // As many IPv4 addresses would fit into one segment.
        let [_, kind] = ADDRESS_TYPES;
        for round in 0..rounds {
            let name = format!("{round}{MANY}{}.{FRESH}", kind.to_string().to_lowercase());
            let expected: Vec<IpAddr> = many(round).into_iter().map(|n| addresses(n)[1]).collect();
            let connection = Connection::prepare(*expected.last().context("a set has addresses")?)?;
            let query = dns::query(&name, kind)?;
            let asked = Instant::now();
            let octets = ask(&query).with_context(|| name.clone())?;
            delays.push(asked.elapsed());
            connection.connect().with_context(|| name.clone())?;
            let answer = dns::parse(&query, &octets)?;
            ensure!(answer.addresses == expected, "{name}: {answer:?}");
        }
        Ok((retransmitted_syns()? - before, delays))
    })?;
    let counted = testbed.filter.counters()?.since(&before);
    delays.sort_unstable();
    let of = |share: f64| {
        let index = (delays.len() as f64 * share) as usize;
        delays.get(index.min(delays.len() - 1)).copied().unwrap_or_default()
    };
    println!(
        "answers of {SET} addresses, over TCP: {rounds} rounds, {} segments held back, answered \
         after {:?} (median), {:?} (99 %), {:?} (all); {lost} first packets lost",
        counted.get("dns_punted"),
        of(0.5),
        of(0.99),
        of(1.0),
    );
    ensure!(counted.get("dns_punted") > 0, "nothing was held back: {counted}");
    ensure!(counted.get("answer_unread") == 0, "something passed unread: {counted}");
    ensure!(lost == 0, "{lost} of {rounds} first packets were lost: {counted}");
    Ok(())
}

/// Number of SYNs that this namespace has sent more than once.
fn retransmitted_syns() -> Result<u64> {
    tcp_counter("TCPSynRetrans")
}

/// Number of SYNs that this namespace has dropped since its listeners' queues were full.
fn overflows() -> Result<u64> {
    tcp_counter("ListenOverflows")
}

/// A counter of the thread's network namespace.
fn tcp_counter(name: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) =
        pairs.find(|(other, _)| *other == name).with_context(|| format!("no {name}"))?;
    Ok(value.parse()?)
}
