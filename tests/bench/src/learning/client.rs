//! The client that never waits: it spins until the answer is there, and connects at once.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::Range,
    os::fd::{AsFd as _, AsRawFd as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        SockFlag, SockType, SockaddrLike as _, SockaddrStorage, connect, setsockopt, socket,
        sockopt,
    },
};

use intune_filter_tests::{
    dns::{self, ADDRESS_TYPES, ResponseCode},
    records::addresses,
    resolver::FRESH,
    rounds::over_udp,
};

/// Milliseconds: well below the second after which a lost SYN is sent again, well above what one
/// takes that is not lost.
const LOST: u16 = 300;

/// A turn at a gateway that loses much ends after that time.
const LIMIT: Duration = Duration::from_secs(1);

/// Experience of a client.
#[derive(Debug, Default)]
pub struct Turn {
    /// Time of each answer.
    pub answers: Vec<Duration>,
    /// Number of connections that were not there before a SYN would have been sent again.
    pub lost: u32,
}

impl Turn {
    /// Adds what came later.
    pub fn add(&mut self, later: Self) {
        self.answers.extend(later.answers);
        self.lost += later.lost;
    }

    /// Resolves the names with these numbers, IPv4 and IPv6 in turn, and connects to each.
    pub fn take(server: IpAddr, numbers: Range<u32>) -> Result<Self> {
        let mut ask = over_udp(server);
        let mut turn = Self::default();
        let begun = Instant::now();
        for number in numbers {
            if begun.elapsed() > LIMIT {
                break;
            }
            let family = usize::from(number % 2 == 1);
            let kind = ADDRESS_TYPES[family];
            let name = format!("{number}-{}.{FRESH}", kind.to_string().to_lowercase());
            // Known beforehand, so that nothing stands between the answer and the SYN.
            let expected = addresses(number)[family];
            let query = dns::query(&name, kind)?;
            let asked = Instant::now();
            let octets = ask(&query).with_context(|| name.clone())?;
            turn.answers.push(asked.elapsed());
            turn.lost += u32::from(!connects(expected)?);

            let answer = dns::parse(&query, &octets)?;
            ensure!(answer.code == ResponseCode::NoError, "{name}: {answer:?}");
            ensure!(answer.addresses == [expected], "{name}: {answer:?}");
        }
        Ok(turn)
    }
}

/// Whether a connection is there before a SYN is sent again.
pub fn connects(to: IpAddr) -> Result<bool> {
    let address = SockaddrStorage::from(SocketAddr::new(to, 443));
    let domain = address.family().context("an address has a family")?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(domain, SockType::Stream, flags, None)?;
    // Reset when closed, so that thousands of connections leave nothing behind.
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) => return Ok(true),
        Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error).with_context(|| format!("cannot connect to {to}")),
    }
    let ready =
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(LOST))?;
    match nix::sys::socket::getsockopt(&socket, sockopt::SocketError)? {
        0 => Ok(ready > 0),
        // The filter's own answer to what it denies.
        libc::ECONNREFUSED => Ok(false),
        error => {
            Err(io::Error::from_raw_os_error(error)).with_context(|| format!("connecting to {to}"))
        }
    }
}
