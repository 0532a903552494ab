//! Puts the program, its unit and its configuration in place, and starts nothing.

use std::{
    env, fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    command::{self, say},
    setup::{self, Scope},
    workspace::{self, Profile},
};

/// Options of `install`.
#[derive(Args)]
pub(crate) struct Options {
    /// Put everything below this directory, as a package is made
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
    /// Directory of the program and the unit
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
    /// Install this program instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Builds what is to be installed, and installs it.
pub(crate) fn run(options: &Options) -> Result<()> {
    if !options.prefix.is_absolute() {
        bail!("--prefix is {}: it has to begin with /", options.prefix.display());
    }
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            setup::run(Scope::Build)?;
            workspace::build(Profile::Release, &["intune-filter"])?;
            workspace::program(Profile::Release, "intune-filter")?
        }
    };
    let live = options.destdir == Path::new("/");
    if live && !command::is_root() {
        // Built as the user who asks; only the copying takes root.
        let program = env::current_exe().context("cannot tell where this program is")?;
        let mut again = command::root_command("installing", program)?;
        again.arg("install").arg("--binary").arg(binary).arg("--prefix").arg(&options.prefix);
        return command::run(&mut again);
    }
    let layout = Layout { destdir: options.destdir.clone(), prefix: options.prefix.clone() };
    layout.install(&binary, &workspace::root().join("config"))?;
    if live {
        next_step();
    }
    Ok(())
}

fn next_step() {
    println!(
        "\nNothing is started or enabled. Next:\n\
         \x20 1. Edit /etc/intune-filter/config.yaml: the interface, the clients, the resolvers.\n\
         \x20 2. intune-filter check\n\
         \x20 3. systemctl daemon-reload && systemctl enable --now intune-filter\n\
         Should it lock you out: `intune-filter detach` on the gateway removes every filter."
    );
}

/// Destinations of installed files.
struct Layout {
    destdir: PathBuf,
    prefix: PathBuf,
}

impl Layout {
    fn install(&self, binary: &Path, config: &Path) -> Result<()> {
        let program = self.prefix.join("bin/intune-filter");
        self.write(&program, &read(binary)?, 0o755)?;

        let unit = config.join("intune-filter.service");
        let text = String::from_utf8(read(&unit)?)
            .with_context(|| format!("{} is not UTF-8", unit.display()))?;
        self.write(
            &self.prefix.join("lib/systemd/system/intune-filter.service"),
            with_program(&text, &program)?.as_bytes(),
            0o644,
        )?;

        let default = read(&config.join("config.yaml"))?;
        let site = Path::new("/etc/intune-filter/config.yaml");
        if self.below(site).exists() {
            say(&format!("{} is kept as it is", self.below(site).display()));
            self.write(&self.prefix.join("share/intune-filter/config.yaml"), &default, 0o644)
        } else {
            self.write(site, &default, 0o644)
        }
    }

    /// The path below the destination directory.
    fn below(&self, path: &Path) -> PathBuf {
        self.destdir.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Writes beside the file and renames: a program that runs is not to be written into.
    fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let path = self.below(path);
        say(&format!("install {}", path.display()));
        let mut partial = path.clone().into_os_string();
        partial.push(".new");
        let place = || {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            let mut file = fs::File::create(&partial)?;
            file.write_all(content)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            fs::rename(&partial, &path)
        };
        place().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The unit, starting the program from where it was installed.
fn with_program(unit: &str, program: &Path) -> Result<String> {
    const PACKAGED: &str = "/usr/bin/intune-filter";
    if !unit.contains(&format!("ExecStart={PACKAGED} ")) {
        bail!("the unit does not start {PACKAGED}");
    }
    let program = program.to_str().context("the prefix is not UTF-8")?;
    Ok(unit.replace(PACKAGED, program))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_the_program_that_was_installed() {
        let unit = "[Service]\nExecStart=/usr/bin/intune-filter run\n";
        assert_eq!(
            with_program(unit, Path::new("/opt/x/bin/intune-filter")).unwrap(),
            "[Service]\nExecStart=/opt/x/bin/intune-filter run\n"
        );
        assert!(with_program("[Service]\n", Path::new("/x")).is_err());
    }
}
