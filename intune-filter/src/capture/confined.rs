//! Runs a function in a child process that has dropped every privilege: no capability, no user of its own,
//! no file but two pipes, and of system calls those that memory, reading and writing take.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Write as _},
    os::fd::{AsRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
};

use anyhow::{Context as _, Result, bail, ensure};
use caps::CapSet;
use nix::{
    errno::Errno,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Gid, Uid, fork, geteuid, pipe, setgroups, setresgid, setresuid},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use serde::{Serialize, de::DeserializeOwned};

use super::error::too_large;

/// User and group that own nothing.
const NOBODY: u32 = 65_534;

/// Octets of memory that the child may have.
const MEMORY: u64 = 2 << 30;

/// Octets of an outcome at most.
const OUTCOME: u64 = 64 << 20;

/// Octets of the source that are handed on at a time.
const CHUNK: usize = 1 << 16;

/// Runs `work` over the octets of a source, `most` at most, and returns what comes of it.
///
/// # Errors
/// The source has more octets; there is no child, it cannot be confined, or it dies before it is done.
pub(crate) fn in_confinement<T: Serialize + DeserializeOwned>(
    source: &mut dyn Read,
    most: u64,
    work: impl FnOnce(File) -> T,
) -> Result<T> {
    let (input, mut to_child) = ends()?;
    let (mut from_child, output) = ends()?;
    // SAFETY: this program has one thread here, and so no lock of the allocator or of another thread's is
    // held; the child uses memory and its two pipes alone, and never returns from this function.
    match unsafe { fork() }.context("cannot start a process for the capture")? {
        ForkResult::Child => {
            drop((to_child, from_child));
            let code = be_child(input, output, work);
            // SAFETY: ends the process without the destructors of its parent's values.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop((input, output));
            let handed = hand_on(source, most, &mut to_child);
            drop(to_child);
            let mut text = Vec::new();
            let read = Read::by_ref(&mut from_child).take(OUTCOME + 1).read_to_end(&mut text);
            drop(from_child);
            let status =
                waitpid(child, None).context("cannot wait for the reader of the capture")?;
            if handed.context("cannot read the capture")? > most {
                return Err(too_large(most).into());
            }
            read.context("cannot read what the reader of the capture says")?;
            ensure!(text.len() as u64 <= OUTCOME, "the reader of the capture says too much");
            match status {
                WaitStatus::Exited(_, 0) => serde_json::from_slice(&text)
                    .context("the reader of the capture makes no sense"),
                WaitStatus::Exited(_, CONFINEMENT) => bail!(
                    "the process that reads the capture cannot drop its privileges: {}",
                    String::from_utf8_lossy(&text)
                ),
                WaitStatus::Signaled(_, Signal::SIGSYS, _) => {
                    bail!("the reader of the capture has tried more than it may, and was ended")
                }
                WaitStatus::Signaled(_, signal, _) => {
                    bail!(
                        "the reader of the capture was ended by {signal}: too little memory or time"
                    )
                }
                _ => bail!("the reader of the capture has failed"),
            }
        }
    }
}

/// Exit code of a child that cannot be confined, and of one that has failed.
const CONFINEMENT: i32 = 3;
const FAILED: i32 = 1;

fn ends() -> Result<(File, File)> {
    let (read, write): (OwnedFd, OwnedFd) = pipe().context("cannot make a pipe")?;
    Ok((read.into(), write.into()))
}

/// Hands a source on, and returns the number of octets that were read of it: one more than `most` if there
/// are more. A child that reads no more has its reason, and says it.
fn hand_on(source: &mut dyn Read, most: u64, to: &mut File) -> io::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut total = 0;
    loop {
        let length = match source.read(&mut chunk) {
            Ok(0) => return Ok(total),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        total += length as u64;
        if total > most {
            return Ok(total);
        }
        match to.write_all(chunk.get(..length).unwrap_or_default()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(total),
            Err(error) => return Err(error),
        }
    }
}

fn be_child<T: Serialize>(input: File, output: File, work: impl FnOnce(File) -> T) -> i32 {
    // Whatever goes wrong has no words of its own.
    std::panic::set_hook(Box::new(|_| {}));
    if let Err(error) = confine(&input, &output) {
        let _ = (&output).write_all(format!("{error:#}").as_bytes());
        return CONFINEMENT;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| work(input)));
    let Ok(Ok(text)) = outcome.map(|outcome| serde_json::to_vec(&outcome)) else { return FAILED };
    if (&output).write_all(&text).is_ok() { 0 } else { FAILED }
}

/// Drops everything but the two pipes.
fn confine(input: &File, output: &File) -> Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("PR_SET_PDEATHSIG")?;
    close_others(input, output)?;
    limit()?;
    drop_user()?;
    prctl::set_dumpable(false).context("PR_SET_DUMPABLE")?;
    prctl::set_no_new_privs().context("PR_SET_NO_NEW_PRIVS")?;
    apply_filter(&filter()?).context("seccomp")
}

fn close_others(input: &File, output: &File) -> Result<()> {
    let mut kept = [input.as_raw_fd(), output.as_raw_fd()].map(i64::from);
    kept.sort_unstable();
    let [first, second] = kept;
    for (from, to) in [(0, first - 1), (first + 1, second - 1), (second + 1, i64::from(u32::MAX))] {
        if from > to {
            continue;
        }
        // SAFETY: closes descriptors that nothing in this process uses from here on: it has no values of
        // its parent's that would read or write.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0_i64) };
        Errno::result(closed).context("close_range")?;
    }
    Ok(())
}

/// Bounds memory, and forbids files, processes and core dumps.
fn limit() -> Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_NOFILE, 0),
        (Resource::RLIMIT_NPROC, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, most, most).with_context(|| format!("{resource:?}"))?;
    }
    Ok(())
}

/// Takes user, groups and capabilities away.
fn drop_user() -> Result<()> {
    if geteuid().is_root() {
        caps::clear(None, CapSet::Bounding).context("the bounding set")?;
        setgroups(&[]).context("setgroups")?;
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setresgid(group, group, group).context("setresgid")?;
        setresuid(user, user, user).context("setresuid")?;
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).with_context(|| format!("capabilities, {set:?}"))?;
    }
    Ok(())
}

/// Returns the filter of system calls: any other ends the process.
fn filter() -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_brk,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigprocmask,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ]
    .map(|call| (call, Vec::new()))
    .into();
    // Memory that is executable is none that is written to.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        let never = SeccompCondition::new(2, SeccompCmpArgLen::Dword, executable, 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![never])?]);
    }
    // What closes a file in a debug build asks first whether it is open.
    let asks = SeccompCmpOp::Eq;
    let asks = SeccompCondition::new(1, SeccompCmpArgLen::Dword, asks, libc::F_GETFD as u64)?;
    rules.insert(libc::SYS_fcntl, vec![SeccompRule::new(vec![asks])?]);
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let (otherwise, allowed) = (SeccompAction::KillProcess, SeccompAction::Allow);
    Ok(SeccompFilter::new(rules, otherwise, allowed, arch)?.try_into()?)
}
