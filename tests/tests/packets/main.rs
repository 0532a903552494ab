//! Tables of packets and verdicts, judged by the programs in the kernel.

mod answers;
mod busy;
mod capacity;
mod errors;
mod events;
mod flow_events;
mod flows;
mod fragments;
mod gateway;
mod headers;
mod hooks;
mod hostile;
mod inbound;
mod learning;
mod lifetimes;
mod links;
mod policy;
mod queries;
mod random;
mod records;
mod refusals;
mod rejections;
mod reloads;
mod streams;
mod tickets;
mod truncation;
