//! Attaches programs to interfaces by pinned links, so that a program is replaced between two
//! packets and survives this process.

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail};
use aya::util::KernelVersion;
use aya_obj::generated::{BPF_F_BEFORE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, bpf_attach_type};
use nix::libc;

use super::{
    Kernel,
    attached::{Pinned, open_pin, pinned},
    directory::{Hook, PinDirectory},
    filter, leftovers,
    syscall::{self, LinkState},
};
use crate::system::{
    Interface, LinkLayer, Mode,
    clsact::{HANDLE, PRIORITY, TCX},
};

/// Mode that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedMode {
    /// Native XDP if the driver supports it, else generic XDP; TC ingress where there is no Ethernet
    /// header.
    Auto,
    /// Native XDP, in the driver, or none.
    Native,
    /// Generic XDP, in the network stack.
    Generic,
    /// TC ingress, without XDP.
    Tc,
}

impl WantedMode {
    /// Returns the hook on which packets from the clients of an interface are judged; `None` if they
    /// cannot be.
    #[must_use]
    pub const fn hook(self, link: &LinkLayer) -> Option<Hook> {
        match (link, self) {
            (LinkLayer::Ethernet | LinkLayer::Bond, Self::Tc) => Some(Hook::TcIngress),
            (LinkLayer::Bond, Self::Auto | Self::Generic) => Some(Hook::Ingress),
            (LinkLayer::Ethernet, Self::Auto | Self::Native | Self::Generic) => Some(Hook::Ingress),
            // XDP is made for frames: it would see packets without their EtherType.
            (LinkLayer::Layer3, Self::Auto | Self::Tc) => Some(Hook::TcIngressL3),
            (LinkLayer::Layer3, Self::Native | Self::Generic)
            | (LinkLayer::Bond, Self::Native)
            | (LinkLayer::Unjudged(_), _) => None,
        }
    }

    fn accepts(self, mode: Mode) -> bool {
        match self {
            Self::Auto => true,
            Self::Native => mode == Mode::Native,
            Self::Generic => mode == Mode::Generic,
            Self::Tc => mode == Mode::Tc,
        }
    }
}

impl Kernel {
    /// Attaches to both directions of an interface, or puts the programs in place of what is
    /// attached. An error leaves nothing attached that was not before.
    ///
    /// # Errors
    /// The interface's driver refuses the program, another program is in its place, or the link
    /// cannot be pinned.
    pub fn attach(&mut self, interface: &Interface, wanted: WantedMode) -> Result<Mode> {
        let name = &interface.name;
        let (Some(ingress), Some(egress)) =
            (wanted.hook(&interface.link), Hook::to_clients(&interface.link))
        else {
            bail!("the packets of {name} cannot be judged in this mode");
        };
        self.require(ingress)?;
        self.require(egress)?;
        // Programs for packets of another form belong to a device that had the name before. They would
        // misread these, and clsact has one place for both.
        for hook in Hook::ALL.into_iter().filter(|hook| !hook.is_for(&interface.link)) {
            detach_hook(&self.directory, interface, hook)?;
        }
        let had_egress = pinned(&self.directory.link(name, egress))?.is_some();
        self.attach_tc(interface, egress)?;
        let attached = match ingress {
            Hook::Ingress => self.attach_xdp(interface, wanted),
            _ => self.attach_tc(interface, ingress).map(|()| Mode::Tc),
        };
        let mode = attached.inspect_err(|_| {
            if !had_egress && let Err(error) = detach_hook(&self.directory, interface, egress) {
                log::error!("{name}: {error:#}");
            }
        })?;
        // The program of another mode goes last, so that a program judges every packet.
        let other = if mode == Mode::Tc { Hook::Ingress } else { Hook::TcIngress };
        detach_hook(&self.directory, interface, other)?;
        if let Err(error) = self.remove_old_stages() {
            log::warn!("{}: {error:#}", interface.name);
        }
        Ok(mode)
    }

    fn attach_xdp(&mut self, interface: &Interface, wanted: WantedMode) -> Result<Mode> {
        let program = self.xdp(Hook::Ingress.program())?.fd()?.as_fd().try_clone_to_owned()?;
        let pin = self.directory.link(&interface.name, Hook::Ingress);
        if let Some((link, state)) = open_link(&pin)? {
            if let Some((_, mode)) = interface.xdp
                && wanted.accepts(mode)
                && replaced(&link, &state, interface, program.as_fd())?
            {
                return Ok(mode);
            }
            if state.ifindex == interface.index {
                // An interface has one mode of XDP at a time: TC judges until the other is attached.
                self.require(Hook::TcIngress)?;
                self.attach_tc(interface, Hook::TcIngress)?;
            }
            detach_hook(&self.directory, interface, Hook::Ingress)?;
            // A detached link has left its interface to the next program.
            if let Some((id, _)) = interface.xdp.filter(|_| state.ifindex == 0) {
                return Err(foreign(id, interface));
            }
        } else if let Some((id, _)) = interface.xdp {
            return Err(foreign(id, interface));
        }
        let create = |mode: Mode| {
            syscall::create_link(
                program.as_fd(),
                interface.index,
                bpf_attach_type::BPF_XDP,
                if mode == Mode::Generic { XDP_FLAGS_SKB_MODE } else { XDP_FLAGS_DRV_MODE },
            )
        };
        let fail = |error: io::Error, mode: Mode| {
            let name = &interface.name;
            anyhow::Error::new(error)
                .context(format!("cannot attach XDP to {name} in {} mode", mode.as_str()))
        };
        let (link, mode) = match wanted {
            WantedMode::Generic => {
                (create(Mode::Generic).map_err(|e| fail(e, Mode::Generic))?, Mode::Generic)
            }
            WantedMode::Native => {
                (create(Mode::Native).map_err(|e| fail(e, Mode::Native))?, Mode::Native)
            }
            WantedMode::Tc => bail!("mode tc is no XDP"),
            WantedMode::Auto => match create(Mode::Native) {
                Ok(link) => (link, Mode::Native),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    return Err(fail(error, Mode::Native));
                }
                Err(error) => {
                    log::warn!(
                        "{}: the driver takes no XDP program ({error}); using generic mode, which \
                         is slower",
                        interface.name
                    );
                    (create(Mode::Generic).map_err(|e| fail(e, Mode::Generic))?, Mode::Generic)
                }
            },
        };
        // Without the pin, dropping the link would end the attachment.
        pin_object(link.as_fd(), &pin)?;
        Ok(mode)
    }

    fn attach_tc(&mut self, interface: &Interface, hook: Hook) -> Result<()> {
        let name = &interface.name;
        let pin = self.directory.link(name, hook);
        let program = self.tc(hook.program())?;
        let fd = program.fd()?.as_fd().try_clone_to_owned()?;
        match pinned(&pin)? {
            Some(Pinned::Link(state)) => {
                if let Some((link, _)) = open_link(&pin)?
                    && replaced(&link, &state, interface, fd.as_fd())?
                {
                    return Ok(());
                }
                detach_hook(&self.directory, interface, hook)?;
            }
            Some(Pinned::Filter(_)) => {
                self.put_filter(interface, hook, true)?;
                fs::remove_file(&pin)
                    .with_context(|| format!("cannot remove {}", pin.display()))?;
                return pin_object(fd.as_fd(), &pin);
            }
            None => {}
        }
        if KernelVersion::current().is_ok_and(|version| version >= TCX) {
            let kind = match hook {
                Hook::Egress | Hook::EgressL3 => bpf_attach_type::BPF_TCX_EGRESS,
                Hook::Ingress | Hook::TcIngress | Hook::TcIngressL3 => {
                    bpf_attach_type::BPF_TCX_INGRESS
                }
            };
            let link = syscall::create_link(fd.as_fd(), interface.index, kind, BPF_F_BEFORE)
                .with_context(|| format!("cannot attach to TC {} of {name}", hook.direction()))?;
            // Without the pin, dropping the link would end the attachment.
            return pin_object(link.as_fd(), &pin);
        }
        self.put_filter(interface, hook, false)?;
        pin_object(fd.as_fd(), &pin)
    }

    /// Attaches a filter, or puts it in place of one of ours: an interface may have come from another
    /// name with it, or a daemon have died before it pinned it.
    fn put_filter(&mut self, interface: &Interface, hook: Hook, is_pinned: bool) -> Result<()> {
        let there = interface.filters.and_then(|filters| filters.of(hook.clsact()));
        if let Some(program) = there
            && !leftovers::is_ours(&self.directory, program)?
        {
            let (name, direction) = (interface.present_name(), hook.direction());
            bail!(
                "another filter, with program id {program}, is at TC {direction} of {name}, priority \
                 {PRIORITY}, handle {HANDLE}: two cannot have one place (`bpftool prog show id \
                 {program}` tells whose it is, `tc filter delete dev {name} {direction} preference \
                 {PRIORITY}` removes it)"
            );
        }
        let name = interface.present_name();
        let program = self.tc(hook.program())?;
        if (is_pinned || there.is_some()) && filter::replace(program, name, hook).is_ok() {
            return Ok(());
        }
        filter::create(program, name, hook)
    }
}

/// Detaches every program from an interface, and removes their pins. Nothing to do is no error.
///
/// # Errors
/// A link cannot be removed.
pub fn detach(directory: &PinDirectory, interface: &str) -> Result<()> {
    let mut had_filter = false;
    // The reverse of the order of attaching: egress without ingress denies.
    for hook in Hook::ALL.into_iter().rev() {
        let removed = remove_attachment(&directory.link(interface, hook))?;
        had_filter |= matches!(removed, Some(Pinned::Filter(_)));
    }
    if had_filter { leftovers::take_off_now(directory) } else { Ok(()) }
}

fn detach_hook(directory: &PinDirectory, interface: &Interface, hook: Hook) -> Result<()> {
    let pin = directory.link(&interface.name, hook);
    if let Some(Pinned::Link(state)) = pinned(&pin)?
        && ![0, interface.index].contains(&state.ifindex)
    {
        log::warn!(
            "{}: another interface has this name now; the one that had it (index {}) is not judged \
             any more",
            interface.name,
            state.ifindex
        );
    }
    if let Some(Pinned::Filter(_)) = remove_attachment(&pin)? {
        let there = interface.filters.and_then(|filters| filters.of(hook.clsact()));
        if there.map_or(Ok(true), |program| leftovers::is_ours(directory, program))? {
            filter::remove(interface.present_name(), hook.clsact());
        }
    }
    Ok(())
}

/// Removes the pin at `path`, and ends the attachment of a link; a filter stays. Returns what was pinned:
/// a missing pin is no error.
pub(super) fn remove_attachment(path: &Path) -> Result<Option<Pinned>> {
    let Some(found) = pinned(path)? else { return Ok(None) };
    if let (Pinned::Link(_), Some(pin)) = (found, open_pin(path)?) {
        // Ends the attachment even if others hold the link; fails harmlessly if the interface is
        // gone.
        let _ = syscall::detach_link(pin.as_fd());
    }
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(Some(found))
}

fn foreign(id: u32, interface: &Interface) -> anyhow::Error {
    anyhow!(
        "another XDP program, id {id}, is attached to {}: two cannot share an interface \
         (`bpftool prog show id {id}` tells whose it is)",
        interface.name
    )
}

/// Replaces the program of an adopted link; false if the link's interface is gone.
fn replaced(
    link: &OwnedFd,
    state: &LinkState,
    interface: &Interface,
    program: BorrowedFd<'_>,
) -> Result<bool> {
    if state.ifindex != interface.index {
        return Ok(false);
    }
    match syscall::update_link(link.as_fd(), program) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(false),
        Err(error) => {
            Err(error).with_context(|| format!("cannot replace the program on {}", interface.name))
        }
    }
}

fn open_link(path: &Path) -> Result<Option<(OwnedFd, LinkState)>> {
    let Some(fd) = open_pin(path)? else { return Ok(None) };
    let state = syscall::link_state(fd.as_fd())
        .with_context(|| format!("{} is no link", path.display()))?;
    Ok(Some((fd, state)))
}

fn pin_object(object: BorrowedFd<'_>, path: &Path) -> Result<()> {
    syscall::pin(object, path).with_context(|| format!("cannot pin {}", path.display()))
}
