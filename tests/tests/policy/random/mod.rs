//! Random pairs of policies, and flows that the first has allowed: under the second none outlives its
//! permission, and none that is permitted is cut. `INTUNE_POLICIES` says how many pairs.

mod agreement;
mod model;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use intune_filter::{
    catalogue::Catalogue,
    config::Config,
    daemon::reload,
    kernel::{self, Hook, Kernel, PinDirectory, ZoneMap},
    names::{
        Names,
        learning::{Learner, forget_expired},
    },
    policy::compile,
    system::clock,
};
use intune_filter_ebpf::abi::{
    Address, Flow, FlowKey, MODE_AUDIT, MODE_ENFORCE, Reason, RuleMask, TransportProtocol, V4, V6,
    client_flags, flow_flags,
};
use intune_filter_tests::{
    directory::Directory,
    prog_test_run::{Datagram, Flags},
    random::Random,
    unreported::Unreported,
};
use model::{CLIENTS, DESTINATIONS, NAMES, PORTS, Policy};

/// Index of the loopback device, for the zone that frames come from.
const DEVICE: u32 = 1;
const TCP: u8 = 6;
/// Flows that are tried between two policies.
const TRIES: u32 = 12;
/// Flows that live at a time, at most.
const LIVE: usize = 40;
/// Time of the names' clock, which nothing else goes by.
const BEGIN: u64 = u64::MAX / 4;

/// A flow, as a client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Connection {
    /// Whether the remote has opened it, by the group's `inbound`.
    inward: bool,
    group: usize,
    client: IpAddr,
    client_port: u16,
    remote: IpAddr,
    port: u16,
}

impl Connection {
    fn frame(&self, flags: Flags) -> Vec<u8> {
        let ports = [self.client_port, self.port];
        Datagram::new(self.client, self.remote).segment(ports, flags, [7, 7], b"").frame()
    }

    fn key<A: Address>(&self, of: impl Fn(IpAddr) -> A) -> FlowKey<A> {
        FlowKey {
            zone: 1,
            protocol: TCP,
            reserved: 0,
            client_port: self.client_port.to_be(),
            remote_port: self.port.to_be(),
            client: of(self.client),
            remote: of(self.remote),
        }
    }
}

struct World {
    directory: Directory,
    kernel: Kernel,
    learner: Learner,
    policy: Policy,
    random: Random,
    /// Flows that are permitted and live.
    live: BTreeSet<Connection>,
    /// Names that have led to an address, as long as a service has them.
    names: BTreeMap<IpAddr, BTreeSet<&'static str>>,
    now: u64,
    next_port: u16,
}

impl World {
    fn new(seed: u64) -> Result<Self> {
        let directory = Directory::create()?;
        let pins = PinDirectory::new(directory.bpffs());
        let mut kernel = kernel::load(pins.clone(), &[], log::LevelFilter::Off, &Hook::ALL)?;
        kernel.pin_programs()?;
        kernel::load_explain(&pins, &[], log::LevelFilter::Off)?;
        let mut random = Random::new(seed, "policies");
        let policy = Policy::random(&mut random);
        let learner = Learner::new(Names::default(), compiled(&policy, &kernel)?);
        let (live, names) = Default::default();
        let (now, next_port) = (BEGIN, 1024);
        let mut world =
            Self { directory, kernel, learner, policy, random, live, names, now, next_port };
        world.put_into_force()?;
        Ok(world)
    }

    fn put_into_force(&mut self) -> Result<()> {
        let policy = compiled(&self.policy, &self.kernel)?;
        self.learner.set_policy(policy.clone());
        let zones = ZoneMap::from([((DEVICE, 0), 1)]);
        let mut reports = Unreported(&mut self.learner);
        reload::apply(&self.kernel, &policy, &zones, &mut reports, self.directory.path())?;
        Ok(())
    }

    /// Resolves a name, as the kernel and the daemon would learn it.
    fn resolve(&mut self) -> Result<()> {
        let name = *self.random.pick(&NAMES);
        let address: IpAddr = self.random.pick(&DESTINATIONS).parse()?;
        let policy = self.learner.policy().clone();
        let rules = policy.rules_of_name(name);
        if rules.is_empty() {
            return Ok(());
        }
        let expires = self.now + u64::from(self.random.within(1..20));
        let ids = policy.rules_of(rules).map(|rule| rule.id.to_string());
        self.learner.note(name, address, ids, expires);
        if let Some(versions) = self.kernel.refresh_host(address, rules, expires)? {
            self.learner.refreshed(address, versions);
        }
        self.names.entry(address).or_default().insert(name);
        Ok(())
    }

    /// Lets some time pass for names, and looks at what has expired as the daemon does.
    fn pass_time(&mut self) -> Result<()> {
        self.now += 5;
        self.learner.expire(self.now);
        forget_expired(&self.kernel, &mut Unreported(&mut self.learner))?;
        let flows = self.kernel.pins().flows()?;
        let remotes = flows.iter().map(|entry| IpAddr::from(entry.key.remote));
        self.learner.forget_lapsed(remotes, u64::MAX);
        // Of what no flow leads to, names that have expired are not to be known either.
        let known: BTreeSet<(IpAddr, String)> = self
            .learner
            .names()
            .iter()
            .map(|(name, address, _)| (address, name.to_owned()))
            .collect();
        for (address, names) in &mut self.names {
            let leads_there = |one: &Connection| {
                one.remote == *address || self.policy.stands_for(one.remote) == Some(*address)
            };
            if !self.live.iter().any(leads_there) {
                names.retain(|name| known.contains(&(*address, (*name).to_owned())));
            }
        }
        Ok(())
    }

    /// Tries a connection, and records its flow as the programs would.
    fn connect(&mut self) -> Result<()> {
        let group = self.random.within(0..2) as usize;
        let remote: IpAddr = self.random.pick(&DESTINATIONS).parse()?;
        self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
        let connection = Connection {
            inward: false,
            group,
            client: CLIENTS[group][usize::from(remote.is_ipv6())].parse()?,
            client_port: self.next_port,
            remote,
            port: *self.random.pick(&PORTS),
        };
        if self.live.len() >= LIVE {
            return Ok(());
        }
        // Who is let in has some port, and the client one of a service's.
        let (client_port, port) = (connection.port, connection.client_port);
        let inward = Connection { inward: true, client_port, port, ..connection };
        if self.random.once_in(3) {
            if self.let_in(&inward)? {
                self.live.insert(inward);
            }
        } else if self.judge(&connection, Flags::SYN)? {
            self.live.insert(connection);
        }
        Ok(())
    }

    /// Opens a flow that the remote begins, if a rule of the group's in force lets it in.
    fn let_in(&mut self, connection: &Connection) -> Result<bool> {
        let policy = self.learner.policy().clone();
        let client = policy.client(1, connection.client).context("a client of a group")?;
        if client.mode != MODE_ENFORCE {
            return Ok(false);
        }
        let learned = self.kernel.pins().host(connection.remote)?;
        let of_sender = policy.rules_of_address(connection.remote)
            | learned.map_or(RuleMask::EMPTY, |host| host.rules);
        let of_port = policy.rules_of_port(TransportProtocol::Tcp, connection.client_port);
        let group = policy.groups.get(connection.group).context("a group")?;
        let rules = group.inbound & of_sender & of_port;
        let by_all = client.flags & client_flags::INBOUND != 0;
        if rules.is_empty() && !by_all {
            return Ok(false);
        }
        let names = self.names_of(connection.remote);
        ensure!(
            self.policy.lets_in(
                connection.group,
                connection.remote,
                connection.client_port,
                &names
            ),
            "{connection:?} is let in; names {names:?}\n{}",
            self.policy.config()
        );
        let rule = if by_all { u8::MAX } else { rules.lowest() };
        self.open(connection, client.group as u8, flow_flags::INBOUND, rule)?;
        Ok(true)
    }

    /// Names that have led to an address.
    fn names_of(&self, remote: IpAddr) -> BTreeSet<&'static str> {
        let addresses = [Some(remote), self.policy.stands_for(remote)].into_iter().flatten();
        addresses.filter_map(|address| self.names.get(&address)).flatten().copied().collect()
    }

    /// Whether a packet of a connection passes. If it belongs to no flow and passes, it opens one.
    fn judge(&mut self, connection: &Connection, flags: Flags) -> Result<bool> {
        let told = self.kernel.pins().explain(&connection.frame(flags), DEVICE)?;
        let policy = self.learner.policy();
        let client = policy.client(1, connection.client).context("a client of a group")?;
        let flags = match told.reason {
            Reason::Flow => return Ok(true),
            // The flow has ended, and what passes now opens another.
            reason if connection.inward => {
                return Ok(reason == Reason::Exempt || client.mode == MODE_AUDIT);
            }
            Reason::Policy => 0,
            Reason::Exempt => flow_flags::UNRULED,
            _ if client.mode == MODE_AUDIT => flow_flags::AUDITED,
            _ => return Ok(false),
        };
        let rule = if flags == 0 { told.rule.context("a rule")? } else { u8::MAX };
        self.open(connection, client.group as u8, flags, rule)?;
        Ok(true)
    }

    fn open(&mut self, connection: &Connection, group: u8, flags: u16, rule: u8) -> Result<()> {
        let now = clock::boot_time();
        let answered = self.random.once_in(2);
        let flow = Flow {
            opened: now,
            last_seen: now,
            generation: self.kernel.pins().active()?.generation,
            group,
            flags: flags | if answered { flow_flags::ANSWERED } else { 0 },
            rule,
            ..Flow::default()
        };
        self.with_table(connection, answered, flow)
    }

    fn with_table(&self, connection: &Connection, answered: bool, flow: Flow) -> Result<()> {
        let v4 = |address| match address {
            IpAddr::V4(v4) => V4::from(v4),
            IpAddr::V6(_) => V4::default(),
        };
        let name = |family| format!("{}FLOWS{family}", if answered { "" } else { "NEW_" });
        if connection.remote.is_ipv4() {
            insert(&self.kernel, &name(4), connection.key(v4), flow)
        } else {
            insert(&self.kernel, &name(6), connection.key(V6::from), flow)
        }
    }

    /// Puts the next policy into force, and checks what has become of every flow.
    fn change(&mut self, tally: &mut Tally) -> Result<()> {
        self.policy = self.policy.next(&mut self.random);
        self.put_into_force()?;
        let policy = self.policy.clone();
        for names in self.names.values_mut() {
            names.retain(|name| policy.knows(name));
        }
        for connection in self.live.clone() {
            let Connection { inward, group, client_port, remote, port, .. } = connection;
            let names = self.names_of(remote);
            let permitted = if inward {
                policy.lets_in(group, remote, client_port, &names)
            } else {
                policy.permits(group, remote, port, &names)
            };
            let passes = self.judge(&connection, Flags::ACK)?;
            ensure!(
                passes == permitted,
                "{connection:?}: permitted {permitted}, passes {passes}, {:?}; names {names:?}\n{}",
                self.kernel.pins().explain(&connection.frame(Flags::ACK), DEVICE)?,
                policy.config()
            );
            *match (inward, passes) {
                (false, true) => &mut tally.kept,
                (false, false) => &mut tally.ended,
                (true, true) => &mut tally.kept_inward,
                (true, false) => &mut tally.ended_inward,
            } += 1;
            // Some are not heard of again. What the group's mode lets pass is another flow.
            if !passes || inward && !policy.enforces(group) || self.random.once_in(16) {
                self.live.remove(&connection);
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Tally {
    kept: u64,
    ended: u64,
    kept_inward: u64,
    ended_inward: u64,
}

fn insert<A: Address>(kernel: &Kernel, name: &str, key: FlowKey<A>, flow: Flow) -> Result<()>
where
    FlowKey<A>: Pod,
{
    let mut map: HashMap<MapData, FlowKey<A>, Flow> = kernel.pins().map(name)?;
    Ok(map.insert(key, flow, 0)?)
}

fn compiled(policy: &Policy, kernel: &Kernel) -> Result<intune_filter::policy::Policy> {
    let config = policy.config();
    let bits = reload::previous_bits(&kernel.pins())?;
    let parsed = Config::parse("random", &config).map_err(anyhow::Error::new);
    let parsed = parsed.with_context(|| config.clone())?;
    compile(&parsed, Catalogue::builtin(), &bits).map_err(anyhow::Error::new).context(config)
}

fn pairs() -> Result<u64> {
    match std::env::var("INTUNE_POLICIES") {
        Ok(text) => text.parse().context("INTUNE_POLICIES is a number"),
        Err(_) => Ok(200),
    }
}

#[test]
fn no_flow_outlives_its_permission_and_no_permitted_flow_is_cut() -> Result<()> {
    const SEED: u64 = 15;
    let pairs = pairs()?;
    let mut world = World::new(SEED)?;
    let mut tally = Tally::default();
    let begun = Instant::now();
    for pair in 0..pairs {
        for _ in 0..TRIES {
            world.resolve()?;
            world.connect()?;
        }
        if world.random.once_in(2) {
            world.pass_time()?;
        }
        world.change(&mut tally).with_context(|| format!("pair {pair} of seed {SEED}"))?;
    }
    println!("{pairs} pairs of policies: {tally:?}, {:?}", begun.elapsed());
    let Tally { kept, ended, kept_inward, ended_inward } = tally;
    ensure!(kept > pairs && ended > pairs / 2, "too little has happened: {tally:?}");
    ensure!(kept_inward > pairs / 2 && ended_inward > pairs / 4, "too little came in: {tally:?}");
    Ok(())
}
