//! Clients with accomplices, end to end: an accomplice that answers in a resolver's name or in its
//! own, inside or outside, opens nothing; nor does a name that is rebound to a host inside.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{ADDRESS_TYPES, ResponseCode, lookup, lookup_over_tcp},
    glibc,
    namespace::{Namespace, run},
    network::{CLIENT, GATEWAY, LAN, WAN},
    prog_test_run::{
        Datagram, Message,
        message::{A, AAAA, QUESTION},
    },
    records::addresses,
    resolver::{BEYOND, FRESH, Kind, ResolverLocation},
    responder::Responder,
    site::{self, ANSWER, CONFIG, SILENCE, WEB, eventually, tcp},
    testbed::{Setup, Testbed},
    wire::Wire,
};

/// The client's port, to which a service of the site lets its hosts send.
const PORT: u16 = 40000;

/// Addresses that nothing leads to.
fn chosen() -> [IpAddr; 2] {
    ["20.0.0.7", "2a01:111::7"].map(|text| text.parse().expect("an address"))
}

/// Where the client's accomplice outside answers: nobody trusts it.
fn accomplice() -> [IpAddr; 2] {
    ["203.0.113.99", "2001:db8:53::99"].map(|text| text.parse().expect("an address"))
}

/// The octets of an interface's hardware address.
fn hardware_address(namespace: &Namespace, interface: &str) -> Result<Vec<u8>> {
    let mut command = Command::new("ip");
    command.args(["-json", "-netns", namespace.name(), "link", "show", "dev", interface]);
    let links: serde_json::Value = serde_json::from_str(&run(&mut command)?)?;
    let text = links[0]["address"].as_str().context("an interface has an address")?;
    text.split(':').map(|octet| Ok(u8::from_str_radix(octet, 16)?)).collect()
}

/// A frame with this datagram, from nobody in particular.
fn frame(to: &[u8], datagram: &Datagram, source: IpAddr) -> Vec<u8> {
    let ethertype: [u8; 2] = if source.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
    [to, &[2, 0, 0, 0, 0, 0x66], &ethertype, &datagram.packet()].concat()
}

#[test]
fn who_answers_in_the_gateways_name_opens_nothing() -> Result<()> {
    let peers = "  - id: peers
    title: Peers
    cidrs: [10.20.0.0/24, 'fd00:20::/64']
    udp: [40000]
";
    let config = CONFIG.replace("services: [web,", "services: [peers, web,") + peers;
    // Trusted as it is, the gateway has no resolver here: its answer is waited for.
    let setup = Setup { config, resolver: Kind::Unbound, ..site::setup() };
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    let network = &testbed.network;
    let inside = hardware_address(&network.gateway, LAN)?;
    let outside = hardware_address(&network.gateway, WAN)?;
    let counted = |reason: &str| anyhow::Ok(testbed.filter.counters()?.get(reason));

    for ((client, gateway), chosen) in CLIENT.into_iter().zip(GATEWAY).zip(chosen()) {
        let query = Message::query(7, WEB[0], if chosen.is_ipv4() { A } else { AAAA });
        let forged = query.answered().address(&QUESTION, 300, chosen);
        let datagram = Datagram::new(gateway, client).udp(53, PORT, forged.octets());
        let asked = counted("dns_query")?;
        let socket = network.client.run(|| UdpSocket::bind((client, PORT)))?;
        socket.send_to(query.octets(), (gateway, 53))?;
        eventually("the query has passed", || Ok(counted("dns_query")? > asked))?;

        let (source, learned) = (counted("source")?, counted("learned")?);
        let wire = network.client.run(|| Wire::open(WAN))?;
        wire.send(&frame(&inside, &datagram, gateway))?;
        eventually("the host's answer was judged", || Ok(counted("source")? > source))?;
        testbed.expect_denied(tcp(chosen, 443))?;

        // Of IPv4 the stack itself takes none for forwarding that says to come from its addresses.
        if gateway.is_ipv6() {
            let unsolicited = counted("unsolicited")?;
            let wire = network.internet.run(|| Wire::open(WAN))?;
            wire.send(&frame(&outside, &datagram, gateway))?;
            let judged = || Ok(counted("unsolicited")? > unsolicited);
            eventually("the answer from outside was judged", judged)?;
            testbed.expect_denied(tcp(chosen, 443))?;
        }
        ensure!(counted("learned")? == learned, "something was learned from a forged answer");

        // The very same, sent by whom it says to come from, is the answer.
        let resolver = network.gateway.run(|| UdpSocket::bind((gateway, 53)))?;
        resolver.send_to(forged.octets(), (client, PORT))?;
        eventually("the true answer was learned", || Ok(counted("learned")? > learned))?;
        testbed.expect_reached(tcp(chosen, 443))?;
    }
    Ok(())
}

#[test]
fn a_clients_own_resolver_opens_nothing() -> Result<()> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.start()?;
    let network = &testbed.network;
    network.internet.ip(&accomplice().map(|address| format!("address add {address} dev lo")))?;
    let _outside = Responder::start(&network.internet, accomplice())?;
    let _inside = Responder::start(&network.client, CLIENT)?;
    let before = testbed.filter.counters()?;
    for (number, family) in [(7_u32, 0), (8, 1)] {
        let (name, kind) = (format!("{number}.{FRESH}"), ADDRESS_TYPES[family]);
        let address = addresses(number)[family];
        for server in accomplice() {
            // From the gateway it answers: that the client hears nothing is the filter's doing.
            let answer = network.gateway.run(|| lookup(server, &name, kind, ANSWER))?;
            ensure!(answer.addresses == [address], "{name} of {server}: {answer:?}");
            let answer = network.client.run(|| lookup(server, &name, kind, SILENCE));
            ensure!(answer.is_err(), "{name} of {server}: {answer:?}");
            let answer = network.client.run(|| lookup_over_tcp(server, &name, kind, SILENCE));
            ensure!(answer.is_err(), "{name} of {server} over TCP: {answer:?}");
        }
        // Its own it may ask as it likes.
        let answer = network.client.run(|| lookup(CLIENT[family], &name, kind, ANSWER))?;
        ensure!(answer.addresses == [address], "{name} of its own: {answer:?}");
        testbed.expect_denied(tcp(address, 443))?;
    }
    // What comes unasked: the client has told which query it waits for the answer to.
    let unasked = network.internet.run(|| UdpSocket::bind("203.0.113.98:53"))?;
    let query = Message::query(9, WEB[0], A);
    let forged = query.answered().address(&QUESTION, 300, chosen()[0]);
    let socket = network.client.run(|| UdpSocket::bind((CLIENT[0], PORT)))?;
    // Nobody answers there, for the resolver is on the gateway.
    socket.send_to(query.octets(), (BEYOND[0], 53))?;
    unasked.send_to(forged.octets(), (CLIENT[0], PORT))?;
    let counted = || anyhow::Ok(testbed.filter.counters()?.since(&before));
    eventually("the unasked answer was judged", || Ok(counted()?.get("unsolicited") > 0))?;
    testbed.expect_denied(tcp(chosen()[0], 443))?;
    let counted = counted()?;
    ensure!(counted.get("resolver") >= 8, "other resolvers were asked: {counted}");
    ensure!(counted.get("learned") == 0, "something was learned: {counted}");
    Ok(())
}

/// A trusted resolver may speak TLS as well, which nobody can learn from.
#[test]
fn a_resolver_that_speaks_tls_is_asked_in_clear_alone() -> Result<()> {
    for place in ResolverLocation::ALL {
        let setup = Setup { resolver: Kind::Knot, place: Some(place), ..site::setup() };
        let mut testbed = Testbed::create(&setup)?;
        testbed.filter.start()?;
        let network = &testbed.network;
        let other_dns = |kind: &str| {
            let status = testbed.filter.json(&["status"])?;
            status["other_dns"][kind].as_u64().with_context(|| format!("no {kind}: {status:#}"))
        };
        for server in testbed.resolver.addresses() {
            let before = other_dns("port_853")?;
            let dig = |namespace: &Namespace| {
                let mut command = namespace.command("dig");
                let server = format!("@{server}");
                run(command.args(["+tls", "+short", "+tries=1", "+time=2", &server, WEB[0], "A"]))
            };
            let answer = dig(&network.gateway)?;
            ensure!(answer.trim().parse::<IpAddr>().is_ok(), "{server} from the gateway: {answer}");
            let answer = dig(&network.client);
            ensure!(answer.is_err(), "{server}: {answer:?}");
            ensure!(other_dns("port_853")? > before, "{server}: not counted");
        }
        let [server, _] = testbed.resolver.addresses();
        let [kind, _] = ADDRESS_TYPES;
        for name in ["dns.google", "chrome.cloudflare-dns.com"] {
            let answer = network.client.run(|| lookup(server, name, kind, ANSWER))?;
            ensure!(answer.code == ResponseCode::NXDomain, "{name}: {answer:?}");
        }
        let counted = (other_dns("https_names")?, other_dns("port_53")?);
        ensure!(counted == (2, 0), "{counted:?}");
        let [web, _] = testbed.resolve(WEB[0])?;
        testbed.expect_reached(tcp(web, 443))?;
    }
    Ok(())
}

/// A resolver whose only answer can be changed, and which nobody may remember; stopped on drop.
struct Changing {
    address: Arc<Mutex<IpAddr>>,
    socket: UdpSocket,
    thread: Option<JoinHandle<()>>,
}

impl Changing {
    fn start(internet: &Namespace, server: IpAddr, address: IpAddr) -> Result<Self> {
        internet.ip(&[format!("address add {server} dev lo")])?;
        let socket = internet.run(|| UdpSocket::bind((server, 53)))?;
        let address = Arc::new(Mutex::new(address));
        let (serving, current) = (socket.try_clone()?, Arc::clone(&address));
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = serving.recv_from(&mut buffer) {
                if length == 0 {
                    return;
                }
                let address = *current.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = serving.send_to(&answer(&buffer[..length], address), client);
            }
        });
        Ok(Self { address, socket, thread: Some(thread) })
    }

    fn change(&self, address: IpAddr) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        let sent = self.socket.local_addr().and_then(|own| self.socket.send_to(&[], own));
        if let (Ok(_), Some(thread)) = (sent, self.thread.take()) {
            let _ = thread.join();
        }
    }
}

/// The answer to glibc's query, which is a header and a question: the address if it is of the type
/// that was asked for, for no time at all.
fn answer(query: &[u8], address: IpAddr) -> Vec<u8> {
    let mut answer = query.to_vec();
    if answer.len() < 12 {
        return answer;
    }
    let (kind, data) = match address {
        IpAddr::V4(v4) => (A, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AAAA, v6.octets().to_vec()),
    };
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    if answer[answer.len() - 4..] == [kind.to_be_bytes(), [0, 1]].concat() {
        answer[6..8].copy_from_slice(&[0, 1]);
        answer.extend(QUESTION);
        answer.extend([kind.to_be_bytes(), [0, 1], [0, 0], [0, 0]].concat());
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    answer
}

/// Serves one sentence over HTTP, on every address; ends with the process.
fn serve(internet: &Namespace) -> Result<()> {
    let listener = internet.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 80)))?;
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.set_read_timeout(Some(ANSWER));
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n");
        }
    });
    Ok(())
}

/// The attack of a web page whose name first leads to its server, and then to a host inside.
#[test]
fn a_name_that_is_rebound_reaches_no_host_inside() -> Result<()> {
    const NAME: &str = "rebind.web.test";
    let mut setup = site::setup();
    setup.tcp.remove(&80);
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    let network = &testbed.network;
    serve(&network.internet)?;
    let [server, _] = BEYOND;
    let [public, _] = chosen();
    let resolver = Changing::start(&network.internet, server, public)?;
    let url = format!("http://{NAME}/");
    let words = ["curl", "--silent", "--show-error", "--max-time", "4", url.as_str()];
    let curl = || run(&mut glibc::command(&testbed, &server.to_string(), "", &words)?);

    ensure!(curl()?.trim() == "hello", "the page itself");
    for text in [
        "192.168.7.7",
        "10.77.0.7",
        "172.16.7.7",
        "100.64.7.7",
        "169.254.169.254",
        "fd00:77::7",
        "64:ff9b::192.168.7.7",
        "2002:c0a8:707::7",
    ] {
        let target: IpAddr = text.parse()?;
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(target, 80), ANSWER);
        network.gateway.run(connect).with_context(|| format!("{target} from the gateway"))?;
        let before = testbed.filter.counters()?;
        resolver.change(target);
        let page = curl();
        ensure!(page.is_err(), "{NAME} was rebound to {target}: {page:?}");
        let counted = testbed.filter.counters()?.since(&before);
        ensure!(counted.get("answer_refused") > 0, "{target} was not refused: {counted}");
        ensure!(counted.get("learned") == 0, "{target} was learned: {counted}");
    }
    resolver.change(public);
    ensure!(curl()?.trim() == "hello", "the page again");
    Ok(())
}
