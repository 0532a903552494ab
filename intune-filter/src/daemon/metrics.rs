//! The metrics endpoint: what the maps hold, in the text form of OpenMetrics.

use std::{
    fmt::Write as _,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{
    clock, figures,
    netlink::{Netlink, Snapshot},
    resolution::Counts,
};
use crate::kernel::Pins;

/// How long a request may take to arrive, or its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of a request's head at most.
const REQUEST_MAX: usize = 4096;
/// What OpenMetrics calls itself.
const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rule {
    rule: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Interface {
    interface: String,
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Map {
    map: String,
}

/// Listens for requests.
///
/// # Errors
///
/// If the address is not to be had; nothing else depends on it.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers requests, one at a time: whoever scrapes comes once in a while.
pub async fn serve(
    listener: TcpListener,
    pins: Pins,
    evicted: Arc<AtomicU64>,
    resolution: watch::Receiver<Counts>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A client that goes away, or sends nothing, is its own affair.
                let _ = timeout(PATIENCE, answer(stream, &pins, &evicted, &resolution)).await;
            }
            Err(error) => {
                log::warn!("metrics: {error}");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn answer(
    mut stream: TcpStream,
    pins: &Pins,
    evicted: &AtomicU64,
    resolution: &watch::Receiver<Counts>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut part = [0; 512];
        let read = stream.read(&mut part).await?;
        head.extend_from_slice(part.get(..read).unwrap_or_default());
        if read == 0 || head.len() > REQUEST_MAX {
            return Ok(());
        }
    }
    let (status, body) = match path_of(&head) {
        Some("/metrics") => {
            let counts = resolution.borrow().clone();
            match scrape(pins, evicted.load(Ordering::Relaxed), &counts).await {
                Ok(text) => ("200 OK", text),
                Err(error) => {
                    log::warn!("metrics: {error:#}");
                    ("500 Internal Server Error", String::new())
                }
            }
        }
        Some(_) => ("404 Not Found", String::new()),
        None => ("405 Method Not Allowed", String::new()),
    };
    let mut response = String::new();
    let length = body.len();
    // Writing to a string does not fail.
    let _ = write!(
        response,
        "HTTP/1.1 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// The path that a request's head asks for, without its query; `None` unless it is a GET.
fn path_of(head: &[u8]) -> Option<&str> {
    let line = head.split(|octet| *octet == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    (words.next()? == "GET").then_some(())?;
    words.next()?.split('?').next()
}

async fn scrape(pins: &Pins, evicted: u64, resolution: &Counts) -> Result<String> {
    text(pins, &Netlink::new()?.snapshot().await?, evicted, resolution)
}

/// Everything, as it is now.
fn text(pins: &Pins, snapshot: &Snapshot, evicted: u64, resolution: &Counts) -> Result<String> {
    let mut registry = Registry::with_prefix("intune_filter");
    let (packets, bytes) = (Family::default(), Family::default());
    for (reason, counter) in pins.counters()? {
        let verdict = if reason.denies() { "deny" } else { "allow" };
        let labels = Reason { reason: reason.as_str(), verdict };
        add(&packets, &labels, counter.packets);
        add(&bytes, &labels, counter.bytes);
    }
    registry.register("packets", "Packets, or occurrences, by reason", packets);
    registry.register("bytes", "Octets of the packets' frames, by reason", bytes);

    let rules: [Family<Rule, Counter>; 4] = Default::default();
    for (rule, counter) in pins.rules()?.into_iter().zip(pins.rule_counters()?) {
        let Some(rule) = rule else { continue };
        let labels = Rule { rule };
        let values = [counter.packets, counter.bytes, counter.flows, counter.denied];
        for (family, value) in rules.iter().zip(values) {
            add(family, &labels, value);
        }
    }
    let [packets, bytes, flows, denied] = rules;
    registry.register("rule_packets", "Packets of a rule's flows", packets);
    registry.register("rule_bytes", "Octets of a rule's flows", bytes);
    registry.register("rule_flows", "Flows that a rule has opened", flows);
    registry.register("rule_denied", "Denied packets to a rule's destinations", denied);

    let (entries, capacity) = (Family::<Map, Gauge>::default(), Family::<Map, Gauge>::default());
    for (map, usage) in pins.usage()? {
        let labels = Map { map };
        entries.get_or_create(&labels).set(i64::try_from(usage.entries)?);
        capacity.get_or_create(&labels).set(i64::try_from(usage.capacity)?);
    }
    registry.register("map_entries", "Entries of a map", entries);
    registry.register("map_capacity", "Entries that a map has room for", capacity);

    let enforced = Family::<Interface, Gauge>::default();
    for name in pins.directory().linked_interfaces()? {
        let Some(interface) = snapshot.interface(&name) else { continue };
        if let Some(mode) = pins.enforced(interface)? {
            let labels = Interface { interface: name, mode: mode.as_str() };
            enforced.get_or_create(&labels).set(1);
        }
    }
    registry.register("enforced", "Interfaces that are enforced, and in which mode", enforced);
    let flows_evicted = Counter::<u64>::default();
    flows_evicted.inc_by(evicted);
    let help = "Answered flows that had to make room before their time, since the daemon's start";
    registry.register("flows_evicted", help, flows_evicted);
    add_resolution(&mut registry, resolution);
    figures::register(&mut registry);
    let warm_up = Gauge::<i64>::default();
    let left = pins.warm_up_left(clock::boot_time())?.map_or(0, |left| left.as_secs());
    warm_up.set(i64::try_from(left)?);
    registry.register("warm_up_left_seconds", "How long the warm-up goes on", warm_up);

    let generation = Gauge::<i64>::default();
    generation.set(i64::from(pins.active()?.generation));
    registry.register("policy_generation", "Policies put into force so far", generation);

    let mut text = String::new();
    encode(&mut text, &registry).context("cannot encode the metrics")?;
    Ok(text)
}

/// How the names are that the daemon resolves itself.
fn add_resolution(registry: &mut Registry, counts: &Counts) {
    let names = Family::<State, Gauge>::default();
    for (state, count) in [
        ("resolved", counts.resolved),
        ("absent", counts.absent),
        ("failing", counts.failing),
        ("waiting", counts.waiting),
        ("left_out", counts.left_out),
    ] {
        names.get_or_create(&State { state }).set(count as i64);
    }
    registry.register("exact_names", "Exact names of the policy, by how they are", names);
    let questions = Family::<State, Counter>::default();
    let states =
        [("answered", counts.answered), ("empty", counts.empty), ("failed", counts.failed)];
    for (state, count) in states {
        add(&questions, &State { state }, count);
    }
    let help = "Questions for exact names, by what came of them, since the daemon's start";
    registry.register("exact_name_questions", help, questions);
}

fn add<L: Clone + std::hash::Hash + Eq>(family: &Family<L, Counter>, labels: &L, value: u64) {
    family.get_or_create(labels).inc_by(value);
}

#[cfg(test)]
mod tests {
    use super::path_of;

    #[test]
    fn a_request_has_a_path() {
        assert_eq!(path_of(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), Some("/metrics"));
        assert_eq!(path_of(b"GET /metrics?a=b HTTP/1.0\r\n\r\n"), Some("/metrics"));
        assert_eq!(path_of(b"GET / HTTP/1.1\r\n\r\n"), Some("/"));
        assert_eq!(path_of(b"POST /metrics HTTP/1.1\r\n\r\n"), None);
        assert_eq!(path_of(b"\xff\r\n\r\n"), None);
        assert_eq!(path_of(b""), None);
    }
}
