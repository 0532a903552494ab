//! An accomplice that the client tells the port and the id of its query, and that sends one datagram
//! with the resolver's address while the resolver, beyond the gateway, is at work.

use std::{
    io::Write as _,
    net::{IpAddr, TcpStream, UdpSocket},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    dns::{ADDRESS_TYPES, lookup},
    network::{CLIENT, LAN, WAN},
    prog_test_run::{
        Datagram, Message,
        datagram::patched,
        message::{A, AAAA, QUESTION},
    },
    records::addresses,
    resolver::{FRESH, Kind},
    site::{self, CLOCK, CONFIG, MODES, SILENCE, WEB, eventually, in_mode, tcp},
    testbed::{Setup, Testbed},
    wire::Wire,
};

/// The client's port.
const PORT: u16 = 40000;
/// The gateway's device on another network, and the accomplice's end of its wire.
const OTHER: [&str; 2] = ["other", "others"];

/// What the accomplice answers: addresses of its own choice, to which nothing leads.
fn chosen() -> [IpAddr; 2] {
    ["20.0.0.7", "2a01:111::7"].map(|text| text.parse().expect("an address"))
}

/// A configuration that does not judge what the resolver's network sends, wherever it comes in: what
/// clients alone send in a resolver's name is denied as it comes in.
fn exempting() -> String {
    let exempt = "clients:
  - name: unjudged
    networks: [203.0.113.0/24, '2001:db8:53::/64']
    mode: exempt
";
    CONFIG.replacen("clients:\n", exempt, 1).replacen(
        "  - name: eth1\n",
        "  - name: eth1\n    source_check: off\n",
        1,
    )
}

/// Gives the gateway another network, and lets each network send whatever source it likes.
fn wire(testbed: &Testbed) -> Result<()> {
    let [device, end] = OTHER;
    let gateway = &testbed.network.gateway;
    gateway.ip(&[
        format!("link add {device} type veth peer {end}"),
        format!("link set {device} up"),
        format!("link set {end} up"),
        format!("address add 10.99.0.1/24 dev {device}"),
        format!("address add fd00:99::1/64 dev {device} nodad"),
    ])?;
    ["all", LAN, device]
        .iter()
        .try_for_each(|name| gateway.sysctl(&format!("ipv4/conf/{name}/rp_filter"), "0"))
}

/// Has the client ask for a name that nobody has asked for before, and an accomplice answer from the
/// other end of a wire of the gateway's, which is denied for a reason; then the resolver.
fn attack(
    testbed: &Testbed,
    number: u32,
    (wire, device): (&Wire, &str),
    reason: &str,
) -> Result<()> {
    let counted = |word: &str| anyhow::Ok(testbed.filter.counters()?.get(word));
    let network = &testbed.network;
    for (family, client) in CLIENT.into_iter().enumerate() {
        let (resolver, chosen) = (testbed.resolver.addresses()[family], chosen()[family]);
        let kind = if client.is_ipv4() { A } else { AAAA };
        let query = Message::query(7, &format!("{number}.{FRESH}"), kind);
        let answer = query.answered().address(&QUESTION, 86_400, chosen);
        let forged = Datagram::new(resolver, client).udp(53, PORT, answer.octets());

        testbed.resolver.pause()?;
        let asked = counted("dns_query")?;
        let socket = network.client.run(|| UdpSocket::bind((client, PORT)))?;
        socket.send_to(query.octets(), (resolver, 53))?;
        eventually("the query has passed", || Ok(counted("dns_query")? > asked))?;
        let (denied, learned) = (counted(reason)?, counted("learned")?);
        wire.send(&patched(forged.frame(), 0, &network.gateway_address(device)?))?;
        let judged = || Ok(counted(reason)? + counted("learned")? > denied + learned);
        eventually("the accomplice's answer was judged", judged)?;
        ensure!(counted("learned")? == learned, "the accomplice's address was learned");
        testbed.expect_denied(tcp(chosen, 443))?;

        testbed.resolver.resume()?;
        eventually("the resolver's was learned", || Ok(counted("learned")? > learned))?;
        testbed.expect_reached(tcp(addresses(number)[family], 443))?;
        testbed.expect_denied(tcp(chosen, 443))?;
    }
    Ok(())
}

/// Of the accomplice's network nothing is asked, and its sources are not looked at.
fn in_each_mode(config: &str, run: impl Fn(&Testbed) -> Result<()>) -> Result<()> {
    for mode in MODES {
        let setup =
            Setup { config: in_mode(config, mode), resolver: Kind::Unbound, ..site::setup() };
        let mut testbed = Testbed::create(&setup)?;
        wire(&testbed)?;
        testbed.filter.start()?;
        run(&testbed).with_context(|| format!("in {mode} mode"))?;
    }
    Ok(())
}

#[test]
fn an_accomplice_on_another_lan_opens_nothing() -> Result<()> {
    let [device, end] = OTHER;
    in_each_mode(CONFIG, |testbed| {
        let wire = testbed.network.gateway.run(|| Wire::open(end))?;
        attack(testbed, 7, (&wire, device), "answer_interface")
    })
}

#[test]
fn an_accomplice_on_another_filtered_lan_opens_nothing() -> Result<()> {
    let [device, end] = OTHER;
    let filtered = format!("interfaces:\n  - name: {device}\n    source_check: off\n");
    let config = exempting().replacen("interfaces:\n", &filtered, 1);
    in_each_mode(&config, |testbed| {
        let wire = testbed.network.gateway.run(|| Wire::open(end))?;
        attack(testbed, 8, (&wire, device), "answer_interface")
    })
}

#[test]
fn an_accomplice_beside_the_client_opens_nothing() -> Result<()> {
    in_each_mode(&exempting(), |testbed| {
        let wire = testbed.network.client.run(|| Wire::open(WAN))?;
        attack(testbed, 9, (&wire, LAN), "answer_interface")
    })
}

/// Even an exempt source is looked for in the routes.
#[test]
fn an_accomplice_with_an_exempt_address_of_another_network_does_not_get_in() -> Result<()> {
    let config = exempting().replacen("    source_check: off\n", "", 1);
    in_each_mode(&config, |testbed| {
        let wire = testbed.network.client.run(|| Wire::open(WAN))?;
        attack(testbed, 10, (&wire, LAN), "source_interface")
    })
}

/// The interface that the answers come in by, beside one that does not exist; or another alone.
#[test]
fn answers_come_by_the_interfaces_that_the_configuration_names() -> Result<()> {
    let via = |names: &str| {
        let named = format!("{{address: 203.0.113.53, via: [{names}]}}");
        CONFIG.replacen("203.0.113.53", &named, 1)
    };
    let config = via(&format!("{WAN}, gone9"));
    let setup = Setup { config, resolver: Kind::Unbound, ..site::setup() };
    let mut testbed = Testbed::create(&setup)?;
    wire(&testbed)?;
    testbed.filter.start()?;
    let [web, _] = testbed.resolve(WEB[0])?;
    testbed.expect_reached(tcp(web, 443))?;

    let [device, _] = OTHER;
    testbed.filter.configure(&via(device))?;
    testbed.filter.succeed(&["reload"])?;
    let [server, _] = testbed.resolver.addresses();
    let ask = || testbed.network.client.run(|| lookup(server, CLOCK, ADDRESS_TYPES[0], SILENCE));
    ensure!(ask().is_err(), "an answer came by another interface");
    ensure!(testbed.filter.counters()?.get("answer_interface") > 0, "it was not for that");

    // As soon as an interface of that name exists, its answers are believed.
    testbed.filter.configure(&via("wan9"))?;
    testbed.filter.succeed(&["reload"])?;
    ensure!(ask().is_err(), "an answer came by no interface");
    let gateway = &testbed.network.gateway;
    gateway.ip(&[
        format!("link set {WAN} down"),
        format!("link set {WAN} name wan9"),
        "link set wan9 up".to_owned(),
        "route add default via 172.31.0.2".to_owned(),
    ])?;
    eventually("the interface has its name", || Ok(ask().is_ok()))
}

/// From where the resolver is an answer can be forged. When the resolver's own differs, what the forged
/// one has taught is taken back, and the flow to it ends.
#[test]
fn what_a_forged_answer_has_taught_is_taken_back() -> Result<()> {
    let setup = Setup { resolver: Kind::Unbound, ..site::setup() };
    let mut testbed = Testbed::create(&setup)?;
    testbed.filter.start()?;
    let counted = |word: &str| anyhow::Ok(testbed.filter.counters()?.get(word));
    let (network, [client, _], [chosen, _]) = (&testbed.network, CLIENT, chosen());
    let [resolver, _] = testbed.resolver.addresses();
    let query = Message::query(7, &format!("11.{FRESH}"), A);
    let answer = query.answered().address(&QUESTION, 86_400, chosen);

    testbed.resolver.pause()?;
    let asked = counted("dns_query")?;
    let socket = network.client.run(|| UdpSocket::bind((client, PORT)))?;
    socket.send_to(query.octets(), (resolver, 53))?;
    eventually("the query has passed", || Ok(counted("dns_query")? > asked))?;
    let forged = Datagram::new(resolver, client).udp(53, PORT, answer.octets());
    let wire = network.internet.run(|| Wire::open(WAN))?;
    wire.send(&patched(forged.frame(), 0, &network.gateway_address(WAN)?))?;
    eventually("the forged answer was learned", || Ok(counted("learned")? > 0))?;
    let mut stream = network.client.run(|| TcpStream::connect((chosen, 443)))?;
    stream.write_all(b"before")?;

    testbed.resolver.resume()?;
    eventually("the answers differ", || Ok(counted("answer_conflict")? == 1))?;
    let flows = || {
        let flows = testbed.filter.json(&["flows"])?;
        anyhow::Ok(flows.to_string().contains(&chosen.to_string()))
    };
    eventually("the flow has ended", || Ok(!flows()?))?;
    testbed.expect_denied(tcp(chosen, 443))?;
    let names = testbed.filter.json(&["names"])?.to_string();
    ensure!(!names.contains(&chosen.to_string()), "{names}");
    let [kind, _] = ADDRESS_TYPES;
    network.client.run(|| lookup(resolver, &format!("11.{FRESH}"), kind, site::ANSWER))?;
    testbed.expect_reached(tcp(addresses(11)[0], 443))
}
