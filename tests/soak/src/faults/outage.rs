//! The resolver beyond the gateway stops answering, or dies, and comes back.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;

use super::between;
use crate::{site, timeline::Fault, world::World};
use intune_filter_tests::{process::Process, random::Random, resolver::BEYOND};

/// Starts the resolver, and returns when it answers.
pub fn start(world: &World) -> Result<Process> {
    let [v4, v6] = BEYOND;
    let settings = format!(
        "no-resolv\nno-hosts\nno-poll\nuser=root\nlisten-address={v4},{v6}\nbind-interfaces\n{}",
        site::dnsmasq()
    );
    let file = world.directory.write("soak-dnsmasq.conf", &settings)?;
    let mut command = world.network.internet.command("dnsmasq");
    command.args(["--keep-in-foreground", "--log-facility=-", "--pid-file="]);
    command.arg(format!("--conf-file={}", file.display()));
    let process = Process::spawn("dnsmasq", &mut command)?;
    process.wait_for("started, version", Duration::from_secs(60))?;
    Ok(process)
}

/// Makes outages until the soak is over, and leaves the resolver answering.
pub fn run(world: &World, mut resolver: Process) -> Result<Process> {
    let mut random = Random::new(world.measure.seed, "outages");
    while between(world, &mut random, Duration::from_secs(15)) {
        world.during(Fault::Outage, || {
            let time = Duration::from_millis(random.within(500..6000).into());
            if random.once_in(2) {
                resolver.signal(Signal::SIGSTOP)?;
                world.pause(time);
                resolver.signal(Signal::SIGCONT)?;
                world.tally().add("resolver silent", 1);
            } else {
                resolver.kill()?;
                world.pause(time);
                resolver = start(world)?;
                world.tally().add("resolver dead", 1);
            }
            Ok(())
        })?;
    }
    Ok(resolver)
}
