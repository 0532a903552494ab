//! Innocents, each of whom looks like someone else to a filter that is too strict: none is denied.

use std::net::IpAddr;

use intune_filter_ebpf::abi::Reason::{DnsAnswer, DnsQuery, Flow, Link, Policy};
use intune_filter_tests::prog_test_run::{
    Addresses, Bed, Datagram, Expected, Flags, HookPoint, Row, check_in_order, check_on, expect,
    from_client, to_client,
};

use crate::{
    run,
    tables::{
        answers::{answer, answered, asked, query, teaches},
        flows::WEB,
        limits::{BURST, limit, syn},
    },
};

/// Lets time pass for flows.
fn rest(filter: &dyn Bed, seconds: u64) {
    filter
        .change_flows(&|flow| {
            flow.last_seen = flow.last_seen.saturating_sub(seconds * 1_000_000_000);
        })
        .unwrap();
}

/// Spends what the client may begin.
fn spend(filter: &mut dyn Bed, who: &Addresses) {
    for port in 1..=10 * BURST as u16 {
        let frame = syn(who.client, who.web, port);
        filter.judge(HookPoint::Ingress("eth1"), &frame).unwrap();
    }
    filter.events();
}

/// A lease is renewed by its server, or by any, and half a day later again.
#[test]
fn a_lease_is_renewed() {
    run("", "", |filter| {
        for who in Addresses::both() {
            filter.clear().unwrap();
            limit(filter);
            let (own, port) = if who.client.is_ipv4() { (68, 67) } else { (546, 547) };
            let all: IpAddr = if who.client.is_ipv4() {
                [255, 255, 255, 255].into()
            } else {
                "ff02::1:2".parse().unwrap()
            };
            for lease in 0..3 {
                let renews = Datagram::new(who.client, who.dhcp_server).udp(own, port, b"renew");
                let answers = Datagram::new(who.dhcp_server, who.client).udp(port, own, b"yours");
                let source = if who.client.is_ipv4() { who.client } else { who.link_local };
                let rebinds = Datagram::new(source, all).udp(own, port, b"rebind");
                check_on(
                    filter,
                    &[
                        from_client(format!("renewal {lease}"), renews.frame(), expect(Link)),
                        to_client("its answer", answers.frame(), expect(Flow)),
                        from_client("to any server", rebinds.frame(), expect(Link)),
                    ],
                );
                rest(filter, 12 * 3600);
            }
        }
    });
}

/// A connection between two ports.
struct Connection {
    client: IpAddr,
    remote: IpAddr,
    ports: [u16; 2],
    /// Numbers before the first octets: the client's and the remote's.
    first: [u32; 2],
}

impl Connection {
    fn out(&self, flags: Flags, at: [u32; 2]) -> Vec<u8> {
        let acknowledged = if flags.ack { self.first[1].wrapping_add(at[1]) } else { 0 };
        let numbers = [self.first[0].wrapping_add(at[0]), acknowledged];
        let datagram = Datagram::new(self.client, self.remote);
        datagram.segment(self.ports, flags, numbers, b"").frame()
    }

    fn back(&self, flags: Flags, at: [u32; 2]) -> Vec<u8> {
        let numbers = [self.first[1].wrapping_add(at[1]), self.first[0].wrapping_add(at[0])];
        let datagram = Datagram::new(self.remote, self.client);
        datagram.segment([self.ports[1], self.ports[0]], flags, numbers, b"").frame()
    }

    fn begins(&self, first: impl Fn() -> Expected) -> [Row; 3] {
        let flow = || expect(Flow).rule(WEB);
        [
            from_client("SYN", self.out(Flags::SYN, [0, 0]), first()),
            to_client("SYN ACK", self.back(Flags::SYN_ACK, [1, 0]), flow()),
            from_client("ACK", self.out(Flags::ACK, [1, 1]), flow()),
        ]
    }
}

/// A device that has lost its power comes back and uses a port again whose connection the server still has,
/// and the filter: the server tells of the old one (RFC 9293, 3.10.7.4), the device resets that, and the
/// next SYN begins the new one.
#[test]
fn a_device_that_has_started_anew_uses_its_ports_again() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            for learned in [false, true] {
                filter.clear().unwrap();
                let remote = if learned { who.public } else { who.web };
                let ports = [40001, 443];
                let old = Connection { client: who.client, remote, ports, first: [7000, 9000] };
                let new = Connection { first: [0x9000_0000, 0x1234_5678], ..old };
                let opens = || {
                    if learned {
                        expect(Policy).rule(WEB).by_name()
                    } else {
                        expect(Policy).rule(WEB)
                    }
                };
                let flow = || expect(Flow).rule(WEB);
                let name = |row| {
                    let told = answer(&who);
                    let answer = answered(&who, &told).frame();
                    [row, to_client("its answer", answer, teaches(&told))]
                };
                if learned {
                    check_on(filter, &name(asked(&who, &query(&who))));
                }
                check_on(filter, &old.begins(opens));
                rest(filter, 600);
                // Its name has expired meanwhile, and it knows no address any more.
                filter.forget_addresses().unwrap();
                if learned {
                    check_on(filter, &name(asked(&who, &query(&who))));
                }
                let resets = Datagram::new(who.client, remote);
                let resets =
                    resets.segment(ports, Flags { ack: false, ..Flags::RST }, [7001, 0], b"");
                check_on(
                    filter,
                    &[
                        from_client("the SYN", new.out(Flags::SYN, [0, 0]), flow()),
                        to_client("what the server has", old.back(Flags::ACK, [1, 1]), flow()),
                        from_client("a reset of that", resets.frame(), flow()),
                    ],
                );
                check_on(filter, &new.begins(opens));
                check_on(filter, &[to_client("data", new.back(Flags::ACK, [1, 1]), flow())]);
            }
        }
    });
}

/// The same where the server has forgotten the connection, or has started anew as well.
#[test]
fn a_device_that_has_started_anew_needs_no_reset_of_its_old_connection() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let (client, remote, ports) = (who.client, who.web, [40001, 443]);
            let old = Connection { client, remote, ports, first: [7000, 9000] };
            let new = Connection { first: [0x9000_0000, 0x1234_5678], ..old };
            check_in_order(filter, &old.begins(|| expect(Policy).rule(WEB)));
            check_on(filter, &new.begins(|| expect(Flow).rule(WEB)));
            let resolver = Connection { remote: who.resolver, ports: [40002, 53], ..old };
            let anew = Connection {
                first: new.first,
                ports: resolver.ports,
                remote: who.resolver,
                client,
            };
            let begins = |one: &Connection| {
                [
                    from_client("SYN", one.out(Flags::SYN, [0, 0]), expect(DnsQuery)),
                    to_client("SYN ACK", one.back(Flags::SYN_ACK, [1, 0]), expect(DnsAnswer)),
                    from_client("ACK", one.out(Flags::ACK, [1, 1]), expect(DnsQuery)),
                ]
            };
            check_on(filter, &begins(&resolver));
            // As long as a resolver keeps an idle connection.
            let idle = 121_000_000_000;
            filter.change_streams(&|stream| stream.last_seen -= idle).unwrap();
            filter.change_streams(&|stream| stream.opened -= idle).unwrap();
            check_on(filter, &begins(&anew));
        }
    });
}

/// A connection that says nothing for an hour, but that it is there: its name has long expired.
#[test]
fn a_connection_is_kept_alive_for_hours() {
    run("", "", |filter| {
        limit(filter);
        for who in Addresses::both() {
            filter.clear().unwrap();
            filter.learn(who.public, WEB, 60).unwrap();
            let (client, remote, ports) = (who.client, who.public, [40001, 443]);
            let connection = Connection { client, remote, ports, first: [7000, u32::MAX] };
            check_on(filter, &connection.begins(|| expect(Policy).rule(WEB).by_name()));
            filter.forget_addresses().unwrap();
            spend(filter, &who);
            for hour in 1..=4 {
                rest(filter, 3600);
                let flow = || expect(Flow).rule(WEB);
                let one = format!("hour {hour}");
                check_on(
                    filter,
                    &[
                        from_client(one, connection.out(Flags::ACK, [0, 1]), flow()),
                        to_client("its answer", connection.back(Flags::ACK, [1, 1]), flow()),
                    ],
                );
            }
        }
    });
}
