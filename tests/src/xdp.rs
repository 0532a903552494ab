//! An XDP program that passes every packet, attached to an interface as long as it is held.
//!
//! A frame that a program sends back with XDP_TX reaches a veth peer only if that runs an XDP
//! program too. It also plays the program of somebody else that the filter must not replace.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use anyhow::{Context as _, Result};
use nix::libc;

use crate::namespace::Namespace;

/// The program and its attachment; gone on drop.
#[derive(Debug)]
pub struct PassAll {
    program: OwnedFd,
    _link: OwnedFd,
}

impl PassAll {
    /// Attaches the program to an interface of `namespace`.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        let ifindex = namespace.ifindex(interface)?;
        let program = load().context("cannot load an XDP program")?;
        let link = namespace
            .run(|| link(program.as_raw_fd(), ifindex))
            .with_context(|| format!("cannot attach an XDP program to {interface}"))?;
        Ok(Self { program, _link: link })
    }

    /// The kernel's id of the program.
    pub fn id(&self) -> Result<u32> {
        let path = format!("/proc/self/fdinfo/{}", self.program.as_raw_fd());
        let text = std::fs::read_to_string(path)?;
        let id = text.lines().find_map(|line| line.strip_prefix("prog_id:"));
        Ok(id.context("a program has an id")?.trim().parse()?)
    }
}

/// `struct bpf_insn`.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// Attributes of `BPF_PROG_LOAD` in `union bpf_attr`.
#[repr(C)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: *const Instruction,
    license: *const libc::c_char,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

fn load() -> Result<OwnedFd> {
    const BPF_PROG_LOAD: libc::c_int = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    const XDP_PASS: i32 = 2;
    // Without it the peer's MTU is kept below a page.
    const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
    const MOVE_TO_R0: u8 = 0xb7;
    const EXIT: u8 = 0x95;

    let instructions = [
        Instruction { code: MOVE_TO_R0, registers: 0, offset: 0, immediate: XDP_PASS },
        Instruction { code: EXIT, registers: 0, offset: 0, immediate: 0 },
    ];
    let attributes = Load {
        kind: BPF_PROG_TYPE_XDP,
        instruction_count: 2,
        instructions: instructions.as_ptr(),
        license: c"GPL".as_ptr(),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: BPF_F_XDP_HAS_FRAGS,
        name: *b"pass_all\0\0\0\0\0\0\0\0",
    };
    // SAFETY: the pointers in the attributes are valid for the call, which reads no more than them.
    unsafe { bpf(BPF_PROG_LOAD, &attributes) }
}

/// Attributes of `BPF_LINK_CREATE` in `union bpf_attr`.
#[repr(C)]
struct LinkCreate {
    program: RawFd,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

fn link(program: RawFd, ifindex: u32) -> Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    const BPF_XDP: u32 = 37;

    let attributes = LinkCreate { program, ifindex, attach_type: BPF_XDP, flags: 0 };
    // SAFETY: the attributes hold no pointers.
    unsafe { bpf(BPF_LINK_CREATE, &attributes) }
}

/// The system call, for commands that return a file descriptor.
///
/// # Safety
/// `attributes` has to be what `command` reads, and its pointers valid.
unsafe fn bpf<T>(command: libc::c_int, attributes: &T) -> Result<OwnedFd> {
    // SAFETY: the caller vouches for the attributes, whose size is passed.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    let fd = nix::errno::Errno::result(result)?;
    let fd = RawFd::try_from(fd).context("bpf() returns a file descriptor")?;
    // SAFETY: a fresh descriptor, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
