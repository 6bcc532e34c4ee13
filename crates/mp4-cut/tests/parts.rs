//! Arbitrary parameter sets, edit lists and fragments: no panic, and no error that is not the file's own fault.

#[path = "common/boxes.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod boxes;
#[path = "common/parts.rs"]
mod parts;
#[path = "common/ways.rs"]
mod ways;

use parts::{Part, cut};
use proptest::{prelude::*, sample::Index};

/// Parameter sets written by x264 and x265.
const AVCC: &str = "0142c00affe100156742c00ada11ec0440000003004000000c83c489a801000468ce0fc8";
const HVCC: &str = "0101600000009000000000001ef000fcfdf8f800000f03a00001001840010c01ffff01600000030090000003000003001e959409a10001002842010101600000030090000003000003001ea0208105965654a4c2f0168080000003008000000c84a2000100064401c073c089";
/// Slices of a keyframe.
const H264_SLICE: [u8; 8] = [0, 0, 0, 4, 0x65, 0x88, 0x84, 0];
const HEVC_SLICE: [u8; 8] = [0, 0, 0, 4, 0x26, 0x01, 0xaf, 0x0c];

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).expect("digits"), 16);
    digits.map(|two| byte(two).expect("a byte")).collect()
}

/// Parameter sets and samples, as [`cut`] takes them.
fn sets(hex: &str, samples: &[u8]) -> Vec<u8> {
    let sets = bytes(hex);
    let length = u16::try_from(sets.len()).expect("short sets");
    [&length.to_be_bytes()[..], &sets, samples].concat()
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}

/// A fragment of three samples, with their media.
fn fragment() -> Vec<u8> {
    let traf = [
        boxes::boxed(*b"tfhd", &words(&[0x0002_0000, 1])),
        boxes::boxed(*b"tfdt", &words(&[0, 0])),
        boxes::boxed(*b"trun", &words(&[0x301, 3, 100, 1, 5, 1, 6, 1, 7])),
    ];
    let moof = [
        boxes::boxed(*b"mfhd", &words(&[0, 1])),
        boxes::boxed(*b"traf", &traf.concat()),
    ];
    [
        boxes::boxed(*b"moof", &moof.concat()),
        boxes::boxed(*b"mdat", &[7; 40]),
    ]
    .concat()
}

fn good(part: Part) -> Vec<u8> {
    match part {
        Part::H264 => sets(AVCC, &H264_SLICE.repeat(18)),
        Part::Hevc => sets(HVCC, &HEVC_SLICE.repeat(18)),
        Part::Edits => words(&[0, 2, 5, u32::MAX, 0x1_0000, 9, 0, 0x1_0000]),
        Part::Fragments => fragment().repeat(3),
    }
}

/// An extreme value, a small one, or any.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(u32::MAX),
        Just(1 << 31),
        0_u32..300,
        any::<u32>()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parts_that_anybody_made_are_cut_or_refused(
        part in prop::sample::select(vec![Part::H264, Part::Hevc, Part::Edits, Part::Fragments]),
        bytes in prop::collection::vec((any::<Index>(), any::<u8>()), 0..6),
        numbers in prop::collection::vec((any::<Index>(), number()), 0..3),
        end: Index,
        is_cut_short in prop::bool::weighted(0.2),
        start in 0.0..0.9,
    ) {
        let mut content = good(part);
        for (at, value) in bytes {
            let at = at.index(content.len());
            content[at] = value;
        }
        for (at, value) in numbers {
            let at = at.index(content.len());
            let end = content.len().min(at + 4);
            content[at..end].copy_from_slice(&value.to_be_bytes()[..end - at]);
        }
        if is_cut_short {
            content.truncate(end.index(content.len()));
        }
        cut(part, &content, start..0.9);
    }
}

#[test]
fn parts_that_nothing_changed_are_cut() {
    for part in [Part::H264, Part::Hevc, Part::Edits, Part::Fragments] {
        let raised = cut(part, &good(part), 0.0..0.9);
        assert!(raised.is_empty(), "{part:?}: {raised:?}");
    }
}
