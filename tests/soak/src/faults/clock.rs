//! The wall clock is set, forward and back: in a machine of its own alone.

use std::time::Duration;

use anyhow::Result;
use nix::{
    sys::time::{TimeSpec, TimeValLike as _},
    time::{ClockId, clock_gettime, clock_settime},
};

use super::between;
use crate::world::World;
use intune_filter_tests::random::Random;

/// Steps, in seconds.
const STEPS: [i64; 6] = [1, -1, 3600, -3600, 86_400 * 30, -86_400 * 30];

/// Sets the clock until the soak is over.
pub fn run(world: &World) -> Result<()> {
    let mut random = Random::new(world.measure.seed, "clock");
    while between(world, &mut random, Duration::from_secs(10)) {
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
        let then = TimeSpec::seconds((now.num_seconds() + random.pick(&STEPS)).max(1));
        clock_settime(ClockId::CLOCK_REALTIME, then)?;
        world.tally().add("steps of the wall clock", 1);
    }
    Ok(())
}
