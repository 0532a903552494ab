//! A stub resolver: one question, one answer.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
pub use hickory_proto::{op::ResponseCode, rr::RecordType};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData},
};

/// The two kinds of question that lead to addresses.
pub const ADDRESS_TYPES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// Answer of a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsResponse {
    /// NOERROR, REFUSED, ...
    pub code: ResponseCode,
    /// The addresses among its answers.
    pub addresses: Vec<IpAddr>,
}

/// Asks `server` over UDP, on port 53.
pub fn lookup(
    server: IpAddr,
    name: &str,
    kind: RecordType,
    timeout: Duration,
) -> Result<DnsResponse> {
    let query = query(name, kind)?;
    let socket = connect(server)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.send(&query)?;
    let mut buffer = [0; 4096];
    let length = socket
        .recv(&mut buffer)
        .with_context(|| format!("no answer from {server} for {name} {kind}"))?;
    parse(&query, buffer.get(..length).unwrap_or_default())
}

/// Asks `server` over TCP, on a connection of its own.
pub fn lookup_over_tcp(
    server: IpAddr,
    name: &str,
    kind: RecordType,
    timeout: Duration,
) -> Result<DnsResponse> {
    let query = query(name, kind)?;
    let mut stream = TcpStream::connect_timeout(&(server, 53).into(), timeout)
        .with_context(|| format!("no connection to {server}"))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(&framed(&query)?)?;
    let answer = read_message(&mut stream)
        .with_context(|| format!("no answer from {server} for {name} {kind}"))?;
    parse(&query, &answer)
}

/// A message with its length before it, as on a TCP connection.
pub fn framed(message: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(message.len())?;
    Ok([&length.to_be_bytes()[..], message].concat())
}

/// Reads a message from a TCP connection.
pub fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// A socket that talks to `server` on port 53.
pub fn connect(server: IpAddr) -> Result<UdpSocket> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect((server, 53))?;
    Ok(socket)
}

/// The octets of a question.
pub fn query(name: &str, kind: RecordType) -> Result<Vec<u8>> {
    static ID: AtomicU16 = AtomicU16::new(1);

    let id = ID.fetch_add(1, Ordering::Relaxed);
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(name).with_context(|| format!("{name} is no name"))?;
    message.add_query(Query::query(name, kind));
    Ok(message.to_vec()?)
}

/// Reads the answer to `query`.
pub fn parse(query: &[u8], answer: &[u8]) -> Result<DnsResponse> {
    let query = Message::from_vec(query)?;
    let answer = Message::from_vec(answer)?;
    ensure!(
        answer.metadata.id == query.metadata.id && answer.queries == query.queries,
        "not the answer to the question {:?}",
        query.queries,
    );
    let addresses = answer.answers.iter().filter_map(|record| match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    });
    Ok(DnsResponse { code: answer.metadata.response_code, addresses: addresses.collect() })
}
