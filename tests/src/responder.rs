//! A small DNS server whose every name has a fresh address: the number that the name begins with.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
    os::fd::AsRawFd as _,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, RecordType, rdata},
};

use nix::sys::socket::{Shutdown, shutdown};

use crate::{dns, namespace::Namespace, records};

/// Addresses of the responder, beyond the gateway.
pub const RESPONDER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 54)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, 0x54)),
];

/// In a name that has this in it, the number is that of a set of [`SET`] addresses.
pub const MANY: &str = "-many-";
/// Addresses of a set: more than a TCP segment holds.
pub const SET: u32 = 64;

/// The numbers of the addresses in a set.
#[must_use]
pub fn many(set: u32) -> Vec<u32> {
    (set * SET..(set + 1) * SET).collect()
}

/// Time to live of its answers, in seconds.
const TTL: u32 = 300;

/// The server; stopped on drop.
#[derive(Debug)]
pub struct Responder {
    threads: Vec<(UdpSocket, JoinHandle<()>)>,
    listeners: Vec<(TcpListener, JoinHandle<()>)>,
}

impl Responder {
    /// Starts it in the internet.
    pub fn in_internet(internet: &Namespace) -> Result<Self> {
        internet.ip(&RESPONDER.map(|address| format!("address add {address} dev lo")))?;
        Self::start(internet, RESPONDER)
    }

    /// Starts it on a namespace's own addresses.
    pub fn start(namespace: &Namespace, addresses: [IpAddr; 2]) -> Result<Self> {
        let start = |address: IpAddr| -> Result<_> {
            let socket = namespace
                .run(|| UdpSocket::bind((address, 53)))
                .with_context(|| format!("cannot answer on {address}"))?;
            let serving = socket.try_clone()?;
            Ok((socket, thread::spawn(move || serve(&serving))))
        };
        let listen = |address: IpAddr| -> Result<_> {
            let listener = namespace
                .run(|| TcpListener::bind((address, 53)))
                .with_context(|| format!("cannot listen on {address}"))?;
            let accepting = listener.try_clone()?;
            Ok((listener, thread::spawn(move || accept(&accepting))))
        };
        Ok(Self {
            threads: addresses.into_iter().map(start).collect::<Result<_>>()?,
            listeners: addresses.into_iter().map(listen).collect::<Result<_>>()?,
        })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        for (socket, thread) in self.threads.drain(..) {
            // An empty datagram ends the thread; a socket may send to its own address.
            let sent = socket.local_addr().and_then(|address| socket.send_to(&[], address));
            if sent.is_ok() {
                let _ = thread.join();
            }
        }
        for (listener, thread) in self.listeners.drain(..) {
            if shutdown(listener.as_raw_fd(), Shutdown::Both).is_ok() {
                let _ = thread.join();
            }
        }
    }
}

/// Serves connections, each in a thread that ends with it.
fn accept(listener: &TcpListener) {
    while let Ok((mut stream, _)) = listener.accept() {
        thread::spawn(move || {
            while let Ok(query) = dns::read_message(&mut stream) {
                let answer = Message::from_vec(&query).ok().and_then(|query| answer(&query));
                let framed = answer.and_then(|answer| dns::framed(&answer).ok());
                if framed.is_none_or(|octets| stream.write_all(&octets).is_err()) {
                    return;
                }
            }
        });
    }
}

fn serve(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        if length == 0 {
            return;
        }
        let query = Message::from_vec(buffer.get(..length).unwrap_or_default());
        if let Some(answer) = query.ok().and_then(|query| answer(&query)) {
            // A client that is gone needs no answer.
            let _ = socket.send_to(&answer, client);
        }
    }
}

fn answer(query: &Message) -> Option<Vec<u8>> {
    let question = query.queries.first()?;
    let name = question.name.to_ascii();
    let digits = name.split(['.', '-']).next()?.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut message =
        Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.add_query(question.clone());
    match digits.parse::<u32>() {
        Ok(number) => {
            let all = if name.contains(MANY) { many(number) } else { vec![number] };
            let data = all.into_iter().filter_map(|number| {
                match (records::addresses(number), question.query_type) {
                    ([IpAddr::V4(v4), _], RecordType::A) => Some(RData::A(rdata::A(v4))),
                    ([_, IpAddr::V6(v6)], RecordType::AAAA) => Some(RData::AAAA(rdata::AAAA(v6))),
                    _ => None,
                }
            });
            let record = |data| Record::from_rdata(question.name.clone(), TTL, data);
            message.add_answers(data.map(record));
        }
        Err(_) => message.metadata.response_code = ResponseCode::NXDomain,
    }
    message.to_vec().ok()
}
