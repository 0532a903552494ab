//! Errors of a capture, each with the place in the file.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Fault of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaptureError {
    /// Octets before the record that cannot be read.
    pub offset: u64,
    /// Description of the fault.
    pub fault: Fault,
}

/// Kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// The file is neither pcap nor pcapng.
    NoCapture,
    /// The file has no octet.
    Empty,
    /// The file ends within a record.
    Truncated,
    /// A record's lengths or numbers contradict each other.
    Malformed,
    /// A record is longer than any packet.
    TooLong,
    /// A packet names an interface that the file does not describe.
    NoInterface,
    /// More interfaces are described than are kept.
    TooManyInterfaces,
    /// Packets have headers that are not read; the number is that of the link type.
    LinkType(i32),
    /// The file has more octets than are read.
    TooLarge,
    /// The octets cannot be had.
    Unreadable,
    /// The reader has failed, which is a fault of this program.
    Reader,
}

/// Returns the error of a capture that is longer than is read.
pub(crate) const fn too_large(offset: u64) -> CaptureError {
    CaptureError { offset, fault: Fault::TooLarge }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at octet {}: ", self.offset)?;
        match &self.fault {
            Fault::NoCapture => f.write_str("no capture, expected pcap or pcapng"),
            Fault::Empty => f.write_str("the file is empty, expected pcap or pcapng"),
            Fault::Truncated => f.write_str("the capture ends within a record"),
            Fault::Malformed => f.write_str("a record whose lengths contradict each other"),
            Fault::TooLong => f.write_str("a record that is longer than any packet"),
            Fault::NoInterface => {
                f.write_str("a packet of an interface that the capture does not describe")
            }
            Fault::TooManyInterfaces => f.write_str("more than 4096 interfaces"),
            Fault::LinkType(number) => write!(
                f,
                "packets of link type {number}, expected Ethernet (1), raw IP (101, 228, 229), Linux \
                 SLL (113) or SLL2 (276)"
            ),
            Fault::TooLarge => f.write_str("the capture is longer than 1 GiB"),
            Fault::Unreadable => f.write_str("the capture cannot be read on"),
            Fault::Reader => f.write_str("the reader of captures has failed"),
        }
    }
}

impl std::error::Error for CaptureError {}
