//! The daemon's loop: waits for what happens, asks the reconciler, and does what it says.

mod boot_guard;
mod commands;
mod configure;
mod errands;
mod error;
mod keep;
mod maintenance;
mod metrics;
mod poll_events;
mod preview;
mod resolve;
mod startup;
mod tags;
mod waiting;
mod warming;
mod watchdog;

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use aya::maps::{MapData, RingBuf};
use sd_notify::NotifyState;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::sleep_until,
};

use configure::{ActiveConfig, Effects};
use errands::Errand;
pub use error::RunError;
use keep::{LastReload, Watched};
use waiting::{next_of, ticks, wait_until};
use watchdog::Watchdog;

use super::{
    config_source::{
        Chosen, ConfigSource, ahead::Reader, config_override::ConfigOverride,
        confirmation::Confirmation,
    },
    interfaces::{Command, InterfaceReconciler, zones_of},
    problems::Problems,
    reload,
    ring_buffer::{async_fd, drain, flush},
    setup::{hooks, prepare, wanted},
    warm_up::WarmUp,
};
use crate::{
    boot_guard::{BootGuard, Changes},
    config::{Config, Paths},
    control::{Call, Server},
    dns_tcp::{Punted, Streams},
    events::recorder::EventRecorder,
    kernel::{self, Diagnostics, Kernel, PinDirectory},
    metrics::MetricsServer,
    names::{
        learning::{Learner, NamesWriter, restore, saved_names},
        resolution::{Counts, Resolution, dns_client::DnsClient},
    },
    policy::{Policy, RuleBits, map_sizes},
    system::{
        Interface, clock, heap,
        netlink::{Netlink, Snapshot},
    },
};

/// How often the machine is looked at even if nothing was heard of it.
const RESYNC_INTERVAL: Duration = Duration::from_secs(5);

/// How often what has expired is removed, and the table of names is saved.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

/// How often names are forgotten that have expired.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);

/// Runs until a signal or a command ends it. What is attached stays attached, unless the command
/// was to detach. The kernel's programs log up to `kernel_log`.
pub fn run(source: &ConfigSource<'_>, kernel_log: log::LevelFilter) -> Result<(), RunError> {
    // Before anything is read that may be wrong.
    let known = startup::shut_as_kept(source);
    let config = match source.choose(&RuleBits::new()) {
        Ok(chosen) => chosen.loaded.config,
        Err(errors) => {
            startup::all_lost(source, known);
            return Err(errors.into());
        }
    };
    boot_guard::shut(&config, source);
    kernel::check_kernel()?;
    let locks = prepare(&config.paths)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let directory = PinDirectory::new(&config.paths.pin_dir);
    let fresh = directory.linked_interfaces()?.is_empty();
    let mut started = false;
    let result = runtime.block_on(async {
        let mut daemon = Daemon::start(&config, source, kernel_log).await?;
        started = true;
        daemon.serve().await.map_err(RunError::Other)
    });
    if !started {
        startup::undo_start(&config, source, fresh.then_some(&directory));
    }
    drop(locks);
    result
}

struct Daemon<'a> {
    source: &'a ConfigSource<'a>,
    in_force: ActiveConfig,
    /// What is gone back to, while what is in force waits for its confirmation.
    confirmed: Option<ActiveConfig>,
    confirmation: Confirmation,
    /// What the state directory holds.
    saved: Option<ConfigOverride>,
    /// Whether it could not be written.
    saved_unwritten: bool,
    problems: Problems,
    last_reload: Option<LastReload>,
    /// The configuration file, while the last good one runs in its place.
    watched: Option<Watched>,
    kernel: Kernel,
    reconciler: InterfaceReconciler,
    guard: BootGuard,
    learner: Learner,
    metrics: MetricsServer,
    writer: NamesWriter,
    recorder: EventRecorder,
    streams: Streams,
    resolution: Resolution,
    /// Tells the metrics how the names are that are resolved.
    resolution_told: watch::Sender<Counts>,
    dns_client: DnsClient,
    warm_up: WarmUp,
    events: AsyncFd<RingBuf<MapData>>,
    /// When the ring is read even if nobody wakes the daemon.
    listens: Instant,
    diagnostics: Option<AsyncFd<Diagnostics>>,
    netlink: Netlink,
    /// What it has told of last.
    seen: Snapshot,
    nftables: Option<Changes>,
    calls: mpsc::Receiver<Call>,
    reader: Reader<Errand>,
    paths: Paths,
    generation: u32,
    ready: bool,
}

impl<'a> Daemon<'a> {
    async fn start(
        config: &Config,
        source: &'a ConfigSource<'a>,
        kernel_log: log::LevelFilter,
    ) -> Result<Self, RunError> {
        let paths = config.paths.clone();
        let (sender, calls) = mpsc::channel(8);
        tokio::spawn(Server::bind(&paths.runtime_dir)?.serve(sender));
        let directory = PinDirectory::new(&paths.pin_dir);
        // A reboot takes the pins away, and what was learned with them.
        let is_empty = !directory.has_pins();
        let mut kernel =
            kernel::load(directory, &map_sizes(&config.maps), kernel_log, &hooks(config))?;
        // Chosen again: the directories are now locked, and nobody else decides any more.
        let bits = reload::previous_bits(&kernel.pins())?;
        let Chosen { document, origin, loaded, saved, refused, damaged } = source.choose(&bits)?;
        let (in_force, policy) = ActiveConfig::new(document, origin, loaded);
        let config = in_force.config.clone();
        let names = saved_names(&config);
        let warm_up = warming::begin(&config, &kernel.pins(), &names)?;
        let events = async_fd(kernel.pins().map("EVENTS")?)?;
        let diagnostics = kernel.take_diagnostics().map(async_fd).transpose()?;
        let recorder = EventRecorder::default();
        let resolution_told = watch::Sender::<Counts>::default();
        let metrics = metrics::server(kernel.pins(), &recorder, &resolution_told);
        let mut daemon = Self {
            source,
            in_force,
            confirmed: None,
            confirmation: Confirmation::default(),
            saved,
            saved_unwritten: false,
            problems: Problems::default(),
            last_reload: None,
            watched: None,
            kernel,
            reconciler: InterfaceReconciler::default(),
            guard: BootGuard::default(),
            learner: Learner::new(names, policy),
            writer: NamesWriter::new(paths.state_dir.clone(), Instant::now()),
            metrics,
            recorder,
            streams: Streams::default(),
            resolution: Resolution::new(RandomState::new().build_hasher().finish()),
            resolution_told,
            dns_client: DnsClient::default(),
            warm_up,
            events,
            listens: Instant::now(),
            diagnostics,
            netlink: Netlink::new()?,
            seen: Snapshot::default(),
            nftables: boot_guard::listen(),
            calls,
            reader: Reader::default(),
            paths,
            generation: 0,
            ready: false,
        };
        daemon.tell_of_start(refused.as_ref(), damaged);
        let snapshot = daemon.netlink.snapshot().await?;
        daemon.learner.set_own_addresses(snapshot.addresses.iter().copied().collect());
        let policy = daemon.learner.policy().clone();
        daemon.apply(&config, policy, &snapshot)?;
        if is_empty {
            let entered = restore(&daemon.kernel, &mut daemon.learner)?;
            log::info!("{entered} learned addresses are known from before");
        }
        daemon.kernel.pin_programs()?;
        daemon.listen_for_metrics(config.metrics.listen).await;
        daemon.look_at(&snapshot);
        for interface in daemon.reconciler.status() {
            if let Some(error) = interface.error {
                return Err(anyhow!("{}: {error}", interface.name).into());
            }
        }
        daemon.settle();
        Ok(daemon)
    }

    /// Works until told to stop.
    async fn serve(&mut self) -> Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut look = ticks(RESYNC_INTERVAL);
        let mut tidy = ticks(MAINTENANCE_INTERVAL);
        let mut forget = ticks(EXPIRY_INTERVAL);
        let mut watchdog = Watchdog::new();
        self.announce();
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => self.read_ahead(Errand::Reload, None),
                () = wait_until(self.roll_back_due()) => self.read_ahead(Errand::RollBack, None),
                () = wait_until(self.guard.due()) => self.look_at_gate(),
                () = wait_until(self.warm_up_due()) => self.tell_end_of_warm_up(),
                (errand, ahead) = self.reader.next() => {
                    if self.run_errand(errand, ahead).await {
                        return Ok(());
                    }
                }
                () = watchdog.due() => watchdog.feed(),
                () = wait_until(self.resolution.due()) => self.resolve(),
                () = Watched::changed(&mut self.watched) => self.read_ahead(Errand::Mended, None),
                (question, answer) = self.dns_client.next() => self.resolved(&question, answer),
                () = self.netlink.changed() => self.look().await,
                () = next_of(self.nftables.as_mut()) => self.guard.heard(Instant::now()),
                _ = look.tick() => self.look().await,
                _ = tidy.tick() => self.tidy().await,
                _ = forget.tick() => self.forget(),
                guard = self.events.readable_mut() => {
                    // Before the ring is read: what comes meanwhile wakes the daemon again.
                    guard.context("cannot wait for events")?.clear_ready();
                    self.poll_events()?;
                }
                () = sleep_until(self.listens.into()) => self.poll_events()?,
                result = flush(self.diagnostics.as_mut()) => result?,
                Some(call) = self.calls.recv() => {
                    if self.take_call(call).await {
                        return Ok(());
                    }
                }
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        // Nobody else would, as long as no daemon runs.
        self.roll_back().await;
        self.catch_up();
        if let Err(error) = self.writer.finish(&mut self.learner) {
            log::error!("{error:#}");
        }
        log::info!("stopping; what is attached stays in force");
        Ok(())
    }

    /// Puts a policy into force; its interfaces are looked at next. An error leaves the old one.
    fn apply(
        &mut self,
        config: &Config,
        mut policy: Policy,
        snapshot: &Snapshot,
    ) -> Result<Effects> {
        let warm_up = self.warm_up.under(config.warm_up, clock::boot_time());
        policy.settings.warm_up_until = warm_up.until();
        let linked = self.kernel.directory().linked_interfaces()?;
        let wanted = wanted(config, &policy)?;
        let zones = zones_of(&wanted, snapshot);
        let before = self.learner.policy().clone();
        self.learner.set_policy(policy.clone());
        self.recorder.set_policy(&policy);
        let (kernel, events, state) = (&self.kernel, self.events.get_mut(), &self.paths.state_dir);
        let recorder = &mut self.recorder;
        let punted = &mut Punted { streams: &mut self.streams, kernel };
        let catch_up = |learner: &mut Learner| {
            let assert = |address, rules, expires| kernel.ensure_host(address, rules, expires);
            drain(events, learner, recorder, punted, usize::MAX, assert).map(drop)
        };
        let result = reload::apply(kernel, &policy, &zones, &mut self.learner, state, catch_up);
        let ended = self.kernel.take_revoked();
        self.recorder.revoked(&ended, self.learner.names());
        let effects = match result {
            Ok(applied) => {
                self.generation = applied.generation;
                if let Some(error) = applied.unsaved {
                    log::warn!("{error:#}");
                }
                Effects { flows_ended: ended.len(), names_forgotten: applied.names_forgotten }
            }
            Err(error) => {
                self.recorder.set_policy(&before);
                self.learner.set_policy(before);
                self.kernel.set_zones(&self.reconciler.zones(snapshot))?;
                return Err(error);
            }
        };
        let commands = self.reconciler.want(wanted, &linked);
        for command in commands {
            self.execute(command);
        }
        self.want_names(config);
        self.warm_up_is(warm_up);
        log::info!(
            "policy {} is in force: {} rules, {} groups",
            self.generation,
            policy.rules.len(),
            policy.groups.len()
        );
        for warning in &policy.warnings {
            log::warn!("{warning}");
        }
        heap::trim_heap();
        Ok(effects)
    }

    async fn look(&mut self) {
        match self.netlink.snapshot().await {
            Ok(snapshot) => self.look_at(&snapshot),
            Err(error) => log::error!("{error:#}"),
        }
        self.announce();
    }

    fn look_at(&mut self, snapshot: &Snapshot) {
        let pins = self.kernel.pins();
        for interface in self.reconciler.attached_among(&snapshot.interfaces) {
            match pins.enforced(interface) {
                Ok(Some(_)) => {}
                Ok(None) => {
                    let name = &interface.name;
                    log::error!("{name}: somebody has taken a program off; putting it back");
                    self.reconciler.lost(name);
                }
                Err(error) => log::error!("{error:#}"),
            }
        }
        self.keep_tags(snapshot);
        for command in self.reconciler.observe(snapshot, Instant::now()) {
            self.execute(command);
        }
        self.keep_gate(snapshot);
        self.seen.clone_from(snapshot);
        self.tell_resolution();
    }

    fn failed(&mut self, interface: &Interface, error: &anyhow::Error) {
        let error = format!("{error:#}");
        if self.reconciler.failed(interface, error.clone(), Instant::now()) {
            log::error!("{}: NOT enforced: {error}", interface.name);
        }
    }

    fn execute(&mut self, command: Command) {
        let result = match command {
            Command::SetOwnAddresses(addresses) => {
                let result = self.kernel.set_own_addresses(&addresses);
                let addresses = addresses.into_iter().map(|(_, address)| address);
                self.learner.set_own_addresses(addresses.collect());
                result
            }
            Command::SetZones(zones) => self.kernel.set_zones(&zones),
            Command::SetDevices(devices) => self.kernel.set_devices(&devices),
            Command::Attach(interface, mode) => {
                let tags = self.see_tags(&interface.name);
                match tags.and_then(|()| self.kernel.attach(&interface, mode)) {
                    Ok(mode) => {
                        log::info!("{}: enforcing in {} mode", interface.name, mode.as_str());
                        self.reconciler.attached(&interface, mode);
                    }
                    Err(error) => self.failed(&interface, &error),
                }
                Ok(())
            }
            Command::Detach(name) => {
                log::info!("{name}: no longer enforced, since it is not configured");
                kernel::detach(self.kernel.directory(), &name)
            }
            Command::Await(name) => {
                log::warn!("{name}: there is no such interface; waiting for it");
                kernel::detach(self.kernel.directory(), &name)
            }
        };
        if let Err(error) = result {
            log::error!("{error:#}");
        }
    }

    /// Tells systemd, once, that what exists is enforced: what is missing is not waited for, since
    /// it may be for this unit that it waits.
    fn announce(&mut self) {
        if self.ready {
            return;
        }
        self.ready = true;
        if self.reconciler.is_enforcing() {
            log::info!("ready");
        } else {
            log::warn!("ready, and enforcing nothing: no interface of the configuration is there");
        }
        if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
            log::warn!("cannot notify systemd: {error}");
        }
    }
}
