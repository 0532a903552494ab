//! The compiler and the linker of the BPF object: which versions, and where this machine has them.
//!
//! The only place that names the versions. xtask installs them, and `intune-filter/build.rs`, which
//! includes this file, builds with them. Compiler and linker are fixed, since what they make has to
//! pass the kernel's verifier; a change here is tested by the programs being loaded.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The compiler's release, whichever way it came to the machine.
pub(crate) const RUST: &str = "1.96";

/// The version of LLVM that the compiler's release contains, and that its linker has to have.
pub(crate) const LLVM: &str = "22";

/// The linker's release.
pub(crate) const LINKER: &str = "0.13.0";

/// The target that the kernel runs.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// A compiler that has `core` for [`TARGET`], or can make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    /// The `rustc` to run.
    pub rustc: PathBuf,
    /// Directory of the compiler's libraries.
    pub sysroot: PathBuf,
    /// Source of `core`.
    pub core: Core,
}

/// Source of `core` for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// Compiled by the distribution.
    Prebuilt,
    /// Compiled from the sources beside it, by the `cargo` beside it.
    FromSource,
}

/// The compiler to build the BPF object with; if there is none, what is wrong, in one sentence.
///
/// `INTUNE_BPF_RUSTC` names another one, of any release.
pub(crate) fn compiler() -> Result<Compiler, String> {
    if let Some(rustc) = env::var_os("INTUNE_BPF_RUSTC") {
        let rustc = PathBuf::from(rustc);
        return inspect(&rustc)
            .map_err(|reason| format!("INTUNE_BPF_RUSTC names {}, but {reason}", rustc.display()));
    }
    let mut refused = Vec::new();
    for rustc in [PathBuf::from("/usr/bin/rustc"), rustup_toolchain().join("bin/rustc")] {
        if !rustc.exists() {
            continue;
        }
        let verdict = match release(&rustc).as_deref() {
            Some(found) if belongs(found, RUST) => inspect(&rustc),
            Some(found) => Err(format!("it is release {found}")),
            None => Err("it does not run".to_owned()),
        };
        match verdict {
            Ok(compiler) => return Ok(compiler),
            Err(reason) => refused.push(format!("not {}: {reason}", rustc.display())),
        }
    }
    Err(missing(&format!("rustc {RUST} with `core` for {TARGET}"), &refused))
}

/// The linker to build the BPF object with; if there is none, what is wrong, in one sentence.
///
/// `INTUNE_BPF_LINKER` names another one, of any release.
pub(crate) fn linker() -> Result<PathBuf, String> {
    if let Some(linker) = env::var_os("INTUNE_BPF_LINKER") {
        let linker = PathBuf::from(linker);
        return match release(&linker) {
            Some(_) => Ok(linker),
            None => {
                Err(format!("INTUNE_BPF_LINKER names {}, but it does not run", linker.display()))
            }
        };
    }
    let mut refused = Vec::new();
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = [cargo_home().join("bin"), home().join(".cargo/bin")];
    for directory in directories.into_iter().chain(env::split_paths(&path)) {
        let linker = directory.join("bpf-linker");
        if !linker.exists() || refused.iter().any(|(known, _)| known == &linker) {
            continue;
        }
        match release(&linker) {
            Some(found) if found == LINKER => return Ok(linker),
            Some(found) => refused.push((linker, format!("it is release {found}"))),
            None => refused.push((linker, "it does not run".to_owned())),
        }
    }
    let refused: Vec<String> =
        refused.iter().map(|(path, reason)| format!("not {}: {reason}", path.display())).collect();
    Err(missing(&format!("bpf-linker {LINKER}"), &refused))
}

/// Makes `command`, a `cargo`, build for [`TARGET`] with `compiler` and `linker`. What an outer
/// cargo, clippy or rustup exports would mislead it, and is taken away.
pub(crate) fn use_for(command: &mut Command, compiler: &Compiler, linker: &Path) {
    for (name, _) in env::vars_os() {
        if misleads(&name) {
            command.env_remove(&name);
        }
    }
    command
        .env("RUSTC", &compiler.rustc)
        // aya-ebpf uses feature(asm_experimental_arch), and so does compiling core.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .args(["--profile", "bpf", "--target", TARGET]);
    if compiler.core == Core::FromSource {
        command.args(["-Z", "build-std=core"]);
    }
}

/// The cargo that goes with `compiler`: building core asks for the one of the same release.
pub(crate) fn cargo_for(compiler: &Compiler, outer: OsString) -> OsString {
    match compiler.core {
        Core::Prebuilt => outer,
        Core::FromSource => compiler.rustc.with_file_name("cargo").into(),
    }
}

/// Directory of rustup's toolchain of release [`RUST`], whether it is there or not.
pub(crate) fn rustup_toolchain() -> PathBuf {
    let rustup = env::var_os("RUSTUP_HOME").map_or_else(|| home().join(".rustup"), PathBuf::from);
    let host = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    rustup.join("toolchains").join(format!("{RUST}.0-{host}"))
}

/// Directory of programs that cargo installs.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

fn home() -> PathBuf {
    env::home_dir().unwrap_or_default()
}

fn missing(what: &str, refused: &[String]) -> String {
    let refused =
        if refused.is_empty() { String::new() } else { format!(" ({})", refused.join("; ")) };
    format!("{what} is missing{refused}: `cargo xtask setup` installs it")
}

/// Inspects `rustc`: its libraries, and its source of core.
fn inspect(rustc: &Path) -> Result<Compiler, String> {
    let print = |what: &str| {
        answer(Command::new(rustc).args(["--print", what, "--target", TARGET]).env_remove("RUSTC"))
            .map(|line| PathBuf::from(line.trim()))
    };
    let (Some(sysroot), Some(libraries)) = (print("sysroot"), print("target-libdir")) else {
        return Err(format!("it does not know the target {TARGET}"));
    };
    let core = if holds(&libraries, "libcore-") {
        Core::Prebuilt
    } else if sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
        && rustc.with_file_name("cargo").exists()
    {
        Core::FromSource
    } else {
        return Err(format!("it has neither `core` for {TARGET} nor the sources of it"));
    };
    Ok(Compiler { rustc: rustc.to_owned(), sysroot, core })
}

fn holds(directory: &Path, prefix: &str) -> bool {
    fs::read_dir(directory).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    })
}

/// The second word of what `program --version` answers.
fn release(program: &Path) -> Option<String> {
    let line = answer(Command::new(program).arg("--version"))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether release `found`, as in 1.96.1, is one of `series`, as in 1.96.
fn belongs(found: &str, series: &str) -> bool {
    found.strip_prefix(series).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn misleads(name: &OsStr) -> bool {
    const NAMES: [&str; 9] = [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CLIPPY_ARGS",
        "CLIPPY_CONF_DIR",
        "CARGO_TARGET_DIR",
        "LLVM_PROFILE_FILE",
    ];
    const PREFIXES: [&str; 4] = ["CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_CFG_", "CARGO_FEATURE_"];
    let name = name.to_string_lossy();
    NAMES.contains(&name.as_ref()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_belongs_to_its_series_alone() {
        assert!(belongs("1.96.0", "1.96"));
        assert!(belongs("1.96", "1.96"));
        assert!(!belongs("1.960.0", "1.96"));
        assert!(!belongs("1.97.0-nightly", "1.96"));
        assert!(!belongs("1.9", "1.96"));
    }

    #[test]
    fn what_an_outer_cargo_exports_is_taken_away() {
        for name in ["RUSTC_WORKSPACE_WRAPPER", "CARGO_ENCODED_RUSTFLAGS", "CARGO_CFG_UNIX"] {
            assert!(misleads(OsStr::new(name)), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME"] {
            assert!(!misleads(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn a_sentence_names_what_was_refused_and_the_way_out() {
        assert_eq!(
            missing("bpf-linker 0.13.0", &["not /bin/bpf-linker: it is release 0.9".into()]),
            "bpf-linker 0.13.0 is missing (not /bin/bpf-linker: it is release 0.9): \
             `cargo xtask setup` installs it"
        );
        assert_eq!(missing("x", &[]), "x is missing: `cargo xtask setup` installs it");
    }
}
