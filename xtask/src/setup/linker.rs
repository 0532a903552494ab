//! Builds bpf-linker against the LLVM of the compiler whose output it links.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    command,
    toolchain::{self, Compiler, LLVM},
    workspace,
};

/// Whether the distribution's LLVM of that version can be linked with.
pub(super) fn has_llvm() -> bool {
    distribution().join("lib/libLLVM.so").exists()
}

/// Builds and installs the linker.
pub(super) fn build(compiler: &Compiler) -> Result<()> {
    let llvm = if has_llvm() { Llvm::distribution() } else { Llvm::of(compiler)? };
    // No workspace is needed to install a program.
    let mut cargo = Command::new(workspace::cargo_path());
    cargo.args(["install", "bpf-linker", "--version", toolchain::LINKER, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", &format!("llvm-{LLVM}")]);
    // Where `toolchain::linker` looks, whatever cargo's configuration says.
    cargo.arg("--root").arg(toolchain::cargo_home());
    cargo.env("LLVM_PREFIX", &llvm.prefix);
    if let Some(libraries) = &llvm.libraries {
        let mut flags = OsString::from("-Clink-arg=-Wl,-rpath,");
        flags.push(libraries);
        cargo.env("RUSTFLAGS", flags);
    }
    command::run(&mut cargo)
}

fn distribution() -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{LLVM}"))
}

/// An LLVM to link with.
struct Llvm {
    /// The directory that has `lib/libLLVM.so`.
    prefix: PathBuf,
    /// Directory of the library at run time, if another one.
    libraries: Option<PathBuf>,
}

impl Llvm {
    fn distribution() -> Self {
        Self { prefix: distribution(), libraries: None }
    }

    /// The library that the compiler itself runs with. rustup's has its release in its name, so
    /// that a directory of our own has to give it the name that is linked with.
    fn of(compiler: &Compiler) -> Result<Self> {
        let libraries = compiler.sysroot.join("lib");
        let library = shared_library(&libraries).with_context(|| {
            format!(
                "neither {} nor {} has the shared library of LLVM {LLVM}, which bpf-linker needs",
                distribution().join("lib").display(),
                libraries.display()
            )
        })?;
        let prefix = workspace::target()?.join("llvm");
        let link = prefix.join("lib/libLLVM.so");
        fs::create_dir_all(prefix.join("lib"))
            .and_then(|()| match fs::remove_file(&link) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => symlink(&library, &link),
            })
            .with_context(|| format!("cannot make {}", link.display()))?;
        Ok(Self { prefix, libraries: Some(libraries) })
    }
}

fn shared_library(directory: &Path) -> Option<PathBuf> {
    let prefix = format!("libLLVM.so.{LLVM}.");
    fs::read_dir(directory)
        .ok()?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path())
}
