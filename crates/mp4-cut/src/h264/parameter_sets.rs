//! The parameter sets of a stream, from its configuration record and from its samples.

use crate::{
    h264::sps::{Sps, pps_id},
    nal::{self, LengthSize},
};
use bytes::Bytes;
use mp4_atom::{Avcc, AvccExt};

const SPS_TYPE: u8 = 7;
const PPS_TYPE: u8 = 8;
/// Profiles whose configuration records have extra fields (ISO/IEC 14496-15, 5.3.3.1.2).
const EXTENDED_PROFILES: [u8; 4] = [100, 110, 122, 144];

/// Sequence and picture parameter sets, each id once, in order of appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ParameterSets {
    sps: Vec<Set>,
    pps: Vec<Set>,
}

/// A parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Set {
    id: u32,
    /// The NAL unit without trailing zeros.
    nal: Vec<u8>,
}

impl ParameterSets {
    /// The sets for decoding samples of a stream, which begin with `heads`, in order. The first sample's sets take
    /// precedence over the record's.
    ///
    /// # Errors
    /// When a set changes, or cannot be read.
    pub fn of(config: &Avcc, size: LengthSize, heads: &[Bytes]) -> Result<Self, String> {
        let mut sets = Self::default();
        let (first, others) = heads.split_at(heads.len().min(1));
        for head in first {
            sets.collect(head, size)?;
        }
        let mut described = Self::default();
        for nal in config
            .sequence_parameter_sets
            .iter()
            .chain(&config.picture_parameter_sets)
        {
            described.add(nal)?;
        }
        sets.merge_missing(described);
        for head in others {
            sets.collect(head, size)?;
        }
        Ok(sets)
    }

    /// Whether some are in a sample that begins with `head`.
    pub fn are_in(head: &[u8], size: LengthSize) -> bool {
        let units = nal::units(head, size).map_while(|unit| unit);
        let mut kinds = units.filter_map(|unit| unit.bytes.first().map(|header| header & 31));
        kinds.any(|kind| matches!(kind, SPS_TYPE | PPS_TYPE))
    }

    /// Whether they suffice to decode a stream.
    pub fn are_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// The record with exactly these sets; `None` if a record cannot hold them.
    pub fn written(self, config: &Avcc) -> Option<Avcc> {
        let nals = |sets: Vec<Set>| -> Vec<_> { sets.into_iter().map(|set| set.nal).collect() };
        let mut config = config.clone();
        let had = std::mem::replace(&mut config.sequence_parameter_sets, nals(self.sps));
        config.picture_parameter_sets = nals(self.pps);
        if had == config.sequence_parameter_sets {
            return Some(config);
        }
        let all: Option<Vec<Sps>> = config
            .sequence_parameter_sets
            .iter()
            .map(|nal| Sps::read(nal))
            .collect();
        let all = all?;
        let first = all.first()?;
        config.avc_profile_indication = first.profile();
        config.profile_compatibility = all.iter().fold(u8::MAX, |all, sps| all & sps.constraints());
        config.avc_level_indication = all.iter().map(Sps::level).max()?;
        if EXTENDED_PROFILES.contains(&first.profile()) {
            let narrow = |number: u32| u8::try_from(number).ok();
            config.ext = Some(AvccExt {
                chroma_format: narrow(first.shape.chroma_format)?,
                bit_depth_luma: narrow(8 + first.shape.luma_depth)?,
                bit_depth_chroma: narrow(8 + first.shape.chroma_depth)?,
                sequence_parameter_sets_ext: Vec::new(),
            });
        }
        Some(config)
    }

    /// Collects the sets in a sample, or in the beginning of one.
    fn collect(&mut self, sample: &[u8], size: LengthSize) -> Result<(), String> {
        let units = nal::units(sample, size).map_while(|unit| unit);
        for unit in units.filter(|unit| unit.is_whole) {
            self.add(unit.bytes)?;
        }
        Ok(())
    }

    fn merge_missing(&mut self, other: Self) {
        for (own, others) in [(&mut self.sps, other.sps), (&mut self.pps, other.pps)] {
            for set in others {
                if own.iter().all(|taken| taken.id != set.id) {
                    own.push(set);
                }
            }
        }
    }

    /// Adds a unit if it is a parameter set.
    fn add(&mut self, nal: &[u8]) -> Result<(), String> {
        let end = nal.iter().rposition(|byte| *byte != 0);
        let nal = &nal[..end.map_or(0, |last| last + 1)];
        let (sets, id) = match nal.first().map(|header| header & 31) {
            Some(SPS_TYPE) => (&mut self.sps, Sps::read(nal).map(|sps| sps.id)),
            Some(PPS_TYPE) => (&mut self.pps, pps_id(nal)),
            _ => return Ok(()),
        };
        let id = id.ok_or("the source's H.264 parameters (SPS or PPS) cannot be read")?;
        match sets.iter().find(|set| set.id == id) {
            Some(set) if set.nal == nal => Ok(()),
            Some(_) => {
                Err("the source's parameter sets (SPS or PPS) change within the clip".into())
            }
            None => {
                let nal = nal.to_vec();
                sets.push(Set { id, nal });
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03,
        0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
    /// Another set with the same id, and one with a different id.
    const OTHER_PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xe0];
    const SECOND_PPS: &[u8] = &[0x68, 0x5b, 0xe3, 0xcb, 0x22, 0xc0];
    const SLICE: &[u8] = &[0x65, 0x88, 0x84];

    fn record(sps: &[&[u8]], pps: &[&[u8]]) -> Avcc {
        let nals = |nals: &[&[u8]]| nals.iter().map(|nal| nal.to_vec()).collect();
        Avcc {
            configuration_version: 1,
            length_size: 4,
            sequence_parameter_sets: nals(sps),
            picture_parameter_sets: nals(pps),
            ..Avcc::default()
        }
    }

    fn sample(nals: &[&[u8]]) -> Bytes {
        let mut sample = Vec::new();
        for nal in nals {
            LengthSize::Four.append(&mut sample, nal).expect("short");
        }
        sample.into()
    }

    type Nals = Vec<Vec<u8>>;

    /// The sets of a record and of samples, as stored in a record.
    fn described(config: &Avcc, heads: &[Bytes]) -> Result<(Nals, Nals), String> {
        let sets = ParameterSets::of(config, LengthSize::Four, heads)?;
        let written = sets.written(config).ok_or("not written")?;
        Ok((
            written.sequence_parameter_sets,
            written.picture_parameter_sets,
        ))
    }

    fn nals(nals: &[&[u8]]) -> Vec<Vec<u8>> {
        nals.iter().map(|nal| nal.to_vec()).collect()
    }

    #[test]
    fn sets_of_samples_are_added_to_those_of_the_record() {
        let empty = record(&[], &[]);
        let heads = [
            sample(&[SPS, PPS, SLICE]),
            sample(&[SPS, SECOND_PPS, SLICE]),
        ];
        let both = Ok((nals(&[SPS]), nals(&[PPS, SECOND_PPS])));
        assert_eq!(described(&empty, &heads), both);
        assert_eq!(described(&record(&[SPS], &[PPS]), &heads[1..]), {
            Ok((nals(&[SPS]), nals(&[SECOND_PPS, PPS])))
        });
        let sets = ParameterSets::of(&empty, LengthSize::Four, &heads).expect("sets");
        let written = sets.written(&empty).expect("a record");
        assert_eq!(
            (written.avc_profile_indication, written.avc_level_indication),
            (0x64, 0x1e)
        );
        assert_eq!(written.ext.map(|ext| ext.chroma_format), Some(1));
    }

    #[test]
    fn sets_of_the_first_sample_count_before_those_of_the_record() {
        let lies = record(&[SPS], &[OTHER_PPS]);
        let head = sample(&[SPS, PPS, SLICE]);
        assert_eq!(described(&lies, &[head]), Ok((nals(&[SPS]), nals(&[PPS]))));
        assert_eq!(
            described(&lies, &[sample(&[SLICE])]),
            Ok((nals(&[SPS]), nals(&[OTHER_PPS])))
        );
    }

    #[test]
    fn sets_that_change_between_samples_are_refused() {
        let config = record(&[SPS], &[PPS]);
        let heads = [sample(&[SLICE]), sample(&[OTHER_PPS, SLICE])];
        let why = described(&config, &heads).expect_err("they change");
        assert!(why.ends_with("change within the clip"), "{why}");
    }

    #[test]
    fn sets_cut_off_at_the_end_of_what_was_read_are_left_alone() {
        let config = record(&[SPS], &[PPS]);
        let whole = sample(&[OTHER_PPS]);
        let cut_off = whole.slice(..whole.len() - 1);
        assert_eq!(
            described(&config, &[cut_off]),
            Ok((nals(&[SPS]), nals(&[PPS])))
        );
    }
}
