//! H.266 (VVC): reads its sample entries and the beginnings of its pictures. Encodes nothing.
//!
//! Names and layouts are those of ITU-T H.266 and of ISO/IEC 14496-15, clause 11.

use crate::{
    boxes::parse::find,
    boxes::stsd::{VISUAL_ENTRY_BYTES, entry_boxes, only_video_entry},
    nal::{self, LengthSize},
};
use bytes::Bytes;

/// Types of NAL units of slices (H.266, 7.4.2.2).
const SLICES: std::ops::RangeInclusive<u8> = 0..=11;
const IDR: [u8; 2] = [7, 8];
/// Bytes before the contents of a `vvcC` box: its version and flags.
const RECORD_AT: usize = 4;

/// Luma bit depth and `chroma_format_idc` from the body of a `vvcC` box (11.2.4.2), which has them only if it has a
/// profile.
pub(crate) fn pixel_format(record: &[u8]) -> Option<(u8, u8)> {
    let [lengths, _, packed, depth] = *record.get(RECORD_AT..)?.first_chunk()?;
    let has_profile = lengths & 1 == 1;
    has_profile.then_some((8 + (depth >> 5), packed & 3))
}

/// The size of NAL unit lengths in the samples of an `stsd` box; `None` for another codec.
pub(crate) fn length_size(stsd: &Bytes) -> Option<LengthSize> {
    let boxes = entry_boxes(&only_video_entry(stsd)?, VISUAL_ENTRY_BYTES).ok()?;
    let record = find(&boxes, *b"vvcC").ok()??.body;
    LengthSize::of_bytes((record.get(RECORD_AT)? >> 1 & 3) + 1)
}

/// Whether the sample that begins with `head` is an IDR picture.
pub(crate) fn is_idr(head: &[u8], size: LengthSize) -> bool {
    let units = nal::units(head, size).map_while(|unit| unit);
    let mut kinds = units.filter_map(|unit| unit.bytes.get(1).map(|header| header >> 3));
    let first = kinds.find(|kind| SLICES.contains(kind));
    first.is_some_and(|kind| IDR.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_known_where_there_is_a_profile() {
        let record = |lengths| [0, 0, 0, 0, lengths, 0, 0x15, 0x5f];
        assert_eq!(pixel_format(&record(0xff)), Some((10, 1)));
        assert_eq!(pixel_format(&record(0xfe)), None);
        assert_eq!(pixel_format(&[0; 7]), None);
    }

    #[test]
    fn first_slice_tells_an_idr_picture() {
        let sample = |types: &[u8]| {
            let units = types
                .iter()
                .flat_map(|kind| [0, 0, 0, 3, 0, kind << 3 | 1, 9]);
            units.collect::<Vec<u8>>()
        };
        for (types, is_idr) in [
            (&[20, 15, 16, 7][..], true),
            (&[8, 0], true),
            (&[20, 9], false),
            (&[0, 8], false),
            (&[20, 15], false),
            (&[], false),
        ] {
            assert_eq!(
                super::is_idr(&sample(types), LengthSize::Four),
                is_idr,
                "{types:?}"
            );
        }
    }
}
