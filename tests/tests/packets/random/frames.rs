//! Random frames: mostly such as clients and servers send, then damaged at one place or several.

use intune_filter_tests::prog_test_run::filter::HookPoint;

use super::seeds::{self, Seed};

/// The longest frame: a test run wants room behind it.
const LONGEST: usize = 1600;

/// Values that a field is likely to be compared with.
const TELLING: [u16; 16] =
    [0, 1, 4, 5, 6, 8, 17, 44, 53, 58, 0x0fff, 0x1fff, 0x2000, 0x7fff, 0x8000, 0xffff];

/// EtherTypes, known and unknown.
const TYPES: [u16; 8] = [0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806, 0x888e, 0x0600, 0x05dc];

/// A stream of random numbers: splitmix64, the same on every machine.
pub struct Numbers(u64);

impl Numbers {
    /// Other numbers for every seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn once_in(&mut self, among: usize) -> bool {
        self.below(among) == 0
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// Makes frames.
pub struct Frames {
    tables: Vec<Seed>,
    conversations: Vec<Seed>,
    dialogues: Vec<Vec<Seed>>,
}

impl Frames {
    pub fn new() -> Self {
        Self {
            tables: seeds::of_tables(),
            conversations: seeds::of_conversations(),
            dialogues: seeds::dialogues(),
        }
    }

    /// So many frames that follow each other. Most batches begin with as much of a dialogue or two as
    /// random frames would seldom make up, and go on with what belongs to those.
    pub fn batch(&self, first: u64, length: u64) -> Vec<Seed> {
        let mut numbers = Numbers::new(!first);
        let mut themes: Vec<Seed> = Vec::new();
        let mut batch: Vec<Seed> = Vec::new();
        for _ in 0..numbers.one(&[0, 1, 1, 2]) {
            let dialogue = &self.dialogues[numbers.below(self.dialogues.len())];
            let begun = 1 + numbers.below(dialogue.len());
            batch.extend(dialogue[..begun].iter().cloned());
            themes.extend(dialogue.iter().cloned());
        }
        for case in first..first + length {
            let mut numbers = Numbers::new(case);
            let on_theme = !themes.is_empty() && !numbers.once_in(4);
            batch.push(if on_theme {
                self.changed(&mut numbers, &themes)
            } else {
                self.frame(&mut numbers)
            });
        }
        batch.truncate(length as usize);
        batch
    }

    /// A frame, and where it is judged.
    pub fn frame(&self, numbers: &mut Numbers) -> Seed {
        if numbers.once_in(32) {
            return (self.place(numbers), noise(numbers));
        }
        let from = if numbers.once_in(2) { &self.tables } else { &self.conversations };
        self.changed(numbers, from)
    }

    /// One of these, whole or damaged.
    fn changed(&self, numbers: &mut Numbers, from: &[Seed]) -> Seed {
        let (mut place, mut frame) = from[numbers.below(from.len())].clone();
        if numbers.once_in(16) {
            place = self.place(numbers);
        }
        // One in four stays whole, so that flows and queries get their answers.
        for _ in 0..numbers.one(&[0, 1, 1, 3]) {
            self.mutate(numbers, &mut frame);
        }
        if numbers.once_in(2) {
            mend_lengths(&mut frame);
        }
        frame.truncate(LONGEST);
        (place, frame)
    }

    fn place(&self, numbers: &mut Numbers) -> HookPoint {
        numbers.one(&[
            HookPoint::Ingress("eth1"),
            HookPoint::Ingress("eth2"),
            HookPoint::Egress("eth1"),
            HookPoint::EgressOfGateway("eth1"),
            HookPoint::EgressFrom("eth2", "eth1"),
            HookPoint::EgressFrom("eth1", "eth2"),
        ])
    }

    fn mutate(&self, numbers: &mut Numbers, frame: &mut Vec<u8>) {
        if frame.len() < 2 {
            return frame.extend(noise(numbers));
        }
        // Headers decide; what follows them seldom does.
        let reach = if numbers.once_in(4) { frame.len() } else { frame.len().min(80) };
        let at = numbers.below(reach - 1);
        match numbers.below(10) {
            0 => frame[at] ^= 1 << numbers.below(8),
            1 => frame[at] = numbers.next() as u8,
            2 | 3 => {
                let value = numbers.one(&TELLING);
                frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
            }
            4 => frame.truncate(at),
            5 => {
                let octets = numbers.next().to_ne_bytes();
                frame.extend(&octets[..numbers.below(9)]);
            }
            6 => {
                // A word more or less moves everything behind it.
                if numbers.once_in(2) && at + 4 <= frame.len() {
                    frame.drain(at..at + 4);
                } else {
                    frame.splice(at..at, (numbers.next() as u32).to_ne_bytes());
                }
            }
            7 => {
                // The same place of another frame.
                let (_, other) = &self.tables[numbers.below(self.tables.len())];
                let length = numbers.one(&[1, 2, 4, 8, 16]).min(frame.len() - at);
                if let Some(octets) = other.get(at..at + length) {
                    frame[at..at + length].copy_from_slice(octets);
                }
            }
            8 => {
                let (_, other) = &self.tables[numbers.below(self.tables.len())];
                frame.truncate(at);
                frame.extend(other.get(at..).unwrap_or_default());
            }
            _ => {
                let kind = numbers.one(&TYPES).to_be_bytes();
                let at = if numbers.once_in(2) { 12 } else { 16 };
                if let Some(octets) = frame.get_mut(at..at + 2) {
                    octets.copy_from_slice(&kind);
                }
            }
        }
    }
}

/// Random octets behind an EtherType that says that they are something.
fn noise(numbers: &mut Numbers) -> Vec<u8> {
    let length = 14 + numbers.below(120);
    let mut frame: Vec<u8> = (0..length).map(|_| numbers.next() as u8).collect();
    frame[12..14].copy_from_slice(&numbers.one(&TYPES).to_be_bytes());
    if let Some(version) = frame.get_mut(14) {
        *version = numbers.one(&[0x45, 0x46, 0x60, *version]);
    }
    frame
}

/// Makes the datagram as long as its frame: else most of what was changed ends at that test.
fn mend_lengths(frame: &mut [u8]) {
    let at = |offset: usize| Some(u16::from_be_bytes(*frame.get(offset..)?.first_chunk()?));
    let mut network = 14;
    while matches!(at(network - 2), Some(0x8100 | 0x88a8)) {
        network += 4;
    }
    let (field, length) = match at(network - 2) {
        Some(0x0800) => (network + 2, frame.len().saturating_sub(network)),
        Some(0x86dd) => (network + 4, frame.len().saturating_sub(network + 40)),
        _ => return,
    };
    if let Some(octets) = frame.get_mut(field..field + 2) {
        octets.copy_from_slice(&(length as u16).to_be_bytes());
    }
}
