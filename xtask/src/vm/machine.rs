//! Booting a kernel in QEMU, and reading what it says on its serial line.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    figures::Figures,
    guest::{BEGIN, DONE, END},
    kernel::KernelPackage,
};
use crate::runner::Count;

/// The soak's name among what a machine runs.
pub(super) const SOAK: &str = "soak";
/// Processors that a machine has, and of this computer keeps busy.
pub(super) const PROCESSORS: usize = 2;
/// Longest time without output: on a busy computer a test that loads the programs again and again
/// takes minutes.
const SILENCE: Duration = Duration::from_secs(900);
/// Lines that are shown of a machine that failed.
const TAIL: usize = 80;
/// All that can be emulated, but for the fast string instructions: those are emulated octet by
/// octet, and the verifier, which copies and clears much, takes twice as long with them.
const PROCESSOR: &str = "max,-erms,-fsrm,-fsrs,-fzrm";
/// Models of network cards: one that takes VLAN tags off as hardware does, one that has native XDP on all
/// kernels, and one that has it on none.
const CARDS: [&str; 3] = ["vmxnet3", "virtio-net-pci", "e1000"];
/// Last words of a kernel that cannot go on.
const PANIC: &str = "Kernel panic - not syncing";

/// Directories of shared libraries in an unpacked package tree.
const LIBRARIES: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

/// Report of a machine.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Its tests.
    pub count: Count,
    /// Figures of the kernel.
    figures: Figures,
    /// From its start to its last word.
    took: Duration,
    /// Runners that ended with a failure.
    runners: Vec<String>,
    runner: String,
    done: bool,
    panicked: bool,
    silent: bool,
}

impl Report {
    /// Reason of the machine's failure, if it failed.
    pub(super) fn reason(&self) -> Option<String> {
        if self.panicked {
            return Some("the kernel panicked".to_owned());
        }
        if !self.done {
            let how = if self.silent { "it said nothing more" } else { "it ended" };
            return Some(format!("{how} before all tests had run (at {})", self.runner));
        }
        if !self.runners.is_empty() {
            return Some(format!("failed: {}", self.runners.join(", ")));
        }
        if self.count.ignored > 0 {
            return Some("tests were ignored: where, if not here, are they to run?".to_owned());
        }
        (self.count.passed == 0).then(|| "no test ran".to_owned())
    }

    /// Takes a line; returns what is worth showing at once.
    fn read(&mut self, line: &str) -> Option<String> {
        if let Some(name) = line.strip_prefix(BEGIN) {
            name.clone_into(&mut self.runner);
        } else if let Some(code) = line.strip_prefix(END) {
            if code != "0" {
                self.runners.push(self.runner.clone());
            }
        } else if line == DONE {
            self.done = true;
        } else if self.figures.read(line) {
            return Some(line.to_owned());
        } else if line.starts_with("test ")
            && !line.starts_with("test result: ")
            // What is slow anywhere is slow here.
            && !line.ends_with(" has been running for over 60 seconds")
        {
            return Some(format!("{}: {}", self.runner, line.trim_start_matches("test ")));
        }
        self.count.read(line);
        (self.runner == SOAK).then(|| line.to_owned())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s{}", self.count, self.took.as_secs(), self.figures)
    }
}

/// Boots a kernel, shows a line for each test, and returns what it told.
/// It has to come to its last word in time.
pub(super) fn boot(
    emulator: &Path,
    kernel: &KernelPackage,
    image: &Path,
    version: &str,
    patience: Duration,
) -> Result<Report> {
    let log_path = image.with_file_name(format!("{version}.log"));
    let kernel_log = image.with_file_name(format!("{version}.kernel.log"));
    let mut log =
        File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let started = Instant::now();
    let mut machine = Machine(start(emulator, kernel, image, &kernel_log)?);
    let output = machine.0.stdout.take().context("the machine's serial line is a pipe")?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });

    let mut report = Report::default();
    let mut tail = VecDeque::new();
    while started.elapsed() < patience {
        let line = match lines.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                report.silent = true;
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        writeln!(log, "{line}")?;
        if let Some(shown) = report.read(&line) {
            println!("{version}: {shown}");
        }
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
        if report.done {
            break;
        }
    }
    // The kernel's last words are in its log when the machine has ended.
    drop(machine);
    let kernel_says = fs::read(&kernel_log).unwrap_or_default();
    let kernel_says = String::from_utf8_lossy(&kernel_says);
    report.panicked = kernel_says.contains(PANIC);
    if let Some(reason) = report.reason() {
        println!("{version}: {reason}; the last lines of {}:", log_path.display());
        tail.iter().for_each(|line| println!("    {line}"));
        println!("{version}: what the kernel said, {}:", kernel_log.display());
        let lines: Vec<_> = kernel_says.lines().collect();
        let before = lines.len().saturating_sub(TAIL);
        lines.iter().skip(before).for_each(|line| println!("    {line}"));
    }
    report.took = started.elapsed();
    println!("{version}: {report}");
    Ok(report)
}

fn start(emulator: &Path, kernel: &KernelPackage, image: &Path, log: &Path) -> Result<Child> {
    let libraries = LIBRARIES.map(|path| emulator.join(path).display().to_string()).join(":");
    // The emulator comes with the C library that it was built with.
    let mut qemu = Command::new(emulator.join("lib64/ld-linux-x86-64.so.2"));
    qemu.args(["--library-path", &libraries]);
    qemu.arg(emulator.join("usr/bin/qemu-system-x86_64"));
    for data in ["usr/share/qemu", "usr/share/seabios"] {
        qemu.arg("-L").arg(emulator.join(data));
    }
    // No KVM: a machine that offers it to its guests may still fail to run one.
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", PROCESSOR]);
    qemu.args(["-smp", &PROCESSORS.to_string(), "-m", "3072"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    // Two serial lines, so that nothing that the kernel says cuts a test's line in two.
    qemu.args(["-serial", "stdio", "-serial"]).arg(file_option(log));
    // On a busy computer the timer's interrupts come too late for the kernel's check of them, after
    // which it panics.
    qemu.args(["-append", "console=ttyS1 panic=-1 quiet no_timer_check"]);
    // Network cards, two of a model on one wire.
    for (wire, model) in CARDS.into_iter().enumerate() {
        for end in ["a", "b"] {
            let (card, address) =
                (format!("card{wire}{end}"), format!("52:54:00:00:0{wire}:0{end}"));
            qemu.args(["-netdev", &format!("hubport,id={card},hubid={wire}")]);
            qemu.args(["-device", &format!("{model},netdev={card},mac={address},romfile=")]);
        }
    }
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    qemu.spawn().context("cannot run QEMU")
}

fn file_option(path: &Path) -> OsString {
    let mut option = OsString::from("file:");
    option.push(path);
    option
}

/// A running emulator, ended on drop.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            report.read(line);
        }
        report
    }

    const PASSED: &str = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; \
                          0 filtered out; finished in 1.00s";

    #[test]
    fn a_machine_has_to_say_that_all_have_run() {
        let lines = ["vm: runs verifier", PASSED, "vm: ended with 0", DONE];
        assert_eq!(report(&lines).reason(), None);
        assert!(report(&lines[..3]).reason().is_some());
        assert!(report(&[DONE]).reason().is_some(), "no test ran");
        let ignored = PASSED.replace("0 ignored", "1 ignored");
        assert!(report(&["vm: runs devices", &ignored, DONE]).reason().is_some());
        let failed = ["vm: runs verifier", PASSED, "vm: ended with 101", DONE];
        assert_eq!(report(&failed).reason().as_deref(), Some("failed: verifier"));
        let mut panicked = report(&lines);
        panicked.panicked = true;
        assert!(panicked.reason().is_some());
    }
}
