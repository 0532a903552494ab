//! Programs that the filter is compared with: floors of cost, a flow cycle in front of the measured
//! program, and a sender and receiver of frames.
#![expect(unsafe_code, reason = "maps, contexts and helpers of the kernel's")]
#![no_std]
#![no_main]

mod cycle;
mod floor;
mod send;
