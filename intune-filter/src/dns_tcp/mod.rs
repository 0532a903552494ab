//! DNS over TCP where the kernel leaves it to userspace: segments put together, answers learned from,
//! and what was held back let pass.

mod reassembly;
mod userspace;

pub(crate) use reassembly::Streams;
pub(crate) use userspace::Punted;
