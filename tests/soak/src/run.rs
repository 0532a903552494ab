//! The soak from its beginning to its end: everything at once, then calm, then nothing, and what is
//! left is looked at.

use std::{
    panic::resume_unwind,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    faults::{self, link, outage},
    leaks,
    ledger::{Ear, Side},
    model::ModelPolicy,
    objects::objects,
    report::{KILLS, RELOADS, STOPS},
    rest::{drained, left, map_entries},
    site,
    slope::{Slope, smoothed},
    sockets::{self, Echo},
    timeline::Fault,
    traffic::Sender,
    watch::{Measured, memory, watch},
    world::{Measure, World, lock},
};
use intune_filter_tests::random::Random;
use intune_filter_tests::{
    directory::Directory,
    filter::FilterDaemon,
    listeners::Listeners,
    network::{Network, WAN},
    process::Process,
    resolver::BEYOND,
    responder::Responder,
    xdp::PassAll,
};

/// Growth of the daemon's memory that counts as a leak, in octets a minute: its lower bound, with
/// 99 % certainty. A page a minute.
const LEAK: f64 = 4096.0;

/// Runs the soak; prints what it finds, and returns how many checks have passed and failed.
pub fn run(measure: Measure) -> Result<(u32, u32)> {
    let mut soak = Soak::prepare(measure)?;
    let report = soak.go()?;
    Ok(report)
}

/// Everything that runs.
struct Soak {
    // Dropped in this order: what hears and answers before the namespaces.
    ears: Vec<Ear>,
    _echo: Echo,
    _listeners: Listeners,
    _responder: Responder,
    resolver: Option<Process>,
    answering: Option<PassAll>,
    world: World,
}

impl Soak {
    fn prepare(measure: Measure) -> Result<Self> {
        let directory = Arc::new(Directory::create()?);
        let network = Network::create(directory.label())?;
        link::address_once(&network)?;
        network.internet.ip(&BEYOND.map(|address| format!("address add {address} dev lo")))?;
        let mut random = Random::new(measure.seed, "first configuration");
        let config = site::configuration(&mut random, measure.sizes);
        let filter =
            FilterDaemon::new(Arc::clone(&network.gateway), Arc::clone(&directory), &config)?;
        let macs = [network.lan_address()?, network.gateway_address(WAN)?];
        let answering = Some(PassAll::attach(&network.client, WAN)?);
        let world = World::new(measure, network, directory, filter, macs);
        let internet = &world.network.internet;
        let ears = vec![
            Ear::open(internet, &world.ledger, Side::Server)?,
            Ear::open(&world.network.client, &world.ledger, Side::Client)?,
        ];
        let tcp = site::PORTS.into_iter().filter(|port| *port != sockets::ECHO);
        let soak = Self {
            ears,
            _echo: Echo::start(internet)?,
            _listeners: Listeners::start(internet, tcp, [faults::pressure::ECHOED])?,
            _responder: Responder::in_internet(internet)?,
            resolver: Some(outage::start(&world)?),
            answering,
            world,
        };
        let policy = Arc::new(ModelPolicy::read(&config)?);
        soak.world.begin(&policy);
        faults::daemon::start(&soak.world)?;
        Ok(soak)
    }

    fn go(&mut self) -> Result<(u32, u32)> {
        let world = &self.world;
        let Measure { duration, seed, pace, .. } = world.measure;
        println!(
            "seed {seed}: {duration:?}, everything at once, half of it without ends of the daemon"
        );
        let answering = self.answering.take().context("the clients' program is there")?;
        let resolver = self.resolver.take().context("the resolver runs")?;
        let mean = Duration::from_secs(if pace > 200 { 12 } else { 40 });
        let begun = Instant::now();
        let (measured, answering, resolver) = thread::scope(|scope| -> Result<_> {
            let threads: Vec<_> = tasks(world)
                .into_iter()
                .map(|(name, run)| {
                    let guarded = || {
                        // The others must not wait for what will not come.
                        run().inspect_err(|_| world.end())
                    };
                    (name, scope.spawn(guarded))
                })
                .collect();
            let breaking = scope
                .spawn(|| link::run_faults(world, answering, mean).inspect_err(|_| world.end()));
            let remembering = scope.spawn(|| memory(world, begun).inspect_err(|_| world.end()));
            let failing = scope.spawn(|| outage::run(world, resolver).inspect_err(|_| world.end()));

            let measured = watch(world, begun);
            world.end();
            for (name, thread) in threads {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic)).context(name)?;
            }
            let join = "a fault of the link, or the resolver";
            let answering =
                breaking.join().unwrap_or_else(|panic| resume_unwind(panic)).context(join)?;
            let resolver =
                failing.join().unwrap_or_else(|panic| resume_unwind(panic)).context(join)?;
            let join = "memory";
            let memory =
                remembering.join().unwrap_or_else(|panic| resume_unwind(panic)).context(join)?;
            Ok((Measured { memory, ..measured? }, answering, resolver))
        })?;
        (self.answering, self.resolver) = (Some(answering), Some(resolver));
        println!("the traffic has ended after {:.0?}; what is left?", begun.elapsed());
        self.look_at_the_rest(measured)
    }

    /// Looks at the remains when nothing happens any more, and when the filter is gone.
    fn look_at_the_rest(&self, mut measured: Measured) -> Result<(u32, u32)> {
        let world = &self.world;
        let unheard = self.ears.iter().map(Ear::unheard).sum::<Result<u32>>()?;
        let late = world.ledger.late();
        for packet in &late {
            world.tally().wrong(packet.to_string());
        }
        let rests = drained(world, &measured.before)?;
        for (check, what) in rests {
            world.tally().fail(check, what);
        }
        let maps = map_entries(world)?;
        let slope = smoothed(&measured.memory);
        // Two minutes are too short for anything to be told of memory: what is bounded is filled yet.
        if world.measure.duration > Duration::from_secs(180) {
            match slope {
                None => world.tally().fail("memory", "was not measured".to_owned()),
                Some(slope) if slope.lower * 60.0 > LEAK => {
                    world.tally().fail("memory", format!("{slope:?} octets a second"));
                }
                Some(_) => {}
            }
        }
        if measured.before.looks() > 0 && measured.before.most().inner_maps == 0 {
            world.tally().fail("kernel objects", "no maps of policies were found".to_owned());
        }
        let process = lock(&world.filter).daemon()?.id();
        let resident = leaks::resident(process)?;
        let pins = lock(&world.filter).pins();
        measured.seen.add(objects(&pins, process)?);
        {
            let mut filter = lock(&world.filter);
            filter.stop()?;
            filter.succeed(&["detach"])?;
        }
        let left = left(&measured.seen)?;
        for object in &left {
            world.tally().fail("kernel objects", format!("{object} is left after detach"));
        }
        let tables = leaks::tables(world)?;
        if !tables.is_empty() {
            world.tally().fail("nftables", format!("{tables:?} after detach"));
        }
        if pins.exists() {
            world.tally().fail("pins", format!("{} is there after detach", pins.display()));
        }
        print_rest(&measured, slope, resident, &maps);
        Ok(conclude(world, unheard))
    }
}

type Task<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;

/// Tasks that run at once, beside the faults that hold something.
fn tasks(world: &World) -> Vec<(&'static str, Task<'_>)> {
    let mut tasks: Vec<(&'static str, Task<'_>)> = vec![
        ("open connections", Box::new(|| sockets::keep(world))),
        ("reloads", Box::new(|| faults::reload::run(world))),
        ("daemons", Box::new(|| faults::daemon::run(world))),
        ("pressure", Box::new(|| faults::pressure::run(world))),
    ];
    for number in 0..2 {
        tasks.push(("packets", Box::new(move || Sender::new(world, number)?.run())));
        tasks.push(("programs", Box::new(move || sockets::run(world, number))));
    }
    if world.measure.clock_steps {
        tasks.push(("clock", Box::new(|| faults::clock::run(world))));
    }
    tasks
}

fn print_rest(
    measured: &Measured,
    slope: Option<Slope>,
    resident: u64,
    maps: &[(String, u64, u64)],
) {
    let Measured { seen, memory, before } = measured;
    println!(
        "\nthe daemon: {} KiB resident at the end, {} measurements; growth in KiB an hour: {}",
        resident / 1024,
        memory.len(),
        slope.map_or("too few".to_owned(), |slope| {
            let hourly = |octets: f64| octets * 3600.0 / 1024.0;
            format!(
                "{:.1} (99 % certain: {:.1} to {:.1})",
                hourly(slope.median),
                hourly(slope.lower),
                hourly(slope.upper)
            )
        })
    );
    let held = before.most();
    println!(
        "held at most, of {} looks: {} descriptors, {} pins, {} files, {} maps of policies, threads \
         {:?}",
        before.looks(),
        held.descriptors.values().sum::<usize>(),
        held.pins.len(),
        held.files.len(),
        held.inner_maps,
        held.threads
    );
    println!(
        "seen in the kernel over the time: {} programs, {} maps, {} maps of policies, {} links",
        seen.programs.len(),
        seen.maps.len(),
        seen.inner.len(),
        seen.links.len()
    );
    for (name, entries, capacity) in maps {
        println!("  {name:<16} {entries:>8} of {capacity}");
    }
}

/// Prints the figures and a line for each check.
fn conclude(world: &World, unheard: u32) -> (u32, u32) {
    let tally = world.tally();
    println!("\n{tally}");
    let at_least = |figure: u64| u64::from(figure == 0);
    let short = world.measure.duration < Duration::from_secs(90);
    let checks = [
        ("no_packet_had_a_wrong_verdict", tally.wrong_verdicts() as u64),
        ("packets_were_judged", at_least(tally.judged())),
        ("every_packet_that_arrived_was_heard", unheard.into()),
        ("no_first_packet_was_lost", tally.failures("first packets") as u64),
        ("open_connections_stayed_open", tally.failures("open connections") as u64),
        ("names_were_answered_or_refused_as_the_policy_says", tally.failures("resolution") as u64),
        (
            "configurations_were_taken_over_or_refused",
            tally.failures("reloads") as u64 + at_least(tally.figure(RELOADS)),
        ),
        ("daemons_were_ended", at_least(tally.figure(KILLS) + tally.figure(STOPS))),
        ("links_were_broken", at_least(tally.faults(Fault::Link))),
        ("resolvers_were_silent", if short { 0 } else { at_least(tally.faults(Fault::Outage)) }),
        ("memory_does_not_grow", tally.failures("memory") as u64),
        ("descriptors_do_not_grow", tally.failures("descriptors") as u64),
        ("threads_do_not_grow", tally.failures("threads") as u64),
        ("no_dead_process_is_left", tally.failures("zombies") as u64),
        ("pins_do_not_grow_and_go", tally.failures("pins") as u64),
        ("objects_in_the_kernel_do_not_grow_and_go", tally.failures("kernel objects") as u64),
        ("map_entries_go_or_keep_to_their_room", tally.failures("map entries") as u64),
        ("files_do_not_grow", tally.failures("files") as u64),
        ("tables_of_nftables_go", tally.failures("nftables") as u64),
    ];
    let (mut passed, mut failed) = (0, 0);
    for (check, failures) in checks {
        println!("test {check} ... {}", if failures == 0 { "ok" } else { "FAILED" });
        if failures == 0 { passed += 1 } else { failed += 1 }
    }
    (passed, failed)
}

/// Fails if there is nothing to be done.
pub fn checked(minutes: f64) -> Result<Duration> {
    ensure!(minutes > 0.0 && minutes < 100_000.0, "{minutes} minutes are no time for a soak");
    Ok(Duration::from_secs_f64(minutes * 60.0))
}
