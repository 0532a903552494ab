//! Reading ring buffers of the kernel's.

use std::{net::IpAddr, os::fd::AsRawFd};

use anyhow::{Context as _, Result};
use aya::maps::{MapData, RingBuf};
use intune_filter_ebpf::abi::answer_flags;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    dns_tcp::Punted,
    events::{
        recorder::EventRecorder,
        records::{self, Record},
    },
    kernel::{Diagnostics, Refreshed},
    names::learning::Learner,
};

/// Takes records until the ring is empty, `most` at most; returns how many there were. What was
/// learned is handed to `learned`: an address, its rules, and when it is forgotten; it returns the
/// address's versions if it has refreshed it.
pub fn drain(
    ring: &mut RingBuf<MapData>,
    learner: &mut Learner,
    recorder: &mut EventRecorder,
    punted: &mut Punted<'_>,
    most: usize,
    mut learned: impl FnMut(IpAddr, u64, u64) -> Result<Option<Refreshed>>,
) -> Result<usize> {
    for taken in 0..most {
        let Some(octets) = ring.next() else { return Ok(taken) };
        let Some(record) = records::read(&octets) else {
            log::debug!("a record of {} octets is none that this version knows", octets.len());
            continue;
        };
        match &record {
            Record::Answer(event, message) if event.flags & answer_flags::DEFERRED != 0 => {
                match learner.learn_and_install(punted.kernel, event, message) {
                    Ok(Some(answer)) => {
                        recorder.learned(event, &answer, learner.services(answer.rules));
                    }
                    Ok(None) => {}
                    // What the kernel has learned stays, and the next answer is another chance.
                    Err(error) => log::error!("cannot learn the rest of an answer: {error:#}"),
                }
            }
            Record::Answer(event, message) => {
                if let Some(answer) = learner.take(event, message) {
                    if event.flags & answer_flags::LEARNED != 0 {
                        for (address, expires) in &answer.addresses {
                            if let Some(versions) = learned(*address, answer.rules, *expires)? {
                                learner.refreshed(*address, versions);
                            }
                        }
                    }
                    recorder.learned(event, &answer, learner.services(answer.rules));
                }
            }
            Record::Segment(event, data) => {
                if let Err(error) = punted.take(event, data, learner, recorder) {
                    // What is not read passes after a while.
                    log::error!("cannot read an answer over TCP: {error:#}");
                }
            }
            Record::Denied(_) | Record::Opened(_) | Record::Closed(_) => {}
        }
        recorder.take(&record, learner.names());
    }
    Ok(most)
}

/// Waits for the programs' diagnostics, and logs them.
pub async fn flush(diagnostics: Option<&mut AsyncFd<Diagnostics>>) -> Result<()> {
    let Some(diagnostics) = diagnostics else { return std::future::pending().await };
    let mut guard = diagnostics.readable_mut().await.context("cannot wait for diagnostics")?;
    guard.get_inner_mut().flush();
    guard.clear_ready();
    Ok(())
}

/// Makes a ring buffer something to wait for.
pub fn async_fd<T: AsRawFd>(inner: T) -> Result<AsyncFd<T>> {
    // SAFETY: a ring buffer owns its descriptor, and never changes it.
    unsafe { AsyncFd::register_with_interest(inner, Interest::READABLE) }
        .map_err(|error| error.into_parts().1)
        .context("cannot wait for a ring buffer")
}
