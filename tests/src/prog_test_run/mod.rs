//! Tables of packets and verdicts: the programs, loaded into the kernel, run over one frame at a
//! time (`BPF_PROG_TEST_RUN`), and so does the host's build of their logic.

pub mod bed;
#[expect(unsafe_code, reason = "bpf(2)")]
mod counts;
pub mod datagram;
#[expect(unsafe_code, reason = "bpf(2)")]
pub mod drain;
pub mod fate;
pub mod filter;
pub mod host;
mod host_routes;
pub mod host_run;
pub mod ingress_hook;
mod kernel_bed;
pub mod live;
pub mod message;
#[expect(unsafe_code, reason = "a function of the C library's")]
pub mod pool;
pub mod program;
#[expect(unsafe_code, reason = "bpf(2)")]
mod raw;
#[expect(unsafe_code, reason = "a function of the C library's")]
pub mod rows;
pub mod run;
mod show;
pub mod site;
#[expect(unsafe_code, reason = "values are made of octets")]
pub mod state;
pub mod table;
pub mod waiting;

pub use bed::Bed;
pub use datagram::{Datagram, Flags};
pub use fate::Fate;
pub use filter::{HookPoint, LoadedFilter};
pub use ingress_hook::IngressHook;
pub use message::Message;
pub use program::Runner;
pub use run::{run, run_at, run_roomy, run_sized, run_without_policy};
pub use site::Addresses;
pub use table::{
    Expected, Row, both, check, check_in_order, check_on, expect, from_client, to_client,
};
pub use waiting::Waiting;
