//! Good files of every kind, changed at random.

use crate::{Case, media::Media};
use fastrand::Rng;

const KIND: &str = "mutations";
/// The most changes to one file.
const MAX_CHANGES: usize = 8;
/// Most of what matters is within this many bytes of a file's start or end.
const EDGE_BYTES: usize = 3000;

/// `count` cases. The same seed makes the same ones.
#[must_use]
pub fn cases(media: &Media, seed: u64, count: usize) -> Vec<Case> {
    let kinds = media.kinds();
    let make = |number: usize| {
        // Each has its own random numbers, so that it can be reproduced alone.
        let mut random = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let (kind, file) = kinds[number % kinds.len()];
        let mut file = file.to_vec();
        for _ in 0..random.usize(1..=MAX_CHANGES) {
            change(&mut file, &mut random);
        }
        Case::new(KIND, format!("{kind} {number} of seed {seed}"), file)
    };
    (0..count).map(make).collect()
}

fn change(file: &mut Vec<u8>, random: &mut Rng) {
    if file.len() < 16 {
        return;
    }
    let edge = file.len().min(EDGE_BYTES);
    let at = match random.u8(0..4) {
        0 => random.usize(0..file.len()),
        1 => random.usize(0..edge),
        _ => file.len() - 1 - random.usize(0..edge),
    };
    let end = (at + random.usize(1..64)).min(file.len());
    match random.u8(0..10) {
        0..=2 => file[at] = random.u8(..),
        3 => file[at] ^= 1 << random.u8(0..8),
        4..=6 => {
            let number = [
                0,
                1,
                u32::MAX,
                0x7fff_ffff,
                random.u32(..),
                random.u32(0..300),
            ];
            let number = number[random.usize(0..number.len())].to_be_bytes();
            let end = (at + 4).min(file.len());
            file[at..end].copy_from_slice(&number[..end - at]);
        }
        7 => drop(file.drain(at..end)),
        8 => {
            let again = file[at..end].to_vec();
            file.splice(at..at, again);
        }
        _ if random.u8(0..4) == 0 => file.truncate(at.max(16)),
        _ => file[at..end].fill(random.u8(..)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_changes_a_file_alike_and_another_otherwise() {
        let changed = |seed| {
            let mut file = vec![7; 500];
            let mut random = Rng::with_seed(seed);
            for _ in 0..20 {
                change(&mut file, &mut random);
            }
            file
        };
        assert_eq!(changed(1), changed(1));
        assert_ne!(changed(1), changed(2));
    }
}
