//! The demo: the whole catalogue, probed through a gateway in network namespaces.

use std::{
    path::PathBuf,
    process::{self, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use intune_filter_demo::{self as demo, Demo, report::Report, run::Runner};
use intune_filter_tests::{
    directory::{self, Directory},
    namespace::{NAMES, Namespace},
    network::{CLIENT, LAN},
    resolver::Kind,
    testbed::Testbed,
};
use nix::sys::signal::{SigSet, Signal};

/// Runs the filter on a gateway in network namespaces, and probes every service of the catalogue
/// as a client would. Touches nothing outside the namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
struct Options {
    /// Resolver that the client asks
    #[arg(long, value_enum, default_value_t)]
    resolver: Kind,
    /// Leave everything running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// The filter's configuration [default: config/demo.yaml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every result was the expected one.
fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let say = |text: &str| {
        if !options.json {
            println!("{text}");
        }
    };
    let config = options.config.clone().unwrap_or_else(demo::config);
    let directory = Arc::new(Directory::create()?);
    let interrupt = Interrupt::watch(&directory)?;
    let Demo { services, plan, setup } = Demo::new(&config, options.resolver)?;
    let [client, _] = CLIENT;
    say(&format!(
        "client {client} ----> {LAN} gateway ----> internet\n\
         \x20                  intune-filter\n\n\
         Making three network namespaces, a resolver ({}) and listeners ...",
        options.resolver,
    ));
    let mut testbed = Testbed::create_in(directory, &setup)?;
    say(&format!("Starting intune-filter on the gateway with {} ...", config.display()));
    testbed.filter.start()?;
    say(&format!("Probing {} services as a client does ...\n", services.len()));
    let findings = Runner::new(&testbed).run(&plan)?;
    let daemon = testbed.filter.daemon()?;
    ensure!(daemon.is_running()?, "the daemon has ended:\n{}", daemon.output());

    let report = Report::new(&services, findings, options.resolver, began.elapsed());
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    if options.keep {
        say(&look_around(&testbed, options.resolver)?);
        interrupt.wait()?;
    }
    Ok(report.is_clean())
}

/// Commands to look around with.
fn look_around(testbed: &Testbed, resolver: Kind) -> Result<String> {
    let on = |namespace: &Namespace, command: &str| {
        format!("nsenter --net={NAMES}/{} {command}", namespace.name())
    };
    let Testbed { network, filter, .. } = testbed;
    let [client, _] = CLIENT;
    let [server, _] = resolver.addresses();
    let name = "manage.microsoft.com";
    let lines = [
        on(&network.client, &format!("dig @{server} {name}")),
        on(&network.client, &format!("dig @{server} www.example.org")),
        on(&network.client, "curl --http0.9 --max-time 2 http://13.67.13.176/"),
        on(&network.client, "curl --http0.9 --max-time 2 http://192.0.2.80/"),
        filter.command_line(&["status"])?,
        filter.command_line(&["services"])?,
        filter.command_line(&["names"])?,
        filter.command_line(&["explain", &client.to_string(), &format!("{name}:443")])?,
        filter.command_line(&["match", name])?,
    ];
    Ok(format!(
        "\nEverything is left running. In another terminal, as root:\n\n  {}\n\n\
         Ctrl-C takes it down.",
        lines.join("\n  "),
    ))
}

/// Takes the testbed down when the user interrupts: a process that is killed drops nothing.
struct Interrupt {
    awaited: Arc<AtomicBool>,
    came: Receiver<()>,
}

impl Interrupt {
    fn watch(directory: &Directory) -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        // Before any other thread starts, which inherits it.
        signals.thread_block()?;
        let awaited = Arc::new(AtomicBool::new(false));
        let (tell, came) = mpsc::channel();
        let (is_awaited, label) = (Arc::clone(&awaited), directory.label().to_owned());
        thread::spawn(move || {
            if signals.wait().is_ok() && !is_awaited.load(Ordering::Acquire) {
                directory::clear(&label);
                process::exit(130);
            }
            // The main thread waits, and takes down what it has made.
            let _ = tell.send(());
        });
        Ok(Self { awaited, came })
    }

    fn wait(&self) -> Result<()> {
        self.awaited.store(true, Ordering::Release);
        self.came.recv().context("cannot wait for signals")
    }
}
