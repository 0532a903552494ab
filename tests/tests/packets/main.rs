//! Tables of packets and verdicts, judged by the programs in the kernel.

mod gateway;
mod headers;
mod policy;
