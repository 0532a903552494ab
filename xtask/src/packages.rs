//! The packages of Debian and Ubuntu that building and testing need.

use std::fmt;

use crate::toolchain;

/// A program that the tests run, and the package that brings it.
pub struct Tool {
    /// The program's name.
    pub program: &'static str,
    /// The package's name.
    pub package: &'static str,
    /// A service that the package would start, and that no test wants.
    pub service: Option<&'static str>,
}

/// What the tests run, and what the demo tells its reader to run.
pub const TOOLS: [Tool; 9] = [
    tool("ip", "iproute2"),
    tool("nft", "nftables"),
    tool("dnsmasq", "dnsmasq-base"),
    Tool { program: "unbound", package: "unbound", service: Some("unbound.service") },
    tool("dig", "bind9-dnsutils"),
    tool("ping", "iputils-ping"),
    tool("curl", "curl"),
    tool("bpftool", "bpftool"),
    tool("systemd-analyze", "systemd"),
];

/// The compiler with `core` for the BPF target, in the release that `toolchain` fixes.
pub const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// What the linker of the BPF object is built with.
pub fn llvm() -> String {
    format!("llvm-{}-dev", toolchain::LLVM)
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package, service: None }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program)?;
        if self.program != self.package {
            write!(f, " (package {})", self.package)?;
        }
        Ok(())
    }
}
