//! Working memory that is in use: what interrupts a run is denied, never let through.

use aya::{
    Pod,
    maps::{Map, MapData, PerCpuArray, PerCpuValues},
};
use intune_filter_ebpf::{
    abi::Reason::{Busy, Flow, Policy, Unmanaged},
    scratch::Scratch,
};
use intune_filter_tests::prog_test_run::{
    Addresses, Datagram, Flags, IngressHook, LoadedFilter, check_in_order, check_on, datagram::TAG,
    expect, from_client, run, to_client,
};

/// The working memory, of which the first word says whether it is in use.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Octets([u8; size_of::<Scratch>()]);

// SAFETY: octets, without padding.
unsafe impl Pod for Octets {}

/// The working memories, one of each program that is loaded.
fn scratch(hook: IngressHook) -> [&'static str; 3] {
    let ingress = if hook == IngressHook::Tc { "SCRATCH_TC_INGRESS" } else { "SCRATCH_XDP" };
    [ingress, "SCRATCH_TC", "SCRATCH_EXPLAIN"]
}

/// Marks the working memory of a program as used by another run, or not, on every CPU.
fn claim(filter: &LoadedFilter, name: &str, claimed: bool) {
    let ids = filter.map_ids().unwrap();
    let maps = ids.into_iter().map(|id| MapData::from_id(id).unwrap());
    // The kernel keeps fifteen octets of a name.
    let kept = name.get(..15).unwrap_or(name);
    let is_meant = |map: &MapData| map.info().unwrap().name_as_str() == Some(kept);
    let map = maps.into_iter().find(is_meant).unwrap_or_else(|| panic!("no map {name}"));
    let mut map: PerCpuArray<_, Octets> = Map::from_map_data(map).unwrap().try_into().unwrap();
    let mut values = map.get(&0, 0).unwrap().to_vec();
    for value in &mut values {
        value.0[..8].copy_from_slice(&u64::from(claimed).to_ne_bytes());
    }
    map.set(0, PerCpuValues::try_from(values).unwrap(), 0).unwrap();
}

#[test]
fn what_interrupts_a_run_is_denied() {
    run("", "", |filter| {
        for who in Addresses::both() {
            let out = || Datagram::new(who.client, who.web).tcp(1, 443, Flags::SYN);
            let back = || Datagram::new(who.web, who.client).tcp(443, 1, Flags::SYN_ACK);
            check_in_order(
                filter,
                &[from_client("before", out().frame(), expect(Policy).rule("core/web"))],
            );
            for name in scratch(filter.hook()) {
                claim(filter, name, true);
            }
            check_on(
                filter,
                &[
                    from_client("interrupted", out().frame(), expect(Busy).silent()),
                    to_client("interrupted", back().frame(), expect(Busy).silent()),
                    // Nothing is judged there.
                    from_client("unmanaged", out().tag(TAG, 30).frame(), expect(Unmanaged)),
                ],
            );
            for name in scratch(filter.hook()) {
                claim(filter, name, false);
            }
            check_on(
                filter,
                &[
                    from_client("after", out().frame(), expect(Flow).rule("core/web")),
                    to_client("after", back().frame(), expect(Flow).rule("core/web")),
                ],
            );
        }
    });
}
