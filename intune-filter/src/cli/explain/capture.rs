//! Implements `explain --pcap FILE`: sums up what a policy makes of the packets of a capture.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    net::IpAddr,
    path::Path,
};

use anyhow::Context as _;
use intune_filter_ebpf::abi::{Reason, RuleMask};

use super::{packet::query, verdicts::simulation_of};
use crate::{
    capture::{CaptureError, Follower, follow, in_confinement, too_large},
    cli::{
        args::Global,
        context,
        error::{ExitStatus, Failure},
        output, subject,
        subject::Subject,
    },
    names::{Names, answer::Reader, is_target, resolution::Kind},
    report::{CaptureExplained, CapturedTraffic, CapturedVerdicts, Judged, SCHEMA},
    simulation::Simulation,
    system::route,
};

/// Octets of a capture at most.
const LONGEST: u64 = 1 << 30;

/// Routes of each address family at most that a capture is followed by.
const ROUTES: usize = 4096;

/// Rows in the text.
const SHOWN: usize = 20;

/// Runs the command.
pub(in crate::cli) fn run(
    global: &Global,
    file: &Path,
    on: Option<&str>,
    strict: bool,
) -> Result<(ExitStatus, String), Failure> {
    let mut source = open(file)?;
    let subject = subject::find(global)?;
    let names = context::names(&subject.paths);
    let mut notes = subject.notes.clone();
    let simulation = simulation(&subject, &names, &mut notes)?;
    if let Some(on) = on
        && !simulation.zones.iter().any(|zone| on == zone.place() || on == zone.interface)
    {
        return Err(anyhow::anyhow!("no zone is on {on}").into());
    }
    let known = names.iter().filter(|(_, address, _)| !is_target(*address));
    let known: Vec<(IpAddr, String)> =
        known.map(|(name, address, _)| (address, name.to_owned())).collect();
    let follower = Follower::new(simulation, known.into_iter(), on.map(str::to_owned));
    let outcome: Result<CapturedVerdicts, CaptureError> =
        in_confinement(&mut source, LONGEST, move |source| follow(follower, source))?;
    let file = file.display();
    let verdicts = outcome.map_err(|error| anyhow::Error::new(error).context(format!("{file}")))?;
    if let Some(row) = verdicts.traffic.iter().find(|row| !is_sound(row)) {
        log::debug!("{row:?}");
        return Err(anyhow::anyhow!("the reader of the capture makes no sense").into());
    }
    let explained = CaptureExplained {
        schema: SCHEMA,
        judged: subject.judged,
        edition: subject.catalogue().edition().name.clone(),
        notes,
        verdicts,
    };
    let totals = &explained.verdicts.totals;
    let denied = totals.denied > 0 || strict && totals.audited > 0;
    let text = if global.json { output::json(&explained)? } else { text(&explained) };
    Ok((if denied { ExitStatus::No } else { ExitStatus::Yes }, text))
}

/// Opens a capture; `-` is the standard input.
fn open(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let metadata = opened.metadata().with_context(|| format!("cannot read {}", file.display()))?;
    if metadata.is_file() && metadata.len() > LONGEST {
        let error = anyhow::Error::new(too_large(LONGEST));
        return Err(error.context(file.display().to_string()).into());
    }
    Ok(Box::new(opened))
}

/// Whether a row has words that this program knows, and no letters that a terminal obeys.
fn is_sound(row: &CapturedTraffic) -> bool {
    let is_plain = |text: &str| text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ');
    let is_verdict = |word: &str| ["allow", "deny"].contains(&word);
    let texts = [&row.name, &row.group, &row.rule].into_iter().flatten().chain([&row.protocol]);
    let mut texts = texts;
    is_verdict(&row.verdict)
        && is_verdict(&row.policy_verdict)
        && intune_filter_ebpf::abi::REASONS
            .iter()
            .any(|reason: &Reason| reason.as_str() == row.reason)
        && texts.all(|text| is_plain(text))
}

/// Lays the policy out with what is known of the network: routes, and addresses that were learned.
fn simulation(
    subject: &Subject,
    names: &Names,
    notes: &mut Vec<String>,
) -> Result<Simulation, Failure> {
    let (mut simulation, _, kept) = simulation_of(subject)?;
    if !simulation.tables.devices.is_empty() {
        let ways = route::all_ways(ROUTES)?;
        if ways.len() >= ROUTES {
            notes.push(format!("of the routes {} count", ways.len()));
        }
        ways.iter().for_each(|way| simulation.add_way(way));
        for (address, mac) in route::neighbours()? {
            simulation.add_neighbour(address, mac);
        }
    }
    let Some(pins) = &subject.pins else { return Ok(simulation) };
    let reader = Reader::over(simulation.policy().clone());
    let of_name = |name: &str| reader.rules_of_question(&query(name, Kind::A));
    for (address, host) in pins.hosts()? {
        let mut by_names = names.of_address(address).map(|(name, _)| name).peekable();
        let rules = if subject.judged == Judged::InForce || by_names.peek().is_none() {
            host.rules & kept
        } else {
            by_names.fold(RuleMask::EMPTY, |all, name| all | names.rules_of(name, of_name))
        };
        simulation.learn(address, rules, host.expires);
    }
    Ok(simulation)
}

/// Formats the verdicts for people.
fn text(explained: &CaptureExplained) -> String {
    let verdicts = &explained.verdicts;
    let mut text = String::new();
    for note in &explained.notes {
        let _ = writeln!(text, "({note})");
    }
    let totals = &verdicts.totals;
    let _ = writeln!(
        text,
        "{} packets in {} s, by the policy {}: {} allowed, {} audited, {} denied; {} of no client",
        verdicts.packets,
        verdicts.duration_ms / 1000,
        explained.judged.of(),
        totals.allowed,
        totals.audited,
        totals.denied,
        verdicts.outside + verdicts.other,
    );
    for (number, what) in [
        (verdicts.cut, "packets were not captured whole: what is missing was taken for zeros"),
        (verdicts.segments, "segments of DNS over TCP were not read"),
        (verdicts.forgotten, "flows, addresses or queries were forgotten for want of room"),
        (verdicts.left_out, "packets have no row for want of room"),
    ] {
        if number > 0 {
            let _ = writeln!(text, "({number} {what})");
        }
    }
    let rows: Vec<[String; 6]> = verdicts.traffic.iter().take(SHOWN).map(row).collect();
    if !rows.is_empty() {
        let header = ["VERDICT", "CLIENT", "DESTINATION", "PORT", "REASON", "PACKETS"];
        text += &output::table(header, &rows);
    }
    let more = verdicts.traffic.len().saturating_sub(SHOWN);
    if more > 0 {
        let _ = writeln!(text, "and {more} rows more, which --json has");
    }
    text
}

fn row(row: &CapturedTraffic) -> [String; 6] {
    let verdict = match (row.verdict == "deny", row.audited) {
        (true, _) => "DENY",
        (false, true) => "AUDITED",
        (false, false) => "ALLOW",
    };
    let other = row.name.clone().or_else(|| row.address.map(|address| address.to_string()));
    let other = other.unwrap_or_default();
    let port = row.port.map(|port| format!("{port}/")).unwrap_or_default();
    [
        verdict.to_owned(),
        row.client.to_string(),
        if row.to_client { format!("from {other}") } else { other },
        format!("{port}{}", row.protocol),
        row.reason.clone(),
        row.packets.to_string(),
    ]
}
