//! What the benchmarks tell the program that sends frames.

use crate::abi::layout;

/// A frame of a list: the octets that its headers, padded, have at most.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// From the first octet on; what is beyond the frame does not matter.
    pub octets: [u8; Frame::CAPACITY],
}
layout!(Frame, 80, [u8; 80]);

impl Frame {
    /// Octets at most.
    pub const CAPACITY: usize = 80;
    /// Octets of a frame with IPv4: as many as Ethernet asks for.
    pub const LENGTH4: usize = 60;
    /// Octets of a frame with IPv6: the headers up to TCP's.
    pub const LENGTH6: usize = 74;
    /// Hop limit that frames are sent with.
    pub const HOPS: u8 = 64;
    /// Traffic class of frames that are told from each other where they arrive: by their flow label,
    /// with IPv4 by their identification.
    pub const CHECKED: u8 = 4;
}

/// Which frames are sent, and where.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Index of the list's first frame.
    pub first: u32,
    /// Frames of the list, at least 1.
    pub count: u32,
    /// Which of them is the next.
    pub next: u32,
    /// Index of the interface that they leave by.
    pub interface: u32,
}
layout!(Course, 16, u32, u32, u32, u32);
