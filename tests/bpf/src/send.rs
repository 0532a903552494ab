//! The frames that the sending program sends, and their order.

use crate::layout;

/// Frame of a list: its headers, padded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Octets of the frame; those beyond its length are not sent.
    pub octets: [u8; Frame::CAPACITY],
}
layout!(Frame, 80, [u8; 80]);

impl Frame {
    /// Octets of the longest frame.
    pub const CAPACITY: usize = 80;
    /// Octets of a frame with IPv4: as many as Ethernet asks for.
    pub const LENGTH4: usize = 60;
    /// Octets of a frame with IPv6: the headers up to TCP's.
    pub const LENGTH6: usize = 74;
    /// Hop limit of sent frames.
    pub const HOPS: u8 = 64;
    /// Traffic class of frames that the receiver notes one by one, by their flow label or, with
    /// IPv4, their identification.
    pub const CHECKED: u8 = 4;
}

/// List of frames to send, and the interface.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendPlan {
    /// Index of the list's first frame.
    pub first: u32,
    /// Frames of the list, at least 1.
    pub count: u32,
    /// Index in the list of the next frame.
    pub next: u32,
    /// Index of the interface that frames leave by.
    pub interface: u32,
}
layout!(SendPlan, 16, u32, u32, u32, u32);
