//! Global functions about packets between zones. See [`super::global_fns`].

use super::kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP};
use crate::verdict;

macro_rules! is_sent {
    ($name:ident, $hook:ident) => {
        /// Whether the sender's flow with the key in this hook's working memory goes on.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(v6: u64) -> u64 {
            let kernel = BpfDatapath::<$hook>::without_context();
            let is_sent = |scratch| verdict::is_sent(scratch, kernel, v6 != 0);
            u64::from(BpfDatapath::<$hook>::scratch().is_some_and(is_sent))
        }
    };
}

is_sent!(is_sent_at_ingress, XDP);
is_sent!(is_sent_at_tc_ingress, TC_INGRESS);
is_sent!(is_sent_at_egress, TC_EGRESS);
is_sent!(is_sent_to_explain, EXPLAIN);

/// The zone that has sent the packet in the working memory, and was allowed to; 0 if there is none.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn sending_zone(v6: u64) -> u64 {
    let kernel = BpfDatapath::<TC_EGRESS>::without_context();
    let zone = |scratch| verdict::sending_zone(scratch, kernel, v6 != 0);
    u64::from(BpfDatapath::<TC_EGRESS>::scratch().map_or(0, zone))
}
