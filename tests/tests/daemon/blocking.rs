//! Nothing that the daemon reads, asks or is asked by holds its loop up.

use std::{
    fs,
    io::Read as _,
    net::{Ipv4Addr, TcpStream},
    os::unix::{fs::PermissionsExt as _, fs::symlink, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, MapData};
use intune_filter::{
    control::{Client, NamesTable, Reply, Request, SOCKET_NAME, Unexpected},
    kernel::Pins,
    report::{Changed, DaemonStatus, Origin},
};
use intune_filter_ebpf::abi::{Host, RuleMask, V4};
use intune_filter_tests::{
    filter::{FilterDaemon, PATIENCE},
    hung::Hung,
    namespace::run,
    site::{self, CONFIG, eventually},
    testbed::Testbed,
};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

/// Longest time of an answer by a daemon that nothing holds up, on a busy machine.
const SOON: Duration = Duration::from_secs(2);

/// Between two signs of life that systemd wants to see.
const WATCHDOG: Duration = Duration::from_secs(1);

fn testbed() -> Result<Testbed> {
    let mut testbed = Testbed::create(&site::setup())?;
    testbed.filter.set_variable("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    Ok(testbed)
}

fn ask<T>(filter: &FilterDaemon, request: &Request) -> Result<T>
where
    T: TryFrom<Reply, Error = Unexpected>,
{
    Client::connect(&filter.runtime_directory()).context("no daemon")?.ask(request, SOON)
}

fn status(filter: &FilterDaemon) -> Result<Box<DaemonStatus>> {
    ask(filter, &Request::Status {})
}

fn apply(filter: &FilterDaemon, text: &str) -> Result<Changed> {
    let (file, text) = ("/elsewhere.yaml".to_owned(), text.to_owned());
    ask(filter, &Request::Apply { file, text, confirm_s: None, dry_run: false })
}

fn signs(filter: &FilterDaemon) -> usize {
    filter.output().matches("WATCHDOG=1").count()
}

fn metrics(testbed: &Testbed) -> Result<String> {
    let mut curl = testbed.network.gateway.command("curl");
    run(curl.args(["--silent", "--show-error", "--max-time", "2", "127.0.0.1:9469/metrics"]))
}

/// Everything else is answered, and the loop gives signs of life.
fn expect_alive(testbed: &Testbed) -> Result<()> {
    let filter = &testbed.filter;
    let (begun, before) = (Instant::now(), signs(filter));
    status(filter)?;
    let _: NamesTable = ask(filter, &Request::Names {})?;
    ensure!(metrics(testbed)?.contains("policy_generation"), "no metrics");
    while signs(filter) < before + 2 {
        ensure!(begun.elapsed() < WATCHDOG * 2, "no signs of life");
        std::thread::yield_now();
    }
    Ok(())
}

/// Makes something at a path.
type Make<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// Puts something else in the place of the configuration file.
fn replace_config(filter: &FilterDaemon, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    fs::remove_file(filter.config())?;
    make(filter.config())
}

#[test]
fn only_a_regular_file_of_bounded_size_is_a_configuration() -> Result<()> {
    let mut testbed = testbed()?;
    testbed.filter.start()?;
    let large = |path: &Path| {
        fs::write(path, CONFIG)?;
        Ok(fs::File::options().write(true).open(path)?.set_len((16 << 20) + 1)?)
    };
    let kinds: [(&str, Make<'_>); 3] = [
        ("a FIFO, expected a regular file", &|path| Ok(mkfifo(path, Mode::S_IRWXU)?)),
        ("a device, expected a regular file", &|path| Ok(symlink("/dev/zero", path)?)),
        ("larger than 16 MiB", &large),
    ];
    for (error, make) in kinds {
        replace_config(&testbed.filter, make)?;
        testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
        testbed.filter.daemon()?.wait_for(error, PATIENCE)?;
        expect_alive(&testbed)?;
        for command in ["check", "apply"] {
            let output = testbed.filter.run(&[command])?;
            let text = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(3), "{command}: {}: {text}", output.status);
            ensure!(text.contains(error), "{command}: {text}");
        }
        // The same as a file of the site's catalogue.
        let catalogue = testbed.directory.path().join("catalogue");
        fs::create_dir(&catalogue)?;
        make(&catalogue.join("a.yaml"))?;
        let with_catalogue = format!("{CONFIG}paths: {{catalogue: {}}}\n", catalogue.display());
        let refused = apply(&testbed.filter, &with_catalogue).unwrap_err().to_string();
        ensure!(refused.contains(error) && refused.contains("paths.catalogue"), "{refused}");
        fs::remove_dir_all(&catalogue)?;
    }
    let changed = CONFIG.replace("tcp: [631]", "tcp: [631, 632]");
    replace_config(&testbed.filter, |path| Ok(fs::write(path, changed)?))?;
    testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    testbed.filter.daemon()?.wait_for("policy 2 is in force", PATIENCE)?;
    testbed.expect_verdicts()
}

#[test]
fn a_file_system_that_does_not_answer_holds_up_one_thread_and_nothing_else() -> Result<()> {
    let mut testbed = testbed()?;
    testbed.filter.start()?;
    let daemon = testbed.filter.daemon()?.id();
    let readers = || -> Result<usize> {
        let tasks: Vec<PathBuf> = fs::read_dir(format!("/proc/{daemon}/task"))?
            .map(|task| Ok(task?.path().join("comm")))
            .collect::<Result<_>>()?;
        // A thread may have ended since.
        let names = tasks.iter().filter_map(|task| fs::read_to_string(task).ok());
        Ok(names.filter(|name| name.trim_end() == "read").count())
    };
    let hung = Hung::file(testbed.filter.config())?;
    testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    eventually("the file is being read", || Ok(readers()? == 1))?;
    expect_alive(&testbed)?;
    let said = "its file system has not answered for 5 s";
    testbed.filter.daemon()?.wait_for(said, PATIENCE)?;

    testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    testbed.filter.daemon()?.wait_for("nothing is read before an earlier", PATIENCE)?;
    ensure!(readers()? == 1, "{} threads hang", readers()?);
    // What needs no file is applied all the same.
    apply(&testbed.filter, &CONFIG.replace("tcp: [631]", "tcp: [631, 632]"))?;
    expect_alive(&testbed)?;
    let output = testbed.filter.run(&["check"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3) && text.contains(said), "{}: {text}", output.status);

    drop(hung);
    eventually("the thread has ended", || Ok(readers()? == 0))?;
    testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    testbed.filter.daemon()?.wait_for("policy 3 is in force", PATIENCE)?;
    testbed.expect_verdicts()
}

/// The wait for a file to be mended does not block either.
#[test]
fn a_mended_file_that_does_not_answer_holds_nothing_up() -> Result<()> {
    let mut testbed = testbed()?;
    testbed.filter.start()?;
    testbed.filter.stop()?;
    testbed.filter.configure("interfaces: [")?;
    testbed.filter.start()?;
    let expect_last_good = |filter: &FilterDaemon| -> Result<()> {
        let origin = status(filter)?.configuration.origin;
        ensure!(origin == Origin::LastGood, "{origin:?}");
        Ok(())
    };
    expect_last_good(&testbed.filter)?;

    let hung = Hung::file(testbed.filter.config())?;
    // Looks like a change, and opens nothing.
    fs::set_permissions(testbed.filter.config(), fs::Permissions::from_mode(0o640))?;
    let said = "its file system has not answered for 5 s";
    let begun = Instant::now();
    while !testbed.filter.output().contains(said) {
        ensure!(begun.elapsed() < PATIENCE, "the file is not being read");
        expect_alive(&testbed)?;
    }
    expect_last_good(&testbed.filter)?;
    testbed.expect_verdicts()?;

    drop(hung);
    testbed.filter.configure(CONFIG)?;
    let is_file = || Ok(status(&testbed.filter)?.configuration.origin == Origin::File);
    eventually("the file is in force", is_file)
}

#[test]
fn clients_that_do_not_read_or_speak_hold_nobody_up() -> Result<()> {
    let mut testbed = testbed()?;
    testbed.filter.start()?;
    let socket = testbed.filter.runtime_directory().join(SOCKET_NAME);
    let silent = (0..30).map(|_| UnixStream::connect(&socket)).collect::<Result<Vec<_>, _>>()?;
    let deaf = (0..30)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket)?;
            std::io::Write::write_all(&mut stream, b"{\"version\": 1, \"command\": \"names\"}\n")?;
            Ok(stream)
        })
        .collect::<Result<Vec<_>>>()?;
    expect_alive(&testbed)?;
    drop((silent, deaf));

    let connect = || testbed.network.gateway.run(|| TcpStream::connect("127.0.0.1:9469"));
    let slow = (0..15).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    expect_alive(&testbed)?;
    // They are let go of when their time is over.
    let begun = Instant::now();
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let _ = stream.read(&mut [0; 64])?;
    }
    let passed = begun.elapsed();
    ensure!(passed < Duration::from_secs(8), "they could stay for {passed:?}");
    Ok(())
}

/// No other thread speaks for a loop that is held up.
#[test]
fn signs_of_life_come_from_the_loop_alone() -> Result<()> {
    let mut testbed = testbed()?;
    let [tools, hang, begun] = ["tools", "hang", "begun"].map(|n| testbed.directory.path().join(n));
    fs::create_dir(&tools)?;
    // Nft is asked by the loop, for as long as it may take.
    let script = format!(
        "#!/bin/sh\nif [ -e {} ]; then touch {}; exec sleep 1000; fi\nexec /usr/sbin/nft \"$@\"\n",
        hang.display(),
        begun.display()
    );
    fs::write(tools.join("nft"), script)?;
    fs::set_permissions(tools.join("nft"), fs::Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH")?;
    testbed.filter.set_variable("PATH", format!("{}:{path}", tools.display()));
    testbed.filter.configure(&format!("{CONFIG}boot: closed\n"))?;
    testbed.filter.start()?;
    expect_alive(&testbed)?;

    fs::write(&hang, "")?;
    testbed.filter.configure(CONFIG)?;
    testbed.filter.daemon()?.signal(Signal::SIGHUP)?;
    eventually("nft is asked", || Ok(begun.exists()))?;
    let before = signs(&testbed.filter);
    testbed.filter.daemon()?.wait_for("it has not ended for 5 s", PATIENCE)?;
    let meanwhile = signs(&testbed.filter) - before;
    // Ten would have been due.
    ensure!(meanwhile <= 1, "{meanwhile} signs of life from a loop that stood still");
    fs::remove_file(&hang)?;
    eventually("the loop goes round again", || Ok(expect_alive(&testbed).is_ok()))
}

#[test]
fn large_tables_are_walked_through_beside_the_loop() -> Result<()> {
    let mut testbed = testbed()?;
    testbed.filter.start()?;
    let pins = Pins::open(&testbed.filter.pins())?.context("nothing is pinned")?;
    let mut hosts: HashMap<MapData, V4, Host> = pins.map("HOSTS4")?;
    for number in 0..10_000_u32 {
        let address = Ipv4Addr::from(0x1500_0000 + number);
        hosts.insert(
            V4::from(address),
            Host { rules: RuleMask::of(0), expires: u64::MAX / 2, ..Host::default() },
            0,
        )?;
    }
    expect_alive(&testbed)?;
    eventually("the table is told of", || {
        Ok(metrics(&testbed)?.contains("map_entries{map=\"HOSTS4\"} 10000"))
    })?;
    expect_alive(&testbed)
}
