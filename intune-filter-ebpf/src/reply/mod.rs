//! Replies to denied packets: their kinds, headers and checksums.
//!
//! [`crate::scratch::Reply`] holds the description of a reply; `verdict` fills it in, and a writer
//! for each hook turns the denied frame into the reply.

mod checksum;
mod headers;

pub use checksum::{checksum, sum, udp_checksum};
pub use headers::{
    ICMP_HEADER, PROHIBITED_V4, PROHIBITED_V6, QUOTED, TCP_HEADER, TIMED_HEADER, TIMESTAMPS,
    UDP_HEADER, V4_HEADER, V6_HEADER, fill_ip, fill_last, fill_reset, fill_udp, pseudo_sum,
    reverse_ip, swap,
};

use crate::result_word::{register_word, result_word};

result_word! {
    /// Kind of a reply.
    pub Kind {
        /// TCP reset (RFC 9293 section 3.10.7.1).
        RESET = 1,
        /// ICMP error "communication administratively prohibited" (RFC 1812, RFC 4443).
        PROHIBITED = 2,
        /// DNS message that refuses a name, in place of the query's: see [`crate::dns::Refusal`].
        REFUSAL = 3,
        /// The same over TCP, as the last octets of the connection.
        STREAM_REFUSAL = 4,
    }
}

register_word!(Kind);

#[cfg(test)]
mod tests;
