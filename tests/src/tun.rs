//! A point-to-point link of layer 3: two tun devices, in two namespaces, and a thread that carries packets
//! from one to the other.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pipe2,
};

use crate::namespace::Namespace;

/// `ARPHRD_RAWIP`: the type of modems that carry IP and nothing else.
pub const RAW_IP: libc::c_ulong = 519;

/// Longest packet that is carried.
const LONGEST: usize = 65_536;

/// A tun device: what the kernel sends out of it is read, what is written comes in by it. Gone when
/// dropped.
#[derive(Debug)]
pub struct Tun {
    device: File,
}

impl Tun {
    /// Makes a device of this name, which is down.
    pub fn create(namespace: &Namespace, name: &str) -> Result<Self> {
        const IFF_TUN: u16 = 1;
        Self::create_as(IFF_TUN, namespace, name)
    }

    /// The same with Ethernet headers: a tap device.
    pub fn create_tap(namespace: &Namespace, name: &str) -> Result<Self> {
        const IFF_TAP: u16 = 2;
        Self::create_as(IFF_TAP, namespace, name)
    }

    fn create_as(flag: u16, namespace: &Namespace, name: &str) -> Result<Self> {
        const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
        const IFF_NO_PI: u16 = 0x1000;

        let mut request = [0_u8; 40];
        ensure!(name.len() < 16, "{name} is too long for a name");
        request[..name.len()].copy_from_slice(name.as_bytes());
        request[16..18].copy_from_slice(&(flag | IFF_NO_PI).to_ne_bytes());
        let device = namespace.run(|| -> io::Result<File> {
            let device = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open("/dev/net/tun")?;
            // SAFETY: the request is an `ifreq`, of which the kernel reads and writes 40 octets.
            match unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) } {
                0 => Ok(device),
                _ => Err(io::Error::last_os_error()),
            }
        });
        Ok(Self { device: device.with_context(|| format!("cannot make a tun device {name}"))? })
    }

    /// Gives the device, which has to be down, another link type.
    pub fn set_type(&self, link: libc::c_ulong) -> Result<()> {
        const TUNSETLINK: libc::c_ulong = 0x4004_54cd;
        // SAFETY: the request takes its argument by value.
        let result = unsafe { libc::ioctl(self.device.as_raw_fd(), TUNSETLINK, link) };
        ensure!(result == 0, "cannot set a link type: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Has a packet come in by the device.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        (&self.device).write_all(packet).context("cannot write to a tun device")
    }
}

/// Two tun devices as the ends of one link; both are gone when it is dropped.
#[derive(Debug)]
pub struct TunLink {
    ends: [Tun; 2],
    end: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl TunLink {
    /// Connects two devices.
    pub fn connect(ends: [Tun; 2]) -> Result<Self> {
        // Not for the processes of the testbed, which would keep it open.
        let (stop, end) = pipe2(OFlag::O_CLOEXEC)?;
        let [one, other] = [ends[0].device.try_clone()?, ends[1].device.try_clone()?];
        let thread = thread::Builder::new()
            .name("tun".to_owned())
            .spawn(move || carry([&one, &other], &stop))?;
        Ok(Self { ends, end: Some(end), thread: Some(thread) })
    }

    /// Has a packet come in by the first device, as if the second had sent it.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        self.ends[0].send(packet)
    }
}

impl Drop for TunLink {
    fn drop(&mut self) {
        // The other end of the pipe is then readable.
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Carries packets both ways until the pipe has been closed.
fn carry(ends: [&File; 2], stop: &OwnedFd) {
    let mut packet = vec![0; LONGEST];
    loop {
        let mut fds = [ends[0].as_fd(), ends[1].as_fd(), stop.as_fd()]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut fds, PollTimeout::NONE).is_err() || fds[2].any() != Some(false) {
            return;
        }
        for (mut from, mut to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            // A device that is down takes nothing, as a wire would.
            while let Ok(length) = from.read(&mut packet) {
                let _ = to.write(&packet[..length]);
            }
        }
    }
}
