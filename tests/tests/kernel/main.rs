//! The programs in the kernel, without packet tables: that they load and within which bounds, where
//! they are attached, what their maps take, the matcher, lifetimes, and no mix of two policies.

mod adoption;
mod atomic;
mod egress;
mod expiry;
mod memory;
mod minimum;
mod names;
mod verifier;
