//! Names the paths of the pins, and finds the layouts that have pins.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use intune_filter_ebpf::abi::LAYOUT_VERSION;

use crate::system::{LinkLayer, clsact::Direction};

/// Program that judges a test packet; pinned and never attached.
pub(super) const EXPLAIN: &str = "explain";

/// Attachment point of a program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP, for packets from the clients.
    Ingress,
    /// TC ingress, for packets from the clients in place of XDP.
    TcIngress,
    /// TC egress, for packets to the clients.
    Egress,
    /// TC ingress of an interface of layer 3.
    TcIngressL3,
    /// TC egress of an interface of layer 3.
    EgressL3,
}

impl Hook {
    /// Hooks in the order of attaching: egress first, so that no query is recorded whose answer
    /// would pass unread.
    pub const ALL: [Self; 5] =
        [Self::Egress, Self::EgressL3, Self::Ingress, Self::TcIngress, Self::TcIngressL3];

    /// Returns the name of the hook's program in the object.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::TcIngress => "tc_ingress",
            Self::Egress => "egress",
            Self::TcIngressL3 => "tc_ingress_l3",
            Self::EgressL3 => "egress_l3",
        }
    }

    /// Returns the direction of the hook's packets, as seen from the interface.
    #[must_use]
    pub const fn direction(self) -> &'static str {
        match self.clsact() {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }

    /// Returns the direction of the hook's packets, as clsact has it.
    pub(super) const fn clsact(self) -> Direction {
        match self {
            Self::Ingress | Self::TcIngress | Self::TcIngressL3 => Direction::Ingress,
            Self::Egress | Self::EgressL3 => Direction::Egress,
        }
    }

    /// Returns the hook on which packets to the clients of an interface are judged; `None` if they cannot
    /// be.
    #[must_use]
    pub const fn to_clients(link: &LinkLayer) -> Option<Self> {
        match link {
            LinkLayer::Ethernet | LinkLayer::Bond => Some(Self::Egress),
            LinkLayer::Layer3 => Some(Self::EgressL3),
            LinkLayer::Unjudged(_) => None,
        }
    }

    /// Whether the hook's program is one for interfaces with this form of packets.
    #[must_use]
    pub const fn is_for(self, link: &LinkLayer) -> bool {
        match self {
            Self::TcIngressL3 | Self::EgressL3 => matches!(link, LinkLayer::Layer3),
            Self::Ingress | Self::TcIngress | Self::Egress => link.has_frames(),
        }
    }

    /// Returns the hook of a link's pin, by the pin's name.
    #[must_use]
    pub fn of_pin(pin: &str) -> Option<Self> {
        let (_, program) = pin.rsplit_once('-')?;
        Self::ALL.into_iter().find(|hook| hook.program() == program)
    }
}

/// Directory on a BPF filesystem with the pins of one instance.
#[derive(Clone, Debug)]
pub struct PinDirectory {
    root: PathBuf,
}

impl PinDirectory {
    /// Returns the directory with the given `root`, `paths.pin_dir` of the configuration.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the root, which all layouts share.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of this program's layout.
    #[must_use]
    pub fn layout(&self) -> PathBuf {
        self.root.join(layout_name(LAYOUT_VERSION))
    }

    /// Returns the path of a map's pin.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Returns the directory of the maps' pins.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.layout().join("maps")
    }

    /// Returns the path of a program's pin.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }

    /// Returns the directory of the programs' pins.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.layout().join("programs")
    }

    /// Returns the directory of the pins of stage arrays, which are named by map id.
    #[must_use]
    pub fn stages(&self) -> PathBuf {
        self.layout().join("stages")
    }

    /// Returns the directory of the links' pins.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.layout().join("links")
    }

    /// Returns the path of the pin of an interface's link.
    #[must_use]
    pub fn link(&self, interface: &str, hook: Hook) -> PathBuf {
        self.links().join(format!("{}-{}", encode(interface), hook.program()))
    }

    /// Makes the directories of this layout.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn create(&self) -> Result<()> {
        for directory in [self.maps(), self.programs(), self.stages(), self.links()] {
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(())
    }

    /// The interfaces that have a pinned link, each once.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn linked_interfaces(&self) -> Result<Vec<String>> {
        let mut interfaces: Vec<String> =
            entries(&self.links())?.iter().filter_map(|pin| interface_of(pin)).collect();
        interfaces.sort();
        interfaces.dedup();
        Ok(interfaces)
    }

    /// Whether this layout has any pin.
    #[must_use]
    pub fn has_pins(&self) -> bool {
        entries(&self.maps()).is_ok_and(|names| !names.is_empty())
            || entries(&self.links()).is_ok_and(|names| !names.is_empty())
    }

    /// The layouts that stand in the directory, this program's among them.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn layouts(&self) -> Result<Vec<String>> {
        let mut names = entries(&self.root)?;
        names.retain(|name| {
            name.strip_prefix('v').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
        });
        names.sort();
        Ok(names)
    }

    /// Fails if another layout has pins here: two versions must never enforce side by side, and
    /// neither can read the other's maps.
    ///
    /// # Errors
    /// There are pins of another layout, or the directory cannot be read.
    pub fn refuse_other_layouts(&self) -> Result<()> {
        let own = layout_name(LAYOUT_VERSION);
        let others: Vec<_> = self.layouts()?.into_iter().filter(|name| *name != own).collect();
        if let Some(other) = others.first() {
            bail!(
                "{} holds pins of layout {other}, and this version of intune-filter has layout \
                 {own}: `intune-filter detach` removes them, and with them the enforcement until \
                 the next `intune-filter run`",
                self.root.join(other).display(),
            );
        }
        Ok(())
    }
}

fn layout_name(version: u32) -> String {
    format!("v{version}")
}

/// Returns the names in a directory; none if the directory does not exist.
pub(super) fn entries(directory: &Path) -> Result<Vec<String>> {
    let read = match fs::read_dir(directory) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", directory.display()));
        }
    };
    let mut names = Vec::new();
    for entry in read {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Encodes an interface's name as a file name, since a BPF filesystem accepts no dots.
fn encode(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e")
}

/// Returns the interface of a link's pin, by the pin's name.
pub(super) fn interface_of(pin: &str) -> Option<String> {
    Some(decode(pin.rsplit_once('-')?.0))
}

fn decode(file: &str) -> String {
    file.replace("%2e", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_survive_the_file_system() {
        for name in ["eth1", "eth1.20", "a-b.c", "%2e", "br%25.1"] {
            let file = encode(name);
            assert!(!file.contains('.'), "{file}");
            assert_eq!(decode(&file), name);
        }
    }

    #[test]
    fn linked_interfaces_are_read_back_from_the_pins() {
        let directory = tempfile::tempdir().unwrap();
        let pins = PinDirectory::new(directory.path());
        assert!(pins.linked_interfaces().unwrap().is_empty());
        pins.create().unwrap();
        assert!(!pins.has_pins());
        for (name, hook) in [
            ("lan-0.20", Hook::Ingress),
            ("lan-0.20", Hook::TcIngress),
            ("lan-0.20", Hook::Egress),
            ("eth1", Hook::Egress),
        ] {
            let pin = pins.link(name, hook);
            fs::write(&pin, "").unwrap();
            assert_eq!(Hook::of_pin(pin.file_name().unwrap().to_str().unwrap()), Some(hook));
        }
        assert_eq!(pins.linked_interfaces().unwrap(), ["eth1", "lan-0.20"]);
        assert!(pins.has_pins());
    }

    #[test]
    fn pins_of_another_layout_are_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let pins = PinDirectory::new(directory.path());
        pins.create().unwrap();
        fs::create_dir(directory.path().join("various")).unwrap();
        pins.refuse_other_layouts().unwrap();
        fs::create_dir(directory.path().join("v999")).unwrap();
        let error = pins.refuse_other_layouts().unwrap_err().to_string();
        assert!(error.contains("layout v999"), "{error}");
    }
}
