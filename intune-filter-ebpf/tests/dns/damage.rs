//! Damages messages where it matters most: at labels, pointers, lengths, counts, and ends of
//! records.

use super::{choices::Choices, message::Writer};

/// Damages `message`, in part with pieces of `other`.
pub fn damage(choices: &mut Choices<'_>, message: &mut Writer, other: &Writer) {
    for _ in 0..=*choices.one(&[0, 0, 1, 2, 3]) {
        if message.octets.len() < 14 {
            message.octets.resize(14, 0);
        }
        once(choices, message, other);
    }
}

fn once(choices: &mut Choices<'_>, message: &mut Writer, other: &Writer) {
    let Writer { octets, marks, .. } = message;
    let length = octets.len();
    let at = choices.below(length - 1);
    // Marks are those of the undamaged message: earlier damage may have moved the octets.
    let mark = |choices: &mut Choices<'_>, of: &[usize]| {
        let mark = if of.is_empty() { at } else { *choices.one(of) };
        mark.min(length - 2)
    };
    match choices.below(14) {
        0 => octets[at] ^= 1 << choices.below(8),
        1 => octets[at] = *choices.one(&[0, 1, 63, 64, 0x80, 0xc0, 0xff, 12]),
        2 => octets.truncate(at),
        3 => {
            let end = mark(choices, &marks.records) + choices.below(16);
            octets.truncate(end);
        }
        4 => {
            // A pointer, to somewhere near, or to where some label is.
            let at = mark(choices, &marks.labels);
            let target = if choices.once_in(2) {
                (at + choices.below(40)).saturating_sub(32)
            } else {
                mark(choices, &marks.labels) + choices.below(2)
            };
            put(octets, at, 0xc000 | target as u16);
        }
        5 => {
            let at = mark(choices, &marks.labels);
            octets[at] = *choices.one(&[0, 1, 2, 62, 63, 64, 0x41, 0x80, 0xbf, 0xc0, 0xff]);
        }
        6 => {
            let at = mark(choices, &marks.labels);
            octets[at] = octets[at].wrapping_add(*choices.one(&[1, 0xff, 2, 0xfe]));
        }
        7 => {
            let at = mark(choices, &marks.lengths);
            let was = u16::from_be_bytes([octets[at], octets[at + 1]]);
            let less = was.wrapping_sub(choices.below(5) as u16);
            let more = was.wrapping_add(choices.below(20) as u16);
            let value = *choices.one(&[less, more, 0, 4, 16, 0xffff, (length - at) as u16]);
            put(octets, at, value);
        }
        8 => {
            // Type, class and time to live are before the length.
            let at = mark(choices, &marks.lengths).saturating_sub(8);
            put(octets, at, *choices.one(&[1, 5, 28, 39, 41, 64, 65, 255]));
        }
        9 => {
            let at = 4 + 2 * choices.below(4);
            let was = u16::from_be_bytes([octets[at], octets[at + 1]]);
            let (less, more) = (was.wrapping_sub(1), was.wrapping_add(1));
            put(octets, at, *choices.one(&[less, more, 0, 1, 64, 65, 0xffff]));
        }
        10 => {
            let end = length.min(at + 1 + choices.below(4));
            octets.drain(at..end);
        }
        11 => {
            let inserted = choices.word().to_ne_bytes();
            octets.splice(at..at, inserted[..1 + choices.below(4)].iter().copied());
        }
        12 => {
            // The beginning of this one, and the end of the other.
            let from = mark(choices, &marks.records);
            let rest = if other.marks.records.is_empty() { 0 } else { choices.below(3) };
            let rest = other.marks.records.get(rest).copied().unwrap_or(at);
            octets.truncate(from);
            octets.extend(other.octets.get(rest..).unwrap_or_default());
        }
        _ => {
            let end = length.min(at + 1 + choices.below(30));
            let copy = octets[at..end].to_vec();
            if choices.once_in(2) {
                octets.extend(copy);
            } else {
                let to = choices.below(length);
                let end = length.min(to + copy.len());
                octets[to..end].copy_from_slice(&copy[..end - to]);
            }
        }
    }
}

fn put(octets: &mut [u8], at: usize, value: u16) {
    octets[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
