//! A server of the test's own: it reads as any program does, keeps what it has read, and answers.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context as _, Result};
use intune_filter_tests::{namespace::Namespace, resolver::BEYOND};
use nix::{
    libc,
    sys::socket::{Backlog, setsockopt, sockopt},
};

use crate::{messages, script::Manner};

/// The server's sockets.
#[derive(Debug)]
pub struct Reader {
    listeners: Vec<TcpListener>,
    live: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    client: (IpAddr, u16),
    index: usize,
    stream: TcpStream,
    octets: Vec<u8>,
    done: usize,
    answered: usize,
    ended: bool,
    split: bool,
}

/// Properties of clients that the server asks for.
pub trait Clients {
    /// How to treat a client that connects, and how often it has before; `None` if it is a stranger.
    fn connected(&mut self, client: (IpAddr, u16)) -> Option<(Manner, usize)>;
    /// What is answered to a message, the so manieth of the connection.
    fn answers(&self, client: (IpAddr, u16), message: &[u8], count: usize) -> Vec<Vec<u8>>;
    /// Octets that were read on a client's so manieth connection, or none at its end.
    fn read(&mut self, client: (IpAddr, u16), index: usize, octets: Option<&[u8]>);
}

impl Reader {
    /// Listens on the resolver's addresses.
    pub fn open(internet: &Namespace) -> Result<Self> {
        let listen = |address: IpAddr| -> Result<TcpListener> {
            let listener = TcpListener::bind((address, 53))
                .with_context(|| format!("cannot listen on {address}"))?;
            nix::sys::socket::listen(&listener, Backlog::new(65_535).unwrap_or(Backlog::MAXCONN))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        internet.ip(&BEYOND.map(|address| format!("address add {address} dev lo")))?;
        let listeners = internet.run(|| BEYOND.into_iter().map(listen).collect::<Result<_>>())?;
        Ok(Self { listeners, live: Vec::new() })
    }

    /// Reads and answers what there is.
    pub fn serve(&mut self, clients: &mut impl Clients) -> Result<()> {
        for listener in &self.listeners {
            while let Some((stream, peer)) = accept(listener)? {
                let client = (peer.ip(), peer.port());
                let Some((manner, index)) = clients.connected(client) else { continue };
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                if manner.slow {
                    acknowledge_late(&stream)?;
                }
                // What is dropped ends at once, and leaves nothing behind.
                let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                setsockopt(&stream, sockopt::Linger, &linger)?;
                self.live.push(Connection {
                    client,
                    index,
                    stream,
                    octets: Vec::new(),
                    done: 0,
                    answered: 0,
                    ended: false,
                    split: manner.split,
                });
            }
        }
        for connection in &mut self.live {
            connection.serve(clients);
        }
        Ok(())
    }

    /// Ends every connection of a client.
    pub fn forget(&mut self, client: (IpAddr, u16)) {
        self.live.retain(|connection| connection.client != client);
    }
}

impl Connection {
    fn serve(&mut self, clients: &mut impl Clients) {
        let mut buffer = [0; 8192];
        while !self.ended {
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    // As a server does that has nothing left to say.
                    let _ = self.stream.shutdown(std::net::Shutdown::Write);
                }
                Ok(length) => {
                    let fresh = buffer.get(..length).unwrap_or_default();
                    self.octets.extend(fresh);
                    clients.read(self.client, self.index, Some(fresh));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.ended = true,
            }
            if self.ended {
                clients.read(self.client, self.index, None);
            }
        }
        let unread = self.octets.get(self.done..).unwrap_or_default();
        let (whole, rest) = messages::split(unread);
        let done = self.octets.len() - rest.len();
        for message in whole {
            for answer in clients.answers(self.client, message, self.answered) {
                write(&mut self.stream, &answer, self.split);
            }
            self.answered += 1;
        }
        self.done = done;
    }
}

/// Writes an answer; octets without room are lost, since the client does not read.
fn write(stream: &mut TcpStream, answer: &[u8], split: bool) {
    let framed = messages::framed(answer);
    let (length, message) = framed.split_at(messages::PREFIX);
    let _ = if split {
        stream.write_all(length).and_then(|()| stream.write_all(message))
    } else {
        stream.write_all(&framed)
    };
}

fn accept(listener: &TcpListener) -> Result<Option<(TcpStream, SocketAddr)>> {
    loop {
        match listener.accept() {
            Ok(accepted) => return Ok(Some(accepted)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            // Its client has reset it already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error).context("cannot accept"),
        }
    }
}

/// Has the kernel acknowledge with the answer, or 40 ms later.
fn acknowledge_late(stream: &TcpStream) -> Result<()> {
    use std::os::fd::AsRawFd as _;

    let off: libc::c_int = 0;
    // SAFETY: the pointer is valid for the call, and the length is that of what it points to.
    let done = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_QUICKACK,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(done).map(drop).context("cannot set TCP_QUICKACK")
}
