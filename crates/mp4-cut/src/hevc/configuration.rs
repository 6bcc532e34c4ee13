//! The decoder configuration record, `hvcC` (ISO/IEC 14496-15, 8.3.3.1).

use super::{ineligible::Ineligible, parameter_sets::ParameterSets, sps::Sps};
use crate::nal::{LengthSize, VideoSignal};
use bytes::Bytes;
use mp4_atom::{Atom, HvcCArray, Hvcc};

const VPS_TYPE: u8 = 32;
const SPS_TYPE: u8 = 33;
const PPS_TYPE: u8 = 34;

/// The decoder configuration record of a sample entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    record: Hvcc,
    length_size: LengthSize,
}

impl Configuration {
    /// Reads what follows the header of an `hvcC` box. `None` if it is damaged.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let record = Hvcc::decode_body(&mut &body[..]).ok()?;
        Some(Self {
            length_size: LengthSize::of_bytes(record.length_size_minus_one + 1)?,
            record,
        })
    }

    /// The size of a sample's NAL unit lengths.
    #[must_use]
    pub fn length_size(&self) -> LengthSize {
        self.length_size
    }

    /// The same record for samples with four-byte NAL unit lengths.
    pub fn with_long_lengths(&self) -> Option<Vec<u8>> {
        let mut record = self.record.clone();
        record.length_size_minus_one = 3;
        let mut body = Vec::new();
        record.encode_body(&mut body).ok()?;
        Some(body)
    }

    /// Bit depth, `chroma_format_idc`, and the colours in the first sequence parameter set.
    pub fn pixel_format(&self) -> (u8, u8, VideoSignal) {
        let arrays = &self.record.arrays;
        let mut sets = arrays
            .iter()
            .filter(|array| array.nal_unit_type == SPS_TYPE)
            .flat_map(|array| &array.nalus);
        let sps = sets.next().and_then(|nal| Sps::read(nal));
        let vui = sps.and_then(|sps| sps.vui);
        (
            8 + self.record.bit_depth_luma_minus8,
            self.record.chroma_format_idc,
            vui.map(|vui| vui.signal).unwrap_or_default(),
        )
    }

    /// The parameter sets in the record. Those of `hev1` may be incomplete and continued in
    /// samples.
    ///
    /// # Errors
    /// If a set cannot be read, or the record contains two with the same id, or several layers.
    pub fn parameter_sets(&self) -> Result<ParameterSets, Ineligible> {
        let mut sets = ParameterSets::default();
        for array in &self.record.arrays {
            if is_parameter_set(array.nal_unit_type) {
                for nal in &array.nalus {
                    sets.add_nal(nal)?;
                }
            }
        }
        Ok(sets)
    }

    /// The sets for decoding samples of the stream, which begin with `heads`, in order. The first sample's sets take
    /// precedence over the record's.
    ///
    /// # Errors
    /// As [`parameter_sets`](Self::parameter_sets), and when a set changes.
    pub fn sets_with(&self, heads: &[Bytes]) -> Result<ParameterSets, Ineligible> {
        let mut sets = ParameterSets::default();
        let (first, others) = heads.split_at(heads.len().min(1));
        for head in first {
            sets.collect(head, self.length_size)?;
        }
        sets.merge_missing(&self.parameter_sets()?);
        for head in others {
            sets.collect(head, self.length_size)?;
        }
        Ok(sets)
    }

    /// What follows the header of the `hvcC` box of an `hvc1` sample entry with exactly these parameter sets. `None` if
    /// they are incomplete or cannot be written.
    ///
    /// What the record says of all pictures is taken from the first sequence parameter set where
    /// the record begins with another or holds none; what only the record says is kept.
    #[must_use]
    pub fn with(&self, sets: &ParameterSets) -> Option<Vec<u8>> {
        if !sets.are_complete() {
            return None;
        }
        let mut record = self.record.clone();
        let had = self.parameter_sets().unwrap_or_default();
        let first = sets.sps.first()?;
        if had.sps.first() != Some(first) {
            describe(&mut record, &Sps::read(&first.nal)?);
        }
        // Encoded and copied pictures are split into tiles or slices differently.
        if sets.pps.len() > 1 {
            (record.min_spatial_segmentation_idc, record.parallelism_type) = (0, 0);
        }
        let kinds = [
            (VPS_TYPE, &sets.vps),
            (SPS_TYPE, &sets.sps),
            (PPS_TYPE, &sets.pps),
        ];
        let arrays = kinds.map(|(nal_unit_type, sets)| HvcCArray {
            completeness: true,
            nal_unit_type,
            nalus: sets.iter().map(|set| set.nal.clone()).collect(),
        });
        record
            .arrays
            .retain(|array| !is_parameter_set(array.nal_unit_type));
        record.arrays.splice(..0, arrays);
        if record.arrays.len() > usize::from(u8::MAX) {
            return None;
        }
        let mut body = Vec::new();
        record.encode_body(&mut body).ok()?;
        Some(body)
    }
}

fn is_parameter_set(nal_unit_type: u8) -> bool {
    matches!(nal_unit_type, VPS_TYPE | SPS_TYPE | PPS_TYPE)
}

fn describe(record: &mut Hvcc, sps: &Sps) {
    let [profile, compatibility @ .., level] = sps.general;
    let [a, b, c, d, constraints @ ..] = compatibility;
    record.general_profile_space = profile >> 6;
    record.general_tier_flag = profile & 0x20 != 0;
    record.general_profile_idc = profile & 31;
    record.general_profile_compatibility_flags = [a, b, c, d];
    record.general_constraint_indicator_flags = constraints;
    record.general_level_idc = level;
    record.chroma_format_idc = sps.format.chroma_format_idc;
    record.bit_depth_luma_minus8 = sps.format.luma_depth.saturating_sub(8);
    record.bit_depth_chroma_minus8 = sps.format.chroma_depth.saturating_sub(8);
    record.num_temporal_layers = sps.sub_layers;
    record.temporal_id_nested = sps.temporal_id_nesting;
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::hevc::{
        parameter_sets::tests::{PPS, VPS, sets},
        sps::tests::{X265, X265_MAIN_10},
    };
    use proptest::prelude::*;

    const SEI: u8 = 39;

    /// A record with arrays of NAL units by their type.
    pub fn record(arrays: &[(u8, &[&[u8]])]) -> Configuration {
        let mut record = Hvcc::new();
        record.length_size_minus_one = 3;
        record.min_spatial_segmentation_idc = 7;
        for (nal_unit_type, nals) in arrays {
            record.arrays.push(HvcCArray {
                completeness: false,
                nal_unit_type: *nal_unit_type,
                nalus: nals.iter().map(|nal| nal.to_vec()).collect(),
            });
        }
        let mut body = Vec::new();
        record.encode_body(&mut body).expect("a record");
        Configuration::read(&body).expect("a record")
    }

    #[test]
    fn sets_of_samples_fill_the_record() {
        let empty = record(&[(SEI, &[&[78, 1, 5]])]);
        assert_eq!(empty.parameter_sets(), Ok(ParameterSets::default()));
        assert_eq!(empty.with(&ParameterSets::default()), None);
        let found = sets(&[VPS, X265_MAIN_10, PPS]).expect("sets");
        let filled = empty
            .with(&found)
            .and_then(|body| Configuration::read(&body));
        let filled = filled.expect("a record");
        assert_eq!(filled.parameter_sets(), Ok(found));
        let Hvcc {
            general_profile_idc,
            general_profile_compatibility_flags,
            general_constraint_indicator_flags,
            general_level_idc,
            ..
        } = filled.record;
        assert_eq!((general_profile_idc, general_level_idc), (2, 93));
        assert_eq!(general_profile_compatibility_flags, [0x20, 0, 0, 0]);
        assert_eq!(general_constraint_indicator_flags, [0x90, 0, 0, 0, 0, 0]);
        assert_eq!(
            (
                filled.record.chroma_format_idc,
                filled.record.bit_depth_luma_minus8
            ),
            (1, 2)
        );
        let arrays = filled.record.arrays.iter();
        let arrays: Vec<_> = arrays
            .map(|array| (array.nal_unit_type, array.completeness))
            .collect();
        assert_eq!(
            arrays,
            [
                (VPS_TYPE, true),
                (SPS_TYPE, true),
                (PPS_TYPE, true),
                (SEI, false)
            ]
        );
    }

    #[test]
    fn record_with_its_own_sets_keeps_what_it_says() {
        let record = record(&[(SPS_TYPE, &[X265]), (VPS_TYPE, &[VPS]), (PPS_TYPE, &[PPS])]);
        let written = record
            .with(&record.parameter_sets().expect("sets"))
            .expect("a record");
        let written = Configuration::read(&written).expect("a record").record;
        assert_eq!(
            (
                written.general_level_idc,
                written.min_spatial_segmentation_idc
            ),
            (0, 7)
        );
        assert_eq!(written.arrays[0].nal_unit_type, VPS_TYPE);
    }

    #[test]
    fn pictures_divided_differently_have_no_division_in_common() {
        let record = record(&[(SPS_TYPE, &[X265]), (VPS_TYPE, &[VPS])]);
        let mut other = PPS.to_vec();
        other[2] = 0x5c;
        let both = sets(&[VPS, X265, PPS, &other]).expect("sets");
        let written = record
            .with(&both)
            .and_then(|body| Configuration::read(&body));
        assert_eq!(
            written.map(|written| written.record.min_spatial_segmentation_idc),
            Some(0)
        );
    }

    #[test]
    fn record_with_impossible_lengths_is_refused() {
        let mut body = Vec::new();
        Hvcc::new().encode_body(&mut body).expect("a record");
        body[21] = 2;
        assert_eq!(Configuration::read(&body), None);
        assert_eq!(Configuration::read(&body[..22]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_not(
            head in prop::collection::vec(any::<u8>(), 22),
            arrays in prop::collection::vec(0_u8..40, 0..60),
        ) {
            let body = [&head[..], &arrays].concat();
            if let Some(record) = Configuration::read(&body) {
                let _ = record.parameter_sets();
            }
        }
    }
}
