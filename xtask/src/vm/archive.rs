//! Debian's archive, read with lists and a state of our own: the machine's own packages are neither
//! asked nor changed, and no root is needed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{self, say},
    packages::ARCHIVE_KEYS as KEYS,
};

const MIRROR: &str = "http://deb.debian.org/debian";
/// Suites of the emulator and of the kernels that the programs run on. The emulator is the one of
/// the backports: older releases let some guests with two processors crash.
pub(super) const SUITES: &[&str] = &["bookworm", "bookworm-backports", "trixie-backports"];
const EMULATORS: &str = "bookworm-backports";
/// Suites of the kernel that is too old. Mirrors drop old releases one day: runs without that
/// kernel do not depend on them.
pub(super) const OLD_SUITES: &[&str] = &["bullseye"];

/// The file that says that the lists are whole.
const COMPLETE: &str = "lists.complete";

/// The archive's lists, and the packages that were fetched.
pub(super) struct Archive {
    directory: PathBuf,
}

impl Archive {
    /// Some suites of the archive, their lists as new as when they were first read here.
    pub(super) fn open(directory: &Path, suites: &[&str]) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
        }
        let archive = Self { directory: directory.to_owned() };
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [arch=amd64 signed-by={KEYS}] {MIRROR} {suite} main\n"))
            .collect();
        let place = directory.display();
        let configuration = format!(
            "APT::Architecture \"amd64\";\nAPT::Architectures {{ \"amd64\"; }};\n\
             APT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n\
             Dir::Etc::SourceList \"{place}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n\
             Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
             Dir::State::Lists \"{place}/lists\";\nDir::State::Status \"{place}/status\";\n\
             Dir::Cache \"{place}/cache\";\nDir::Log \"{place}\";\n"
        );
        archive.write("sources.list", &sources)?;
        archive.write("apt.conf", &configuration)?;
        // Nothing is installed, as far as this archive knows: a package comes with all it needs.
        archive.write("status", "")?;
        if !directory.join(COMPLETE).exists() {
            archive.update()?;
        }
        Ok(archive)
    }

    /// Reads the lists, all of them or none.
    fn update(&self) -> Result<()> {
        command::run(self.apt("apt-get").args(["--quiet", "update", "--error-on=any"]))
            .with_context(|| format!("{MIRROR} cannot be read"))?;
        self.write(COMPLETE, "")
    }

    /// Runs `apt-get` to fetch something: again with new lists where it is no longer what the
    /// lists say.
    fn fetch(&self, apt: &mut Command) -> Result<()> {
        if let Err(error) = command::run(apt) {
            say(&format!("{error:#}; reading the lists anew"));
            self.update()?;
            command::run(apt)?;
        }
        Ok(())
    }

    /// The names of the packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = self.ask(&["pkgnames", prefix])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The packages that one depends on.
    pub(super) fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let lines = self.ask(&["depends", package])?;
        let names = lines.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(names.map(str::to_owned).collect())
    }

    /// Unpacks one package into `directory`, unless it is there.
    pub(super) fn package(&self, name: &str, directory: &Path) -> Result<PathBuf> {
        self.unpacked(directory, || {
            let packages = self.directory.join("packages").join(name);
            fs::create_dir_all(&packages)?;
            let mut apt = self.apt("apt-get");
            self.fetch(apt.current_dir(&packages).args(["--quiet", "download", name]))?;
            Ok(packages)
        })
    }

    /// Unpacks a package and all that it needs, down to the C library.
    pub(super) fn tree(&self, name: &str, directory: &Path) -> Result<PathBuf> {
        self.unpacked(directory, || {
            let mut apt = self.apt("apt-get");
            apt.args(["--quiet", "install", "--download-only", "--yes"]);
            apt.args(["-o", "Debug::NoLocking=1", "--no-install-recommends"]);
            self.fetch(apt.args(["-t", EMULATORS, name]))?;
            Ok(self.directory.join("cache/archives"))
        })
    }

    /// Unpacks the packages in the directory that `fetch` returns, and puts the result in place
    /// when it is whole.
    fn unpacked(
        &self,
        directory: &Path,
        fetch: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<PathBuf> {
        if directory.exists() {
            return Ok(directory.to_owned());
        }
        let packages = fetch()?;
        // Not `with_extension`: kernels have dots in their names.
        let mut partial = directory.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        for package in fs::read_dir(&packages)? {
            let package = package?.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                let mut dpkg = Command::new("dpkg");
                let dpkg = dpkg.arg("-x").arg(&package).arg(&partial);
                if !dpkg.status().context("cannot run dpkg")?.success() {
                    bail!("cannot unpack {}", package.display());
                }
            }
        }
        fs::rename(&partial, directory)
            .with_context(|| format!("cannot put {} in place", directory.display()))?;
        Ok(directory.to_owned())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut apt = self.apt("apt-cache");
        let output = apt.args(arguments).output().context("cannot run apt-cache")?;
        if !output.status.success() {
            bail!("`{}` failed", command::line(&apt));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        apt.env("APT_CONFIG", self.directory.join("apt.conf"));
        apt
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
