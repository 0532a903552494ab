//! Keeps VLAN tags in frames for XDP: a network card that strips them hides a frame's zone from the
//! program.

use std::{
    net::UdpSocket,
    os::fd::{AsRawFd as _, RawFd},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    libc::{__c_anonymous_ifr_ifru, IFNAMSIZ, c_char, ifreq},
};

/// linux/sockios.h.
const SIOCETHTOOL: u16 = 0x8946;
/// linux/ethtool.h: reads the flags.
const ETHTOOL_GFLAGS: u32 = 0x25;
/// Command of linux/ethtool.h that writes the flags.
const ETHTOOL_SFLAGS: u32 = 0x26;
/// Command of linux/ethtool.h that describes the driver.
const ETHTOOL_GDRVINFO: u32 = 0x03;
/// Flag of linux/ethtool.h: received tags are stripped.
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// Drivers of stacked devices, which receive frames from the kernel with the tag already stripped,
/// whatever the cards below them do.
const STACKED: [&str; 5] = ["bridge", "bonding", "team", "macvlan", "ipvlan"];

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct EthtoolDriver {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<EthtoolDriver>() == 196);

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Ensures that received tags stay in the frames, by turning `rx-vlan-offload` off if it is on and
/// `manage` allows it.
///
/// # Errors
///
/// XDP would not see the tags: the interface cannot be enforced.
pub fn keep_tags(interface: &str, manage: bool) -> Result<()> {
    // Any socket will do, since it only selects the network namespace.
    let socket = UdpSocket::bind(("127.0.0.1", 0))
        .or_else(|_| UdpSocket::bind(("0.0.0.0", 0)))
        .context("cannot make a socket to ask for the interface's offloads")?;
    let socket = socket.as_raw_fd();
    if let Some(driver) = driver(socket, interface)
        && STACKED.contains(&driver.as_str())
    {
        bail!(
            "the kernel takes VLAN tags off before XDP sees them on {interface}, a device of \
             {driver}: expected `mode: tc` there, or interfaces that are the VLANs' own devices"
        );
    }
    let flags = match flags(socket, interface) {
        Ok(flags) => flags,
        // A driver without such settings has no such offload.
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {interface}'s offloads"));
        }
    };
    if flags & ETH_FLAG_RXVLAN == 0 {
        return Ok(());
    }
    if !manage {
        bail!(
            "{interface} takes VLAN tags off before XDP sees them, and manage_offloads is false: \
             turn that off (`ethtool -K {interface} rx-vlan-offload off`), or let it be managed"
        );
    }
    set_flags(socket, interface, flags & !ETH_FLAG_RXVLAN)
        .with_context(|| format!("cannot turn {interface}'s rx-vlan-offload off"))?;
    if self::flags(socket, interface)? & ETH_FLAG_RXVLAN != 0 {
        bail!("{interface} takes VLAN tags off before XDP sees them, and cannot be kept from it");
    }
    log::info!("{interface}: rx-vlan-offload is off now, so that VLAN tags are seen");
    Ok(())
}

/// Returns the name of the driver, if known.
fn driver(socket: RawFd, interface: &str) -> Option<String> {
    let mut info = EthtoolDriver { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    ethtool(socket, interface, &mut info).ok()?;
    let name = info.driver.split(|octet| *octet == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(name).into_owned())
}

fn flags(socket: RawFd, interface: &str) -> nix::Result<u32> {
    let mut value = EthtoolValue { command: ETHTOOL_GFLAGS, data: 0 };
    ethtool(socket, interface, &mut value)?;
    Ok(value.data)
}

fn set_flags(socket: RawFd, interface: &str, flags: u32) -> nix::Result<()> {
    ethtool(socket, interface, &mut EthtoolValue { command: ETHTOOL_SFLAGS, data: flags })
}

/// `value` is what the command that it begins with reads and writes.
fn ethtool<T>(socket: RawFd, interface: &str, value: &mut T) -> nix::Result<()> {
    let mut name: [c_char; IFNAMSIZ] = [0; IFNAMSIZ];
    // The last octet stays zero.
    if interface.len() >= name.len() {
        return Err(Errno::EINVAL);
    }
    for (to, from) in name.iter_mut().zip(interface.bytes()) {
        *to = from as c_char;
    }
    let data = __c_anonymous_ifr_ifru { ifru_data: (&raw mut *value).cast() };
    let mut request = ifreq { ifr_name: name, ifr_ifru: data };
    // SAFETY: both structures outlive the call, and are what the request wants.
    unsafe { ioctl::ethtool(socket, &raw mut request) }.map(drop)
}

mod ioctl {
    use super::{SIOCETHTOOL, ifreq};

    nix::ioctl_readwrite_bad!(
        /// Reads or writes what the request's data says, of the interface that it names.
        ethtool,
        SIOCETHTOOL,
        ifreq
    );
}
