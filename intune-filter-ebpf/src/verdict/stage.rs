//! Stages of a verdict.

use crate::result_word::result_word;

result_word! {
    /// Next stage, or [`Self::DONE`] if the verdict is in the working memory.
    ///
    /// Callers test the value: a result that is not read is optimized away, and the register of a
    /// void function holds what was there before, at times a pointer, which the verifier refuses.
    pub(super) Stage {
        /// The verdict is in the working memory.
        DONE = 0,
        /// The policy judges.
        POLICY = 1,
        /// A query to a trusted resolver is read.
        QUERY = 2,
        /// A segment to a trusted resolver is read.
        STREAM = 3,
        /// The next stage judges.
        NEXT = 4,
        /// The flow is opened, by leave of the verdict in the working memory.
        OPEN = 6,
        /// A flow that another hardware address began may go on.
        MOVED = 7,
        /// A trusted resolver's answers over TCP are read.
        ANSWERS = 5,
    }
}

impl Stage {
    /// Returns [`Self::DONE`], hidden from the optimizer.
    #[inline(always)]
    pub(super) fn done() -> Self {
        #[cfg(target_arch = "bpf")]
        {
            let done: u64;
            // SAFETY: a plain assignment.
            unsafe {
                core::arch::asm!("{done} = 0", done = out(reg) done, options(nomem, nostack));
            }
            Self(done)
        }
        #[cfg(not(target_arch = "bpf"))]
        Self::DONE
    }
}
