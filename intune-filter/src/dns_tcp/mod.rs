//! DNS over TCP where the kernel leaves it to userspace: segments put together to messages.

mod reassembly;

pub(crate) use reassembly::Streams;
