//! Global functions about flows: how one begins, goes on and ends. See [`super::global_fns`].

use super::kernel::{BpfDatapath, EXPLAIN, TC_EGRESS, TC_INGRESS, XDP};
use crate::{abi::Flow, packet::Direction, verdict};

macro_rules! end_flow {
    ($name:ident, $hook:ident) => {
        /// Keeps a flow that has ended in this hook's working memory; the ending, unless it was told
        /// before.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(flow: *mut Flow, ending: u64) -> u64 {
            // SAFETY: null, or from a reference.
            let (Some(flow), Some(scratch)) =
                (unsafe { flow.as_mut() }, BpfDatapath::<$hook>::scratch())
            else {
                return 0;
            };
            u64::from(verdict::end_flow(flow, scratch, ending as u8))
        }
    };
}

end_flow!(end_flow_at_ingress, XDP);
end_flow!(end_flow_at_tc_ingress, TC_INGRESS);
end_flow!(end_flow_at_egress, TC_EGRESS);
end_flow!(end_flow_to_explain, EXPLAIN);

macro_rules! note_segment {
    ($name:ident, $hook:ident, $direction:ident) => {
        /// Notes in a flow what the segment in this hook's working memory, with these flags, says of
        /// its connection; the flags by which it ends a side.
        #[inline(never)]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(flow: *mut Flow, flags: u64) -> u64 {
            // SAFETY: null, or from a reference.
            let (Some(flow), Some(scratch)) =
                (unsafe { flow.as_mut() }, BpfDatapath::<$hook>::scratch())
            else {
                return 0;
            };
            let ends = verdict::note_segment(flow, scratch, flags as u8, Direction::$direction);
            u64::from(ends)
        }
    };
}

note_segment!(note_segment_at_ingress, XDP, FromClient);
note_segment!(note_segment_at_tc_ingress, TC_INGRESS, FromClient);
note_segment!(note_segment_at_egress, TC_EGRESS, ToClient);
note_segment!(note_segment_to_explain, EXPLAIN, FromClient);
