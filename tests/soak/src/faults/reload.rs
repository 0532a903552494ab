//! New configurations, at random; and wrong ones, which change nothing.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use anyhow::{Context as _, Result};

use super::between;
use crate::{
    model::ModelPolicy,
    report::{CUT_SHORT, REFUSALS, RELOADS},
    site,
    world::{World, lock},
};
use intune_filter_tests::random::Random;

/// Reloads until the soak is over.
pub fn run(world: &World) -> Result<()> {
    let mut random = Random::new(world.measure.seed, "reloads");
    while between(world, &mut random, Duration::from_secs(3)) {
        let text = site::configuration(&mut random, world.measure.sizes);
        if random.once_in(6) {
            refuse(world, &text)?;
        } else {
            reload(world, &text)?;
        }
    }
    Ok(())
}

/// Puts a configuration into force.
pub fn reload(world: &World, text: &str) -> Result<()> {
    let policy = Arc::new(ModelPolicy::read(text)?);
    let _change = lock(&world.change);
    let (was_down, ended) = (world.is_down(), world.ended.load(Ordering::SeqCst));
    world.begin(&policy);
    world.tally().note(format!("a reload begins:\n{text}"));
    let mut command = {
        let filter = lock(&world.filter);
        filter.configure(text)?;
        filter.command(&["apply"])?
    };
    let output = command.output().context("cannot run intune-filter")?;
    if output.status.success() {
        world.settle();
        world.tally().note("it is over");
        world.tally().add(RELOADS, 1);
    } else if was_down || world.is_down() || ended != world.ended.load(Ordering::SeqCst) {
        // Which one is in force shows when the next daemon has started: this one.
        world.tally().note("it was cut short");
        world.tally().add(CUT_SHORT, 1);
    } else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        world.tally().fail("reloads", format!("{}: {said}", output.status));
    }
    Ok(())
}

/// Half a configuration changes nothing.
fn refuse(world: &World, text: &str) -> Result<()> {
    let half = text.get(..text.len() * 2 / 3).unwrap_or_default();
    let file = world.directory.write("wrong.yaml", &format!("{half}\nunknown: key\n"))?;
    let file = file.to_string_lossy().into_owned();
    let mut command = lock(&world.filter).command(&["apply", &file])?;
    if command.output().context("cannot run intune-filter")?.status.success() {
        world.tally().fail("reloads", format!("was taken over:\n{half}"));
    }
    world.tally().add(REFUSALS, 1);
    Ok(())
}
