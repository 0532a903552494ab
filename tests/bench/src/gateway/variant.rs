//! Gateways, each with something on it.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{
    filter::Enforced,
    generator::Generator,
    ipset::Ipset,
    nftables::Nftables,
    opponent::{Nothing, Opponent},
    site::Site,
    wiring::Wiring,
};
use intune_filter_tests::{directory::Directory, network::LAN, xdp::PassAll};

/// The kernel's own forwarding.
pub const NOTHING: &str = "no filter";
/// The filter in native mode.
pub const NATIVE: &str = "intune-filter, native";
/// Variant of the cost of any XDP program.
pub const PASS_ONLY: &str = "XDP that only passes";
/// Variant of the cost of any filter that knows flows: their table, and no policy.
pub const FLOOR: &str = "XDP that looks up flows";
/// Variant of the cost of making packets, and of receiving them by an XDP program.
const DROP_ONLY: &str = "XDP that only drops";
/// The rules of nftables.
pub const NFTABLES: &str = "nftables";

/// A gateway with something on it.
pub struct Variant {
    /// Name of the variant.
    pub name: String,
    // Dropped in this order: what is attached before the namespaces that it is in.
    /// The variant's filter.
    pub opponent: Box<dyn Opponent>,
    /// Its namespaces.
    pub wiring: Wiring,
    /// Kind of the variant.
    pub kind: Kind,
    _directory: Arc<Directory>,
}

/// Treatment of packets by a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Lets all through.
    Open,
    /// Judges them.
    Filter,
    /// Lets known flows through.
    Floor,
    /// Drops all.
    Closed,
}

/// Puts something on a gateway.
type Put<'p> = &'p dyn Fn(&Wiring, &Arc<Directory>, &mut Generator) -> Result<Box<dyn Opponent>>;

/// Every one, and what there is to tell of one that cannot be had.
pub fn all(site: &Site, generator: &mut Generator) -> Result<(Vec<Variant>, Vec<String>)> {
    let mut variants = Vec::new();
    let mut add = |name: &str, kind, put: Put<'_>| -> Result<()> {
        let directory = Arc::new(Directory::create()?);
        let wiring = Wiring::create(directory.label(), generator)?;
        let opponent = put(&wiring, &directory, generator).with_context(|| name.to_owned())?;
        let name = name.to_owned();
        variants.push(Variant { name, opponent, wiring, kind, _directory: directory });
        Ok(())
    };
    add(NOTHING, Kind::Open, &|_, _, _| Ok(Box::new(Nothing)))?;
    add(PASS_ONLY, Kind::Open, &|wiring, _, _| {
        Ok(Box::new(PassAll::attach(&wiring.network.gateway, LAN)?))
    })?;
    add(DROP_ONLY, Kind::Closed, &|wiring, _, generator| {
        generator.discard_at(&wiring.network.gateway, LAN)?;
        Ok(Box::new(Nothing))
    })?;
    add(FLOOR, Kind::Floor, &|wiring, _, generator| {
        generator.look_up_at(&wiring.network.gateway, LAN)?;
        Ok(Box::new(Nothing))
    })?;
    for (name, mode) in
        [(NATIVE, "native"), ("intune-filter, generic", "generic"), ("intune-filter, tc", "tc")]
    {
        add(name, Kind::Filter, &|wiring, directory, _| {
            Ok(Box::new(Enforced::start(wiring, directory, site, mode)?))
        })?;
    }
    add(NFTABLES, Kind::Filter, &|wiring, directory, _| {
        Ok(Box::new(Nftables::start(wiring, directory, site)?))
    })?;
    // Kernels have all that nftables needs more often than what this does.
    let added = Ipset::version().and_then(|version| {
        add(&format!("{version} and ipset"), Kind::Filter, &|wiring, directory, _| {
            Ok(Box::new(Ipset::start(wiring, directory, site)?))
        })
    });
    let notes = added.err().map(|error| format!("iptables with ipset is not measured: {error:#}"));
    Ok((variants, notes.into_iter().collect()))
}
