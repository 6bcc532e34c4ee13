//! Finds packets of a source in a clip of it.

use crate::common::{
    ffmpeg::{load, probe},
    source::{TIME_TOLERANCE, microseconds},
};
use mp4_cut::Window;
use std::{collections::HashSet, ops::Range, path::Path};

/// A packet of a source.
pub struct Packet {
    pub is_sound: bool,
    /// When it is shown, in microseconds from the start of the file.
    pub shown: Range<i64>,
    /// Some bytes from its middle that identify it.
    bytes: Vec<u8>,
}

impl Packet {
    /// Whether a window shows part of it.
    pub fn is_shown_in(&self, window: &Window) -> bool {
        let [start, end] = [window.facts.start_seconds, window.facts.end_seconds].map(microseconds);
        overlap(&self.shown, &(start + TIME_TOLERANCE..end - TIME_TOLERANCE))
    }
}

/// How many bytes identify a packet.
const TELLING_BYTES: usize = 16;

/// The packets of a source's video and audio, except the shortest, which may not be unique.
pub fn packets(path: &Path) -> Vec<Packet> {
    let number = |text: &str| text.parse::<f64>().expect("a number");
    let start = number(probe(path, "-show_entries format=start_time").trim());
    let file = load(path);
    let read = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [stream, shown, duration, bytes, at] = fields[..5] else {
            panic!("{line}")
        };
        let shown_from = microseconds(number(shown) - start);
        let (bytes, at): (usize, usize) = (
            bytes.parse().expect("a length"),
            at.parse().expect("an offset"),
        );
        let middle = at + bytes / 2;
        (bytes >= 2 * TELLING_BYTES).then(|| Packet {
            is_sound: stream != "0",
            shown: shown_from..shown_from + microseconds(number(duration)),
            bytes: file[middle..middle + TELLING_BYTES].to_vec(),
        })
    };
    let entries = "-show_entries packet=stream_index,pts_time,duration_time,size,pos";
    probe(path, entries).lines().filter_map(read).collect()
}

/// Asserts that a clip contains only those packets of its source that `may_be` accepts.
pub fn assert_holds_only(clip: &Path, packets: &[Packet], may_be: impl Fn(&Packet) -> bool) {
    let clip = load(clip);
    let held: HashSet<&[u8]> = clip.windows(TELLING_BYTES).collect();
    for packet in packets.iter().filter(|packet| !may_be(packet)) {
        let what = if packet.is_sound { "sound" } else { "pictures" };
        assert!(
            !held.contains(&packet.bytes[..]),
            "{what} of {:?} µs are in the clip",
            packet.shown
        );
    }
}

pub fn overlap(one: &Range<i64>, other: &Range<i64>) -> bool {
    one.start < other.end && other.start < one.end
}
