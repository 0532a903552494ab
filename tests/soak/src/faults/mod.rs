//! Faults that the filter meets meanwhile: each kind in a thread of its own, so that they come at
//! once.

pub mod clock;
pub mod daemon;
pub mod link;
pub mod outage;
pub mod pressure;
pub mod reload;

use std::time::Duration;

use super::world::World;
use intune_filter_tests::random::Random;

/// Waits between two faults of a kind, at random around a mean; whether the soak goes on.
fn between(world: &World, random: &mut Random, mean: Duration) -> bool {
    let share = f64::from(random.within(20..180)) / 100.0;
    world.pause(mean.mul_f64(share))
}
