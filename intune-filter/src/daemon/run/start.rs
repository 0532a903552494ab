//! Starts the daemon: from the first reading of the configuration until it is in force.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Instant,
};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    RunError, active_config::ActiveConfig, gate, gate_at_start, metrics, state::Daemon, warming,
};
use crate::{
    boot_guard::{BootGuard, Strays},
    config::Config,
    control::Server,
    daemon::{
        config_source::{Chosen, ConfigSource, ahead::Reader, confirmation::Confirmation},
        intake::Intake,
        interfaces::{InterfaceReconciler, LookPace, OnLinkWatch, RoutePace},
        problems::Problems,
        reload,
        ring_buffer::{EventRings, Ring},
        setup::{hooks, prepare},
    },
    kernel::{self, PinDirectory},
    names::{
        learning::{Learner, NamesWriter, restore, saved_names},
        resolution::{Counts, Resolution, dns_client::DnsClient},
    },
    policy::{RuleBits, map_sizes},
    system::netlink::{Netlink, Snapshot},
};

/// Runs until a signal or a command ends the daemon. Attachments stay, unless the command was to
/// detach. The kernel's programs log up to `kernel_log`.
pub(crate) fn run(source: &ConfigSource<'_>, kernel_log: log::LevelFilter) -> Result<(), RunError> {
    // Before anything is read that may be faulty.
    let known = gate_at_start::shut_as_kept(source);
    let config = match source.choose(&RuleBits::new()) {
        Ok(chosen) => chosen.loaded.config,
        Err(errors) => {
            gate_at_start::all_lost(source, known);
            return Err(errors.into());
        }
    };
    gate_at_start::shut(&config, source);
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
        gate_at_start::undo_start(&config, source, fresh.then_some(&directory));
    }
    drop(locks);
    result
}

impl<'a> Daemon<'a> {
    /// Loads the programs, and enforces the configuration; an interface that cannot be enforced is
    /// an error.
    async fn start(
        config: &Config,
        source: &'a ConfigSource<'a>,
        kernel_log: log::LevelFilter,
    ) -> Result<Self, RunError> {
        let paths = config.paths.clone();
        let (sender, calls) = mpsc::channel(8);
        tokio::spawn(Server::bind(&paths.runtime_dir)?.serve(sender));
        let directory = PinDirectory::new(&paths.pin_dir);
        // A reboot removes the pins, and the learned addresses with them.
        let is_empty = !directory.has_pins();
        let netlink = Netlink::new()?;
        let hooks = hooks(config, &netlink.snapshot().await?);
        let mut kernel = kernel::load(directory, &map_sizes(&config.maps), kernel_log, &hooks)?;
        // Chosen again, since the directories are now locked against other processes.
        let bits = reload::previous_bits(&kernel.pins())?;
        let Chosen { document, origin, loaded, saved, refused, damaged } = source.choose(&bits)?;
        let (in_force, policy) = ActiveConfig::new(document, origin, loaded);
        let config = in_force.config.clone();
        let seed = kernel.pins().active()?.seed;
        let names = saved_names(&config, seed);
        let warm_up = warming::begin(&config, &kernel.pins(), &names)?;
        let events = EventRings::open(&kernel.pins())?;
        let diagnostics = kernel.take_diagnostics().map(Ring::new).transpose()?;
        let intake = Intake::new(Learner::new(names, policy).with_seed(seed));
        let resolution_told = watch::Sender::<Counts>::default();
        let metrics = metrics::server(kernel.pins(), &intake.recorder, &resolution_told);
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
            explain: None,
            reconciler: InterfaceReconciler::default(),
            guard: BootGuard::default(),
            strays: Strays::default(),
            writer: NamesWriter::new(paths.state_dir.clone(), Instant::now()),
            metrics,
            intake,
            resolution: Resolution::new(RandomState::new().build_hasher().finish()),
            resolution_told,
            dns_client: DnsClient::default(),
            warm_up,
            events,
            listens: Instant::now(),
            diagnostics,
            netlink,
            look_pace: LookPace::default(),
            on_link: OnLinkWatch::default(),
            route_pace: RoutePace::default(),
            routed: Vec::new(),
            seen: Snapshot::default(),
            nftables: gate::listen(),
            calls,
            reader: Reader::default(),
            paths,
            generation: 0,
            ready: false,
        };
        daemon.tell_of_start(refused.as_ref(), damaged);
        let mut snapshot = daemon.netlink.snapshot().await?;
        daemon.strays = Strays::remembered(config.zones(), &snapshot);
        daemon.follow_names(&config, &mut snapshot);
        daemon.intake.learner.set_own_addresses(snapshot.addresses.iter().copied().collect());
        let policy = daemon.intake.learner.policy().clone();
        daemon.apply(&config, policy, &snapshot)?;
        if is_empty {
            let entered = restore(&daemon.kernel, &mut daemon.intake.learner)?;
            log::info!("{entered} learned addresses are known from before");
        }
        daemon.kernel.pin_programs()?;
        daemon.listen_for_metrics(config.metrics.listen).await;
        daemon.look_at(snapshot);
        for interface in daemon.reconciler.status() {
            if let Some(error) = interface.error {
                return Err(anyhow!("{}: {error}", interface.name).into());
            }
        }
        daemon.settle();
        let directory = daemon.kernel.directory().clone();
        daemon.explain = Some(load_explain(directory, &config, kernel_log));
        Ok(daemon)
    }
}

/// Has the program of `explain` verified by a thread of its own: what enforces is in force already.
fn load_explain(
    directory: PinDirectory,
    config: &Config,
    level: log::LevelFilter,
) -> JoinHandle<()> {
    let sizes = map_sizes(&config.maps);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = kernel::load_explain(&directory, &sizes, level) {
            log::error!("`explain` is not to be had, and nothing else is wrong: {error:#}");
        }
    })
}
