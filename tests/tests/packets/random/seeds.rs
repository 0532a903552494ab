//! Seeds of mutated frames: the tables' own, and packets that belong together.

use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, Row,
    datagram::TAG,
    expect,
    filter::HookPoint,
    from_client,
    site::{OTHER, VLAN},
    to_client,
};

use crate::tables::{
    answers, errors, flows, fragments, gateway, headers, links, policy, queries, rejected, streams,
};

/// A frame, and where it is judged.
pub type Seed = (HookPoint, Vec<u8>);

/// Frames of every table.
pub fn of_tables() -> Vec<Seed> {
    let mut rows = Vec::new();
    for who in Addresses::both() {
        rows.extend([
            policy::allowed(&who),
            policy::denied(&who),
            rejected::denied(&who),
            gateway::to_every_address(&who),
            headers::frames(&who),
            headers::lengths(&who),
            links::tunnels(&who),
            queries::names(&who),
            queries::malformed(&who),
            queries::whole(&who),
            queries::others(&who),
            answers::forgeries(&who),
            errors::to_clients(&who),
            errors::from_clients(&who),
            flows::strangers(&who),
        ]);
    }
    let [four, six] = Addresses::both();
    rows.extend([
        headers::options(&four),
        headers::extensions(&six),
        links::link_scope4(&four),
        links::link_scope6(&six),
    ]);
    rows.into_iter().flatten().map(|row| (row.point, row.frame)).collect()
}

/// Frames of conversations, in both directions: what comes first opens what follows.
pub fn of_conversations() -> Vec<Seed> {
    let mut rows: Vec<Row> = Vec::new();
    let any = || expect(intune_filter_ebpf::abi::Reason::Policy);
    for who in Addresses::both() {
        let mut both_ways = |there: Datagram, back: Datagram| {
            rows.push(from_client("", there.frame(), any()));
            rows.push(to_client("", back.frame(), any()));
        };
        let out = |to| Datagram::new(who.client, to);
        let back = |from| Datagram::new(from, who.client);
        both_ways(
            out(who.web).tcp(40000, 443, Flags::SYN),
            back(who.web).tcp(443, 40000, Flags::SYN_ACK),
        );
        for flags in [Flags::ACK, Flags::FIN, Flags::RST] {
            both_ways(out(who.web).tcp(40000, 443, flags), back(who.web).tcp(443, 40000, flags));
        }
        both_ways(out(who.ntp).udp(123, 123, b"time"), back(who.ntp).udp(123, 123, b"now"));
        both_ways(out(who.web).echo_request(7), back(who.web).echo_reply(7));
        both_ways(
            fragments::first(&who),
            back(who.web).fragment(0, true).tcp(443, 40000, Flags::ACK),
        );
        both_ways(
            fragments::later(&who, 3, false),
            back(who.web).fragment(3, false).raw(6, &[0; 8]),
        );
        for (source, ports) in
            [(who.audited, 1), (who.exempt, 2), (who.server, 3), (who.rejected, 4)]
        {
            both_ways(
                Datagram::new(source, who.foreign).udp(ports, 9, b"data"),
                Datagram::new(who.foreign, source).udp(9, ports, b"data"),
            );
        }
        // From one zone to another, by a device that may send whatever it likes.
        let there = Datagram::new(who.exempt, who.other).udp(5, 9, b"data").frame();
        let back = Datagram::new(who.other, who.exempt).udp(9, 5, b"data").frame();
        rows.extend([
            from_client("", there.clone(), any()),
            to_client("", there, any()).on_other().came_by_lan(),
            from_client("", back.clone(), any()).on_other(),
            to_client("", back, any()).came_by(OTHER),
        ]);
        let answer = answers::answer(&who);
        let asked = answers::asked(&who, &answers::query(&who));
        rows.push(asked);
        rows.push(to_client("", answers::answered(&who, &answer).frame(), any()));
        let data = streams::framed(&[&answer]);
        for (at, part) in [(0, &data[..]), (0, &data[..20]), (20, &data[20..]), (0, &[])] {
            rows.push(streams::came("", &who, at, part, any()));
        }
        rows.extend(streams::asked(&who));
        // The address that the answer has taught.
        rows.push(from_client("", out(who.public).tcp(40001, 443, Flags::SYN).frame(), any()));
    }
    rows.into_iter().map(|row| (row.point, row.frame)).collect()
}

/// Conversations in their order, in which what follows depends on what came before: flows of every
/// kind, fragments, names that are learned, connections to a resolver.
pub fn dialogues() -> Vec<Vec<Seed>> {
    let mut all = Vec::new();
    for who in Addresses::both() {
        all.extend(flows_of(&who));
        all.extend(fragments_of(&who));
        all.extend(names_of(&who));
    }
    all
}

fn sent(datagram: &Datagram) -> Seed {
    (HookPoint::Ingress("eth1"), datagram.frame())
}

fn came(datagram: &Datagram) -> Seed {
    (HookPoint::Egress("eth1"), datagram.frame())
}

fn flows_of(who: &Addresses) -> Vec<Vec<Seed>> {
    let tcp = |client, remote, tags: &[u16], port| {
        let tagged = |datagram: Datagram| {
            tags.iter().fold(datagram, |datagram, control| datagram.tag(TAG, *control))
        };
        let out = tagged(Datagram::new(client, remote));
        let back = tagged(Datagram::new(remote, client));
        let out = move |flags| sent(&out.clone().tcp(40000, port, flags));
        let back = move |flags| came(&back.clone().tcp(port, 40000, flags));
        vec![
            out(Flags::SYN),
            back(Flags::SYN_ACK),
            out(Flags::ACK),
            back(Flags::ACK),
            out(Flags::FIN),
            back(Flags::FIN),
            out(Flags::ACK),
            out(Flags::SYN),
        ]
    };
    let out = |remote| Datagram::new(who.client, remote);
    let back = |remote| Datagram::new(remote, who.client);
    let syn = out(who.web).tcp(40000, 443, Flags::SYN);
    let answer = back(who.web).tcp(443, 40000, Flags::SYN_ACK);
    let (client_port, server_port) = if who.client.is_ipv4() { (68, 67) } else { (546, 547) };
    let asked = Datagram::new(who.public, who.server).udp(999, 7, b"asks");
    let let_in = |source| Datagram::new(source, who.rejected);
    let to_tagged = |source| Datagram::new(source, who.tagged).tag(TAG, VLAN);
    vec![
        tcp(who.client, who.web, &[], 443),
        tcp(who.client, who.web, &[0xe000], 80),
        tcp(who.tagged, who.web, &[VLAN], 443),
        tcp(who.audited, who.foreign, &[], 22),
        tcp(who.exempt, who.public, &[], 22),
        tcp(who.rejected, who.web, &[], 443),
        vec![
            sent(&out(who.ntp).udp(123, 123, b"time")),
            came(&back(who.ntp).udp(123, 123, b"now")),
            sent(&out(who.ntp).udp(123, 123, b"more")),
        ],
        vec![
            sent(&out(who.web).echo_request(7)),
            came(&back(who.web).echo_reply(7)),
            sent(&out(who.web).echo_request(7)),
        ],
        vec![
            sent(&out(who.dhcp_server).udp(client_port, server_port, b"renew")),
            came(&back(who.dhcp_server).udp(server_port, client_port, b"yours")),
        ],
        // What is let in, its answer, and what is told of it.
        vec![
            came(&asked),
            sent(&Datagram::new(who.server, who.public).udp(7, 999, b"answers")),
            sent(&Datagram::new(who.server, who.public).unreachable(&asked)),
        ],
        // What rules let in, by a prefix and a service, and what they do not.
        vec![
            came(&let_in(who.public).tcp(999, 22, Flags::SYN)),
            sent(&Datagram::new(who.rejected, who.public).tcp(22, 999, Flags::SYN_ACK)),
            came(&let_in(who.public).tcp(999, 22, Flags::ACK)),
            came(&let_in(who.public2).udp(999, 7009, b"asks")),
            sent(&Datagram::new(who.rejected, who.public2).udp(7009, 999, b"answers")),
            came(&let_in(who.public).tcp(999, 23, Flags::SYN)),
        ],
        vec![
            came(&let_in(who.foreign).tcp(999, 443, Flags::SYN)),
            sent(&Datagram::new(who.rejected, who.foreign).tcp(443, 999, Flags::SYN_ACK)),
            came(&let_in(who.web).tcp(999, 443, Flags::SYN)),
            came(&let_in(who.foreign).tcp(999, 22, Flags::SYN)),
            came(&Datagram::new(who.web, who.client).tcp(999, 443, Flags::SYN)),
        ],
        vec![
            came(&to_tagged(who.web).tcp(999, 80, Flags::SYN)),
            sent(&Datagram::new(who.tagged, who.web).tag(TAG, VLAN).tcp(80, 999, Flags::SYN_ACK)),
            came(&to_tagged(who.push).udp(999, 5223, b"asks")),
            came(&to_tagged(who.push).udp(999, 80, b"asks")),
        ],
        // Errors about a flow, in both directions.
        vec![
            sent(&syn),
            came(&Datagram::new(who.public2, who.client).unreachable(&syn)),
            came(&answer),
            sent(&out(who.web).unreachable(&answer)),
            came(&Datagram::new(who.public2, who.client).unreachable(&syn)),
        ],
    ]
}

fn fragments_of(who: &Addresses) -> Vec<Vec<Seed>> {
    let denied = |more| Datagram::new(who.client, who.web).fragment(0, more);
    let back = || Datagram::new(who.web, who.client);
    vec![
        vec![
            sent(&fragments::first(who)),
            sent(&fragments::later(who, 3, true)),
            sent(&fragments::later(who, 5, false)),
            sent(&fragments::later(who, 2, true)),
            sent(&fragments::later(who, 5, false)),
        ],
        vec![
            sent(&denied(true).tcp(1, 22, Flags::SYN)),
            sent(&fragments::later(who, 3, false)),
            sent(&fragments::first(who)),
        ],
        vec![
            sent(&Datagram::new(who.client, who.web).tcp(40000, 443, Flags::SYN)),
            came(&back().fragment(0, true).tcp(443, 40000, Flags::ACK)),
            came(&back().fragment(3, false).raw(6, &[0x55; 16])),
        ],
    ]
}

fn names_of(who: &Addresses) -> Vec<Vec<Seed>> {
    let (query, answer) = (answers::query(who), answers::answer(who));
    let asked = answers::asked(who, &query);
    let by_name = [
        sent(&Datagram::new(who.client, who.public).tcp(40001, 443, Flags::SYN)),
        came(&Datagram::new(who.public, who.client).tcp(443, 40001, Flags::SYN_ACK)),
        sent(&Datagram::new(who.client, who.public).tcp(40001, 443, Flags::ACK)),
    ];
    let over_udp = vec![(asked.point, asked.frame), came(&answers::answered(who, &answer))];
    let over_tcp = |parts: &[(usize, &[u8])]| {
        let any = || expect(intune_filter_ebpf::abi::Reason::Policy);
        let mut rows = streams::asked(who);
        rows.extend(parts.iter().map(|(at, part)| streams::came("", who, *at, part, any())));
        rows.into_iter().map(|row| (row.point, row.frame)).collect::<Vec<Seed>>()
    };
    let data = streams::framed(&[&answer]);
    [
        over_udp,
        over_tcp(&[(0, &[]), (0, &data)]),
        over_tcp(&[(0, &data[..20]), (20, &data[20..]), (20, &data[20..])]),
    ]
    .into_iter()
    .map(|dialogue| dialogue.into_iter().chain(by_name.clone()).collect())
    .collect()
}
