//! Files with one arbitrary part and otherwise valid content, for property tests and fuzzing.

use super::{boxes::boxed, ways};
use bytes::Bytes;
use mp4_cut::Error;
use std::ops::Range;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The parameter sets of H.264 in a sample entry, and the samples.
    H264,
    /// The same of HEVC.
    Hevc,
    /// The edit list of the only track.
    Edits,
    /// Everything after an index without samples.
    Fragments,
}

/// The number of samples, and which of them are keyframes.
const SAMPLES: u32 = 9;
const KEYFRAMES: [u32; 3] = [1, 4, 7];
/// Ticks per second, and per sample.
const TIMESCALE: u32 = 25;

/// Cuts such a file in every way. Returns the errors.
pub fn cut(part: Part, content: &[u8], interval: Range<f64>) -> Vec<Error> {
    ways::cut_in_every_way(&file(part, content), interval)
}

/// A file with `content` as its `part`. For parameter sets, its first two bytes are their length, and samples follow
/// them.
fn file(part: Part, content: &[u8]) -> Bytes {
    let head = boxed(*b"ftyp", b"isom\0\0\0\0isom");
    match part {
        Part::H264 | Part::Hevc => {
            let (configuration, samples) = divide(content);
            let (entry, name) = if part == Part::H264 {
                (*b"avc1", *b"avcC")
            } else {
                (*b"hvc1", *b"hvcC")
            };
            let samples = if samples.is_empty() { &[0; 9] } else { samples };
            with_index_last(&head, &entry_of(entry, name, configuration), samples, None)
        }
        Part::Edits => {
            let entry = entry_of(*b"jpeg", *b"pasp", &words(&[1, 1]));
            with_index_last(&head, &entry, &[7; 90], Some(content))
        }
        Part::Fragments => {
            let entry = entry_of(*b"jpeg", *b"pasp", &words(&[1, 1]));
            let trex = boxed(*b"trex", &words(&[0, 1, 1, 1, 0, 0]));
            let mvex = boxed(*b"mvex", &trex);
            let index = moov(&entry, &[], 0, None, &mvex);
            [&head, &index, content].concat().into()
        }
    }
}

/// The parameter sets, and the samples after them.
fn divide(content: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = content.split_first_chunk() else {
        return (&[], &[]);
    };
    rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()))
}

fn with_index_last(head: &[u8], entry: &[u8], samples: &[u8], edits: Option<&[u8]>) -> Bytes {
    let bytes = u32::try_from(samples.len()).expect("short samples");
    let each = bytes / SAMPLES;
    let mut sizes = vec![each; SAMPLES as usize];
    sizes[0] += bytes - SAMPLES * each;
    let at = u32::try_from(head.len() + 8).expect("a short file");
    let index = moov(entry, &sizes, at, edits, &[]);
    [head, &boxed(*b"mdat", samples), &index].concat().into()
}

/// A sample entry of pictures of 64x48 with one box in it.
fn entry_of(kind: [u8; 4], name: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut entry = vec![0; 78];
    entry[7] = 1;
    entry[25] = 64;
    entry[27] = 48;
    entry[41] = 1;
    entry[75] = 24;
    entry[76..78].fill(0xff);
    entry.extend(boxed(name, body));
    boxed(kind, &entry)
}

/// The index of one track, in one chunk at `at`.
fn moov(entry: &[u8], sizes: &[u32], at: u32, edits: Option<&[u8]>, more: &[u8]) -> Vec<u8> {
    let count = u32::try_from(sizes.len()).expect("few samples");
    let table = |kind, entries: &[u32]| boxed(kind, &[&[0; 4], &words(entries)[..]].concat());
    let stbl = [
        boxed(*b"stsd", &[&words(&[0, 1]), entry].concat()),
        table(*b"stts", &[1, count, 1]),
        table(*b"stss", &[&[3][..], &KEYFRAMES].concat()),
        table(*b"stsc", &[1, 1, count, 1]),
        table(*b"stsz", &[&[0, count][..], sizes].concat()),
        table(*b"stco", &[1, at]),
    ];
    let reference = boxed(
        *b"dref",
        &[&words(&[0, 1])[..], &boxed(*b"url ", &[0, 0, 0, 1])].concat(),
    );
    let minf = [
        boxed(*b"vmhd", &[0; 12]),
        boxed(*b"dinf", &reference),
        boxed(*b"stbl", &stbl.concat()),
    ];
    let mdia = [
        boxed(*b"mdhd", &words(&[0, 0, 0, TIMESCALE, count, 0])),
        boxed(*b"hdlr", b"\0\0\0\0\0\0\0\0vide\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        boxed(*b"minf", &minf.concat()),
    ];
    let list = edits.map(|body| boxed(*b"edts", &boxed(*b"elst", body)));
    let mut header = words(&[7, 0, 0, 1, 0, count]);
    header.resize(84, 0);
    let trak = [
        boxed(*b"tkhd", &header),
        list.unwrap_or_default(),
        boxed(*b"mdia", &mdia.concat()),
    ];
    let mut movie = words(&[0, 0, 0, TIMESCALE, count]);
    movie.resize(100, 0);
    let moov = [
        &boxed(*b"mvhd", &movie)[..],
        &boxed(*b"trak", &trak.concat()),
        more,
    ];
    boxed(*b"moov", &moov.concat())
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_be_bytes())
        .collect()
}
