//! Targets: names that service records in answers to a policy's name lead to (RFC 9460 section 2.5),
//! and that its clients ask for next. They are kept among the learned addresses, under a keyed hash.

use super::{
    HEADER_LENGTH,
    name::MASKS,
    record::{TYPE_A, TYPE_AAAA, TYPE_HTTPS, TYPE_SVCB},
};
use crate::{
    abi::{RULE_WORDS, V6, lower},
    bpf_loop::{self, LoopBody},
    bytes::mix,
    datapath::{Datapath, DatapathOf, HostMaps},
    scratch::Scratch,
};

/// Value that sets the hash apart from others with the same seed.
const PURPOSE: u64 = u64::from_be_bytes(*b"target\0\0");
/// Steps of the hash behind the last octets: two for each half of the result.
const FINAL: u64 = 4;

/// Adds the rules by which the name in the question is a target to those that were matched. Only its
/// addresses and services are asked for by them.
///
/// A function of its own, to spare the stack of its caller while that walks the patterns.
#[inline(never)]
pub(super) fn inherit<W: DatapathOf<V6>>(scratch: &Scratch, datapath: W) {
    let matcher = &scratch.matcher;
    // From the labels: where the question ends, callers have no room to keep.
    let last = scratch.parser.labels.get(scratch.parser.label_count.get() - 1);
    let end = last + scratch.message.octet(last) + 2;
    let kind = scratch.message.be16(end);
    let is_asked = kind == TYPE_A || kind == TYPE_AAAA || kind == TYPE_SVCB || kind == TYPE_HTTPS;
    // Names that have a meaning of their own keep it.
    if !is_asked || matcher.marks.get() != 0 {
        return;
    }
    put_key(scratch, datapath, HEADER_LENGTH, end);
    let inherited = &scratch.ctx.learned_rules;
    // SAFETY: the scratch memory is this run's alone.
    let key = unsafe { &*scratch.ctx.address6.get() };
    let expires = HostMaps::<V6>::host(datapath, key, inherited);
    if expires <= scratch.ctx.now.get() {
        return;
    }
    // A name with rules of its own lives by these.
    if matcher.rules.is_empty() {
        matcher.target_until.set(expires);
    }
    for word in 0..RULE_WORDS {
        matcher.rules.set_word(word, matcher.rules.word(word) | inherited.word(word));
    }
}

/// Puts the key of the name in the octets from `begin` to `end` into the place of an IPv6 address to be
/// learned: SipHash-2-4 with a result of 128 bits. A client chooses the names that are hashed: the hash
/// of [`super::name`] would not withstand that.
///
/// The state is in the place of globs that are still to be compared, since the walk is over.
#[inline(never)]
pub(super) fn put_key<W: Datapath>(scratch: &Scratch, datapath: W, begin: u64, end: u64) {
    let state = &scratch.matcher.globs;
    for (index, word) in initial(keys(scratch.parser.seed.get())).into_iter().enumerate() {
        state.set(index as u64, word);
    }
    let length = end - begin;
    let steps = length / 8 + 1 + FINAL;
    state.set(LENGTH, length);
    state.set(STEPS_LEFT, steps);
    scratch.parser.position.set(begin);
    bpf_loop::run::<Block, _>((scratch, datapath), steps as u32);
    let high = state.get(0) ^ state.get(1) ^ state.get(2) ^ state.get(3);
    // SAFETY: the scratch memory is this run's alone.
    unsafe { *scratch.ctx.address6.get() = V6::of_target([state.get(LOW), high]) };
}

/// Places behind the four words of the state: first half of the result, octets of the name, and steps.
const LOW: u64 = 4;
const LENGTH: u64 = 5;
const STEPS_LEFT: u64 = 6;

/// Loop body that takes eight octets of a name into the hash, or one of the last steps.
struct Block;

impl<W: Datapath> LoopBody<(&Scratch, W)> for Block {
    #[inline(always)]
    fn step((scratch, _): (&Scratch, W)) -> bool {
        let state = &scratch.matcher.globs;
        let (at, steps) = (scratch.parser.position.get(), state.get(STEPS_LEFT));
        state.set(STEPS_LEFT, steps - 1);
        scratch.parser.position.set(at + 8);
        let (mut word, mut second, mut third) = (0, 0, 0);
        if steps > FINAL + 1 {
            word = lower(scratch.message.ne64(at));
        } else if steps == FINAL + 1 {
            let length = state.get(LENGTH);
            word = lower(scratch.message.ne64(at)) & MASKS.word(length & 7, 0) | length << 56;
        } else if steps == FINAL {
            third = 0xee;
        } else if steps == FINAL / 2 {
            state.set(LOW, state.get(0) ^ state.get(1) ^ state.get(2) ^ state.get(3));
            second = 0xdd;
        }
        let words = [state.get(0), state.get(1) ^ second, state.get(2) ^ third, state.get(3)];
        let [a, b, c, d] = compress(words, word);
        state.set(0, a);
        state.set(1, b);
        state.set(2, c);
        state.set(3, d);
        false
    }
}

/// Returns the two words of the hash's key.
#[inline(always)]
const fn keys(seed: u64) -> [u64; 2] {
    [seed, mix(seed, PURPOSE)]
}

#[inline(always)]
const fn initial([first, second]: [u64; 2]) -> [u64; 4] {
    [
        first ^ 0x736f_6d65_7073_6575,
        second ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        first ^ 0x6c79_6765_6e65_7261,
        second ^ 0x7465_6462_7974_6573,
    ]
}

#[inline(always)]
const fn compress([a, b, c, d]: [u64; 4], word: u64) -> [u64; 4] {
    let [a, b, c, d] = round(round([a, b, c, d ^ word]));
    [a ^ word, b, c, d]
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    c = c.wrapping_add(d);
    b = b.rotate_left(13) ^ a;
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32);
    c = c.wrapping_add(b);
    a = a.wrapping_add(d);
    b = b.rotate_left(17) ^ c;
    d = d.rotate_left(21) ^ a;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// Returns where the names of the targets are, from their first octet to behind their last, that the
/// answer which was read last has.
#[cfg(not(target_arch = "bpf"))]
pub fn targets(scratch: &Scratch) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..scratch.parser.address_count.get()).map(|at| scratch.parser.addresses.get(at));
    all.filter(|packed| packed & 0xff == TYPE_SVCB).map(|packed| {
        let (name, length) = super::record::target_name(packed);
        (name as usize, (name + length) as usize)
    })
}

/// Returns the key of a target by the octets of its name on the wire, as the kernel makes it.
#[cfg(not(target_arch = "bpf"))]
#[must_use]
pub fn target_key(seed: u64, name: &[u8]) -> V6 {
    V6::of_target(hash(keys(seed), name))
}

#[cfg(not(target_arch = "bpf"))]
fn hash(keys: [u64; 2], octets: &[u8]) -> [u64; 2] {
    let (blocks, rest) = octets.as_chunks::<8>();
    let mut last = [0; 8];
    rest.iter().zip(&mut last).for_each(|(octet, place)| *place = *octet);
    let length = (octets.len() as u64) << 56;
    let blocks = blocks.iter().map(|block| lower(u64::from_ne_bytes(*block)));
    let state = blocks.fold(initial(keys), compress);
    let [a, b, c, d] = compress(state, lower(u64::from_ne_bytes(last)) | length);
    let [a, b, c, d] = compress(compress([a, b, c ^ 0xee, d], 0), 0);
    let [e, f, g, h] = compress(compress([a, b ^ 0xdd, c, d], 0), 0);
    [a ^ b ^ c ^ d, e ^ f ^ g ^ h]
}

#[cfg(test)]
mod tests {
    use std::{vec, vec::Vec};

    use super::*;
    use crate::host::Tables;

    /// The first results of the reference implementation, for the key 00 to 0f.
    #[test]
    fn the_hash_is_siphash_with_a_result_of_128_bits() {
        let octets: Vec<u8> = (0..16).collect();
        let keys = [0, 8].map(|at| u64::from_le_bytes(*octets[at..].first_chunk().unwrap()));
        for (length, expected) in [
            (0, 0x930255c71472f66d_e6a825ba047f81a3_u128),
            (1, 0x45fc229b11597634_44af996bd8c187da_u128),
        ] {
            let [low, high] = hash(keys, &octets[..length]);
            assert_eq!(u128::from(high) << 64 | u128::from(low), expected, "{length}");
        }
    }

    #[test]
    fn the_loop_makes_the_key_of_any_name_wherever_it_stands() {
        let (scratch, tables) = (Scratch::default(), Tables::default());
        scratch.parser.seed.set(7);
        for length in 1..=255_usize {
            for begin in [12, 13, 3000] {
                let mut message = vec![0xff; 4096];
                let name = &mut message[begin..begin + length];
                name.iter_mut().enumerate().for_each(|(at, octet)| *octet = (at * 7) as u8);
                let key = target_key(7, name);
                assert!(scratch.message.fill(&message));
                put_key(&scratch, &tables, begin as u64, (begin + length) as u64);
                // SAFETY: the working memory is this test's alone.
                let found = unsafe { *scratch.ctx.address6.get() };
                assert_eq!(found, key, "{length} at {begin}");
            }
        }
    }

    #[test]
    fn a_name_has_one_key_in_any_case_and_another_with_any_other_seed_or_octet() {
        let key = target_key(7, b"\x03www\x04test\0");
        assert_eq!(key, target_key(7, b"\x03wWW\x04TEst\0"));
        for (seed, other) in [(8, b"\x03www\x04test\0"), (7, b"\x03wwx\x04test\0")] {
            assert_ne!(key, target_key(seed, other));
        }
        assert_ne!(key, target_key(7, b"\x03www\x04test"));
    }
}
