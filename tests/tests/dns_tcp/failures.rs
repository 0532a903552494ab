//! Streams that are not as they have to be: by kind, and the shortest of each kind with whatever is
//! not needed for it taken away.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Result;

use crate::stream::Stream;

/// Kinds that are told of in full.
const TOLD: usize = 3;
/// The ports of streams that run once more.
const PORTS: std::ops::Range<u16> = 1024..4096;

/// Failed streams, by kind.
#[derive(Debug, Default)]
pub struct Failures {
    kinds: BTreeMap<String, (u64, Stream, String)>,
}

/// Kind of a failure: its text up to the part that differs from stream to stream.
fn kind(error: &str) -> String {
    error.chars().take_while(|letter| !"#:[{0123456789".contains(*letter)).collect()
}

impl Failures {
    /// Adds a stream.
    pub fn add(&mut self, error: String, stream: Stream) {
        let acts = |stream: &Stream| stream.script.acts();
        match self.kinds.get_mut(&kind(&error)) {
            Some((count, shortest, why)) => {
                *count += 1;
                if acts(&stream) < acts(shortest) {
                    (*shortest, *why) = (stream, error);
                }
            }
            None => drop(self.kinds.insert(kind(&error), (1, stream, error))),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Tells of them. `run` runs a stream once more, and judges it.
    pub fn tell(
        self,
        mut run: impl FnMut(Stream) -> Result<(Stream, Result<u64>)>,
    ) -> Result<String> {
        let mut text = String::new();
        let mut ports = PORTS;
        for (kind, (count, stream, error)) in self.kinds.into_iter().take(TOLD) {
            let _ = writeln!(text, "{count} times: {error}\n{stream}");
            // An honest client is stuck for a long time.
            if stream.stuck.is_some() {
                continue;
            }
            let (less, error) = reduced(&kind, stream, &mut ports, &mut run)?;
            if let Some(error) = error {
                let _ = writeln!(text, "or no more than this: {error}\n{less}");
            }
        }
        let _ = write!(text, "{FAILED}");
        Ok(text)
    }
}

/// Text before the seed.
const FAILED: &str = "failed streams";

/// The stream without each act that it fails without as well; the last error, if it failed again.
fn reduced(
    kind: &str,
    mut stream: Stream,
    ports: &mut std::ops::Range<u16>,
    run: &mut impl FnMut(Stream) -> Result<(Stream, Result<u64>)>,
) -> Result<(Stream, Option<String>)> {
    let mut error = None;
    let mut at = stream.script.acts();
    while at > 0 {
        at -= 1;
        let Some(port) = ports.next() else { break };
        let (address, _) = stream.client;
        let script = stream.script.without(at);
        let less = Stream::new(stream.number, script, (address, port), stream.initial);
        let (less, judged) = run(less)?;
        if let Err(again) = judged
            && self::kind(&format!("{again:#}")) == kind
        {
            error = Some(format!("{again:#}"));
            stream = less;
        }
    }
    Ok((stream, error))
}
