//! Tables of packets and verdicts, judged by the programs in the kernel.

mod errors;
mod flows;
mod fragments;
mod gateway;
mod headers;
mod links;
mod policy;
mod rejections;
