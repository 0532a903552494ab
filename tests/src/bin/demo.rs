//! The demo: the whole catalogue, probed through a gateway in network namespaces.

use std::{
    fs,
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

use anyhow::{Context as _, Result};
use clap::Parser;
use intune_filter_tests::{
    demo::{
        plan::{FOREIGN_PORT, Plan},
        report::Report,
        run::Runner,
        services::services,
    },
    directory::{self, Directory},
    filter::Filter,
    listeners::Listeners,
    namespace::{NAMES, Namespace},
    network::{CLIENT, Network, WAN},
    probe::Transport,
    records::Records,
    resolver::{Kind, Resolver},
    responder::Responder,
    xdp::PassAll,
};
use nix::sys::signal::{SigSet, Signal};

/// Runs the filter on a gateway in network namespaces, and probes every service of the catalogue
/// as a client would. Touches nothing outside the namespaces.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask demo")]
struct Options {
    /// Which resolver the client asks
    #[arg(long, value_enum, default_value_t)]
    resolver: Kind,
    /// Leave everything running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// The filter's configuration
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo.yaml"))]
    config: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match demo(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything came as expected.
fn demo(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let say = |text: &str| {
        if !options.json {
            println!("{text}");
        }
    };
    let config = fs::read_to_string(&options.config)
        .with_context(|| format!("cannot read {}", options.config.display()))?;

    let directory = Directory::create()?;
    let interrupt = Interrupt::watch(&directory)?;
    say("Making a client, a gateway and an internet: three network namespaces ...");
    let network = Network::create(directory.label())?;
    let _answering = PassAll::attach(&network.client, WAN)?;
    let mut filter = Filter::new(&network.gateway, &directory, &config)?;
    let services = services(&filter.json(&["endpoints", "list"])?)?;
    let mut records = Records::default();
    let plan = Plan::new(&services, &mut records);
    let _resolver = Resolver::start(options.resolver, &network, &directory, &records)?;
    let _responder = Responder::start(&network.internet)?;
    let [tcp, udp] = [Transport::Tcp, Transport::Udp].map(|transport| plan.ports(transport));
    let _internet = Listeners::start(&network.internet, tcp, udp)?;
    let _gateway = Listeners::start(&network.gateway, [FOREIGN_PORT], [])?;
    say(&format!("Starting intune-filter on the gateway with {} ...", options.config.display()));
    filter.start()?;
    say(&format!(
        "Probing {} services as a client does, resolving with {} ...\n",
        services.len(),
        options.resolver,
    ));
    let runner =
        Runner { network: &network, filter: &filter, resolver: options.resolver.addresses()[0] };
    let findings = runner.run(&plan)?;

    let report = Report::new(&services, findings, options.resolver, began.elapsed());
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    if options.keep {
        say(&look_around(&network, &filter, options.resolver)?);
        interrupt.wait()?;
    }
    Ok(report.is_clean())
}

/// Commands to look around with.
fn look_around(network: &Network, filter: &Filter<'_>, resolver: Kind) -> Result<String> {
    let on = |namespace: &Namespace, command: &str| {
        format!("nsenter --net={NAMES}/{} {command}", namespace.name())
    };
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

/// Takes the laboratory down when the user interrupts: a process that is killed drops nothing.
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
