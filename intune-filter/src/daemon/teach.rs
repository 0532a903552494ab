//! Enters into the kernel's tables what userspace has learned from an answer itself.

use anyhow::Result;
use intune_filter_ebpf::abi::AnswerEvent;

use super::learner::Learner;
use crate::{kernel::Kernel, names::answer::Answer};

/// Learns from an answer that the kernel has not learned from; `None` if nothing is to be learned.
pub fn teach(
    kernel: &Kernel,
    learner: &mut Learner,
    event: &AnswerEvent,
    message: &[u8],
) -> Result<Option<Answer>> {
    let Some(answer) = learner.learn(event, message) else { return Ok(None) };
    for (address, expires) in &answer.addresses {
        let refreshed = kernel.refresh_host(*address, answer.rules, *expires)?;
        if let Some(versions) = refreshed {
            learner.refreshed(*address, versions);
        }
    }
    Ok(Some(answer))
}
