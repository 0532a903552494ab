//! The whole testbed: network, resolver, remotes, and a filter that is ready to be started.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::Result;

use crate::{
    directory::Directory,
    filter::FilterDaemon,
    listeners::Listeners,
    network::{Network, WAN},
    records::Records,
    resolver::{Kind, Resolver, ResolverLocation},
    responder::Responder,
    xdp::PassAll,
};

/// A port that no service declares, with a listener all the same.
pub const FOREIGN_PORT: u16 = 22;

/// Parts of a testbed.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// The filter's configuration.
    pub config: String,
    /// Resolver of the testbed.
    pub resolver: Kind,
    /// Location of the resolver, if not the usual one.
    pub place: Option<ResolverLocation>,
    /// Records of the resolver.
    pub records: Records,
    /// Further settings of dnsmasq.
    pub settings: &'static str,
    /// TCP ports of the remotes.
    pub tcp: BTreeSet<u16>,
    /// UDP ports of the remotes.
    pub udp: BTreeSet<u16>,
}

/// A testbed; everything of it is gone when it is dropped.
#[derive(Debug)]
pub struct Testbed {
    // Dropped in this order: processes before the namespaces that they are in.
    /// The filter on the gateway, not started yet.
    pub filter: FilterDaemon,
    /// The resolver.
    pub resolver: Resolver,
    _responder: Responder,
    _listeners: [Listeners; 2],
    answering: Option<PassAll>,
    /// The namespaces.
    pub network: Network,
    /// Directory of the testbed's files.
    pub directory: Arc<Directory>,
}

impl Testbed {
    /// Makes a testbed in a directory of its own.
    pub fn create(setup: &Setup) -> Result<Self> {
        Self::create_in(Arc::new(Directory::create()?), setup)
    }

    /// Makes a testbed in a directory that nothing else uses.
    pub fn create_in(directory: Arc<Directory>, setup: &Setup) -> Result<Self> {
        let network = Network::create(directory.label())?;
        let filter =
            FilterDaemon::new(Arc::clone(&network.gateway), Arc::clone(&directory), &setup.config)?;
        let listeners = [
            Listeners::start(&network.internet, setup.tcp.clone(), setup.udp.clone())?,
            Listeners::start(&network.gateway, [FOREIGN_PORT], [])?,
        ];
        Ok(Self {
            filter,
            resolver: {
                let place = setup.place.unwrap_or(setup.resolver.place());
                let Setup { resolver, records, settings, .. } = setup;
                Resolver::start_at(place, *resolver, &network, &directory, records, settings)?
            },
            _responder: Responder::in_internet(&network.internet)?,
            _listeners: listeners,
            // Without it, what the filter answers itself does not reach the client.
            answering: Some(PassAll::attach(&network.client, WAN)?),
            network,
            directory,
        })
    }

    /// Takes off the client what lets it hear the filter's own answers, and which some kernels hand no
    /// packet to that is in several pieces.
    pub fn leave_client_bare(&mut self) {
        self.answering = None;
    }
}
