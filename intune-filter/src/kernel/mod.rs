//! Manages the kernel side: loads the object, adopts pins, attaches programs, and writes policies
//! into the maps.

use std::{
    fs,
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Program, SchedClassifier, Xdp},
};
use aya_log::EbpfLogger;
use intune_filter_ebpf::abi::{Flow, FlowKey, V6};

#[expect(unsafe_code, reason = "an amendment goes to the kernel as octets")]
mod amend;
mod apply;
mod array;
mod attach;
mod attached;
mod bpffs;
mod counters;
mod definition;
mod directory;
mod explain;
mod filter;
mod flows;
mod group_counters;
mod host_counts;
mod host_tables;
mod hosts;
mod leftovers;
mod load;
mod lock;
#[expect(unsafe_code, reason = "an ioctl")]
mod offloads;
mod pins;
#[expect(unsafe_code, reason = "values are made of octets")]
pub(crate) mod pod;
mod removal;
mod renamed;
mod resolver_devices;
mod retire;
mod senders;
mod stages;
mod streams;
#[expect(unsafe_code, reason = "bpf(2)")]
mod syscall;
mod zones;

pub use attach::{WantedMode, detach};
pub use bpffs::ensure as ensure_bpffs;
pub use definition::Sizes;
pub use directory::{Hook, PinDirectory};
pub use flows::{FlowEntry, Swept};
pub use hosts::{HostTables, Refreshed};
pub(crate) use leftovers::take_off_leftovers;
pub use load::{check_kernel, load, load_explain};
pub use lock::{Lock, acquire, try_acquire};
pub use offloads::keep_tags;
pub use pins::{ClientEntry, Pins, Usage};
pub use removal::remove_all;
pub(crate) use renamed::{follow_names, keep_names, named_snapshot};
pub use resolver_devices::ResolverDevices;
pub use retire::{FlowFate, ReviewTime};
pub use senders::{Senders, elements as sender_elements};
pub use streams::NO_MORE;
pub use zones::{Attachment, Devices, OwnAddresses, ZoneMap};

/// Reader of the programs' log messages.
pub type Diagnostics = EbpfLogger<&'static dyn log::Log>;

/// Loaded object with its pins.
pub struct Kernel {
    directory: PinDirectory,
    maps: definition::MapDefinitions,
    ebpf: Ebpf,
    diagnostics: Option<Diagnostics>,
    revoked: Mutex<Vec<RevokedFlow>>,
}

/// Flow that a change of the policy has ended, with IPv4 addresses mapped.
pub type RevokedFlow = (FlowKey<V6>, Flow);

/// Returns the machine's host name.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned()).filter(|name| !name.is_empty())
}

impl Kernel {
    /// Returns the directory of the pins.
    #[must_use]
    pub const fn directory(&self) -> &PinDirectory {
        &self.directory
    }

    /// Returns access to the pinned maps.
    #[must_use]
    pub fn pins(&self) -> Pins {
        Pins::new(self.directory.clone())
    }

    /// Pins the hooks' programs that are loaded, so that what is in force can be looked at. Of the
    /// others no pin is left.
    ///
    /// # Errors
    /// A program cannot be pinned.
    pub fn pin_programs(&mut self) -> Result<()> {
        for name in Hook::ALL.map(Hook::program) {
            let pin = self.directory.program(name);
            if let Ok(program) = self.program_mut(name)?.fd() {
                syscall::replace_pin(program.as_fd(), &pin)?;
            } else {
                let _ = fs::remove_file(pin);
            }
        }
        Ok(())
    }

    /// Takes the reader of the programs' log messages; `None` if it was taken, or logging is off.
    pub fn take_diagnostics(&mut self) -> Option<Diagnostics> {
        self.diagnostics.take()
    }

    /// Takes the flows that were ended since the last call, for reporting.
    #[must_use]
    pub fn take_revoked(&self) -> Vec<RevokedFlow> {
        std::mem::take(&mut self.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn program_mut(&mut self, name: &str) -> Result<&mut Program> {
        let program = self.ebpf.program_mut(name);
        program.with_context(|| format!("the BPF object has no program {name}"))
    }

    fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.program_mut(name)?;
        program.try_into().with_context(|| format!("the program {name} is not XDP"))
    }

    fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let program = self.program_mut(name)?;
        program.try_into().with_context(|| format!("the program {name} is no TC classifier"))
    }
}
