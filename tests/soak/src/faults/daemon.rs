//! The daemon is killed, or ended, and started again after a while.

use std::{sync::atomic::Ordering, time::Duration};

use anyhow::Result;

use super::between;
use crate::{
    report::{KILLS, STOPS},
    world::{World, lock},
};
use intune_filter_tests::random::Random;

/// Ends daemons until the soak is calm.
pub fn run(world: &World) -> Result<()> {
    let mut random = Random::new(world.measure.seed, "daemons");
    // The first one as systemd does it: what a daemon leaves in its directories is there from then on.
    let mut first = true;
    while between(world, &mut random, Duration::from_secs(8)) {
        {
            let mut filter = lock(&world.filter);
            if world.calm.load(Ordering::SeqCst) {
                return Ok(());
            }
            world.down.store(true, Ordering::SeqCst);
            world.ended.fetch_add(1, Ordering::SeqCst);
            if random.once_in(3) || first {
                filter.stop()?;
                world.tally().add(STOPS, 1);
                world.tally().note("the daemon was stopped");
            } else {
                filter.kill()?;
                world.history().1.orphan();
                world.tally().add(KILLS, 1);
                world.tally().note("the daemon was killed");
            }
        }
        first = false;
        world.pause(Duration::from_millis(random.within(0..3000).into()));
        start(world)?;
    }
    Ok(())
}

/// Starts a daemon, which puts into force what the file says.
pub fn start(world: &World) -> Result<()> {
    let _change = lock(&world.change);
    world.tally().note("a daemon starts");
    lock(&world.filter).start()?;
    world.settle();
    world.tally().note("it enforces");
    world.down.store(false, Ordering::SeqCst);
    Ok(())
}
