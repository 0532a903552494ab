//! The ends of the wires that senders hold, and marks that say when what was sent before has gone
//! its way.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    ledger::Side,
    packet::{Packet, What},
    site::MARKED,
    world::{World, lock},
};
use intune_filter_tests::{
    network::{CLIENT, WAN},
    prog_test_run::datagram::patched,
    wire::Wire,
};

/// Longest time of a mark, faults of the interface and the daemon included.
const PATIENCE: Duration = Duration::from_secs(180);

/// Longest time for which the other end's queue is full.
const ROOM: Duration = Duration::from_secs(5);

/// Wait for a mark before another one is sent.
const AGAIN: Duration = Duration::from_millis(200);

/// The ends of the wires, one with the clients and one behind the gateway.
#[derive(Debug)]
pub struct Links<'a> {
    world: &'a World,
    client: Option<Wire>,
    server: Wire,
    number: u16,
}

impl<'a> Links<'a> {
    /// Takes hold of them. From now on the thread stays on one CPU, so that packets are received in
    /// the order in which they were sent. `number` tells this holder's marks from those of others.
    pub fn open(world: &'a World, number: u16) -> Result<Self> {
        stay(number.into())?;
        let server = world.network.internet.run(|| Wire::open(WAN))?;
        Ok(Self { world, client: None, server, number })
    }

    /// Sends a frame from a side, as soon as there is room. One that the interface does not take is
    /// lost.
    pub fn send(&mut self, from: Side, frame: Vec<u8>) -> Result<()> {
        let [by_client, by_server] = *lock(&self.world.gateway_macs);
        match from {
            Side::Server => put(&self.server, &patched(frame, 0, &by_server)),
            Side::Client => {
                let frame = patched(frame, 0, &by_client);
                // One that was replaced, or was down meanwhile, says so once.
                for _ in 0..2 {
                    if self.client.is_none() {
                        self.client = self.world.network.client.run(|| Wire::open(WAN)).ok();
                    }
                    if self.client.as_ref().is_some_and(|wire| put(wire, &frame).is_ok()) {
                        break;
                    }
                    self.client = None;
                }
                Ok(())
            }
        }
    }

    /// Waits until everything that was sent from a side before has gone its way: sends marks until
    /// one arrives.
    pub fn settle(&mut self, from: Side) -> Result<()> {
        self.settle_by(from, 0)
    }

    /// Settles the links by marks of a family: neighbours may know each other by the other one
    /// alone.
    pub fn settle_by(&mut self, from: Side, family: usize) -> Result<()> {
        let to = if from == Side::Client { Side::Server } else { Side::Client };
        let begun = Instant::now();
        let local = 9000 + self.number;
        let what = What::Udp { local, remote: 9 };
        let there = Packet::new(CLIENT[family], MARKED[family], what);
        let what = there.what.clone();
        let packet = if from == Side::Client { there } else { there.reversed(what) };
        loop {
            let tag = self.world.ledger.tag(to);
            self.send(from, packet.frame(tag))?;
            let arrived = self.world.ledger.wait(tag, to, AGAIN);
            self.world.ledger.take(tag, to);
            if arrived {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "no mark has arrived for {PATIENCE:?}");
            if self.client.is_none() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Sends a frame as soon as the other end's queue has room.
fn put(wire: &Wire, frame: &[u8]) -> Result<()> {
    let deadline = Instant::now() + ROOM;
    while !wire.offer(frame)? {
        ensure!(Instant::now() < deadline, "the queue has been full for {ROOM:?}");
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Keeps this thread on one of the CPUs.
fn stay(number: usize) -> Result<()> {
    let thread = Pid::from_raw(0);
    let allowed = nix::sched::sched_getaffinity(thread)?;
    let cpus: Vec<usize> =
        (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu) == Ok(true)).collect();
    let mut one = CpuSet::new();
    one.set(*cpus.get(number % cpus.len().max(1)).context("there is no CPU")?)?;
    Ok(sched_setaffinity(thread, &one)?)
}
