//! Connections as a client makes them, and what became of each.

use std::{
    fmt, io,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::Mutex,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::{listeners::banner, namespace::Namespace};

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP: reached when the banner has come.
    Tcp,
    /// UDP: reached when the echo has come.
    Udp,
}

impl Transport {
    /// `tcp` or `udp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Destination of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub transport: Transport,
}

impl fmt::Display for Target {
    /// As `explain` reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", SocketAddr::new(self.address, self.port), self.transport.as_str())
    }
}

/// Result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The remote answered.
    Reached,
    /// Somebody said no: a reset, or an ICMP error.
    Refused,
    /// No answer came in time.
    Silent,
    /// The probe could not be sent.
    Failed(io::ErrorKind),
}

/// Probes one target from where the thread is.
#[must_use]
pub fn probe(target: Target, timeout: Duration) -> ProbeResult {
    let result = match target.transport {
        Transport::Tcp => tcp(target, timeout),
        Transport::Udp => udp(target, timeout),
    };
    match result {
        Ok(()) => ProbeResult::Reached,
        Err(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ProbeResult::Silent,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::PermissionDenied => ProbeResult::Refused,
            other => ProbeResult::Failed(other),
        },
    }
}

fn tcp(target: Target, timeout: Duration) -> io::Result<()> {
    let address = SocketAddr::new(target.address, target.port);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if text == banner(target.port) { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn udp(target: Target, timeout: Duration) -> io::Result<()> {
    let any: IpAddr = match target.address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((target.address, target.port))?;
    socket.set_read_timeout(Some(timeout))?;
    let sent = b"are you there?";
    socket.send(sent)?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    let same = buffer.get(..length) == Some(sent.as_slice());
    if same { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Applies `f` to every item, `workers` at once, inside a namespace; results keep the order.
pub fn concurrently<T: Sync, R: Send>(
    namespace: &Namespace,
    workers: usize,
    items: &[T],
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = f(item);
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
        }
    };
    namespace.run(|| {
        thread::scope(|scope| {
            for _ in 0..workers.min(items.len()) {
                scope.spawn(work);
            }
        });
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
