//! A gateway on the host's build of the kernel's logic: one client asks and connects, by the policy that
//! a configuration compiles to.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Result, anyhow, ensure};
use intune_filter::{
    catalogue::CatalogueFiles,
    policy::{Policy, load_text_with},
};
use intune_filter_ebpf::{
    abi::Active,
    host::Tables,
    verdict::{Action, Verdict},
};

use super::step::Answers;
use crate::{
    network::{CLIENT, GATEWAY},
    prog_test_run::{
        Datagram, Flags, HookPoint, Message,
        host::{clear, place, tables},
        message::{A, AAAA, QUESTION, name},
        site::LAN,
    },
};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// Seconds that the model's clock begins at.
const START: u64 = 1000;

/// Address family of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// "IPv4" or "IPv6".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    const UNSPECIFIED: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

    /// The unspecified address, which no answer gives.
    pub(super) const fn unspecified(self) -> IpAddr {
        self.pick(Self::UNSPECIFIED)
    }

    /// The one of two addresses, IPv4 first, that is of this family.
    #[must_use]
    pub const fn pick(self, [v4, v6]: [IpAddr; 2]) -> IpAddr {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }
}

/// What was denied, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The packet.
    pub what: String,
    /// Reason of the verdict, in its own word.
    pub reason: &'static str,
}

/// The gateway and its client.
#[derive(Debug)]
pub struct HostModel {
    tables: Tables,
    policy: Policy,
    next: Cell<u16>,
}

impl HostModel {
    /// Loads a configuration, as the daemon does; `files` stand for those of the catalogue that it names.
    pub fn load(config: &str, files: Option<CatalogueFiles>) -> Result<Self> {
        let read = |directory: &Path| match files {
            Some(files) => Ok(files),
            None => CatalogueFiles::read(directory).map_err(|error| error.to_string()),
        };
        let loaded = load_text_with("config.yaml", config, |_| (), &Default::default(), read);
        let policy = loaded.map_err(|errors| anyhow!("{errors}\n{config}"))?.policy;
        let active = Active { generation: 1, reserved: 0, seed: 7 };
        let tables = tables([&policy, &policy], active, |name| if name == LAN { 1 } else { 4 });
        let model = Self { tables, policy, next: Cell::new(0) };
        model.forget();
        Ok(model)
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Forgets every question, address and flow.
    pub fn forget(&self) {
        clear(&self.tables);
        self.tables.now.set(START * SECOND);
    }

    /// Asks for a name's address in one family, and lets its answer pass: addresses behind these aliases.
    pub fn ask(
        &self,
        family: Family,
        asked: &str,
        via: &[String],
        answer: IpAddr,
        ttl: u32,
    ) -> Result<(), Denial> {
        let kind = if answer.is_ipv4() { A } else { AAAA };
        let (client, gateway) = (family.pick(CLIENT), family.pick(GATEWAY));
        let (port, id) = (self.port(), self.next.get());
        let query = Message::query(id, asked, kind);
        let frame = Datagram::new(client, gateway).udp(port, 53, query.octets()).frame();
        let verdict = self.tables.ingress(&frame, place(HookPoint::Ingress(LAN), index));
        passed(verdict, || format!("question for {}", kind_word(kind)))?;
        let mut message = query.answered();
        let mut owner = QUESTION.to_vec();
        for alias in via {
            let target = name(alias);
            message = message.alias(&owner, &target);
            owner = target;
        }
        let message = message.address(&owner, ttl, answer);
        let frame = Datagram::new(gateway, client).udp(53, port, message.octets()).frame();
        let verdict = self.tables.egress(&frame, place(HookPoint::EgressOfGateway(LAN), index));
        passed(verdict, || format!("answer {answer}"))?;
        // The latest moment at which a client may begin to use the answer.
        self.tables.now.set(self.tables.now.get() + u64::from(ttl) * SECOND);
        Ok(())
    }

    /// Opens a connection over TCP, and lets its server answer.
    pub fn connect(&self, family: Family, to: IpAddr, port: u16) -> Result<(), Denial> {
        let (client, source) = (family.pick(CLIENT), self.port());
        let syn = Datagram::new(client, to).tcp(source, port, Flags::SYN).frame();
        let answer = Datagram::new(to, client).tcp(port, source, Flags::SYN_ACK).frame();
        self.exchange(&syn, &answer, || format!("TCP port {port} of {to}"))
    }

    /// Sends a datagram, and lets its receiver answer.
    pub fn send(&self, family: Family, to: IpAddr, port: u16) -> Result<(), Denial> {
        let (client, source) = (family.pick(CLIENT), self.port());
        let datagram = Datagram::new(client, to).udp(source, port, b"?").frame();
        let answer = Datagram::new(to, client).udp(port, source, b"!").frame();
        self.exchange(&datagram, &answer, || format!("UDP port {port} of {to}"))
    }

    fn exchange(&self, there: &[u8], back: &[u8], what: impl Fn() -> String) -> Result<(), Denial> {
        passed(self.tables.ingress(there, place(HookPoint::Ingress(LAN), index)), &what)?;
        let verdict = self.tables.egress(back, place(HookPoint::Egress(LAN), index));
        passed(verdict, || format!("answer from {}", what()))
    }

    fn port(&self) -> u16 {
        let next = self.next.get().wrapping_add(1) % 0x7fff;
        self.next.set(next);
        0x8000 + next
    }

    /// Checks that the model itself denies what no rule allows.
    pub fn check(&self) -> Result<()> {
        for family in Family::BOTH {
            let nowhere = family.pick(["198.19.255.254".parse()?, "2001:2::ffff".parse()?]);
            ensure!(self.connect(family, nowhere, 443).is_err(), "{nowhere} is reached");
            let asked = self.ask(family, "www.unlisted.test", &[], nowhere, 60);
            ensure!(asked.is_err(), "a name of no rule is answered");
        }
        self.forget();
        Ok(())
    }
}

impl Answers {
    /// The address of a family.
    #[must_use]
    pub const fn of(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.a),
            Family::V6 => IpAddr::V6(self.aaaa),
        }
    }
}

fn index(name: &str) -> u32 {
    if name == LAN { 1 } else { 4 }
}

const fn kind_word(kind: u16) -> &'static str {
    if kind == A { "A" } else { "AAAA" }
}

fn passed(verdict: Verdict, what: impl FnOnce() -> String) -> Result<(), Denial> {
    match verdict.action {
        Action::Pass => Ok(()),
        _ => Err(Denial { what: what(), reason: verdict.reason.as_str() }),
    }
}
