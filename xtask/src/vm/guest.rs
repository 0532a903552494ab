//! Guest of the machine: the first process, and the first file system with its programs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::{
    initramfs::Initramfs,
    kernel::KernelPackage,
    modules::{self, Module},
    programs::{self, Test, libraries},
};
use crate::{command::find, workspace};

/// Line of the first process before a runner starts; the runner's name follows.
pub(super) const BEGIN: &str = "vm: runs ";
/// Line of the first process after a runner has ended; the exit code follows.
pub(super) const END: &str = "vm: ended with ";
/// Last line of the first process. Without it the machine has failed, whatever else it printed.
pub(super) const DONE: &str = "vm: all have run";

/// Programs of this computer that the tests run.
const PROGRAMS: [&str; 19] = [
    "ip",
    "tc",
    "bridge",
    "ethtool",
    "nft",
    "nsenter",
    "setpriv",
    "dnsmasq",
    "unbound",
    "dig",
    "getent",
    "ping",
    "curl",
    "bpftool",
    "wg",
    "pppd",
    "pppoe",
    "pppoe-server",
    "teamd",
];

/// Directories of the plugins of pppd, each below one of its release, and the one that it needs for PPPoE.
const PPP_PLUGINS: [&str; 2] = ["/usr/lib/pppd", "/usr/lib/x86_64-linux-gnu/pppd"];
const PPPOE_PLUGIN: &str = "pppoe.so";

/// Modules that nothing loads by itself where there is no modprobe.
const MODULES: [&str; 33] = [
    // What a module asks for by another name than that of a file.
    "crc32c_generic",
    "8021q",
    "bonding",
    "bridge",
    "dummy",
    "ip_gre",
    "ipvlan",
    "macvlan",
    "ppp_async",
    "pppoe",
    "team_mode_activebackup",
    "tun",
    "veth",
    "vrf",
    "wireguard",
    "e1000",
    "virtio_pci",
    "virtio_net",
    "vmxnet3",
    "sch_ingress",
    "sch_netem",
    "cls_bpf",
    "nf_tables",
    "nf_flow_table_inet",
    "nft_chain_nat",
    "nft_ct",
    "nft_fib_inet",
    "nft_flow_offload",
    "nft_masq",
    "nft_nat",
    "nft_redir",
    "nft_reject_inet",
    "nft_tproxy",
];

/// Seconds by which tests set back times in the kernel's maps: the clock, which counts from the
/// machine's start, has to be past them.
const AGE: u32 = 200;

/// Writes the first file system, with the filter that is tested.
pub(super) fn write(
    image: &Path,
    busybox: &Path,
    kernel: &KernelPackage,
    filter: &Path,
    tests: &[Test],
) -> Result<()> {
    let file = File::create(image).with_context(|| format!("cannot write {}", image.display()))?;
    let mut archive = Initramfs::new(BufWriter::new(file));
    for directory in ["dev", "proc", "sys", "tmp", "run", "root", "var/lib"] {
        archive.directory(directory)?;
    }
    archive.link("var/run", "/run")?;
    archive.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
    archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")?;
    // What tests of glibc put files of their own over.
    for name in ["resolv.conf", "hosts", "nsswitch.conf"] {
        archive.file(&format!("etc/{name}"), b"")?;
    }
    archive.file("bin/busybox", &read(busybox)?)?;
    archive.link("bin/sh", "busybox")?;
    // Some programs run others by their whole path.
    archive.link("usr/sbin", "bin")?;
    // Without this file pppd does not start.
    archive.file("etc/ppp/options", b"")?;

    let plugin = pppoe_plugin()?;
    let mut needed = BTreeSet::from_iter(libraries(&plugin)?);
    archive.file(&below_root(&plugin), &read(&plugin)?)?;
    for program in PROGRAMS {
        let Some(path) = find(program) else { bail!("{program} is not here") };
        needed.extend(libraries(&path)?);
        archive.file(&format!("usr/bin/{program}"), &read(&path)?)?;
    }
    // A runner may run more than once.
    let tested: BTreeMap<_, _> =
        tests.iter().map(|test| (test.name.as_str(), test.program.as_path())).collect();
    for (name, program) in tested.into_iter().chain([("intune-filter", filter)]) {
        needed.extend(libraries(program)?);
        archive.file(&format!("tests/{name}"), &programs::stripped(program)?)?;
    }
    for library in &needed {
        // Where the loader looks for it by itself, whatever the path is a link to.
        archive.file(below_root(library).as_str(), &read(library)?)?;
    }
    sources(&mut archive)?;

    let modules = modules::load_order(&kernel.modules, &MODULES)?;
    for module in &modules {
        archive.file(&format!("modules/{}.ko", module.name), &module.content)?;
    }
    archive.file("init", first_process(&modules, tests).as_bytes())?;
    archive.finish().with_context(|| format!("cannot write {}", image.display()))
}

fn pppoe_plugin() -> Result<PathBuf> {
    let releases = PPP_PLUGINS.iter().flat_map(fs::read_dir).flatten().flatten();
    let plugins = releases.map(|release| release.path().join(PPPOE_PLUGIN));
    let found = plugins.filter(|plugin| plugin.exists()).max();
    found.with_context(|| format!("pppd has no {PPPOE_PLUGIN} below {}", PPP_PLUGINS.join(" or ")))
}

/// The configuration's directory, where the tests were told that it is.
fn sources(archive: &mut Initramfs<impl Write>) -> Result<()> {
    let root = workspace::root();
    archive.directory(&below_root(&root.join("tests")))?;
    let config = root.join("config");
    for entry in fs::read_dir(&config)? {
        let path = entry?.path();
        if path.is_file() {
            archive.file(&below_root(&path), &read(&path)?)?;
        }
    }
    Ok(())
}

fn first_process(modules: &[Module], tests: &[Test]) -> String {
    let mut script = "#!/bin/sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/usr/bin:/bin HOME=/root RUST_BACKTRACE=0\n\
         export INTUNE_FILTER=/tests/intune-filter\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sysfs /sys\n\
         mount -t devtmpfs devtmpfs /dev\n\
         mkdir /dev/pts\n\
         mount -t devpts devpts /dev/pts\n\
         mount -t tmpfs tmpfs /tmp\n\
         mount -t tmpfs tmpfs /run\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         exec >/dev/ttyS0 2>&1\n"
        .to_owned();
    for module in modules {
        script += &format!("insmod /modules/{}.ko\n", module.name);
    }
    // Some tests have hundreds of clients.
    script += "ulimit -n 65536\nip link set lo up\ncd /tmp\n";
    for (number, test) in tests.iter().enumerate() {
        let (name, arguments) = (&test.name, test.arguments.join(" "));
        if number == 1 {
            script +=
                &format!("until [ $(cut -d. -f1 /proc/uptime) -gt {AGE} ]; do sleep 1; done\n");
        }
        script += &format!(
            "echo '{BEGIN}{name}'\n\
             /tests/{name} {arguments}\n\
             echo \"{END}$?\"\n"
        );
    }
    script + &format!("echo '{DONE}'\npoweroff -f\n")
}

fn below_root(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
