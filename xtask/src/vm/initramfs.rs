//! The archive that a kernel unpacks into its first file system: cpio in the form `newc`.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// Writes an archive.
pub(super) struct Initramfs<W> {
    out: W,
    written: u64,
    entries: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Initramfs<W> {
    /// An archive without entries.
    pub(super) const fn new(out: W) -> Self {
        Self { out, written: 0, entries: 0, directories: BTreeSet::new() }
    }

    /// Adds an empty directory. Paths have no slash at their start.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        if path.is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.parent(path)?;
        self.entry(path, DIRECTORY, &[])
    }

    /// Adds a file that can be run.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, PROGRAM, content)
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.parent(path)?;
        self.entry(path, LINK, target.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()
    }

    fn parent(&mut self, path: &str) -> io::Result<()> {
        let parent = Path::new(path).parent().and_then(Path::to_str).unwrap_or_default();
        self.directory(parent)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let length = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name = u32::try_from(path.len() + 1).map_err(io::Error::other)?;
        // inode, mode, user, group, links, time, length, device, device of its own, name, checksum
        let fields = [self.entries, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name, 0];
        self.write(b"070701")?;
        for field in fields {
            self.write(format!("{field:08x}").as_bytes())?;
        }
        self.write(path.as_bytes())?;
        self.write(&[0])?;
        self.align()?;
        self.write(content)?;
        self.align()
    }

    fn align(&mut self) -> io::Result<()> {
        let surplus = self.written.wrapping_neg() % 4;
        (0..surplus).try_for_each(|_| self.write(&[0]))
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.written += octets.len() as u64;
        self.out.write_all(octets)
    }
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn entries_are_aligned_and_have_their_directories_before_them() {
        let mut octets = Vec::new();
        let mut archive = Initramfs::new(&mut octets);
        archive.file("a/bc/d", b"seven").expect("memory has room");
        archive.finish().expect("memory has room");
        let text = String::from_utf8(octets).expect("zeros and letters");
        let starts: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4);
        assert!(starts.iter().all(|start| start % 4 == 0));
        let names = starts.iter().map(|start| text[start + 110..].split('\0').next());
        assert!(names.eq([Some("a"), Some("a/bc"), Some("a/bc/d"), Some("TRAILER!!!")]));
        assert!(text.contains("a/bc/d\0\0\0\0seven\0\0\0"));
    }
}
