//! `explain --pcap`: a capture is followed as the filter would have judged it, by a process that can do
//! nothing else, and whatever is wrong with the file is told with its place.

use std::{
    fs,
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use intune_filter_tests::{
    capture::{Captured, ETHERNET, RAW, SLL, SLL2, linked, pcap, pcapng},
    cargo::binary,
    directory::Directory,
    prog_test_run::{Datagram, Flags, Message},
    random::Random,
    site::CONFIG,
};
use serde_json::Value;

const CLIENT: &str = "10.20.0.10";
const RESOLVER: &str = "203.0.113.53";
const LISTED: (&str, &str) = ("www.web.test", "198.18.0.9");
const UNLISTED: (&str, &str) = ("www.unlisted.test", "198.18.0.77");
const PRINTER: &str = "192.0.2.5";

/// Mutated captures that are given to the command; each is a process, and a child of it.
const MUTATIONS: u32 = 12;

fn address(text: &str) -> IpAddr {
    text.parse().expect("a constant")
}

/// A client's morning: frames and whether the gateway sends them.
fn frames() -> Vec<(Vec<u8>, bool)> {
    let (client, resolver) = (address(CLIENT), address(RESOLVER));
    let mut frames = Vec::new();
    let mut resolve = |id: u16, (name, found): (&str, &str)| {
        let query = Message::query(id, name, 1);
        let answer = query.answered().address(&[0xc0, 12], 300, address(found));
        let ports = [40_000 + id, 53];
        frames.push((
            Datagram::new(client, resolver).udp(ports[0], 53, query.octets()).frame(),
            false,
        ));
        frames.push((
            Datagram::new(resolver, client).udp(53, ports[0], answer.octets()).frame(),
            true,
        ));
    };
    resolve(1, LISTED);
    resolve(2, UNLISTED);
    let mut connect = |to: &str, port: u16, from: u16| {
        let to = address(to);
        let frame =
            |a, b, ports, flags| Datagram::new(a, b).segment(ports, flags, [1, 1], b"").frame();
        frames.push((frame(client, to, [from, port], Flags::SYN), false));
        frames.push((frame(to, client, [port, from], Flags::SYN_ACK), true));
        frames.push((frame(client, to, [from, port], Flags::ACK), false));
    };
    connect(LISTED.1, 443, 50_001);
    connect(LISTED.1, 22, 50_002);
    connect(UNLISTED.1, 443, 50_003);
    connect(PRINTER, 631, 50_004);
    // Nobody has asked for it, and it goes to no client.
    frames.push((
        Datagram::new(address("192.0.2.9"), client).tcp(80, 50_005, Flags::SYN).frame(),
        true,
    ));
    frames
        .push((Datagram::new(resolver, address("192.0.2.9")).tcp(1, 2, Flags::SYN).frame(), false));
    frames
}

fn packets(link: u16) -> Vec<Captured> {
    let frames = frames().into_iter().zip(1_700_000_000_000_000_u64..);
    frames.map(|((frame, outgoing), at)| (at, linked(link, &frame, outgoing))).collect()
}

struct Bench {
    directory: Directory,
}

impl Bench {
    fn new(config: &str) -> Result<Self> {
        let directory = Directory::create()?;
        directory.write("config.yaml", config)?;
        Ok(Self { directory })
    }

    fn command(&self, file: &str) -> Result<Command> {
        let path = self.directory.path();
        let mut command = Command::new(binary()?);
        command
            .arg("--config")
            .arg(path.join("config.yaml"))
            .arg("--pin-dir")
            .arg(path.join("none"));
        command.args(["--json", "explain", "--pcap", file]).current_dir(path);
        Ok(command)
    }

    fn run(&self, capture: &[u8]) -> Result<Output> {
        fs::write(self.directory.path().join("capture"), capture)?;
        self.command("capture")?.output().context("cannot run the command")
    }

    fn explained(&self, capture: &[u8]) -> Result<Value> {
        let output = self.run(capture)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(matches!(output.status.code(), Some(0 | 4)), "{output:?}");
        serde_json::from_str(&text).context(text)
    }
}

/// Rows as verdict, destination, port, reason and number of packets.
fn rows(told: &Value) -> Vec<String> {
    let row = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        let other = if row["name"].is_null() { text("address") } else { text("name") };
        let arrow = if row["to_client"] == true { "from " } else { "" };
        format!(
            "{} {arrow}{other} {} {} {}",
            text("verdict"),
            row["port"],
            text("reason"),
            row["packets"]
        )
    };
    let mut rows: Vec<String> = told["traffic"].as_array().into_iter().flatten().map(row).collect();
    rows.sort();
    rows
}

#[test]
fn a_capture_is_judged_alike_whatever_its_form() -> Result<()> {
    let bench = Bench::new(CONFIG)?;
    let expected = [
        "allow 192.0.2.5 631 policy 2",
        "allow www.web.test 443 policy 2",
        "allow www.web.test 53 dns_query 1",
        "deny from 192.0.2.9 50005 unsolicited 1",
        "deny www.unlisted.test 443 destination 2",
        "deny www.unlisted.test 53 dns_unlisted 1",
        "deny www.web.test 22 port 2",
    ];
    for link in [ETHERNET, RAW, SLL, SLL2] {
        let packets = packets(link);
        for capture in
            [pcap(link, &packets, false), pcap(link, &packets, true), pcapng(link, &packets)]
        {
            let told = bench.explained(&capture)?;
            ensure!(rows(&told) == expected, "link type {link}: {:#?}", rows(&told));
            ensure!(told["packets"] == 18 && told["outside"] == 1, "{told:#}");
            ensure!(
                told["judged"] == "file" && told["traffic"][0]["group"] == "devices",
                "{told:#}"
            );
        }
    }
    // Under another configuration the same packets have other verdicts.
    let audited = CONFIG.replace("    services: [web", "    mode: audit\n    services: [web");
    let told = Bench::new(&audited)?.explained(&pcap(ETHERNET, &packets(ETHERNET), false))?;
    let (totals, first) = (&told["totals"], &told["traffic"][0]);
    ensure!(totals["denied"] == 0 && totals["audited"].as_u64() >= Some(6), "{told:#}");
    ensure!(first["audited"] == true && first["policy_verdict"] == "deny", "{told:#}");
    Ok(())
}

#[test]
fn the_clock_is_the_captures() -> Result<()> {
    let bench = Bench::new(CONFIG)?;
    let mut packets = packets(ETHERNET);
    // The address expires after 300 and 30 seconds; a connection goes on, another one is too late.
    let late = packets.get(4).context("the SYN")?.1.clone();
    let again = packets.get(6).context("the ACK")?.1.clone();
    packets.push((1_700_000_400_000_000, again));
    let mut other = late;
    other[34..36].copy_from_slice(&50_009_u16.to_be_bytes());
    packets.push((1_700_000_401_000_000, other));
    let told = bench.explained(&pcapng(ETHERNET, &packets))?;
    let found = rows(&told);
    ensure!(found.contains(&"allow www.web.test 443 policy 3".to_owned()), "{found:#?}");
    ensure!(found.contains(&"deny www.web.test 443 expired 1".to_owned()), "{found:#?}");
    ensure!(told["duration_ms"] == 401_000, "{told:#}");
    Ok(())
}

/// Lines of `/proc/PID/status`.
fn status(process: u32) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{process}/status"))?)
}

fn child_of(command: &Child) -> Result<u32> {
    let path = format!("/proc/{0}/task/{0}/children", command.id());
    loop {
        let text = fs::read_to_string(&path)?;
        let child: Option<u32> =
            text.split_whitespace().next().and_then(|child| child.parse().ok());
        if let Some(child) = child
            && status(child)?.contains("\nSeccomp:\t2\n")
        {
            return Ok(child);
        }
        ensure!(Path::new(&format!("/proc/{}", command.id())).exists(), "the command has ended");
        std::thread::yield_now();
    }
}

#[test]
fn the_reader_has_no_privilege_and_no_file() -> Result<()> {
    let bench = Bench::new(CONFIG)?;
    let mut command = bench.command("-")?;
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = process.stdin.take().context("a pipe")?;
    let capture = pcap(ETHERNET, &packets(ETHERNET), false);
    let (first, rest) = capture.split_at(100);
    input.write_all(first)?;
    let child = child_of(&process)?;
    let told = status(child)?;
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        "Gid:\t65534\t65534\t65534\t65534",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        ensure!(told.contains(&format!("{line}\n")), "{line}: {told}");
    }
    ensure!(told.contains("\nGroups:\t \n") || told.contains("\nGroups:\t\n"), "{told}");
    let files = fs::read_dir(format!("/proc/{child}/fd"))?.map(|file| fs::read_link(file?.path()));
    let files = files.collect::<std::io::Result<Vec<_>>>()?;
    ensure!(files.len() == 2, "{files:?}");
    ensure!(files.iter().all(|file| file.to_string_lossy().starts_with("pipe:")), "{files:?}");
    input.write_all(rest)?;
    drop(input);
    let output = process.wait_with_output()?;
    ensure!(output.status.code() == Some(4), "{output:?}");
    Ok(())
}

#[test]
fn what_is_wrong_with_a_capture_is_told_with_its_place() -> Result<()> {
    let bench = Bench::new(CONFIG)?;
    let packets = packets(ETHERNET);
    let whole = pcap(ETHERNET, &packets, false);
    let next = pcapng(ETHERNET, &packets);
    let end = whole.len() - packets.last().context("a packet")?.1.len() - 16;
    let mut long = whole.clone();
    long[32..36].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let mut foreign = next.clone();
    foreign[48 + 8..48 + 12].copy_from_slice(&7_u32.to_le_bytes());
    for (capture, offset, message) in [
        (Vec::new(), 0, "is empty"),
        (b"no capture at all, whatever its name may say".to_vec(), 0, "expected pcap or pcapng"),
        (whole[..whole.len() - 1].to_vec(), end, "ends within a record"),
        (whole[..30].to_vec(), 24, "ends within a record"),
        (long, 24, "longer than any packet"),
        (pcap(147, &packets, false), 24, "link type 147"),
        (foreign, 48, "does not describe"),
        (next[..next.len() - 3].to_vec(), 0, "ends within a record"),
    ] {
        let output = bench.run(&capture)?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{message}: {output:?}");
        ensure!(error.contains(message) && error.contains("capture: "), "{message}: {error}");
        ensure!(
            offset == 0 || error.contains(&format!("at octet {offset}: ")),
            "{offset}: {error}"
        );
    }
    // Longer than is read, without the room for it.
    let file = fs::File::create(bench.directory.path().join("capture"))?;
    file.set_len((1 << 30) + 1)?;
    let output = bench.command("capture")?.output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && error.contains("longer than 1 GiB"), "{error}");
    Ok(())
}

#[test]
fn mutated_captures_end_in_verdicts_or_an_error() -> Result<()> {
    let bench = Bench::new(CONFIG)?;
    let mut random = Random::new(18, "captures");
    let (mut read, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let link = *random.pick(&[ETHERNET, RAW, SLL, SLL2]);
        let packets = packets(link);
        let mut capture =
            if random.once_in(2) { pcapng(link, &packets) } else { pcap(link, &packets, false) };
        for _ in 0..random.within(1..12) {
            let at = random.within(0..capture.len() as u32) as usize;
            capture[at] = random.next() as u8;
        }
        let output = bench.run(&capture)?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0 | 4) => read += 1,
            Some(1) if error.contains("at octet ") => refused += 1,
            _ => anyhow::bail!("round {round}: {output:?}"),
        }
    }
    println!("{read} mutated captures were read, {refused} refused");
    ensure!(read > 0 && refused > 0, "{read} read, {refused} refused");
    Ok(())
}
