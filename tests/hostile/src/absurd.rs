//! Boxes and elements of impossible lengths, and loops.

use crate::{Case, media::Media};

const KIND: &str = "absurd";
/// Boxes whose length is changed.
const BOXES: [&[u8; 4]; 14] = [
    b"ftyp", b"mdat", b"moov", b"mvhd", b"trak", b"mdia", b"stbl", b"stsd", b"avc1", b"avcC",
    b"stsz", b"elst", b"esds", b"mdhd",
];
/// Lengths that no such box has.
const LENGTHS: [u32; 8] = [0, 1, 2, 7, 8, 9, 0x7fff_ffff, u32::MAX];

/// All cases.
#[must_use]
pub fn cases(media: &Media) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in BOXES {
        let name = String::from_utf8_lossy(kind);
        for length in LENGTHS {
            let mut file = media.mp4.clone();
            let at = place(&file, *kind);
            file[at..at + 4].copy_from_slice(&length.to_be_bytes());
            cases.push(Case::new(KIND, format!("{name} of {length} bytes"), file));
        }
        for length in [0, 15, 16, 1 << 63, u64::MAX] {
            let mut file = media.mp4.clone();
            let at = place(&file, *kind);
            file[at..at + 4].copy_from_slice(&1_u32.to_be_bytes());
            file.splice(at + 8..at + 8, u64::to_be_bytes(length));
            cases.push(Case::new(
                KIND,
                format!("{name} of {length} bytes, in 64 bits"),
                file,
            ));
        }
        let mut without = media.mp4.clone();
        let at = place(&without, *kind);
        without[at + 4..at + 8].copy_from_slice(b"free");
        cases.push(Case::new(KIND, format!("no {name}"), without));
        let cut_short = &media.mp4[..at + 10];
        cases.push(Case::new(KIND, format!("end in {name}"), cut_short));
    }
    cases.extend(loops(media));
    cases.extend(of_other_containers(media));
    cases
}

/// Where a box begins: the last of its kind, because the media may contain its name.
fn place(file: &[u8], kind: [u8; 4]) -> usize {
    let at = file.windows(4).rposition(|bytes| *bytes == kind);
    at.expect("a box of the kind") - 4
}

/// Indexes that refer to themselves.
fn loops(media: &Media) -> Vec<Case> {
    // A seek head that says that the seek head is at its own position.
    let seek = b"\x11\x4d\x9b\x74\x8e\x4d\xbb\x8b\x53\xab\x84\x11\x4d\x9b\x74\x53\xac\x81\0";
    let segment = [
        &b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"[..],
        seek,
    ]
    .concat();
    let matroska = [&media.mkv[..40], &segment].concat();
    // An index of indexes (OpenDML) whose only entry is the index itself.
    let mut avi = media.avi.clone();
    let at = avi
        .windows(4)
        .position(|bytes| bytes == b"strf")
        .expect("a stream");
    let mut index = b"indx\x28\0\0\0\x04\0\0\0\x01\0\0\x0000dc".to_vec();
    index.resize(32, 0);
    index.extend(u64::try_from(at).expect("a place").to_le_bytes());
    index.extend([0x28, 0, 0, 0, 1, 0, 0, 0]);
    avi.splice(at..at, index);
    vec![
        Case::new(KIND, "seek head of a seek head", matroska),
        Case::new(KIND, "index of an index", avi),
    ]
}

/// Other containers, truncated and with changed lengths in their heads.
fn of_other_containers(media: &Media) -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, file) in media.kinds().into_iter().skip(4) {
        for length in [1, 12, 100, 1000, file.len() / 2] {
            cases.push(Case::new(
                KIND,
                format!("{kind} of {length} bytes"),
                &file[..length],
            ));
        }
        for (what, value) in [("ones", 0xff), ("zeros", 0)] {
            for at in [16, 64, 256] {
                let mut changed = file.to_vec();
                changed[at..at + 48].fill(value);
                cases.push(Case::new(
                    KIND,
                    format!("{kind} with {what} at {at}"),
                    changed,
                ));
            }
        }
    }
    cases
}
