//! Changes slices without parsing them. Only the first fields of their headers are read (H.265,
//! 7.3.6.1): `first_slice_segment_in_pic_flag`, `no_output_of_prior_pics_flag` (only in random
//! access pictures) and `slice_pic_parameter_set_id`.

use super::nal::{HEADER_BYTES, Kind, Picture, Unit, units};
use crate::nal::{
    LengthSize,
    bits::{escape, unescape},
};
use std::{borrow::Cow, ops::RangeInclusive};

/// The ids of picture parameter sets that slices are moved to. As `ue(v)` they take 9 bits, where
/// id 0 takes one. So moving a slice inserts exactly one byte, which keeps the bits after it
/// byte-aligned, and slice data and entry points unchanged.
pub const PPS_IDS: RangeInclusive<u8> = 15..=30;

const BLA_N_LP: u8 = 18;
const NO_OUTPUT_OF_PRIOR_PICS: u8 = 0x40;

/// Moves a slice from the picture parameter set 0 to another. A random access picture also keeps
/// the pictures before it (`no_output_of_prior_pics_flag` becomes 0).
///
/// `None` if the unit is not a slice, its id is not 0, or `pps_id` is not one of [`PPS_IDS`].
pub fn move_to_pps(unit: &Unit, pps_id: u8) -> Option<Vec<u8>> {
    let Kind::Slice(picture) = unit.kind else {
        return None;
    };
    if !PPS_IDS.contains(&pps_id) {
        return None;
    }
    let mut rbsp = unescape(unit.bytes);
    let first = *rbsp.get(HEADER_BYTES)?;
    let flags = if picture.is_random_access() { 2 } else { 1 };
    if first << flags & 0x80 == 0 {
        return None;
    }
    let behind = 7 - flags;
    let is_first_slice = u16::from(first & 0x80) << 8;
    let kept = u16::from(first) & ((1 << behind) - 1);
    let moved = is_first_slice | (u16::from(pps_id) + 1) << behind | kept;
    rbsp.splice(HEADER_BYTES..=HEADER_BYTES, moved.to_be_bytes());
    Some(escape(&rbsp))
}

/// Changes the sample of the first copied picture, which must be a random access picture, so that a
/// stream can continue with it: pictures decoded before it are still shown, and it does not depend
/// on missing ones. Its leading pictures must be left out.
///
/// `None` if the sample is damaged or decoding cannot start there.
#[must_use]
pub fn begin_copy(sample: &[u8], size: LengthSize) -> Option<Vec<u8>> {
    let mut begun = Vec::with_capacity(sample.len() + 16);
    let mut has_slice = false;
    for unit in units(sample, size) {
        let unit = unit?;
        if !unit.is_whole {
            return None;
        }
        let nal = match unit.kind {
            Kind::Slice(picture) if unit.layer == 0 => {
                has_slice = true;
                first_slice_of_copy(&unit, picture)?
            }
            _ => Cow::Borrowed(unit.bytes),
        };
        size.append(&mut begun, &nal)?;
    }
    if has_slice { Some(begun) } else { None }
}

fn first_slice_of_copy<'a>(unit: &Unit<'a>, picture: Picture) -> Option<Cow<'a, [u8]>> {
    if !picture.is_random_access() {
        return None;
    }
    let mut nal = if unit.bytes.get(HEADER_BYTES)? & NO_OUTPUT_OF_PRIOR_PICS == 0 {
        Cow::Borrowed(unit.bytes)
    } else {
        let mut rbsp = unescape(unit.bytes);
        rbsp[HEADER_BYTES] &= !NO_OUTPUT_OF_PRIOR_PICS;
        Cow::Owned(escape(&rbsp))
    };
    if picture != Picture::Idr {
        nal.to_mut()[0] = nal[0] & 0x81 | BLA_N_LP << 1;
    }
    Some(nal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hevc::{nal::picture, parameter_sets::tests::sample};
    use proptest::prelude::*;

    const CRA: u8 = 21;
    const IDR: u8 = 20;
    const TRAILING: u8 = 1;

    /// A slice that uses a picture parameter set below 63, with `flags` before the id.
    fn slice(unit_type: u8, flags: &[bool], pps_id: u8, rest: &[u8]) -> Vec<u8> {
        let mut bits = crate::nal::bits::BitWriter::default();
        bits.number(u32::from(unit_type) << 9 | 1, 16);
        for flag in flags {
            bits.flag(*flag);
        }
        bits.ue(pps_id.into());
        for byte in rest {
            bits.number((*byte).into(), 8);
        }
        bits.into_nal()
    }

    fn moved(nal: &[u8], pps_id: u8) -> Option<Vec<u8>> {
        move_to_pps(&Unit::read(nal).expect("a unit"), pps_id)
    }

    #[test]
    fn slice_of_another_id_than_0_is_not_moved() {
        assert_eq!(moved(&slice(TRAILING, &[true], 1, &[5]), 20), None);
        assert_eq!(moved(&slice(CRA, &[true, false], 1, &[5]), 20), None);
        assert_eq!(moved(&[78, 1, 0xff], 20), None);
        assert_eq!(moved(&[2, 1], 20), None);
        for pps_id in [0, 14, 31, 255] {
            assert_eq!(moved(&slice(TRAILING, &[true], 0, &[5]), pps_id), None);
        }
    }

    #[test]
    fn copy_begins_with_a_broken_link() {
        let parameters = [0x40, 1, 12];
        let first = slice(CRA, &[true, true], 0, &[1, 2, 3]);
        let second = slice(CRA, &[false, true], 0, &[0, 0, 1, 9]);
        let begun = begin_copy(&sample(&[&parameters, &first, &second]), LengthSize::Four);
        let first = slice(BLA_N_LP, &[true, false], 0, &[1, 2, 3]);
        let second = slice(BLA_N_LP, &[false, false], 0, &[0, 0, 1, 9]);
        assert_eq!(begun, Some(sample(&[&parameters, &first, &second])));
    }

    #[test]
    fn copy_that_begins_with_an_idr_picture_stays_as_it_is() {
        let kept = sample(&[&[78, 1, 5], &slice(IDR, &[true, false], 3, &[1, 2, 3])]);
        assert_eq!(begin_copy(&kept, LengthSize::Four), Some(kept));
        let dropping = sample(&[&slice(IDR, &[true, true], 3, &[0, 0, 3, 3])]);
        let keeping = sample(&[&slice(IDR, &[true, false], 3, &[0, 0, 3, 3])]);
        assert_eq!(begin_copy(&dropping, LengthSize::Four), Some(keeping));
    }

    #[test]
    fn cleared_flag_may_need_an_escape() {
        // The id 63 is coded with six zeros after the flag.
        let unit = |flags| slice(CRA, flags, 63, &[0; 3]);
        let [dropping, keeping] = [unit(&[false, true]), unit(&[false, false])];
        assert!(keeping.len() > dropping.len() || keeping[2] == 0);
        let begun = begin_copy(&sample(&[&dropping]), LengthSize::Four);
        assert_eq!(
            begun,
            Some(sample(&[&slice(BLA_N_LP, &[false, false], 63, &[0; 3])]))
        );
    }

    #[test]
    fn copy_does_not_begin_where_decoding_cannot() {
        for unit_type in [0, TRAILING, 6, 8] {
            let picture = sample(&[&slice(unit_type, &[true], 0, &[1])]);
            assert_eq!(begin_copy(&picture, LengthSize::Four), None, "{unit_type}");
        }
        assert_eq!(begin_copy(&sample(&[&[78, 1, 5]]), LengthSize::Four), None);
        let whole = sample(&[&slice(CRA, &[true, false], 0, &[1, 2, 3])]);
        assert_eq!(
            begin_copy(&whole[..whole.len() - 1], LengthSize::Four),
            None
        );
    }

    proptest! {
        #[test]
        fn moved_slice_differs_in_its_id_alone(
            unit_type in prop::sample::select(&[0, TRAILING, 6, 9, 16, IDR, CRA][..]),
            is_first in any::<bool>(),
            drops_others in any::<bool>(),
            pps_id in PPS_IDS,
            rest in prop::collection::vec(0_u8..5, 0..40),
        ) {
            let flags = |drops_others| match unit_type {
                16.. => vec![is_first, drops_others],
                _ => vec![is_first],
            };
            let wanted = slice(unit_type, &flags(false), pps_id, &rest);
            let nal = slice(unit_type, &flags(drops_others), 0, &rest);
            prop_assert_eq!(unescape(&wanted).len(), unescape(&nal).len() + 1);
            prop_assert_eq!(moved(&nal, pps_id), Some(wanted));
        }

        #[test]
        fn any_sample_begins_a_copy_or_not(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for size in [LengthSize::One, LengthSize::Two, LengthSize::Four] {
                let begun = begin_copy(&bytes, size);
                let first = begun.map(|begun| picture(&begun, size));
                prop_assert!(matches!(first, None | Some(Some(Picture::Bla | Picture::Idr))));
            }
        }

        #[test]
        fn any_unit_is_moved_or_not(bytes in prop::collection::vec(any::<u8>(), 2..60)) {
            let _ = moved(&bytes, 15);
        }
    }
}
