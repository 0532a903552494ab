//! What frames are mutated from: the tables' own, and packets that belong together.

use intune_filter_tests::testrun::{
    Addresses, Datagram, Flags, Row, expect, filter::Place, from_client, to_client,
};

use crate::{
    answers, errors, flows, fragments, gateway, headers, links, policy, queries, rejections,
    streams,
};

/// A frame, and where it is judged.
pub type Seed = (Place, Vec<u8>);

/// Frames of every table.
pub fn of_tables() -> Vec<Seed> {
    let mut rows = Vec::new();
    for who in Addresses::both() {
        rows.extend([
            policy::allowed(&who),
            policy::denied(&who),
            rejections::denied(&who),
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
    rows.into_iter().flatten().map(|row| (row.place, row.frame)).collect()
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
    rows.into_iter().map(|row| (row.place, row.frame)).collect()
}

/// Beginnings that what follows depends on, each in its order: connections to a resolver.
pub fn openings() -> Vec<Vec<Seed>> {
    let seeds = |rows: Vec<Row>| rows.into_iter().map(|row| (row.place, row.frame)).collect();
    Addresses::both().iter().map(|who| seeds(streams::asked(who))).collect()
}
