//! Learning in userspace, as it is often built: a process is given copies of the answers that the
//! gateway sends, and enters their addresses into the sets of the packet filter.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result};
use etherparse::SlicedPacket;
use hickory_proto::{op::Message, rr::RData};

use super::element::Sets;
use intune_filter_tests::{namespace::Namespace, network::LAN, wire::Tap};

/// Interval of looks whether the run is over.
const LOOK: Duration = Duration::from_millis(100);

/// The listener; stopped on drop.
pub struct Learner {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Learner {
    /// Listens on a gateway's interface to its clients.
    pub fn start(gateway: &Namespace) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let thread = gateway.run(|| -> Result<_> {
            let (tap, mut sets, over) = (Tap::of_sent(LAN)?, Sets::open()?, Arc::clone(&over));
            Ok(thread::spawn(move || {
                while !over.load(Relaxed) {
                    if let Some(frame) = tap.wait(LOOK)? {
                        learn(&frame, &mut sets)?;
                    }
                }
                Ok(())
            }))
        })?;
        Ok(Self { over, thread: Some(thread) })
    }

    /// Fails if it has given up, whatever the reason.
    pub fn check(&mut self) -> Result<()> {
        match self.thread.take_if(|thread| thread.is_finished()) {
            None => Ok(()),
            Some(thread) => match thread.join() {
                Ok(ended) => ended.context("the learner has given up"),
                Err(panic) => std::panic::resume_unwind(panic),
            },
        }
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it failed of is told by what it has not learned.
            let _ = thread.join();
        }
    }
}

/// Enters the addresses of an answer; anything else says nothing.
fn learn(frame: &[u8], sets: &mut Sets) -> Result<()> {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return Ok(()) };
    let Some(etherparse::TransportSlice::Udp(udp)) = packet.transport else { return Ok(()) };
    if udp.source_port() != 53 {
        return Ok(());
    }
    let Ok(answer) = Message::from_vec(udp.payload()) else { return Ok(()) };
    for record in answer.answers {
        match record.data {
            RData::A(a) => sets.add(a.0.into())?,
            RData::AAAA(aaaa) => sets.add(aaaa.0.into())?,
            _ => {}
        }
    }
    Ok(())
}
