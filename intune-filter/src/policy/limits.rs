//! Compiles rate limits: a rate and a burst as times between tokens.

use intune_filter_ebpf::abi::Limit as KernelLimit;

use crate::config::Limit;

/// Limit of one address, or of a zone.
pub(super) fn of(limit: Limit) -> KernelLimit {
    const SECOND: u64 = 1_000_000_000;
    match limit {
        Limit::Off => KernelLimit::default(),
        Limit::At { rate, burst } => {
            let interval = SECOND / u64::from(rate.max(1));
            KernelLimit { interval, window: interval * u64::from(burst) }
        }
    }
}

/// Addresses that one hardware address may have with a limit each.
const ADDRESSES_PER_MAC: u32 = 16;

/// Limit of all addresses of one hardware address: that of sixteen, but at once no more than an eighth
/// of the table that its entries go into, and no more than a quarter in the seconds that an entry is
/// needed; in any case that of one address.
pub(super) fn of_mac(limit: Limit, table: u32, seconds: u32) -> KernelLimit {
    let of_mac = match limit {
        Limit::Off => Limit::Off,
        Limit::At { rate, burst } => Limit::At {
            rate: rate.saturating_mul(ADDRESSES_PER_MAC).min(table / 4 / seconds).max(rate),
            burst: burst.saturating_mul(ADDRESSES_PER_MAC).min(table / 8).max(burst),
        },
    };
    of(of_mac)
}
