//! Measurements during the soak: memory, the daemon's holdings, objects in the kernel.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    growth::Range,
    leaks::{Holdings, resident},
    objects::{Objects, objects},
    world::{World, lock},
};

/// Interval of measurements of memory.
const MEASURED: Duration = Duration::from_secs(2);

/// Interval of looks at the daemon's holdings and objects in the kernel.
const LOOKED: Duration = Duration::from_secs(10);

/// Measurements on the way.
#[derive(Default)]
pub struct Measured {
    /// Objects of the filter in the kernel at any time.
    pub seen: Objects,
    /// The daemon's resident octets, each with its time in seconds.
    pub memory: Vec<(f64, f64)>,
    /// Holdings of the daemon while it filled its bounded tables.
    pub before: Range,
}

/// Prints a line a minute, and looks at what is held, until the time is over.
pub fn watch(world: &World, begun: Instant) -> Result<Measured> {
    const MINUTE: Duration = Duration::from_secs(60);

    let duration = world.measure.duration;
    let mut measured = Measured::default();
    let (mut line, mut calm_since) = (MINUTE, None);
    let [mut look, mut look_at_objects] = [Duration::ZERO; 2];
    loop {
        let elapsed = begun.elapsed();
        if elapsed >= duration || !world.pause(MEASURED.min(duration.saturating_sub(elapsed))) {
            return Ok(measured);
        }
        let elapsed = begun.elapsed();
        if elapsed >= line {
            println!("{:>4} min: {}", elapsed.as_secs() / 60, world.tally().progress());
            line += MINUTE;
        }
        if elapsed >= duration / 2 && world.calm_down() {
            println!("  from now on the daemon lives");
        }
        if elapsed < duration / 2 || world.is_down() {
            continue;
        }
        let calm_since = *calm_since.get_or_insert(elapsed);
        let process = lock(&world.filter).daemon()?.id();
        let has_filled = elapsed > filled(calm_since, duration);
        if elapsed >= look
            && (!has_filled || measured.before.looks() == 0)
            && let Some(held) = Holdings::when_settled(world)?
        {
            measured.before.add(held);
            look = begun.elapsed() + LOOKED;
        }
        if elapsed >= look_at_objects {
            let pins = lock(&world.filter).pins();
            // Something may vanish while it is looked at.
            if let Ok(objects) = objects(&pins, process) {
                measured.seen.add(objects);
            }
            look_at_objects = begun.elapsed() + LOOKED;
        }
    }
}

/// Moment at which a daemon that lives since then has filled its bounded tables: after a third of
/// its life.
fn filled(since: Duration, duration: Duration) -> Duration {
    since + duration.saturating_sub(since) / 3
}

/// Measures memory until the time is over, and waits for nothing that others do meanwhile: on a busy
/// machine a look at everything else takes longer than all measurements have time for.
pub fn memory(world: &World, begun: Instant) -> Result<Vec<(f64, f64)>> {
    let (mut memory, mut calm_since) = (Vec::new(), None);
    while world.pause(MEASURED) {
        if !world.calm.load(Ordering::SeqCst) || world.is_down() {
            continue;
        }
        let elapsed = begun.elapsed();
        if elapsed > filled(*calm_since.get_or_insert(elapsed), world.measure.duration) {
            let process = lock(&world.filter).daemon()?.id();
            memory.push((elapsed.as_secs_f64(), resident(process)? as f64));
        }
    }
    Ok(memory)
}
