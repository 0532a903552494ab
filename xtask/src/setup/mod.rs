//! Sets a machine up: finds what is missing to build and to test, and installs that alone.
//!
//! The compiler of the BPF object comes from the distribution where its archive has the release
//! that [`toolchain`] fixes, with `core` compiled; elsewhere rustup brings the same release with
//! the sources of core. The linker is built against the LLVM of that compiler.

mod apt;
mod linker;
mod rustup;

use anyhow::{Result, anyhow, bail};

use crate::{
    command::{find, say, succeeds},
    packages::{self, Tool},
    toolchain, workspace,
};

/// Purpose of a machine's setup.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Building alone.
    Build,
    /// Building, testing and the demo.
    Everything,
    /// Everything, and programs that the filter is measured against.
    Benchmarks,
}

/// Installs what is missing for `scope`.
pub(crate) fn run(scope: Scope) -> Result<()> {
    let missing = Missing::find(scope);
    if missing.is_nothing() {
        return Ok(());
    }
    say(&format!("setup: missing here: {}", missing.names().join(", ")));
    install(&missing)?;
    let still = Missing::find(scope);
    if !still.is_nothing() {
        bail!("setup ran, yet this machine lacks {}", still.names().join(", "));
    }
    Ok(())
}

/// Says what is here now; before another command goes on, [`run`] is silent about that.
pub(crate) fn report() {
    say(&format!(
        "setup: all is here: rustc {} for {}, bpf-linker {}, the tests' programs",
        toolchain::RUST,
        toolchain::TARGET,
        toolchain::LINKER
    ));
}

fn install(missing: &Missing) -> Result<()> {
    let apt = find("apt-get").is_some();
    let mut wanted: Vec<String> =
        missing.tools.iter().map(|tool| tool.package.to_owned()).collect();
    if !apt && !wanted.is_empty() {
        bail!("this machine has no apt-get: install {} by hand", missing.names().join(", "));
    }

    let mut from_rustup = missing.compiler;
    if apt && (missing.compiler || missing.linker || !wanted.is_empty()) {
        apt::update()?;
        let compiler = apt::of_release(&packages::COMPILER, toolchain::RUST);
        if missing.compiler && apt::offers(&compiler) {
            wanted.extend(compiler);
            from_rustup = false;
        }
        // A compiler from rustup brings the LLVM that the linker is built against.
        let llvm = [packages::llvm()];
        if missing.linker && !from_rustup && !linker::has_llvm() && apt::offers(&llvm) {
            wanted.extend(llvm);
        }
        check_offered(&missing.tools)?;
        apt::install(&wanted)?;
        apt::silence(&missing.tools);
    }

    if from_rustup {
        rustup::toolchain()?;
    }
    if !missing.components.is_empty() {
        rustup::components(&missing.components)?;
    }
    let compiler = toolchain::compiler().map_err(|reason| anyhow!(reason))?;
    if missing.linker {
        linker::build(&compiler)?;
    }
    Ok(())
}

/// Fails if the archive lacks a package of a program that the tests run: apt would only say that it
/// finds no such package, and nothing would be installed at all.
fn check_offered(tools: &[&Tool]) -> Result<()> {
    let offered = |tool: &&&Tool| apt::offers(&[tool.package.to_owned()]);
    let lacking: Vec<String> =
        tools.iter().filter(|tool| !offered(tool)).map(|tool| tool.to_string()).collect();
    if !lacking.is_empty() {
        bail!(
            "the tests run {}, and this machine's package sources do not offer it: add one that \
             does, or install it by hand",
            lacking.join(", ")
        );
    }
    Ok(())
}

/// Programs and packages that a machine lacks.
struct Missing {
    /// Programs that the tests run.
    tools: Vec<&'static Tool>,
    /// Parts of the host's Rust toolchain.
    components: Vec<&'static str>,
    /// The compiler of the BPF object.
    compiler: bool,
    /// The linker of the BPF object.
    linker: bool,
}

impl Missing {
    fn find(scope: Scope) -> Self {
        let everything = scope != Scope::Build;
        let benchmarks = scope == Scope::Benchmarks;
        let lacks_component =
            |name: &&str| !succeeds(workspace::cargo().args([*name, "--version"]));
        Self {
            tools: (packages::TOOLS.iter().filter(|_| everything))
                .chain(packages::RIVALS.iter().filter(|_| benchmarks))
                .filter(|tool| find(tool.program).is_none())
                .collect(),
            components: ["fmt", "clippy"]
                .into_iter()
                .filter(|name| everything && lacks_component(name))
                .collect(),
            compiler: toolchain::compiler().is_err(),
            linker: toolchain::linker().is_err(),
        }
    }

    fn is_nothing(&self) -> bool {
        self.names().is_empty()
    }

    /// For the reader: programs, and the packages that bring them where the names differ.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tools.iter().map(|tool| tool.to_string()).collect();
        names.extend(self.components.iter().map(|name| format!("cargo {name}")));
        if self.compiler {
            names.push(format!("rustc {} for {}", toolchain::RUST, toolchain::TARGET));
        }
        if self.linker {
            names.push(format!("bpf-linker {}", toolchain::LINKER));
        }
        names
    }
}
