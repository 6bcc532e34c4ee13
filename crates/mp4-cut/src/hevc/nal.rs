//! NAL units of samples (H.265, 7.4.2.2; ISO/IEC 14496-15, 8.3.2).

use crate::nal::{self, LengthSize};

/// Bytes of a NAL unit's header.
pub const HEADER_BYTES: usize = 2;

/// How a picture relates to those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// Nothing after it refers to anything before it.
    Idr,
    /// As [`Picture::Cra`], but pictures before it are known to be missing.
    Bla,
    /// Pictures shown after it refer to nothing before it.
    Cra,
    /// Decoded after such a picture and shown before it; decodable without earlier pictures.
    Radl,
    /// Decoded after such a picture and shown before it; possibly not decodable without earlier pictures.
    Rasl,
    /// Any other picture.
    Trailing,
}

impl Picture {
    /// Whether decoding can start here: an intra random access point.
    #[must_use]
    pub fn is_random_access(self) -> bool {
        matches!(self, Self::Idr | Self::Bla | Self::Cra)
    }
}

/// What a NAL unit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Slice(Picture),
    Vps,
    Sps,
    Pps,
    /// Supplemental enhancement information.
    Sei,
    Other,
}

/// A NAL unit, or what is known of its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit<'a> {
    /// The unit from its header on.
    pub bytes: &'a [u8],
    /// Whether `bytes` is all of it.
    pub is_whole: bool,
    pub kind: Kind,
    /// Zero is the base layer.
    pub layer: u8,
}

impl<'a> Unit<'a> {
    /// `None` when it is too short for its header.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let ([first, second], _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let kind = match unit_type(*first) {
            0..=5 => Kind::Slice(Picture::Trailing),
            6 | 7 => Kind::Slice(Picture::Radl),
            8 | 9 => Kind::Slice(Picture::Rasl),
            16..=18 => Kind::Slice(Picture::Bla),
            19 | 20 => Kind::Slice(Picture::Idr),
            21 => Kind::Slice(Picture::Cra),
            32 => Kind::Vps,
            33 => Kind::Sps,
            34 => Kind::Pps,
            39 | 40 => Kind::Sei,
            _ => Kind::Other,
        };
        Some(Self {
            bytes,
            is_whole: true,
            kind,
            layer: (first & 1) << 5 | second >> 3,
        })
    }
}

/// `nal_unit_type` out of the first byte of a NAL unit.
fn unit_type(first: u8) -> u8 {
    first >> 1 & 63
}

/// The NAL units of a sample, or of the beginning of one. `None` stands for a unit too short for its header, or a
/// length that is cut off.
pub(super) fn units(sample: &[u8], size: LengthSize) -> impl Iterator<Item = Option<Unit<'_>>> {
    nal::units(sample, size).map(|unit| {
        let unit = unit?;
        Some(Unit {
            is_whole: unit.is_whole,
            ..Unit::read(unit.bytes)?
        })
    })
}

/// The picture in the sample that begins with `head`. `None` if there is no slice of the base layer in `head`.
#[must_use]
pub fn picture(head: &[u8], size: LengthSize) -> Option<Picture> {
    for unit in units(head, size) {
        let unit = unit?;
        if let (Kind::Slice(picture), 0) = (unit.kind, unit.layer) {
            return Some(picture);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_slice_tells_what_picture_a_sample_holds() {
        let sample = |types: &[u8]| {
            let units = types
                .iter()
                .flat_map(|kind| [0, 0, 0, 3, kind << 1, 1, 0xff]);
            units.collect::<Vec<u8>>()
        };
        for (types, wanted) in [
            (&[35, 32, 33, 34, 39, 19][..], Some(Picture::Idr)),
            (&[20, 1], Some(Picture::Idr)),
            (&[39, 21], Some(Picture::Cra)),
            (&[16], Some(Picture::Bla)),
            (&[18], Some(Picture::Bla)),
            (&[22, 23, 24], None),
            (&[6], Some(Picture::Radl)),
            (&[9], Some(Picture::Rasl)),
            (&[62, 5], Some(Picture::Trailing)),
            (&[39, 40], None),
            (&[], None),
        ] {
            assert_eq!(
                picture(&sample(types), LengthSize::Four),
                wanted,
                "{types:?}"
            );
        }
    }

    #[test]
    fn beginning_of_a_sample_is_enough() {
        let slice = [0, 1, 0, 0, 21 << 1, 1, 0xac];
        assert_eq!(picture(&slice, LengthSize::Four), Some(Picture::Cra));
        assert_eq!(picture(&slice[..5], LengthSize::Four), None);
        assert_eq!(
            picture(&[0, 1, 0, 0, 39 << 1, 1, 5], LengthSize::Four),
            None
        );
    }

    #[test]
    fn slices_of_other_layers_are_not_the_picture() {
        let second_layer = [3, 21 << 1, 1 << 3 | 1, 0xff];
        assert_eq!(picture(&second_layer, LengthSize::One), None);
        let both = [&second_layer[..], &[3, 19 << 1, 1, 0xff]].concat();
        assert_eq!(picture(&both, LengthSize::One), Some(Picture::Idr));
    }

    proptest! {
        #[test]
        fn appended_units_are_read_again(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 2..200), 0..8),
            bytes in prop::sample::select(&[1, 2, 4][..]),
        ) {
            let size = LengthSize::of_bytes(bytes).expect("a size");
            let mut sample = Vec::new();
            for body in &bodies {
                size.append(&mut sample, body).expect("a short unit");
            }
            let read: Option<Vec<_>> = units(&sample, size).collect();
            let read = read.expect("whole units");
            prop_assert!(read.iter().all(|unit| unit.is_whole));
            let read: Vec<_> = read.iter().map(|unit| unit.bytes.to_vec()).collect();
            prop_assert_eq!(read, bodies);
        }

        #[test]
        fn any_bytes_end(sample in prop::collection::vec(0_u8..4, 0..80)) {
            for size in [LengthSize::One, LengthSize::Two, LengthSize::Four] {
                let read: Vec<_> = units(&sample, size).collect();
                prop_assert!(read.len() <= sample.len());
                let _ = picture(&sample, size);
            }
        }
    }
}
