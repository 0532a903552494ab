//! The packages of Debian and Ubuntu that building and testing need.

use std::fmt;

use crate::toolchain;

/// A program that the tests run, and the package that brings it.
pub(crate) struct Tool {
    /// The program's name.
    pub program: &'static str,
    /// The package's name.
    pub package: &'static str,
    /// Services that the package would start, and that no test wants.
    pub services: &'static [&'static str],
}

/// The keys of Debian's archive.
pub(crate) const ARCHIVE_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Programs that tests run, or that the demo tells its reader to run.
pub(crate) const TOOLS: [Tool; 23] = [
    tool("ip", "iproute2"),
    tool("nft", "nftables"),
    tool("ipset", "ipset"),
    tool("dnsmasq", "dnsmasq-base"),
    Tool { program: "unbound", package: "unbound", services: &["unbound.service"] },
    Tool { program: "named", package: "bind9", services: &["named.service"] },
    Tool {
        program: "kresd",
        package: "knot-resolver",
        services: &["kresd.target", "kres-cache-gc.service"],
    },
    tool("dig", "bind9-dnsutils"),
    tool("ping", "iputils-ping"),
    // The other usual library of C, whose name resolution is not glibc's.
    tool("musl-gcc", "musl-tools"),
    tool("curl", "curl"),
    tool("bpftool", "bpftool"),
    tool("wg", "wireguard-tools"),
    tool("pppd", "ppp"),
    tool("pppoe-server", "pppoe"),
    tool("teamd", "libteam-utils"),
    Tool { program: "prometheus", package: "prometheus", services: &["prometheus.service"] },
    tool("systemd-analyze", "systemd"),
    tool("ethtool", "ethtool"),
    tool("setpriv", "util-linux"),
    tool("git", "git"),
    // For the virtual machines: their kernel's modules, and whom to believe what they come from.
    tool("xz", "xz-utils"),
    tool(ARCHIVE_KEYS, "debian-archive-keyring"),
];

/// Programs that the benchmarks hold the filter against.
pub(crate) const RIVALS: [Tool; 1] = [tool("iptables", "iptables")];

/// The compiler with `core` for the BPF target, in the release that `toolchain` fixes.
pub(crate) const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

/// Package of LLVM for the linker of the BPF object.
pub(crate) fn llvm() -> String {
    format!("llvm-{}-dev", toolchain::LLVM)
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package, services: &[] }
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
