//! Writers of replies, one for each hook.

/// Calls the caller's writer of the reply that the working memory describes: both hooks have one for
/// each kind and family. No trait: the verifier walks more paths through one.
macro_rules! write_kind {
    ($scratch:ident, $arguments:tt, prohibited: [$v4:expr, $v6:expr]) => {{
        let reply = &$scratch.reply;
        let timed = reply.header_length.get() == TIMED_HEADER as u64;
        match (Kind::from_word(reply.kind.get()), reply.v6.get() != 0) {
            (Kind::STREAM_REFUSAL, false) if timed => last::<V4_HEADER, TIMED_HEADER> $arguments,
            (Kind::STREAM_REFUSAL, true) if timed => last::<V6_HEADER, TIMED_HEADER> $arguments,
            (Kind::STREAM_REFUSAL, false) => last::<V4_HEADER, TCP_HEADER> $arguments,
            (Kind::STREAM_REFUSAL, true) => last::<V6_HEADER, TCP_HEADER> $arguments,
            (Kind::REFUSAL, false) => refusal::<V4_HEADER> $arguments,
            (Kind::REFUSAL, true) => refusal::<V6_HEADER> $arguments,
            (Kind::RESET, false) => reset::<V4_HEADER> $arguments,
            (Kind::RESET, true) => reset::<V6_HEADER> $arguments,
            (_, false) => $v4,
            (_, true) => $v6,
        }
    }};
}

pub mod mark;
mod message;
pub mod tc;
pub mod xdp;
