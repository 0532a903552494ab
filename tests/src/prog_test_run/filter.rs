//! The programs in a network namespace of their own, with a policy in their maps.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use aya::{
    TestRun as _, TestRunOptions,
    maps::{MapData, RingBuf},
    programs::{ProgramFd, SchedClassifier, TcAttachType, Xdp, XdpMode, tc::qdisc_add_clsact},
};
use intune_filter::{
    config::Config,
    kernel::{self, Devices, Kernel, PinDirectory, Pins, ZoneMap},
    policy::{Policy, compile},
};
use intune_filter_ebpf::{
    abi::{DEVICE_LAYER3, Explanation, RuleMask},
    maps::{MAPS, MapKind, MapRow},
};

use super::{
    fate::Fate,
    ingress_hook::{IngressHook, bare, with_header},
    live::Live,
    program::{
        Runner, XDP_ATTACHED, egress_context, has_test_run, index, ingress_context, judge_at_tc,
        judge_at_xdp,
    },
    site,
};
use crate::{
    directory::Directory,
    namespace::{Namespace, run as run_command},
};

/// Room in the maps that the kernel fills.
pub(super) const ROOM: u32 = 256;

/// Small maps, where the configuration could make them small.
pub(super) fn sizes(elements: u32, sets: u32) -> Vec<(&'static str, u32)> {
    let room = |row: &MapRow| match row.kind {
        MapKind::RingBuf => 1 << 16,
        MapKind::Array => sets,
        _ => elements,
    };
    MAPS.iter().filter(|row| row.setting.is_some()).map(|row| (row.name, room(row))).collect()
}

/// Hook and interface at which a frame is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// At XDP, coming in on an interface.
    Ingress(&'static str),
    /// At TC, forwarded to an interface from [`site::WAN`].
    Egress(&'static str),
    /// At TC, forwarded to an interface from another device.
    EgressFrom(&'static str, &'static str),
    /// At TC, sent to an interface by the gateway itself.
    EgressOfGateway(&'static str),
}

/// The one program that judges what comes in: verifying the other too would take a quarter of the time
/// of a table.
enum Ingress {
    Xdp(Xdp),
    Tc(SchedClassifier),
}

/// The loaded programs, their maps, and the policy in force.
pub struct LoadedFilter {
    kernel: Kernel,
    pins: Pins,
    ingress: Ingress,
    egress: SchedClassifier,
    hook: IngressHook,
    live: Option<Live>,
    /// The events that were not read yet.
    pub events: RingBuf<MapData>,
    /// Those about queries, and answers that taught nothing.
    pub dns_events: RingBuf<MapData>,
    policy: Policy,
    /// Dropped last: the pins lie in it.
    directory: Directory,
}

/// Loads the programs with the maps of tables.
pub fn load(hook: IngressHook) -> Result<LoadedFilter> {
    // Of four buckets each: so many that each client of a table finds one.
    LoadedFilter::load(hook, &sizes(ROOM, 1 << 12))
}

impl LoadedFilter {
    pub(super) fn load(hook: IngressHook, sizes: &[(&'static str, u32)]) -> Result<Self> {
        let directory = Directory::create()?;
        let pins = PinDirectory::new(directory.bpffs());
        let hooks = [hook.of_kernel(), hook.to_clients()];
        let mut kernel = kernel::load(pins.clone(), sizes, log::LevelFilter::Off, &hooks)?;
        kernel.pin_programs()?;
        kernel::load_explain(&pins, sizes, log::LevelFilter::Off)?;
        let policy = compile(&site::config("", ""), &site::catalogue(), &site::rule_bits())?;
        let pin = pins.program(hook.of_kernel().program());
        let ingress = match hook {
            IngressHook::Xdp | IngressHook::Generic => {
                Ingress::Xdp(Xdp::from_pin(pin, XDP_ATTACHED)?)
            }
            IngressHook::Tc | IngressHook::Layer3 => Ingress::Tc(SchedClassifier::from_pin(pin)?),
        };
        let egress = SchedClassifier::from_pin(pins.program(hook.to_clients().program()))?;
        let pins = kernel.pins();
        let (events, dns_events) = (pins.map("EVENTS")?, pins.map("DNS_EVENTS")?);
        let live = None;
        Ok(Self {
            kernel,
            pins,
            ingress,
            egress,
            hook,
            live,
            events,
            dns_events,
            policy,
            directory,
        })
    }

    /// Puts the program where frames that are sent meet it, unless test runs do for all of them.
    pub fn attach(&mut self) -> Result<()> {
        if self.hook == IngressHook::Xdp {
            return Ok(());
        }
        for (interface, peer) in [(site::LAN, "peer1"), (site::OTHER, "peer2")] {
            // Longer than every frame of the tables.
            for name in [interface, peer] {
                run_command(Command::new("ip").args(["link", "set", name, "mtu", "9000"]))?;
            }
            // What is forgotten is gone with the interface.
            match &mut self.ingress {
                Ingress::Xdp(program) => {
                    let id = program.attach(interface, XdpMode::Skb)?;
                    std::mem::forget(program.take_link(id)?);
                }
                Ingress::Tc(program) => {
                    // Needed before Linux 6.6 alone.
                    let _ = qdisc_add_clsact(interface);
                    let id = program.attach(interface, TcAttachType::Ingress)?;
                    std::mem::forget(program.take_link(id)?);
                }
            }
        }
        self.live = Some(Live::open()?);
        Ok(())
    }

    /// Puts a configuration into force, and what userspace says of the machine.
    pub fn install(&mut self, config: &Config) -> Result<()> {
        self.install_warming(config, 0)
    }

    /// Puts a configuration into force with a warm-up that ends at a time of CLOCK_BOOTTIME, in
    /// nanoseconds.
    pub fn install_warming(&mut self, config: &Config, until: u64) -> Result<()> {
        self.policy = compile(config, &site::catalogue(), &self.policy.rule_bits())?;
        self.policy.settings.warm_up_until = until;
        self.set_zones(&self.zones()?)?;
        let devices = self.devices()?;
        self.kernel.set_devices(&devices)?;
        self.kernel.set_senders(&site::senders(&devices))?;
        let lan = index(site::LAN)?;
        let own = site::Addresses::both().map(|who| (lan, who.gateway));
        self.kernel.set_own_addresses(&own.into())?;
        self.kernel.set_resolver_devices(&site::resolver_devices(config, index)?)?;
        self.kernel.install(&self.policy, RuleMask::EMPTY)?;
        Ok(())
    }

    /// The zones of the policy.
    pub fn zones(&self) -> Result<ZoneMap> {
        let zones = self.policy.zones.iter();
        zones
            .map(|zone| Ok(((index(&zone.interface)?, u32::from(zone.vlan)), zone.number)))
            .collect()
    }

    /// The devices of the zones of the policy.
    pub fn devices(&self) -> Result<Devices> {
        let zones = self.policy.zones.iter();
        zones
            .map(|zone| {
                let name =
                    if zone.vlan == site::VLAN { site::VLAN_DEVICE } else { &zone.interface };
                let layer3 = if self.hook == IngressHook::Layer3 { DEVICE_LAYER3 } else { 0 };
                Ok((zone.number, index(name)? | layer3))
            })
            .collect()
    }

    /// Runs a test inside a new namespace that is wired as [`site::wire`] says.
    pub(super) fn run_in_gateway(
        &mut self,
        dns: &str,
        more: &str,
        test: impl FnOnce(&mut Self) + Send,
    ) -> Result<()> {
        let gateway = Namespace::create(&format!("{}-gateway", self.directory.label()))?;
        site::wire(&gateway)?;
        self.policy = compile(&site::config(dns, more), &site::catalogue(), &site::rule_bits())?;
        gateway.run(|| test(self));
        Ok(())
    }

    /// Whether it is attached to interfaces.
    pub const fn is_attached(&self) -> bool {
        self.live.is_some()
    }

    /// Makes these the zones.
    pub fn set_zones(&self, zones: &ZoneMap) -> Result<()> {
        self.kernel.set_zones(zones)
    }

    /// The programs, for a thread of its own.
    pub fn runner(&self) -> Result<Runner> {
        Runner::open(&self.pins)
    }

    /// The pinned maps.
    pub const fn pins(&self) -> &Pins {
        &self.pins
    }

    /// The loaded object, and the means to put policies into its maps.
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The programs' allowances for records, which are pinned nowhere, and when they told of what.
    pub(super) fn allowances(&self) -> Result<Vec<MapData>> {
        let ingress = match &self.ingress {
            Ingress::Xdp(program) => program.info()?,
            Ingress::Tc(program) => program.info()?,
        };
        let mut maps = Vec::new();
        for program in [ingress, self.egress.info()?] {
            for id in program.map_ids()?.unwrap_or_default() {
                let map = MapData::from_id(id)?;
                let info = map.info()?;
                // The kernel keeps fifteen octets of a name.
                if ["SCRATCH_ALLOWAN", "SCRATCH_TOLD"]
                    .contains(&info.name_as_str().unwrap_or_default())
                {
                    maps.push(map);
                }
            }
        }
        Ok(maps)
    }

    /// The kernel side, and the ring of its events, to be read meanwhile.
    pub const fn kernel_and_events(&mut self) -> (&Kernel, &mut RingBuf<MapData>) {
        (&self.kernel, &mut self.events)
    }

    /// The maps that the programs use, pinned or not.
    pub fn map_ids(&self) -> Result<Vec<u32>> {
        let explain = Xdp::from_pin(self.pins.directory().program("explain"), XDP_ATTACHED)?;
        let mut ids = Vec::new();
        let ingress = match &self.ingress {
            Ingress::Xdp(program) => program.info()?,
            Ingress::Tc(program) => program.info()?,
        };
        let programs = [ingress, self.egress.info()?, explain.info()?];
        for info in programs {
            ids.extend(info.map_ids()?.context("the kernel tells no maps")?);
        }
        Ok(ids)
    }

    /// Program that judges incoming frames.
    pub const fn hook(&self) -> IngressHook {
        self.hook
    }

    /// Whether a frame can be judged here.
    pub fn takes(&self, point: HookPoint, frame: &[u8]) -> bool {
        let test_run = self.hook == IngressHook::Tc && self.live.is_none();
        !(test_run && matches!(point, HookPoint::Ingress(_))) || has_test_run(frame)
    }

    /// The policy in force.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The number of a rule in force, `SERVICE/RULE`.
    pub fn rule(&self, id: &str) -> u8 {
        let found = self.policy.rules.iter().find(|(_, rule)| rule.id.to_string() == id);
        *found.unwrap_or_else(|| panic!("no rule {id}")).0
    }

    /// The number of a group.
    pub fn group(&self, name: &str) -> u8 {
        let found = self.policy.groups.iter().position(|group| group.name == name);
        found.unwrap_or_else(|| panic!("no group {name}")) as u8
    }

    /// The descriptors of the programs at XDP and at TC egress.
    pub fn descriptors(&self) -> Result<(&ProgramFd, &ProgramFd)> {
        Ok((self.at_xdp()?.fd()?, self.egress.fd()?))
    }

    /// Runs a program over a frame. Fails where the kernel takes no such frame.
    pub fn judge(&self, point: HookPoint, frame: &[u8]) -> Result<Fate> {
        match (point, self.hook) {
            (HookPoint::Ingress(interface), IngressHook::Xdp) => {
                self.judge_at_xdp(interface, frame)
            }
            (HookPoint::Ingress(interface), IngressHook::Layer3) => {
                Ok(with_header(frame, self.judge_at_tc(interface, bare(frame)?)?.0))
            }
            (HookPoint::Ingress(interface), IngressHook::Tc)
                if self.live.is_none() || has_test_run(frame) =>
            {
                Ok(self.judge_at_tc(interface, frame)?.0)
            }
            (HookPoint::Ingress(interface), hook) => {
                let live = self.live.as_ref().context("nothing is attached")?;
                live.judge(&self.pins, interface, frame, hook == IngressHook::Tc)
            }
            (HookPoint::Egress(interface), _) => {
                self.judge_egress(interface, index(site::WAN)?, 0, frame)
            }
            (HookPoint::EgressFrom(interface, from), _) => {
                self.judge_egress(interface, index(from)?, 0, frame)
            }
            (HookPoint::EgressOfGateway(interface), _) => self.judge_egress(interface, 0, 0, frame),
        }
    }

    /// Runs the TC program over a frame that comes in; returns also the mark that it gets.
    pub fn judge_at_tc(&self, interface: &str, frame: &[u8]) -> Result<(Fate, u32)> {
        let index = index(interface)?;
        match &self.ingress {
            Ingress::Tc(program) => judge_at_tc(program, index, index, 0, frame),
            Ingress::Xdp(_) => bail!("the program at TC is not loaded"),
        }
    }

    /// Runs the egress program over a frame with a mark that came in on the interface with index
    /// `from`, or, with 0, from the gateway itself.
    pub fn judge_egress(
        &self,
        interface: &str,
        from: u32,
        mark: u32,
        frame: &[u8],
    ) -> Result<Fate> {
        let frame = if self.hook == IngressHook::Layer3 { bare(frame)? } else { frame };
        Ok(judge_at_tc(&self.egress, index(interface)?, from, mark, frame)?.0)
    }

    /// Time that a program takes for a frame, as the kernel measures it.
    pub fn time(&self, point: HookPoint, frame: &[u8]) -> Result<Duration> {
        let result = match point {
            HookPoint::Ingress(interface) => {
                let context = ingress_context(index(interface)?, frame)?;
                let options = TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&context),
                    ..TestRunOptions::default()
                };
                self.at_xdp()?.test_run(options)?
            }
            HookPoint::Egress(interface)
            | HookPoint::EgressFrom(interface, _)
            | HookPoint::EgressOfGateway(interface) => {
                let from = match point {
                    HookPoint::EgressOfGateway(_) => 0,
                    HookPoint::EgressFrom(_, from) => index(from)?,
                    _ => index(site::WAN)?,
                };
                let context = egress_context(index(interface)?, from, 0);
                let options = TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&context),
                    ..TestRunOptions::default()
                };
                self.egress.test_run(options)?
            }
        };
        Ok(result.duration)
    }

    /// Explanation of an incoming frame.
    pub fn explain(&self, interface: &str, frame: &[u8]) -> Result<Explanation> {
        self.pins.explain(frame, index(interface)?)
    }

    /// Runs the program over a frame that comes in so often, without looking at what comes of it but
    /// in the counters.
    pub fn judge_often(&self, interface: &str, frame: &[u8], repeat: u32) -> Result<()> {
        let index = index(interface)?;
        let options = |context| TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(context),
            repeat,
            ..TestRunOptions::default()
        };
        match &self.ingress {
            Ingress::Xdp(program) => program.test_run(options(&ingress_context(index, frame)?))?,
            Ingress::Tc(program) => program.test_run(options(&egress_context(index, index, 0)))?,
        };
        Ok(())
    }

    fn judge_at_xdp(&self, interface: &str, frame: &[u8]) -> Result<Fate> {
        judge_at_xdp(self.at_xdp()?, index(interface)?, frame)
    }

    fn at_xdp(&self) -> Result<&Xdp> {
        match &self.ingress {
            Ingress::Xdp(program) => Ok(program),
            Ingress::Tc(_) => bail!("the program at XDP is not loaded"),
        }
    }
}
