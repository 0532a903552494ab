//! Runs the pinned program that judges a packet without changing anything.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::{TestRun as _, TestRunOptions, programs::Xdp};
use aya_obj::programs::XdpAttachType;
use intune_filter_ebpf::abi::Explanation;

use super::{Pins, directory::EXPLAIN};

/// Time that loading the program may take on a slow gateway.
const VERIFIED: Duration = Duration::from_secs(5);
/// Octets of `struct xdp_md`, and offsets of its fields.
const CONTEXT_LENGTH: usize = 24;
const DATA_END: usize = 4;
const INGRESS_IFINDEX: usize = 12;

impl Pins {
    /// What the loaded program makes of a frame that comes in on an interface of this network
    /// namespace. No map is changed.
    ///
    /// # Errors
    /// The program is not pinned, does not run, or answers what this version does not know.
    pub fn explain(&self, frame: &[u8], ifindex: u32) -> Result<Explanation> {
        let program = self.explain_program()?;
        let mut context = [0; CONTEXT_LENGTH];
        let length = u32::try_from(frame.len()).context("the frame is too long")?;
        put(&mut context, DATA_END, length);
        put(&mut context, INGRESS_IFINDEX, ifindex);
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                ctx_in: Some(&context),
                ..TestRunOptions::default()
            })
            .map_err(|error| {
                if is_unknown_interface(ifindex) {
                    return anyhow!(
                        "the filtered interface, index {ifindex}, is not in this network \
                         namespace: run the command where the daemon runs"
                    );
                }
                anyhow::Error::new(error).context("cannot run the loaded program")
            })?;
        match Explanation::unpack(result.return_value) {
            Some(explanation) => Ok(explanation),
            None => bail!(
                "the loaded program answers {:#x}, which this version cannot read: restart the \
                 daemon",
                result.return_value
            ),
        }
    }
}

impl Pins {
    /// The program is loaded after what enforces: an answer that comes at once may have to wait for
    /// the verifier.
    fn explain_program(&self) -> Result<Xdp> {
        let path = self.directory().program(EXPLAIN);
        let deadline = Instant::now() + VERIFIED;
        while !path.exists() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        Xdp::from_pin(&path, XdpAttachType::Interface)
            .with_context(|| format!("cannot open the pinned program {}", path.display()))
    }
}

fn put(context: &mut [u8], offset: usize, value: u32) {
    let field = context.iter_mut().skip(offset);
    field.zip(value.to_ne_bytes()).for_each(|(to, from)| *to = from);
}

fn is_unknown_interface(ifindex: u32) -> bool {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else { return false };
    !interfaces.flatten().any(|interface| {
        fs::read_to_string(interface.path().join("ifindex"))
            .is_ok_and(|text| text.trim() == ifindex.to_string())
    })
}
