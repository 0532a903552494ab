//! Transfers between the client and remotes that send back what they receive.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    site::{ANSWER, SILENCE},
    testbed::Testbed,
};

/// Octets sent and received in one look at a transfer.
pub const CHUNK: usize = 256 << 10;

/// Has the remotes send back what they receive on a port, which nobody listens on yet.
pub fn echo_on(testbed: &Testbed, port: u16) -> Result<()> {
    let bind = || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
    let listener = testbed.network.internet.run(bind)?;
    // Ends with the process, as the namespace does.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream));
        }
    });
    Ok(())
}

fn echo(mut stream: TcpStream) -> Option<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
        stream.write_all(buffer.get(..length)?).ok()?;
    }
}

/// A connection of the client's that sends and receives.
pub struct Transfer(TcpStream);

impl Transfer {
    /// Connects, and transfers a first chunk.
    pub fn begin(testbed: &Testbed, to: IpAddr, port: u16) -> Result<Self> {
        // As often as TCP sends its SYN again in 15 s: the machine may be an emulated one.
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(to, port), ANSWER * 4);
        let stream = testbed.network.client.run(connect).with_context(|| format!("{to} {port}"))?;
        let mut transfer = Self(stream);
        transfer.goes_on()?;
        Ok(transfer)
    }

    /// Sends a chunk, and receives it back.
    fn exchange(&mut self, patience: Duration) -> io::Result<()> {
        self.0.set_write_timeout(Some(patience))?;
        self.0.set_read_timeout(Some(patience))?;
        let (mut writing, sent) = (self.0.try_clone()?, vec![7; CHUNK]);
        let write = thread::spawn(move || writing.write_all(&sent));
        let received = self.receive(Instant::now() + patience * 12);
        if received.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            // A trickle, which could last for ever, would be written on too.
            let _ = self.0.shutdown(Shutdown::Both);
        }
        write.join().map_err(|_| io::Error::other("a panic"))??;
        received
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<()> {
        let (mut buffer, mut left) = (vec![0; 64 << 10], CHUNK);
        while left > 0 {
            let most = left.min(buffer.len());
            match self.0.read(buffer.get_mut(..most).unwrap_or_default())? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ if Instant::now() > deadline => return Err(io::ErrorKind::TimedOut.into()),
                length => left -= length,
            }
        }
        Ok(())
    }

    /// Fails unless a chunk comes back.
    pub fn goes_on(&mut self) -> Result<()> {
        self.exchange(ANSWER).context("a transfer that is allowed")
    }

    /// Fails if a chunk comes back.
    pub fn has_ended(&mut self) -> Result<()> {
        ensure!(self.exchange(SILENCE).is_err(), "a transfer went on that no rule allows");
        Ok(())
    }
}
