//! Defines the state of a running daemon.

use std::time::Instant;

use ipnet::IpNet;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    active_config::ActiveConfig, errand::Errand, last_reload::LastReload, watched::Watched,
};
use crate::{
    boot_guard::{BootGuard, Changes, Strays},
    config::Paths,
    control::Call,
    daemon::{
        config_source::{
            ConfigSource, ahead::Reader, config_override::ConfigOverride,
            confirmation::Confirmation,
        },
        intake::Intake,
        interfaces::{InterfaceReconciler, LookPace, OnLinkWatch, RoutePace},
        problems::Problems,
        ring_buffer::{EventRings, Ring},
        warm_up::WarmUp,
    },
    kernel::{Diagnostics, Kernel},
    metrics::MetricsServer,
    names::{
        learning::NamesWriter,
        resolution::{Counts, Resolution, dns_client::DnsClient},
    },
    system::netlink::{Netlink, Snapshot},
};

/// Configuration in force, the parts that carry it out, and the sources of events.
pub(super) struct Daemon<'a> {
    pub(super) source: &'a ConfigSource<'a>,
    pub(super) in_force: ActiveConfig,
    /// Configuration to return to, while the one in force waits for its confirmation.
    pub(super) confirmed: Option<ActiveConfig>,
    pub(super) confirmation: Confirmation,
    /// Override in the state directory.
    pub(super) saved: Option<ConfigOverride>,
    /// Whether the override could not be written.
    pub(super) saved_unwritten: bool,
    pub(super) problems: Problems,
    pub(super) last_reload: Option<LastReload>,
    /// Watch on the configuration file, while the last good configuration runs in its place.
    pub(super) watched: Option<Watched>,
    pub(super) kernel: Kernel,
    /// Loading of the program of `explain`, which a start leaves behind.
    pub(super) explain: Option<JoinHandle<()>>,
    pub(super) reconciler: InterfaceReconciler,
    pub(super) guard: BootGuard,
    /// Interfaces that were judged.
    pub(super) strays: Strays,
    pub(super) metrics: MetricsServer,
    pub(super) writer: NamesWriter,
    pub(super) intake: Intake,
    pub(super) resolution: Resolution,
    /// Sender of the resolved names' counts to the metrics.
    pub(super) resolution_told: watch::Sender<Counts>,
    pub(super) dns_client: DnsClient,
    pub(super) warm_up: WarmUp,
    pub(super) events: EventRings,
    /// When the ring is read even if nobody wakes the daemon.
    pub(super) listens: Instant,
    pub(super) diagnostics: Option<Ring<Diagnostics>>,
    pub(super) netlink: Netlink,
    /// When changes of the machine are looked at.
    pub(super) look_pace: LookPace,
    /// What is on-link, as it was last told of.
    pub(super) on_link: OnLinkWatch,
    /// When the routes are read.
    pub(super) route_pace: RoutePace,
    /// Networks that are on-link by routes, with the index of the interface.
    pub(super) routed: Vec<(u32, IpNet)>,
    /// Last snapshot of the machine.
    pub(super) seen: Snapshot,
    pub(super) nftables: Option<Changes>,
    pub(super) calls: mpsc::Receiver<Call>,
    pub(super) reader: Reader<Errand>,
    pub(super) paths: Paths,
    pub(super) generation: u32,
    pub(super) ready: bool,
}
