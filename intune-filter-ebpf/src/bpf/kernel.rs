//! Hooks: the maps and the working memory that the program on each uses.

use core::{ffi::c_void, ptr};

use aya_ebpf::EbpfContext;

use super::maps;
use crate::scratch::Scratch;

/// Maps and clock of the kernel, for the program on a hook: [`XDP`], [`TC_INGRESS`], [`TC_EGRESS`]
/// or [`EXPLAIN`].
#[derive(Clone, Copy)]
pub struct BpfDatapath<const HOOK: u8> {
    pub(super) context: *mut c_void,
}

impl<const HOOK: u8> BpfDatapath<HOOK> {
    /// Whether the program may change no map.
    pub(super) const READ_ONLY: bool = HOOK == EXPLAIN;

    /// Returns the maps, for a run with this context.
    #[inline(always)]
    pub fn new(context: &impl EbpfContext) -> Self {
        Self { context: context.as_ptr() }
    }

    /// Returns the hook's working memory.
    #[inline(always)]
    pub fn scratch<'s>() -> Option<&'s Scratch> {
        let scratch = match HOOK {
            XDP => maps::SCRATCH_XDP.get_ptr(0),
            TC_EGRESS => maps::SCRATCH_TC.get_ptr(0),
            TC_INGRESS => maps::SCRATCH_TC_INGRESS.get_ptr(0),
            _ => maps::SCRATCH_EXPLAIN.get_ptr(0),
        };
        // SAFETY: elements of a per-CPU array live as long as the program.
        scratch.map(|scratch| unsafe { &*scratch })
    }

    /// Returns the maps, for a function without a packet's context.
    #[inline(always)]
    pub(super) fn without_context() -> Self {
        Self { context: ptr::null_mut() }
    }
}

/// Hook of the program at XDP.
pub const XDP: u8 = 0;
/// Hook of the program at TC on packets to clients.
pub const TC_EGRESS: u8 = 1;
/// Hook of the program that is never attached, and changes no map.
pub const EXPLAIN: u8 = 2;
/// Hook of the program at TC on packets from clients, in place of the one at XDP.
pub const TC_INGRESS: u8 = 3;
