//! Files whose opening blocks, like those of a network file system whose server has gone.

use std::path::Path;

use anyhow::{Context as _, Result};
use nix::{
    fcntl::AT_FDCWD,
    sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags},
};

/// A file whose opening blocks for this value's lifetime: the kernel asks for a permission that is
/// not given. Dropping the value lets the opening succeed.
#[derive(Debug)]
pub struct Hung {
    _fanotify: Fanotify,
}

impl Hung {
    /// Has everyone wait who opens this file.
    pub fn file(path: &Path) -> Result<Self> {
        let flags = InitFlags::FAN_CLASS_CONTENT | InitFlags::FAN_CLOEXEC;
        let fanotify = Fanotify::init(flags, EventFFlags::O_RDONLY).context("no fanotify")?;
        fanotify
            .mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN_PERM, AT_FDCWD, Some(path))
            .with_context(|| format!("cannot hold up {}", path.display()))?;
        Ok(Self { _fanotify: fanotify })
    }
}
