//! The parameter sets of a stream, from its configuration record and from its samples.

use super::{
    ineligible::Ineligible,
    nal::{Kind, Unit, units},
    sps::{Bounds, General, MAX_SPS_ID, MAX_VPS_ID, sps_id},
};
use crate::nal::{
    LengthSize,
    bits::{BitReader, BitWriter, unescape},
};

/// The highest id that a picture parameter set may have.
const MAX_PPS_ID: u8 = 63;
pub(super) const SEVERAL_LAYERS: &str = "the source has several layers (MV-HEVC or scalable)";
/// The longest parameter set that a configuration record can hold.
const MAX_BYTES: usize = u16::MAX as usize;

/// Video, sequence and picture parameter sets of the base layer, each id once, in order of
/// appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParameterSets {
    pub(super) vps: Vec<Set>,
    pub(super) sps: Vec<Set>,
    pub(super) pps: Vec<Set>,
}

/// A parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub id: u8,
    /// The NAL unit without trailing zeros.
    pub nal: Vec<u8>,
}

impl ParameterSets {
    /// Collects the parameter sets in a sample, or in the beginning of one. Sets cut off at its
    /// end, and everything after damage, are ignored.
    ///
    /// # Errors
    /// If a set differs from one with the same id, belongs to another layer, or cannot be read.
    pub fn collect(&mut self, sample: &[u8], size: LengthSize) -> Result<(), Ineligible> {
        for unit in units(sample, size).map_while(|unit| unit) {
            if unit.is_whole {
                self.add(&unit)?;
            }
        }
        Ok(())
    }

    /// Whether some are in a sample that begins with `head`.
    pub(super) fn are_in(head: &[u8], size: LengthSize) -> bool {
        units(head, size)
            .map_while(|unit| unit)
            .any(|unit| matches!(unit.kind, Kind::Vps | Kind::Sps | Kind::Pps))
    }

    /// Whether they suffice to decode a stream: there is one of each kind.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        ![&self.vps, &self.sps, &self.pps]
            .iter()
            .any(|sets| sets.is_empty())
    }

    /// Adds the sets of another part of the same stream.
    ///
    /// # Errors
    /// As [`ParameterSets::collect`].
    pub fn merge(&mut self, other: &Self) -> Result<(), Ineligible> {
        for set in other.vps.iter().chain(&other.sps).chain(&other.pps) {
            self.add_nal(&set.nal)?;
        }
        Ok(())
    }

    /// Adds those sets of another part of the same stream whose ids are still free.
    pub(super) fn merge_missing(&mut self, other: &Self) {
        let kinds = [
            (&mut self.vps, &other.vps),
            (&mut self.sps, &other.sps),
            (&mut self.pps, &other.pps),
        ];
        for (own, others) in kinds {
            for set in others {
                if own.iter().all(|taken| taken.id != set.id) {
                    own.push(set.clone());
                }
            }
        }
    }

    pub(super) fn add_nal(&mut self, nal: &[u8]) -> Result<(), Ineligible> {
        match Unit::read(nal) {
            Some(unit) => self.add(&unit),
            None => Err("a parameter set (VPS, SPS or PPS) is damaged".into()),
        }
    }

    /// Adds a unit if it is a parameter set.
    fn add(&mut self, unit: &Unit) -> Result<(), Ineligible> {
        let (sets, id) = match unit.kind {
            Kind::Vps => (&mut self.vps, vps_id(unit.bytes)),
            Kind::Sps => (&mut self.sps, sps_id(unit.bytes)),
            Kind::Pps => (&mut self.pps, pps_ids(unit.bytes).map(|(id, _)| id)),
            _ => return Ok(()),
        };
        if unit.layer != 0 {
            return Err(SEVERAL_LAYERS.into());
        }
        let length = unit
            .bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let nal = &unit.bytes[..length];
        let Some(id) = id else {
            return Err("a parameter set (VPS, SPS or PPS) is damaged".into());
        };
        if nal.len() > MAX_BYTES {
            return Err("a parameter set (VPS, SPS or PPS) is too long".into());
        }
        match sets.iter().find(|set| set.id == id) {
            Some(set) if set.nal == nal => Ok(()),
            Some(_) => Err("parameter sets (VPS, SPS or PPS) change within the clip".into()),
            None => {
                sets.push(Set {
                    id,
                    nal: nal.to_vec(),
                });
                Ok(())
            }
        }
    }
}

fn vps_id(nal: &[u8]) -> Option<u8> {
    let rbsp = unescape(nal);
    let mut bits = BitReader::new(&rbsp);
    bits.skip(16)?;
    bits.byte(4)
}

/// How many layers a video parameter set announces.
pub(super) fn vps_layers(nal: &[u8]) -> Option<u8> {
    let rbsp = unescape(nal);
    let mut bits = BitReader::new(&rbsp);
    bits.skip(22)?;
    Some(bits.byte(6)? + 1)
}

/// The ids of a picture parameter set and of its sequence parameter set.
pub(super) fn pps_ids(nal: &[u8]) -> Option<(u8, u8)> {
    let rbsp = unescape(nal);
    let mut bits = BitReader::new(&rbsp);
    bits.skip(16)?;
    Some((bits.ue_to(MAX_PPS_ID)?, bits.ue_to(MAX_SPS_ID)?))
}

/// A picture parameter set with other ids; `None` if it is damaged.
pub(super) fn moved_pps(nal: &[u8], id: u8, sps_id: u8) -> Option<Vec<u8>> {
    let rbsp = unescape(nal);
    let mut read = BitReader::new(&rbsp);
    read.skip(16)?;
    read.ue()?;
    read.ue()?;
    let mut bits = BitWriter::default();
    bits.copy(&rbsp, 0..16);
    bits.ue(id.into());
    bits.ue(sps_id.into());
    bits.copy(&rbsp, read.position()..read.end());
    Some(bits.into_nal())
}

/// A video parameter set of one layer and one sub-layer.
pub(super) fn new_vps(id: u8, general: &General, bounds: Bounds) -> Vec<u8> {
    debug_assert!(id <= MAX_VPS_ID);
    let mut bits = BitWriter::default();
    bits.number(0x4001, 16);
    bits.number(id.into(), 4);
    // Base layer internal and available; one layer, one sub-layer, nested.
    bits.number(0b1100_0000_0001, 12);
    bits.number(0xffff, 16);
    for byte in general {
        bits.number((*byte).into(), 8);
    }
    bounds.write(&mut bits);
    // vps_max_layer_id, vps_num_layer_sets_minus1; no timing, no extension.
    bits.number(0, 6);
    bits.ue(0);
    bits.number(0, 2);
    bits.into_nal()
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::hevc::sps::{
        Sps,
        tests::{X265, X265_MAIN_10},
    };
    use proptest::prelude::*;

    pub const VPS: &[u8] =
        b"\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\
        \x03\x00\x5d\x95\x94\x09";
    pub const PPS: &[u8] = b"\x44\x01\xc1\x72\xb4\x62\x40";

    pub fn sample(units: &[&[u8]]) -> Vec<u8> {
        let mut sample = Vec::new();
        for unit in units {
            LengthSize::Four
                .append(&mut sample, unit)
                .expect("a short unit");
        }
        sample
    }

    pub fn sets(units: &[&[u8]]) -> Result<ParameterSets, Ineligible> {
        let mut sets = ParameterSets::default();
        sets.collect(&sample(units), LengthSize::Four)?;
        Ok(sets)
    }

    #[test]
    fn sets_are_collected_once() {
        let slice = [40, 1, 0xaf];
        let mut collected = sets(&[VPS, X265, PPS, &slice]).expect("sets");
        assert!(collected.are_complete());
        let before = collected.clone();
        let with_zeros = [X265, &[0, 0]].concat();
        let again = sample(&[&[70, 1, 0x50], PPS, &with_zeros, &slice]);
        assert_eq!(collected.collect(&again, LengthSize::Four), Ok(()));
        assert_eq!(collected, before);
        assert!(!sets(&[VPS, X265, &slice]).expect("sets").are_complete());
    }

    #[test]
    fn sets_cut_off_are_left_alone() {
        let whole = sample(&[VPS, X265, PPS]);
        let mut sets = ParameterSets::default();
        assert_eq!(
            sets.collect(&whole[..whole.len() - 1], LengthSize::Four),
            Ok(())
        );
        assert_eq!((sets.sps.len(), sets.pps.len()), (1, 0));
    }

    #[test]
    fn sets_that_change_are_refused() {
        let why = |units: &[&[u8]]| sets(units).map_err(|why| why.to_string());
        let changed = "parameter sets (VPS, SPS or PPS) change within the clip";
        assert_eq!(why(&[X265, X265_MAIN_10]), Err(changed.to_owned()));
        let mut pps = PPS.to_vec();
        pps[3] ^= 1;
        assert_eq!(why(&[PPS, &pps]), Err(changed.to_owned()));
        let layered = [&[X265[0] | 1], &X265[1..]].concat();
        assert_eq!(why(&[&layered]), Err(SEVERAL_LAYERS.to_owned()));
        let damaged = "a parameter set (VPS, SPS or PPS) is damaged";
        assert_eq!(why(&[&PPS[..2]]), Err(damaged.to_owned()));
        assert_eq!(why(&[&X265[..12]]), Err(damaged.to_owned()));
        let long = [PPS, &vec![1; MAX_BYTES]].concat();
        let too_long = "a parameter set (VPS, SPS or PPS) is too long";
        assert_eq!(why(&[&long]), Err(too_long.to_owned()));
    }

    #[test]
    fn video_parameters_announce_one_layer_and_their_bounds() {
        let sps = Sps::read(X265).expect("parameters");
        let vps = new_vps(11, &sps.general, sps.bounds);
        assert_eq!((vps_id(&vps), vps_layers(&vps)), (Some(11), Some(1)));
        // x265 writes the same under id 0, except for timing.
        assert_eq!(new_vps(0, &sps.general, sps.bounds), VPS);
    }

    proptest! {
        #[test]
        fn picture_parameters_are_moved_and_nothing_else(
            ids in (0..=MAX_PPS_ID, 0..=MAX_SPS_ID),
            others in (0..=MAX_PPS_ID, 0..=MAX_SPS_ID),
        ) {
            let moved = moved_pps(PPS, ids.0, ids.1).expect("parameters");
            prop_assert_eq!(pps_ids(&moved), Some(ids));
            let again = moved_pps(&moved, others.0, others.1).expect("parameters");
            prop_assert_eq!(pps_ids(&again), Some(others));
            let back = moved_pps(&again, 0, 0);
            prop_assert_eq!(back.as_deref(), Some(PPS));
        }

        #[test]
        fn any_sample_has_sets_or_not(
            units in prop::collection::vec(
                (32_u8..40, prop::collection::vec(any::<u8>(), 0..40)),
                0..4,
            ),
        ) {
            let units = units.iter().map(|(kind, body)| [&[kind << 1, 1], &body[..]].concat());
            let units: Vec<_> = units.collect();
            let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let _ = sets(&units);
        }
    }
}
