//! Keeps loaded filters whose test has ended for the next one: verifying the programs takes most of the
//! time of a table.

use std::{
    collections::BTreeMap,
    sync::{Mutex, Once, PoisonError},
};

use anyhow::Result;
use aya::maps::Array;
use intune_filter_ebpf::{
    abi::Active,
    maps::{MAPS, MapRow, Scope},
};

use super::{
    IngressHook, LoadedFilter,
    raw::{self, Contents},
};

/// Filters that nobody uses, as if they had just been loaded.
static IDLE: Mutex<Vec<LoadedFilter>> = Mutex::new(Vec::new());

/// Takes a filter that judges at this hook, if there is one.
pub(super) fn take(hook: IngressHook) -> Option<LoadedFilter> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let at = idle.iter().position(|filter| filter.hook() == hook)?;
    Some(idle.swap_remove(at))
}

/// Makes a filter as if it had just been loaded, and keeps it.
pub(super) fn keep(mut filter: LoadedFilter) -> Result<()> {
    static ONCE: Once = Once::new();
    renew(&mut filter)?;
    // SAFETY: the handler neither panics nor returns to anything of the caller's.
    ONCE.call_once(|| _ = unsafe { libc::atexit(drop_all) });
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(filter);
    Ok(())
}

/// Empties the maps, but for the seed, which is another one at each load.
pub fn renew(filter: &mut LoadedFilter) -> Result<()> {
    let seed = filter.pins().active()?.seed;
    while filter.events.next().is_some() {}
    while filter.dns_events.next().is_some() {}
    for map in filter.allowances()? {
        raw::empty(&map)?;
    }
    for name in lasting() {
        raw::empty(&filter.pins().data(name)?)?;
    }
    let mut active: Array<_, Active> = filter.pins().map("ACTIVE")?;
    active.set(0, Active { seed, ..active.get(&0, 0)? }, 0)?;
    drop(filter.kernel().take_revoked());
    Ok(())
}

/// Contents of the maps that outlast a packet, but for the seed: what a filter differs in from one that
/// was just loaded.
pub fn contents(filter: &LoadedFilter) -> Result<BTreeMap<&'static str, Contents>> {
    let all = lasting().filter(|name| *name != "ACTIVE");
    all.map(|name| Ok((name, raw::contents(&filter.pins().data(name)?)?))).collect()
}

/// The maps that outlast a packet.
fn lasting() -> impl Iterator<Item = &'static str> {
    let lasts = |row: &&MapRow| matches!(row.scope, Scope::Pinned | Scope::Policy);
    MAPS.iter().filter(lasts).map(|row| row.name)
}

/// Removes the directories of all, which a static does not do by itself.
extern "C" fn drop_all() {
    let idle = std::mem::take(&mut *IDLE.lock().unwrap_or_else(PoisonError::into_inner));
    drop(idle);
}
