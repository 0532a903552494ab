//! No first packet is lost: a client that spins on the DNS answer and connects at once finds the
//! address allowed. `INTUNE_ROUNDS` sets the number of rounds of each test.

use std::{
    env,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{self, ADDRESS_TYPES, ResponseCode},
    laboratory::{Laboratory, Setup},
    records::addresses,
    resolver::{FRESH, Kind},
    responder::RESPONDER,
    site,
};
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

/// How often each test resolves a fresh name and connects.
fn rounds() -> Result<u16> {
    const USUAL: u16 = 500;
    match env::var("INTUNE_ROUNDS") {
        Ok(text) => {
            text.parse().with_context(|| format!("INTUNE_ROUNDS={text}, expected at most 65535"))
        }
        Err(_) => Ok(USUAL),
    }
}

#[test]
fn with_dnsmasq_on_the_gateway_no_first_packet_is_lost() -> Result<()> {
    let mut laboratory = Laboratory::create(&site::setup())?;
    laboratory.filter.start()?;
    lose_nothing(&laboratory, laboratory.resolver.addresses()[0], "dnsmasq's own", over_udp)
}

#[test]
fn with_unbound_beyond_the_gateway_no_first_packet_is_lost() -> Result<()> {
    let mut laboratory = Laboratory::create(&Setup { resolver: Kind::Unbound, ..site::setup() })?;
    laboratory.filter.start()?;
    lose_nothing(&laboratory, laboratory.resolver.addresses()[0], "unbound's forwarded", over_udp)
}

#[test]
fn over_tcp_no_first_packet_is_lost() -> Result<()> {
    for (resolver, kind) in [
        (Kind::Dnsmasq, "dnsmasq's own, over TCP,"),
        (Kind::Unbound, "unbound's forwarded, over TCP,"),
    ] {
        let mut laboratory = Laboratory::create(&Setup { resolver, ..site::setup() })?;
        laboratory.filter.start()?;
        lose_nothing(&laboratory, resolver.addresses()[0], kind, over_tcp)?;
    }
    Ok(())
}

/// The quickest resolver there can be: it leaves the least time between answer and packet.
#[test]
fn with_a_resolver_that_only_answers_no_first_packet_is_lost() -> Result<()> {
    let mut laboratory = Laboratory::create(&site::setup())?;
    laboratory.filter.start()?;
    lose_nothing(&laboratory, RESPONDER[0], "forwarded", over_udp)
}

/// Sends a query and spins until its answer is there.
type Ask<'a> = dyn FnMut(&[u8]) -> Result<Vec<u8>> + 'a;

fn over_udp(server: IpAddr) -> Box<Ask<'static>> {
    Box::new(move |query| {
        let resolver = dns::connect(server)?;
        resolver.set_nonblocking(true)?;
        let mut buffer = [0; 512];
        resolver.send(query)?;
        let length = spin(|| resolver.recv(&mut buffer))?;
        Ok(buffer.get(..length).unwrap_or_default().to_vec())
    })
}

/// As many questions on one connection as resolvers take.
fn over_tcp(server: IpAddr) -> Box<Ask<'static>> {
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
        let (mut buffer, mut length) = ([0; 512], 0);
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

fn lose_nothing(
    laboratory: &Laboratory,
    server: IpAddr,
    kind: &str,
    transport: fn(IpAddr) -> Box<Ask<'static>>,
) -> Result<()> {
    let rounds = rounds()?;
    let before = laboratory.filter.counters()?;
    let connect = || connect_to_fresh(&mut *transport(server), rounds);
    let (lost, slowest) = laboratory.network.client.run(connect)?;
    let denied = laboratory.filter.counters()?.since(&before).denials();
    println!(
        "{kind} answers: {rounds} rounds, {lost} first packets lost, slowest connection {slowest:?}",
    );
    ensure!(lost == 0, "{lost} of {rounds} first packets were lost; the kernel denied {denied}");
    ensure!(denied.is_empty(), "the kernel denied {denied}");
    Ok(())
}

/// Resolves and connects to fresh addresses; returns how many SYNs had to be sent again, and how
/// long the slowest connection took.
fn connect_to_fresh(ask: &mut Ask<'_>, rounds: u16) -> Result<(u64, Duration)> {
    let before = retransmitted_syns()?;
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        let family = usize::from(round % 2);
        let kind = ADDRESS_TYPES[family];
        let name = format!("{round}-{}.{FRESH}", kind.to_string().to_lowercase());
        // Known beforehand, so that nothing stands between the answer and the SYN.
        let address = SockaddrStorage::from(SocketAddr::new(addresses(round)[family], 443));
        let domain = address.family().context("an address has a family")?;
        let stream = socket(domain, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&stream, sockopt::SendTimeout, &TimeVal::seconds(5))?;
        // Reset when closed, so that thousands of connections leave nothing behind.
        setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;

        let query = dns::query(&name, kind)?;
        let octets = ask(&query).with_context(|| name.clone())?;
        let answered = Instant::now();
        connect(stream.as_raw_fd(), &address).with_context(|| format!("{name}, {address}"))?;
        slowest = slowest.max(answered.elapsed());

        let answer = dns::parse(&query, &octets)?;
        ensure!(answer.code == ResponseCode::NoError, "{name}: {answer:?}");
        ensure!(answer.addresses == [addresses(round)[family]], "{name}: {answer:?}");
    }
    Ok((retransmitted_syns()? - before, slowest))
}

/// How many SYNs this namespace has sent more than once.
fn retransmitted_syns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) =
        pairs.find(|(name, _)| *name == "TCPSynRetrans").context("no TCPSynRetrans")?;
    Ok(value.parse()?)
}
