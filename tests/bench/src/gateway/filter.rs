//! intune-filter itself: the daemon, in one of its modes.

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Pod,
    maps::{HashMap, MapData},
};
use intune_filter::kernel::Pins;
use intune_filter_ebpf::abi::{Flow, FlowKey, Host, RuleMask, V4, V6};

use super::{
    opponent::Opponent,
    site::{self, Site},
    wiring::Wiring,
};
use intune_filter_tests::{directory::Directory, filter::FilterDaemon, prog_test_run::state::now};

/// Lifetime of learned addresses, in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// The daemon, and what it has pinned.
pub struct Enforced {
    _filter: FilterDaemon,
    pins: Pins,
}

impl Enforced {
    /// Starts the daemon, which has to come up in this mode and no other.
    pub fn start(
        wiring: &Wiring,
        directory: &Arc<Directory>,
        site: &Site,
        mode: &str,
    ) -> Result<Self> {
        let gateway = Arc::clone(&wiring.network.gateway);
        let mut filter = FilterDaemon::new(gateway, Arc::clone(directory), &site::config(mode))?;
        filter.start()?;
        let status = filter.json(&["status"])?;
        let interface = &status["interfaces"][0];
        ensure!(interface["mode"] == mode && interface["attached"] == true, "{interface}");
        let pins = Pins::open(&filter.pins())?.context("the daemon has pinned nothing")?;
        learn(&pins, site)?;
        Ok(Self { _filter: filter, pins })
    }
}

impl Opponent for Enforced {
    fn forget(&self, _: &Wiring) -> Result<()> {
        for name in ["FLOWS4", "NEW_FLOWS4"] {
            empty::<FlowKey<V4>>(&self.pins, name)?;
        }
        for name in ["FLOWS6", "NEW_FLOWS6"] {
            empty::<FlowKey<V6>>(&self.pins, name)?;
        }
        Ok(())
    }
}

fn learn(pins: &Pins, site: &Site) -> Result<()> {
    let now = now()?;
    let mut v4: HashMap<MapData, V4, Host> = pins.map("HOSTS4")?;
    let mut v6: HashMap<MapData, V6, Host> = pins.map("HOSTS6")?;
    for (address, bit) in &site.learned {
        let host = Host::new(RuleMask::of(*bit), now + HOUR, now, 0);
        match address {
            IpAddr::V4(address) => v4.insert(V4::from(*address), host, 0)?,
            IpAddr::V6(address) => v6.insert(V6::from(*address), host, 0)?,
        }
    }
    Ok(())
}

fn empty<K: Pod>(pins: &Pins, name: &str) -> Result<()> {
    let mut map: HashMap<MapData, K, Flow> = pins.map(name)?;
    for (key, _) in pins.elements::<K, Flow>(name)? {
        map.remove(&key)?;
    }
    Ok(())
}
